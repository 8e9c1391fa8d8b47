//! A model's outputs and the three classes: which output stands for which class, and which
//! class a text is of.

use pounce_types::score::{LabelWeights, Probabilities, Sentiment};

/// The class of each output of a model, in output order.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    names: Vec<String>,
    classes: Vec<Sentiment>,
    weights: LabelWeights,
}

/// Label names that are no sentiment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A name that can't be read as a class.
    #[error(
        "the model's labels are [{}], not negative/neutral/positive or 1 to 5 stars; \
         name them in output order with --labels negative,neutral,positive",
        .0.join(", ")
    )]
    Unknown(Vec<String>),
    /// No output for one of the two ends of the scale.
    #[error("the labels [{}] must hold both negative and positive", .0.join(", "))]
    OneSided(Vec<String>),
    /// `--labels` and the model do not agree on the number.
    #[error("--labels names {given} labels, but the model has {outputs} outputs")]
    Count {
        /// Names given.
        given: usize,
        /// Outputs of the model.
        outputs: usize,
    },
}

impl Labels {
    /// Reads the names of a model's outputs, in output order: `negative`,
    /// `neutral`, `positive` (or `neg`, `neu`, `pos`) in any order and case, two
    /// of them without neutral, or star ratings of 1 to 5.
    /// # Errors
    /// [`LabelsError`] with the names found.
    pub fn parse(names: Vec<String>) -> Result<Self, LabelsError> {
        let classes: Option<Vec<Sentiment>> = names.iter().map(|name| class_of(name)).collect();
        let Some(classes) = classes else {
            return Err(LabelsError::Unknown(names));
        };
        let both = [Sentiment::Negative, Sentiment::Positive];
        if !both.iter().all(|class| classes.contains(class)) {
            return Err(LabelsError::OneSided(names));
        }
        Ok(Self { names, classes, weights: LabelWeights::EQUAL })
    }

    /// The same labels, chosen by `weights`.
    #[must_use]
    pub fn weighed(self, weights: LabelWeights) -> Self {
        Self { weights, ..self }
    }

    /// What each class counts for when one is chosen.
    #[must_use]
    pub fn weights(&self) -> &LabelWeights {
        &self.weights
    }

    /// The class of a text with these probabilities.
    #[must_use]
    pub fn sentiment(&self, probabilities: &Probabilities) -> Sentiment {
        self.weights.choose(probabilities)
    }

    /// Number of the model's outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.classes.len()
    }

    /// The outputs' names, in output order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Softmax over one post's logits, summed by class. A class without an
    /// output has probability 0. `None` if a logit is NaN or infinite.
    #[must_use]
    pub fn probabilities(&self, logits: &[f32]) -> Option<Probabilities> {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f32 = exps.iter().sum();
        let of = |class: Sentiment| {
            let outputs = exps.iter().zip(&self.classes);
            outputs.filter(|(_, c)| **c == class).map(|(exp, _)| exp / sum).sum()
        };
        Some(Probabilities {
            negative: of(Sentiment::Negative),
            neutral: of(Sentiment::Neutral),
            positive: of(Sentiment::Positive),
        })
    }
}

fn class_of(name: &str) -> Option<Sentiment> {
    match name.trim().to_lowercase().as_str() {
        "negative" | "neg" | "1 star" | "2 stars" => Some(Sentiment::Negative),
        "neutral" | "neu" | "3 stars" => Some(Sentiment::Neutral),
        "positive" | "pos" | "4 stars" | "5 stars" => Some(Sentiment::Positive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Result<Labels, LabelsError> {
        Labels::parse(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn outputs_may_come_in_any_order() {
        let labels = labels(&["POSITIVE", "neg", "Neutral"]).expect("three classes");
        let p = labels.probabilities(&[0.0, 3.0_f32.ln(), 6.0_f32.ln()]).expect("finite");
        assert!((p.positive - 0.1).abs() < 1e-6);
        assert!((p.negative - 0.3).abs() < 1e-6);
        assert!((p.neutral - 0.6).abs() < 1e-6);
    }

    #[test]
    fn two_classes_leave_neutral_at_zero() {
        let labels = labels(&["NEGATIVE", "POSITIVE"]).expect("two classes");
        let p = labels.probabilities(&[1.0, 1.0]).expect("finite");
        assert_eq!((p.negative, p.neutral, p.positive), (0.5, 0.0, 0.5));
    }

    #[test]
    fn weights_choose_the_class() {
        let labels = labels(&["negative", "neutral", "positive"]).expect("three classes");
        let torn = Probabilities { negative: 0.3, neutral: 0.4, positive: 0.3 };
        assert_eq!(labels.sentiment(&torn), Sentiment::Neutral);
        let labels = labels.weighed(LabelWeights::new(1.0, 1.0, 1.5).expect("above 0"));
        assert_eq!(labels.sentiment(&torn), Sentiment::Positive);
    }

    #[test]
    fn stars_sum_up_to_three_classes() {
        let labels =
            labels(&["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]).expect("stars");
        let p = labels.probabilities(&[0.0; 5]).expect("finite");
        assert!((p.negative - 0.4).abs() < 1e-6 && (p.neutral - 0.2).abs() < 1e-6);
    }

    #[test]
    fn names_without_a_meaning_are_refused_with_what_was_found() {
        let error = labels(&["LABEL_0", "LABEL_1"]).expect_err("no meaning").to_string();
        assert!(error.contains("LABEL_0, LABEL_1") && error.contains("--labels"), "{error}");
        assert!(matches!(labels(&["negative", "neutral"]), Err(LabelsError::OneSided(_))));
    }

    #[test]
    fn a_logit_that_is_no_number_gives_no_score() {
        let labels = labels(&["negative", "positive"]).expect("two classes");
        assert_eq!(labels.probabilities(&[f32::NAN, 0.0]), None);
        assert_eq!(labels.probabilities(&[f32::INFINITY, 0.0]), None);
    }
}
