//! Which forms of entries there are, and which one a fleet of several releases may write.

use std::time::Duration;

/// The form of an entry: which items it may hold. A release reads every form up to
/// [`EntryForm::NEWEST`] and stops at an entry of a newer one.
///
/// A new form is a variant here, the items that need it in [`Item::form`](crate::Item::form), and
/// what is left of them in an older form in [`Item::in_form`](crate::Item::in_form).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryForm {
    /// Version 1: without cases.
    Alerts,
    /// Version 2: posts may open cases.
    Cases,
    /// Version 3: and people may close alerts.
    Outcomes,
}

impl EntryForm {
    /// The one that every release reads.
    pub const OLDEST: Self = Self::Alerts;
    /// The newest that this release reads.
    pub const NEWEST: Self = Self::Outcomes;

    /// Its number in an entry; below 128.
    #[must_use]
    pub const fn version(self) -> u32 {
        match self {
            Self::Alerts => 1,
            Self::Cases => 2,
            Self::Outcomes => 3,
        }
    }

    /// The newest form that a reader of `version` reads, as far as it is known here.
    #[must_use]
    pub const fn read_by(version: u32) -> Self {
        match version {
            0 | 1 => Self::Alerts,
            2 => Self::Cases,
            _ => Self::Outcomes,
        }
    }
}

/// Three fit into the time after which a writer is taken to have ended.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// What a member of a fleet tells the others, and for how long it heeds what they told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The newest form that it reads.
    pub reads: EntryForm,
    /// A member that was silent for this long has left.
    pub silence_max: Duration,
}

impl Membership {
    /// How often a member that has nothing to say appends an empty entry all the same: the others
    /// wait for its posts, too.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        HEARTBEAT.min(self.silence_max / 5)
    }
}

impl Default for Membership {
    fn default() -> Self {
        Self { reads: EntryForm::NEWEST, silence_max: Duration::from_secs(300) }
    }
}
