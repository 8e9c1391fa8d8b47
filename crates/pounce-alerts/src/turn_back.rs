//! A clock that went back: topics that ran ahead with it come back.
//!
//! A minute closes once. So after a clock that was wrong for a while, say a day ahead, the posts of
//! now would be late, and no topic would go on, until the time that it had shown. What a topic counted
//! by such a clock can't be told from what it counted by a right one: it is set aside, as for
//! another signal, and the topic warms up again. Alerts, acknowledgements and post ids stay.
//!
//! A step back that leaves posts of now within the lateness changes nothing.

use std::time::Duration;

use super::engine::AlertEngine;
use super::minute::{Minute, minutes_long};
use super::settings::Settings;
use super::topic::TopicState;
use pounce_types::post::Timestamp;

impl AlertEngine {
    /// Whether a clock that showed `before` and now shows `now` has to be followed back: by more
    /// than the lateness and what a topic may be ahead of a clock that never goes back.
    #[must_use]
    pub fn has_gone_back(&self, before: Timestamp, now: Timestamp) -> bool {
        let counting = &self.settings.counting;
        let ahead = Duration::from_secs(counting.future_max_seconds.into()) + minutes_long(1);
        now.after(counting.lateness()).after(ahead) < before
    }

    /// How often the clock had to be followed back since the engine was created or restored.
    #[must_use]
    pub fn turned_back(&self) -> u64 {
        self.turned_back
    }

    /// Goes on from `now`, which is earlier than what topics have seen.
    pub fn turn_back(&mut self, now: Timestamp) {
        self.clock = now;
        self.turned_back += 1;
        self.in_flight.turn_back(now);
        self.ledger.turn_back(now);
        let lateness = self.settings.counting.lateness();
        let is_ahead = |state: &TopicState| now.after(lateness) < state.next().start();
        let concerned = |state: &TopicState| is_ahead(state) || state.is_heard_after(now);
        let changed = self.change_topics(concerned, |state, settings| {
            if is_ahead(state) {
                state.turn_back(now, settings);
            } else {
                // Its minutes are right, and are to close in their time.
                state.hear_no_later_than(now);
            }
        });
        for name in changed {
            self.schedule(&name);
        }
    }

    /// Notes what the clock shows, before anything is done at that time.
    pub(super) fn keep_time(&mut self, now: Timestamp) {
        if self.has_gone_back(self.clock, now) {
            self.turn_back(now);
        }
        self.clock = self.clock.max(now);
    }
}

impl TopicState {
    fn turn_back(&mut self, now: Timestamp, settings: &Settings) {
        self.set_counts_aside();
        let next = Minute::of(settings.counting.watermark(now));
        self.go_on_from(next, now);
        for key_state in std::iter::once(&mut self.whole).chain(self.places.values_mut()) {
            for lifecycle in key_state.lifecycles_mut() {
                lifecycle.turn_back(next);
            }
        }
        self.take_stock();
    }
}
