//! What can be asked of the engine besides its lists: one topic, counters. Changes nothing.

use std::time::Duration;

use super::engine::AlertEngine;
use super::key::AlertId;
use super::key_state::KeyState;
use super::ledger::Totals;
use super::minute::minutes_long;
use super::status::{Horizons, ShareHistory, TopicStatus, Unacknowledged};
use pounce_types::post::{Place, Timestamp, Topic};

impl AlertEngine {
    /// Ids of the alerts that fire for a topic, and for a place within it.
    #[must_use]
    pub fn alert_ids(&self, topic: &Topic, place: Option<&Place>) -> Vec<AlertId> {
        let Some(state) = self.topics.get(topic).filter(|_| !self.firing.is_empty()) else {
            return Vec::new();
        };
        let place = place.and_then(|place| state.key_state(Some(place)));
        std::iter::once(&state.whole).chain(place).flat_map(KeyState::alert_ids).collect()
    }

    /// Number of alerts that fire, of each kind in the order of
    /// [`AlertKind::ALL`](super::key::AlertKind::ALL).
    #[must_use]
    pub fn firing(&self) -> [u64; 3] {
        let mut firing = [0; 3];
        for (_, kind) in self.firing.values() {
            firing[kind.index()] += 1;
        }
        firing
    }

    /// The firing alerts that wait for somebody to acknowledge them, at `now` by the wall clock.
    #[must_use]
    pub fn unacknowledged(&self, now: Timestamp) -> Unacknowledged {
        let firing = self.firing.iter().filter_map(|(_, (key, kind))| self.firing_of(key, *kind));
        let mut waiting = Unacknowledged::default();
        for alert in firing.map(|firing| &firing.alert) {
            if alert.acknowledgement.is_none() {
                waiting.alerts += 1;
                waiting.overdue += usize::from(now >= alert.respond_by);
                let since = waiting.since.map_or(alert.opened_at, |at| at.min(alert.opened_at));
                waiting.since = Some(since);
            }
        }
        waiting
    }

    /// The numbers of a topic, or of a place within it.
    #[must_use]
    pub fn topic(&self, topic: &Topic, place: Option<&Place>) -> Option<TopicStatus> {
        let state = self.topics.get(topic)?;
        Some(state.status_of(state.key_state(place)?))
    }

    /// How the share of a topic went over the last hours.
    #[must_use]
    pub fn history(&self, topic: &Topic) -> Option<ShareHistory> {
        let state = self.topics.get(topic)?;
        Some(state.whole.history(state.next(), &state.rules))
    }

    /// Topics and places being counted.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.recency.standings().len()
    }

    /// Posts that wait in open minutes, post ids, authors' and texts' votes remembered: what
    /// [`Limits`](super::settings::Limits) bounds.
    #[must_use]
    pub fn held(&self) -> [usize; 4] {
        [self.open, self.posts.len(), self.votes.authors.len(), self.votes.texts.len()]
    }

    /// How far back memory reaches at `now`, if for want of room that is less than what the
    /// settings ask for.
    #[must_use]
    pub fn horizons(&self, now: Timestamp) -> Horizons {
        let counting = &self.settings.counting;
        let hours = u64::from(counting.duplicate_hours);
        Horizons {
            post_ids: self.posts.horizon(now, Duration::from_secs(hours * 3600)),
            author_votes: self.votes.authors.horizon(now, minutes_long(counting.author_minutes)),
            text_votes: self.votes.texts.horizon(now, minutes_long(counting.text_minutes)),
        }
    }

    /// Memory of what is known of topics and places, in bytes: what
    /// [`Limits::history_bytes_max`](super::settings::Limits) bounds.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.bytes
    }

    /// Counters of what was taken in, not counted, or dropped.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.ledger.totals;
        totals.post_ids_forgotten = self.posts.forgotten();
        totals.votes_forgotten = self.votes.authors.forgotten();
        totals.text_votes_forgotten = self.votes.texts.forgotten();
        totals
    }

    /// The furthest event time up to which a topic's minutes are closed.
    #[must_use]
    pub fn watermark(&self) -> Option<Timestamp> {
        self.topics.values().map(|topic| topic.next().start()).max()
    }

    /// The event time up to which the minutes of `topic` are closed.
    #[must_use]
    pub fn watermark_of(&self, topic: &Topic) -> Option<Timestamp> {
        self.topics.get(topic).map(|topic| topic.next().start())
    }
}
