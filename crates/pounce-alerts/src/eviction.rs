//! Which keys are dropped when there are too many, or when they take too much memory.

use std::sync::Arc;

use super::alert::AlertChange;
use super::engine::AlertEngine;
use super::key::Key;
use super::key_state::KeyState;
use super::minute::Minute;

/// One key in so many is kept for newcomers.
const NEWCOMERS_SHARE: usize = 10;

impl AlertEngine {
    pub(super) fn make_room(&mut self, changes: &mut Vec<AlertChange>) {
        let bytes_max = self.settings.limits.history_bytes_max;
        while self.recency.standings().len() > self.topics_max || self.bytes > bytes_max {
            let topics = &self.topics;
            let others_max = self.topics_max - self.topics_max.div_ceil(NEWCOMERS_SHARE);
            let standing = |key: &Key| topics.get(&key.topic)?.standing(key.place.as_ref());
            let Some(key) = self.recency.first(others_max, standing) else { return };
            self.forget(&key, changes);
        }
    }

    /// Forgets a place, or a topic with all its places. Their alerts end.
    fn forget(&mut self, key: &Key, changes: &mut Vec<AlertChange>) {
        self.recency.remove(key);
        let Some(state) = self.topics.get_mut(&key.topic) else { return };
        let minute = state.next().minus(1);
        let mut gone = Vec::new();
        if let Some(place) = &key.place {
            gone.extend(Arc::make_mut(state).places.remove(place));
            let freed = gone.iter().map(KeyState::bytes).sum::<usize>().min(state.bytes);
            Arc::make_mut(state).bytes -= freed;
            self.bytes = self.bytes.saturating_sub(freed);
        } else if let Some(state) = self.topics.remove(&key.topic) {
            let state = Arc::unwrap_or_clone(state);
            self.bytes = self.bytes.saturating_sub(state.bytes);
            self.open = self.open.saturating_sub(state.open_posts());
            if let Some(due) = state.due {
                self.due.remove(&(due, key.topic.clone()));
            }
            gone.push(state.whole);
            for (place, key_state) in state.places.into_all() {
                self.recency.remove(&Key { topic: key.topic.clone(), place: Some(place) });
                gone.push(key_state);
            }
        }
        self.ledger.totals.keys_forgotten += gone.len() as u64;
        self.end_alerts(gone, minute, changes);
    }

    /// Ends the alerts of keys that are gone.
    pub(super) fn end_alerts(
        &mut self,
        gone: Vec<KeyState>,
        minute: Minute,
        changes: &mut Vec<AlertChange>,
    ) {
        for mut key_state in gone {
            for firing in
                key_state.lifecycles_mut().iter_mut().filter_map(|lifecycle| lifecycle.end(minute))
            {
                self.ledger.resolved(firing, changes);
            }
        }
    }
}
