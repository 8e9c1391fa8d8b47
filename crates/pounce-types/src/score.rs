//! What the model says of a text. Knows nothing else of the crate.

/// Probabilities of a text's answers, as calibrated as the model is: of the three classes of
/// sentiment, which sum to 1, and of discontent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probabilities {
    /// Of a text in a bad mood, whatever about.
    pub negative: f32,
    /// Of neither.
    pub neutral: f32,
    /// Of praise or joy.
    pub positive: f32,
    /// That its writer is unhappy with what was delivered to them.
    pub discontent: f32,
}

impl Probabilities {
    /// Those of a model that knows sentiment alone: its best guess at discontent is negative.
    #[must_use]
    pub fn of_sentiment(negative: f32, neutral: f32, positive: f32) -> Self {
        Self { negative, neutral, positive, discontent: negative }
    }
}

/// Where a model's probability of discontent comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DiscontentSource {
    /// It is that of the class negative.
    Negative,
    /// The model has an output for it.
    Output,
}

impl DiscontentSource {
    /// As in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Negative => "P(negative)",
            Self::Output => "P(discontent)",
        }
    }
}

/// What each class counts for when one is chosen, all above 0. A model whose probabilities are
/// calibrated finds too few posts of a rare class if the most probable class is always taken.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(try_from = "ByClass")]
pub struct LabelWeights(ByClass);

#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ByClass {
    negative: f32,
    neutral: f32,
    positive: f32,
}

/// A weight by which no class can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("label_weights must be numbers above 0")]
pub struct BadWeight;

impl TryFrom<ByClass> for LabelWeights {
    type Error = BadWeight;

    fn try_from(weights: ByClass) -> Result<Self, BadWeight> {
        let ByClass { negative, neutral, positive } = weights;
        let valid = [negative, neutral, positive].iter().all(|w| w.is_finite() && *w > 0.0);
        if valid { Ok(Self(weights)) } else { Err(BadWeight) }
    }
}

impl LabelWeights {
    /// The most probable class wins.
    pub const EQUAL: Self = Self(ByClass { negative: 1.0, neutral: 1.0, positive: 1.0 });

    /// Weights of the three classes.
    /// # Errors
    /// [`BadWeight`] unless all are finite and above 0.
    pub fn new(negative: f32, neutral: f32, positive: f32) -> Result<Self, BadWeight> {
        ByClass { negative, neutral, positive }.try_into()
    }

    /// What `class` counts for.
    #[must_use]
    pub fn of(&self, class: Sentiment) -> f32 {
        match class {
            Sentiment::Negative => self.0.negative,
            Sentiment::Neutral => self.0.neutral,
            Sentiment::Positive => self.0.positive,
        }
    }

    /// The class of the largest weighted probability; of equal ones the first of negative,
    /// neutral, positive.
    #[must_use]
    pub fn choose(&self, of: &Probabilities) -> Sentiment {
        let negative = self.0.negative * of.negative;
        let neutral = self.0.neutral * of.neutral;
        let positive = self.0.positive * of.positive;
        if negative >= neutral && negative >= positive {
            Sentiment::Negative
        } else if neutral >= positive {
            Sentiment::Neutral
        } else {
            Sentiment::Positive
        }
    }
}

/// The class of a text.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Sentiment {
    /// Dislike, anger, sorrow.
    Negative,
    /// Neither of the others, or both.
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
        let of = |negative, neutral, positive| {
            LabelWeights::EQUAL.choose(&Probabilities::of_sentiment(negative, neutral, positive))
        };
        assert_eq!(of(0.2, 0.3, 0.5), Sentiment::Positive);
        assert_eq!(of(0.2, 0.5, 0.3), Sentiment::Neutral);
        assert_eq!(of(0.5, 0.3, 0.2), Sentiment::Negative);
        assert_eq!(of(0.4, 0.2, 0.4), Sentiment::Negative);
    }

    #[test]
    fn a_heavier_class_wins_with_less() {
        let weights = LabelWeights::new(1.5, 1.0, 1.0).expect("above 0");
        let of = |negative, neutral| {
            let positive = 1.0 - negative - neutral;
            weights.choose(&Probabilities::of_sentiment(negative, neutral, positive))
        };
        assert_eq!(of(0.42, 0.5), Sentiment::Negative);
        assert_eq!(of(0.32, 0.5), Sentiment::Neutral);
        for negative in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(LabelWeights::new(negative, 1.0, 1.0), Err(BadWeight));
        }
    }

    #[test]
    fn raising_stops_at_high() {
        assert_eq!(
            Severity::ALL.map(Severity::raised),
            [Severity::Medium, Severity::High, Severity::High]
        );
    }
}
