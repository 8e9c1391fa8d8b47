//! An engine takes over what another one took in.

use std::sync::Arc;

use super::alert::AlertChange;
use super::engine::AlertEngine;
use super::topic::{Intake, TopicState};
use pounce_types::post::Timestamp;

impl AlertEngine {
    /// Takes over the posts that wait in the open minutes of an engine that took
    /// in another part of the same stream, as if they had come here. What
    /// `part` had evaluated already stays as it was.
    pub fn merge(&mut self, part: Self, now: Timestamp) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        let mut topics: Vec<TopicState> =
            part.topics.into_values().map(Arc::unwrap_or_clone).collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for mut other in topics {
            for record in other.take_open() {
                let late = self.is_late(&other.name, record.at, now);
                self.seen += 1;
                self.ledger.totals.posts += 1;
                let merged =
                    self.with_topic(&other.name, Some(record.at), now, |topic, context, _| {
                        topic.touch(record.place.as_ref(), context);
                        topic.take_in(record, late, context)
                    });
                let duplicate = merged.is_some_and(|(intake, _)| intake == Intake::Duplicate);
                self.ledger.totals.duplicates += u64::from(duplicate);
            }
            if let Some(((), more)) =
                self.with_topic(&other.name, None, now, |topic, context, changes| {
                    topic.advance(context, changes);
                })
            {
                changes.extend(more);
            }
        }
        self.make_room(&mut changes);
        self.index(&changes);
        changes
    }
}
