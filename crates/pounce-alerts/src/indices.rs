//! What the engine looks things up by: derived from its topics, and in no snapshot.

use std::sync::Arc;

use super::alert::{AlertChange, ChangeKind};
use super::engine::AlertEngine;
use super::key::Key;
use super::recency::{Rank, Standing};
use pounce_types::post::{Timestamp, Topic};

impl AlertEngine {
    /// Rebuilds the indices that a snapshot does not hold.
    pub(super) fn rebuild_indices(&mut self) {
        let read = std::mem::take(&mut self.recency);
        let names: Vec<Topic> = self.topics.keys().cloned().collect();
        for (name, state) in &mut self.topics {
            let state = Arc::make_mut(state);
            state.rules = self.settings.rules(name);
            state.take_stock();
            self.bytes += state.bytes;
            self.open += state.open_posts();
            let key_states = std::iter::once((None, &state.whole)).chain(
                state.places.iter().map(|(place, key_state)| (Some(place.clone()), key_state)),
            );
            for (place, key_state) in key_states {
                let key = Key { topic: name.clone(), place };
                for firing in
                    key_state.lifecycles().iter().filter_map(|lifecycle| lifecycle.firing.as_ref())
                {
                    let alert = &firing.alert;
                    self.firing.insert(alert.id.clone(), (key.clone(), alert.kind));
                }
                // Where the snapshot is silent, as when it was created.
                let created = Standing { rank: Rank::Newcomer, seen: key_state.created };
                let standing = read.standings().get(&key).copied().unwrap_or(created);
                self.recency.put(key, standing);
            }
        }
        // As far as the clock can be told from what topics have closed.
        let next = self.topics.values().map(|state| state.next().start()).max();
        self.clock = self.clock.max(next.unwrap_or_default());
        for name in names {
            self.schedule(&name);
        }
        let mut gone = Vec::new();
        // Whoever goes may leave an alert to the ledger.
        self.ledger.at(self.clock, self.settings.limits.resolved_alerts_max);
        self.make_room(&mut gone);
        self.index(&gone);
    }

    /// Notes when time alone will change the topic, if that is sooner than
    /// what is noted. A note that proves too soon is made anew when it is due.
    pub(super) fn schedule(&mut self, name: &Topic) {
        let Some(state) = self.topics.get_mut(name) else { return };
        let Some(due) = state.next_due(&self.settings) else { return };
        if state.due.is_none_or(|noted| due < noted) {
            if let Some(noted) = Arc::make_mut(state).due.replace(due) {
                self.due.remove(&(noted, name.clone()));
            }
            self.due.insert((due, name.clone()));
        }
    }

    /// Takes out the topics that are due at `now`, in the order in which they became so. A note may
    /// be too early, and no snapshot holds it: the order is that of the topics' states.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<Topic> {
        // All are taken out first: at the end of time what is due stays due.
        let mut noted = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            noted.extend(self.due.pop_first());
        }
        let mut due = Vec::new();
        for (_, name) in noted {
            let Some(state) = self.topics.get_mut(&name) else { continue };
            Arc::make_mut(state).due = None;
            match state.next_due(&self.settings) {
                Some(at) if at <= now => due.push((at, name)),
                _ => self.schedule(&name),
            }
        }
        due.sort_unstable();
        due.into_iter().map(|(_, name)| name).collect()
    }

    pub(super) fn index(&mut self, changes: &[AlertChange]) {
        for AlertChange { kind, alert } in changes {
            match kind {
                ChangeKind::Opened => {
                    self.firing.insert(alert.id.clone(), (alert.key.clone(), alert.kind));
                }
                ChangeKind::Resolved => {
                    self.firing.remove(&alert.id);
                }
                ChangeKind::Escalated | ChangeKind::Acknowledged | ChangeKind::Closed => {}
            }
        }
    }
}
