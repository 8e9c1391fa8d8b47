//! Names and help of the metrics of access. Call sites say what happened.

use metrics::{counter, describe_counter};

/// Why a call was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallRefusal {
    /// It had no token.
    MissingToken,
    /// Its token is not, or no longer, known.
    UnknownToken,
    /// Its token is not for this.
    MissingScope,
    /// Its token is above its limit of posts a second.
    PostsPerSecond,
}

impl CallRefusal {
    const ALL: [Self; 4] =
        [Self::MissingToken, Self::UnknownToken, Self::MissingScope, Self::PostsPerSecond];

    fn name(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::UnknownToken => "unknown_token",
            Self::MissingScope => "missing_scope",
            Self::PostsPerSecond => "posts_per_second",
        }
    }
}

/// Describes the metric and makes every series exist.
pub(crate) fn register() {
    describe_counter!("pounce_calls_refused_total", "Calls refused because of their token");
    for refusal in CallRefusal::ALL {
        counter!("pounce_calls_refused_total", "reason" => refusal.name()).absolute(0);
    }
}

/// A call was turned away.
pub(crate) fn call_refused(refusal: CallRefusal) {
    counter!("pounce_calls_refused_total", "reason" => refusal.name()).increment(1);
}
