//! What the model says of a text. Knows nothing else of the crate.

/// Calibrated probabilities of the three classes; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probabilities {
    /// Of discontent.
    pub negative: f32,
    /// Of neither.
    pub neutral: f32,
    /// Of praise or joy.
    pub positive: f32,
}

impl Probabilities {
    /// The most probable class; of equal ones the first of negative, neutral, positive.
    #[must_use]
    pub fn sentiment(&self) -> Sentiment {
        if self.negative >= self.neutral && self.negative >= self.positive {
            Sentiment::Negative
        } else if self.neutral >= self.positive {
            Sentiment::Neutral
        } else {
            Sentiment::Positive
        }
    }
}

/// The class of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sentiment {
    /// Discontent.
    Negative,
    /// Neither.
    Neutral,
    /// Praise or joy.
    Positive,
}

impl Sentiment {
    /// Every class, in the order in which the wire and the docs name them.
    pub const ALL: [Self; 3] = [Self::Negative, Self::Neutral, Self::Positive];

    /// Lower-case name, as in labels, JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Neutral => "neutral",
            Self::Positive => "positive",
        }
    }
}

/// How urgent something is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look.
    Low,
    /// Worth an answer.
    Medium,
    /// Worth an answer now.
    High,
}

impl Severity {
    /// Every level, least first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// One level up; high stays high.
    #[must_use]
    pub fn raised(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium | Self::High => Self::High,
        }
    }

    /// Lower-case name, as in JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_class_wins_and_ties_lean_to_discontent() {
        let of =
            |negative, neutral, positive| Probabilities { negative, neutral, positive }.sentiment();
        assert_eq!(of(0.2, 0.3, 0.5), Sentiment::Positive);
        assert_eq!(of(0.2, 0.5, 0.3), Sentiment::Neutral);
        assert_eq!(of(0.5, 0.3, 0.2), Sentiment::Negative);
        assert_eq!(of(0.4, 0.2, 0.4), Sentiment::Negative);
    }

    #[test]
    fn raising_stops_at_high() {
        assert_eq!(
            Severity::ALL.map(Severity::raised),
            [Severity::Medium, Severity::High, Severity::High]
        );
    }
}
