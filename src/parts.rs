//! What the gRPC port, the HTTP port and the dashboard share.

use crate::alerting::advocates::Advocates;
use crate::alerting::counter::Counter;
use crate::alerting::monitor::AlertMonitor;
use crate::auth::tokens::Tokens;
use crate::cases::monitor::CaseMonitor;
use crate::lifecycle::calls::OpenCalls;
use crate::lifecycle::drain::Drain;
use crate::lifecycle::health::Health;
use crate::lifecycle::reload::Reloaded;
use crate::recent::posts::RecentPosts;
use crate::scoring::backlog::Backlog;
use pounce_inference::scorer::Scorer;

/// The running parts of a service. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    /// With tokens, only their holders may call.
    pub tokens: Option<Reloaded<Tokens>>,
    /// Scores texts.
    pub scorer: Scorer,
    /// What streams have accepted and not yet scored.
    pub backlog: Backlog,
    /// Counts scored posts by topic.
    pub monitor: AlertMonitor,
    /// Keeps cases.
    pub cases: CaseMonitor,
    /// Counts posts, takes alerts and cases, here or on all replicas.
    pub counter: Counter,
    /// Tells of advocates.
    pub advocates: Advocates,
    /// Remembers what the page shows of posts, if there is a page.
    pub recent: Option<RecentPosts>,
    /// What is known of the service's health.
    pub health: Health,
    /// Calls that are open.
    pub calls: OpenCalls,
    /// Tells of the end.
    pub drain: Drain,
}
