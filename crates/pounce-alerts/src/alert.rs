//! An alert, the numbers behind it, and what happens to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::{AlertId, AlertKind, Key};
use super::window::Counts;
use pounce_types::closing::Closing;
use pounce_types::post::{Place, PostId, Timestamp};
use pounce_types::score::Severity;

/// Post ids an alert shows.
pub const SAMPLES_MAX: usize = 5;
/// Places an alert shows.
pub const PLACES_MAX: usize = 5;

/// The numbers behind an alert, as they were when it opened or last escalated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The window that decided; shorter than its rule's if an alert ended within it.
    pub window: Duration,
    /// Posts in it, one an author in 15 minutes. REACH: distinct authors.
    pub posts: u64,
    /// Negative ones among them.
    pub negatives: u64,
    /// SHARE: negatives / posts. VOLUME: negatives. REACH: summed followers.
    pub observed: f64,
    /// The baseline: a share, or a count; 0 for REACH.
    pub baseline: f64,
    /// What had to be exceeded by `bound` (SHARE, VOLUME) or `observed` (REACH).
    pub threshold: f64,
    /// SHARE: Wilson's lower bound. VOLUME: z. REACH: distinct authors.
    pub bound: f64,
    /// Negative posts, the most severe first, then those with most followers.
    pub sample_post_ids: Vec<PostId>,
    /// Negative posts of the busiest author within one voting period, before
    /// one vote an author.
    pub busiest_author_posts: u64,
    /// Alerts held back while this one fires: of a topic's places.
    pub suppressed: u64,
    /// Different texts of the negative posts, copies that had no vote included. Texts of fewer
    /// than six words count as different.
    pub distinct_texts: u64,
    /// Negative posts with the commonest text.
    pub commonest_text_posts: u64,
    /// How much of the window the two rest on: less than all of it when a key had more texts
    /// than it remembers.
    pub texts_window: Duration,
    /// The places with most negative posts in the window, most first; of a whole topic's alert.
    pub places: Vec<PlaceCounts>,
}

/// What is counted of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceCounts {
    /// Within the alert's topic.
    pub place: Place,
    /// Its posts in the alert's window.
    pub counts: Counts,
}

/// Somebody took an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who took it.
    pub by: String,
    /// What they had to say.
    pub note: String,
    /// When, by the wall clock.
    pub at: Timestamp,
}

/// A significant rise of discontent about a topic, or about a place within it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The same on every replica.
    pub id: AlertId,
    /// What it is about.
    pub key: Key,
    /// Which rule found it.
    pub kind: AlertKind,
    /// How severe it has been at its worst.
    pub severity: Severity,
    /// Event time at which the minute that opened it ended.
    pub opened_at: Timestamp,
    /// Event time at which it ended; none while it fires.
    pub resolved_at: Option<Timestamp>,
    /// When somebody should have responded.
    pub respond_by: Timestamp,
    /// What it was raised for.
    pub evidence: Evidence,
    /// Set once somebody took it.
    pub acknowledgement: Option<Acknowledgement>,
    /// Set once somebody closed it, which changes nothing else. Snapshots hold it beside the alert:
    /// see [`Closings`](super::Closings).
    #[serde(skip)]
    pub closing: Option<Closing>,
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It opened.
    Opened,
    /// Its severity rose.
    Escalated,
    /// Somebody took it.
    Acknowledged,
    /// Somebody closed it with an outcome.
    Closed,
    /// It ended.
    Resolved,
}

/// An alert as it is after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertChange {
    /// What happened.
    pub kind: ChangeKind,
    /// The whole alert.
    pub alert: Alert,
}

/// Why an alert that was due did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suppression {
    /// One of its kind and key resolved a short while ago.
    Cooldown,
    /// One of its kind fires for the whole topic.
    TopicFiring,
}

impl Suppression {
    /// Every reason, in the order of their indices.
    pub const ALL: [Self; 2] = [Self::Cooldown, Self::TopicFiring];

    /// Lower-case name, as in labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cooldown => "cooldown",
            Self::TopicFiring => "topic_firing",
        }
    }
}
