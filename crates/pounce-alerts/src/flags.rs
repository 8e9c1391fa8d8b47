//! Flags on one post: the only alert that works for a shop with ten posts a day.
//!
//! Knows scores and followers; nothing of topics or time.

use std::time::Duration;

use pounce_types::score::{Probabilities, Severity};

/// Time after its publication within which the author of a discontent post should be answered.
pub const RESPOND_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Probabilities from which a post is flagged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// P(discontent) of severity low.
    pub discontent_low: f64,
    /// P(discontent) of severity medium.
    pub discontent_medium: f64,
    /// P(discontent) of severity high.
    pub discontent_high: f64,
    /// P(positive) of an advocate.
    pub advocate: f64,
    /// Followers from which an author is influential.
    pub influential_followers: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            discontent_low: 0.60,
            discontent_medium: 0.80,
            discontent_high: 0.95,
            advocate: 0.80,
            influential_followers: 10_000,
        }
    }
}

/// A threshold that can't be.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ThresholdError {
    /// Not a probability.
    #[error("thresholds.{0} must be between 0 and 1")]
    NotAProbability(&'static str),
    /// Severities that do not rise.
    #[error("thresholds must satisfy discontent_low <= discontent_medium <= discontent_high")]
    NotRising,
}

/// What is to be said of one post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostFlags {
    /// Set when the post is discontent.
    pub discontent: Option<Severity>,
    /// Discontent of an author with an audience; raised the severity.
    pub influential_author: bool,
    /// Praise of an author with an audience. Who is discontent is no advocate.
    pub advocate: bool,
}

impl Thresholds {
    /// Checks that all are probabilities and that severities rise.
    /// # Errors
    /// [`ThresholdError`] naming the field.
    pub fn checked(self) -> Result<Self, ThresholdError> {
        for (name, value) in [
            ("discontent_low", self.discontent_low),
            ("discontent_medium", self.discontent_medium),
            ("discontent_high", self.discontent_high),
            ("advocate", self.advocate),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(ThresholdError::NotAProbability(name));
            }
        }
        let rising = self.discontent_low <= self.discontent_medium
            && self.discontent_medium <= self.discontent_high;
        if rising { Ok(self) } else { Err(ThresholdError::NotRising) }
    }

    /// Flags a post by its score and its author's followers.
    #[must_use]
    pub fn flags(&self, probabilities: &Probabilities, followers: u64) -> PostFlags {
        let discontent = f64::from(probabilities.discontent);
        let influential = followers >= self.influential_followers;
        let severity = if discontent >= self.discontent_high {
            Some(Severity::High)
        } else if discontent >= self.discontent_medium {
            Some(Severity::Medium)
        } else if discontent >= self.discontent_low {
            Some(Severity::Low)
        } else {
            None
        };
        PostFlags {
            discontent: severity.map(|level| if influential { level.raised() } else { level }),
            influential_author: influential && severity.is_some(),
            advocate: influential
                && severity.is_none()
                && f64::from(probabilities.positive) >= self.advocate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(negative: f32, positive: f32, followers: u64) -> PostFlags {
        let neutral = 1.0 - negative - positive;
        let probabilities = Probabilities::of_sentiment(negative, neutral, positive);
        Thresholds::default().flags(&probabilities, followers)
    }

    #[test]
    fn severity_rises_with_the_probability_of_negative() {
        assert_eq!(flags(0.59, 0.1, 0).discontent, None);
        assert_eq!(flags(0.61, 0.1, 0).discontent, Some(Severity::Low));
        assert_eq!(flags(0.81, 0.1, 0).discontent, Some(Severity::Medium));
        assert_eq!(flags(0.96, 0.0, 0).discontent, Some(Severity::High));
    }

    #[test]
    fn a_bad_mood_is_not_discontent_and_discontent_may_be_civil() {
        let of = |negative, discontent| {
            let mood = Probabilities::of_sentiment(negative, 1.0 - negative, 0.0);
            Thresholds::default().flags(&Probabilities { discontent, ..mood }, 0).discontent
        };
        assert_eq!(of(0.97, 0.05), None);
        assert_eq!(of(0.05, 0.97), Some(Severity::High));
    }

    #[test]
    fn an_audience_raises_severity_by_one_level() {
        let loud = flags(0.61, 0.1, 10_000);
        assert_eq!(loud.discontent, Some(Severity::Medium));
        assert!(loud.influential_author);
        assert!(!flags(0.2, 0.1, 10_000).influential_author);
    }

    #[test]
    fn praise_of_an_author_with_an_audience_is_an_advocate() {
        assert!(flags(0.05, 0.85, 10_000).advocate);
        assert!(!flags(0.05, 0.85, 9_999).advocate);
        assert!(!flags(0.05, 0.79, 10_000).advocate);
    }

    #[test]
    fn who_praises_and_is_discontent_is_no_advocate() {
        let praise = Probabilities::of_sentiment(0.05, 0.05, 0.9);
        let loud = Probabilities { discontent: 0.7, ..praise };
        let found = Thresholds::default().flags(&loud, 10_000);
        assert_eq!((found.advocate, found.discontent), (false, Some(Severity::Medium)));
    }

    #[test]
    fn thresholds_must_be_rising_probabilities() {
        let mut thresholds = Thresholds { advocate: f64::NAN, ..Thresholds::default() };
        assert_eq!(thresholds.checked(), Err(ThresholdError::NotAProbability("advocate")));
        thresholds = Thresholds { discontent_low: 0.9, ..Thresholds::default() };
        assert_eq!(thresholds.checked(), Err(ThresholdError::NotRising));
    }
}
