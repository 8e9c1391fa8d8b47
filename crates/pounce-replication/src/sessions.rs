//! The newest batch of each writer: what makes a batch that was appended twice count once.
//!
//! A writer appends its batches in order, the next one after the log has confirmed the one before.
//! So a batch whose number is not above the newest is a retry, however late it comes. The table is
//! part of the replicated state.

use std::collections::BTreeMap;
use std::time::Duration;

use pounce_types::post::Timestamp;

/// A writer that was silent for this long has ended: it would have appended ticks. No copy of a
/// batch comes later: posts that may open a case are kept for a day, and sent again by the next process.
const SILENCE_MAX: Duration = Duration::from_secs(25 * 3600);

/// A writer's newest batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) heard_at: Timestamp,
    pub(crate) settings: u64,
    /// Version of the newest form of entries that it reads.
    pub(crate) reads: u32,
}

/// Every writer that was heard of in the last 25 hours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sessions(BTreeMap<u64, Session>);

impl Sessions {
    /// Notes a batch; false if it is a retry of one that was noted before.
    pub(crate) fn advance(&mut self, writer: u64, session: Session) -> bool {
        match self.0.get(&writer) {
            Some(newest) if newest.number >= session.number => false,
            _ => {
                self.0.insert(writer, session);
                true
            }
        }
    }

    /// Drops writers that have ended.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        let heard_after = now.before(SILENCE_MAX);
        self.0.retain(|_, session| session.heard_at >= heard_after);
    }

    /// The clock went back to `now`: nobody was heard of after it.
    pub(crate) fn turn_back(&mut self, now: Timestamp) {
        for session in self.0.values_mut() {
            session.heard_at = session.heard_at.min(now);
        }
    }

    /// Writers heard of since, and their settings.
    pub(crate) fn settings_since(&self, since: Timestamp) -> impl Iterator<Item = u64> {
        let recent = self.0.values().filter(move |session| session.heard_at >= since);
        recent.map(|session| session.settings)
    }

    /// Whether a writer was heard of since.
    pub(crate) fn heard_since(&self, writer: u64, since: Timestamp) -> bool {
        self.0.get(&writer).is_some_and(|session| session.heard_at >= since)
    }

    /// What the writer reads that reads least, of those heard of since.
    pub(crate) fn reads_since(&self, since: Timestamp) -> Option<u32> {
        let recent = self.0.values().filter(|session| session.heard_at >= since);
        recent.map(|session| session.reads).min()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Session)> {
        self.0.iter().map(|(&writer, &session)| (writer, session))
    }
}
