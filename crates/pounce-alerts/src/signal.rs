//! What a decision of discontent rests on. Counts of different signals are never compared.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::key::frame;
use pounce_types::score::DiscontentSource;

/// A model's answer and the threshold from which it says discontent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Name of the model.
    pub model: String,
    /// Identifies its weights.
    pub revision: String,
    /// Which of its answers is the probability of discontent.
    pub source: DiscontentSource,
    /// Probability from which a post is discontent.
    pub threshold: f64,
}

/// Identifies a [`Signal`]: equal signals have equal ids.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct SignalId(u64);

impl SignalId {
    /// As a log or a snapshot holds it.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What [`SignalId::from_bits`] takes.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl Signal {
    /// A hash of all that it is.
    #[must_use]
    pub fn id(&self) -> SignalId {
        let mut bytes = Vec::with_capacity(128);
        frame(&mut bytes, self.model.as_bytes());
        frame(&mut bytes, self.revision.as_bytes());
        frame(&mut bytes, self.source.name().as_bytes());
        frame(&mut bytes, &self.threshold.to_le_bytes());
        SignalId(xxh3_64(&bytes))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, revision, source, threshold } = self;
        write!(f, "{model} {revision}, {} from {threshold}", source.name())
    }
}
