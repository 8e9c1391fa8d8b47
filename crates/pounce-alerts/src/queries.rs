//! What can be asked of the engine: alerts, topics, counters. Changes nothing.

use std::time::Duration;

use super::alert::Alert;
use super::engine::AlertEngine;
use super::key::{AlertId, AlertKind, Key};
use super::key_state::KeyState;
use super::ledger::Totals;
use super::lifecycle::Firing;
use super::minute::minutes_long;
use super::status::{Horizons, ShareHistory, TopicStatus};
use super::topic::TopicState;
use pounce_types::post::{Place, Timestamp, Topic};

impl AlertEngine {
    /// Alerts that fire, and if `resolved` those that did lately, newest first.
    #[must_use]
    pub fn alerts(&self, resolved: bool) -> Vec<Alert> {
        let firing = self.firing.iter().filter_map(|(_, (key, kind))| self.firing_of(key, *kind));
        let over = self.ledger.over.iter().map(|(_, firing)| firing).filter(|_| resolved);
        let mut alerts: Vec<Alert> =
            firing.chain(over).map(|firing| firing.alert.clone()).collect();
        alerts.sort_by(|a, b| b.opened_at.cmp(&a.opened_at).then_with(|| a.id.cmp(&b.id)));
        alerts
    }

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
    /// [`AlertKind::ALL`].
    #[must_use]
    pub fn firing(&self) -> [u64; 3] {
        let mut firing = [0; 3];
        for (_, kind) in self.firing.values() {
            firing[kind.index()] += 1;
        }
        firing
    }

    /// When the alert opened that has been waiting longest for somebody to acknowledge it.
    #[must_use]
    pub fn unacknowledged_since(&self) -> Option<Timestamp> {
        let firing = self.firing.iter().filter_map(|(_, (key, kind))| self.firing_of(key, *kind));
        let open =
            firing.map(|firing| &firing.alert).filter(|alert| alert.acknowledgement.is_none());
        open.map(|alert| alert.opened_at).min()
    }

    /// The numbers of a topic, or of a place within it.
    #[must_use]
    pub fn topic(&self, topic: &Topic, place: Option<&Place>) -> Option<TopicStatus> {
        let state = self.topics.get(topic)?;
        let watermark = state.next().start();
        Some(state.key_state(place)?.status(state.next(), watermark, &state.rules))
    }

    /// The topics that fire first, then those with most discontent; at most
    /// `topics_max`.
    #[must_use]
    pub fn topics(&self, topics_max: usize) -> Vec<TopicStatus> {
        // Of thousands, few are shown: only these are made into statuses and sorted.
        let mood = |state: &TopicState| state.whole.mood(state.next(), &state.rules);
        let mut topics: Vec<((bool, f64), &TopicState)> =
            self.topics.values().map(|state| (mood(state), &**state)).collect();
        let order = |a: &((bool, f64), &TopicState), b: &((bool, f64), &TopicState)| {
            let by_mood = b.0.partial_cmp(&a.0);
            by_mood.unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.1.name.cmp(&b.1.name))
        };
        if (1..topics.len()).contains(&topics_max) {
            topics.select_nth_unstable_by(topics_max - 1, order);
        }
        topics.truncate(topics_max);
        topics.sort_unstable_by(order);
        let status = |state: &TopicState| {
            state.whole.status(state.next(), state.next().start(), &state.rules)
        };
        topics.into_iter().map(|(_, state)| status(state)).collect()
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
        self.keys
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

    fn firing_of(&self, key: &Key, kind: AlertKind) -> Option<&Firing> {
        let key_state = self.topics.get(&key.topic)?.key_state(key.place.as_ref())?;
        key_state.lifecycles()[kind.index()].firing.as_ref()
    }
}
