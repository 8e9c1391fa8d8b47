//! The numbers of a topic as a dashboard or a person asks for them.

use std::time::Duration;

use super::key::{AlertId, Key};
use super::window::Counts;
use pounce_types::post::Timestamp;

/// What is known of a topic, or of a place within it, up to its watermark.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicStatus {
    /// The topic, or the place within it.
    pub key: Key,
    /// Too little was seen for a baseline of its own.
    pub warming: bool,
    /// Baseline share of negative posts.
    pub baseline: f64,
    /// Share that the lower bound must exceed to fire.
    pub threshold: f64,
    /// Trailing windows, shortest first.
    pub windows: Vec<WindowStatus>,
    /// Event time up to which minutes are closed.
    pub watermark: Timestamp,
    /// Ids of its firing alerts.
    pub alert_ids: Vec<AlertId>,
}

/// Counts of one trailing window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowStatus {
    /// Its length.
    pub window: Duration,
    /// Its posts.
    pub counts: Counts,
    /// Wilson's lower bound of the share.
    pub bound: f64,
}

/// How the share of one trailing window went over the last hours.
#[derive(Debug, Clone, PartialEq)]
pub struct ShareHistory {
    /// Length of the window: the shortest that holds posts enough for the rule,
    /// or else the longest that leaves hours to be shown.
    pub window: Duration,
    /// Time from one point to the next.
    pub step: Duration,
    /// The window as it ended step by step, oldest first; the last ends at the
    /// watermark.
    pub points: Vec<SharePoint>,
}

/// One window of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct SharePoint {
    /// Its posts.
    pub counts: Counts,
    /// Wilson's lower bound of the share.
    pub bound: f64,
}

/// Firing alerts that nobody has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unacknowledged {
    /// How many.
    pub alerts: usize,
    /// Those among them whose time to respond has passed.
    pub overdue: usize,
    /// When the oldest of them opened.
    pub since: Option<Timestamp>,
}

/// For how long what arrived is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizons {
    /// A post id that is sent again is known.
    pub post_ids: Duration,
    /// An author who writes again is known.
    pub author_votes: Duration,
    /// A text that is sent again is known.
    pub text_votes: Duration,
}
