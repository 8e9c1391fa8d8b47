//! A model's outputs and its answers: which output stands for which class of sentiment, which
//! for discontent, and which class a text is of.

use serde::Deserialize;

use pounce_types::score::{DiscontentSource, LabelWeights, Probabilities, Sentiment};

/// What each output of a model stands for, in output order.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    names: Vec<String>,
    outputs: Vec<Output>,
    weights: LabelWeights,
}

/// What an output says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// A logit of the softmax over sentiment.
    Class(Sentiment),
    /// The logit of discontent.
    Discontent,
}

/// `pounce.answers` of config.json: the outputs of each answer, by their names in id2label.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    sentiment: Softmax,
    discontent: Sigmoid,
}

/// An answer that is one of several: a softmax over their logits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Softmax {
    softmax: Vec<String>,
}

/// An answer that is yes or no: the sigmoid of a logit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sigmoid {
    sigmoid: String,
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
    /// Answers that leave an output out, name one twice, or one that isn't there.
    #[error(
        "pounce.answers must name each output of [{}] once: the softmax of sentiment, the sigmoid \
         of discontent",
        .0.join(", ")
    )]
    Answers(Vec<String>),
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
        let outputs = classes.into_iter().map(Output::Class).collect();
        Ok(Self { names, outputs, weights: LabelWeights::EQUAL })
    }

    /// As [`Labels::parse`], for a model of two answers: `answers` says which output is whose.
    /// # Errors
    /// [`LabelsError`] with the names found.
    pub fn parse_answers(names: Vec<String>, answers: &Answers) -> Result<Self, LabelsError> {
        let named = answers.sentiment.softmax.iter().chain([&answers.discontent.sigmoid]);
        let mut said: Vec<&String> = named.collect();
        let mut there: Vec<&String> = names.iter().collect();
        said.sort_unstable();
        there.sort_unstable();
        if said != there || there.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(LabelsError::Answers(names));
        }
        let sentiment = Self::parse(answers.sentiment.softmax.clone())?;
        let output = |name: &String| {
            let place = sentiment.names.iter().position(|known| known == name);
            place.map_or(Output::Discontent, |place| sentiment.outputs[place])
        };
        Ok(Self { outputs: names.iter().map(output).collect(), names, weights: sentiment.weights })
    }

    /// Where the probability of discontent comes from.
    #[must_use]
    pub fn discontent_source(&self) -> DiscontentSource {
        if self.outputs.contains(&Output::Discontent) {
            DiscontentSource::Output
        } else {
            DiscontentSource::Negative
        }
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
        self.outputs.len()
    }

    /// The outputs' names, in output order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Softmax over one post's logits of sentiment, summed by class, and the sigmoid of that of
    /// discontent; without one, discontent is P(negative). A class without an output has
    /// probability 0. `None` if a logit is NaN or infinite.
    #[must_use]
    pub fn probabilities(&self, logits: &[f32]) -> Option<Probabilities> {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let classes = || {
            let outputs = logits.iter().zip(&self.outputs);
            outputs.filter_map(|(logit, output)| match output {
                Output::Class(class) => Some((*logit, *class)),
                Output::Discontent => None,
            })
        };
        let largest = classes().map(|(logit, _)| logit).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = classes().map(|(logit, _)| (logit - largest).exp()).sum();
        let of = |class: Sentiment| -> f32 {
            let own = classes().filter(|(_, c)| *c == class);
            own.map(|(logit, _)| (logit - largest).exp() / sum).sum()
        };
        let [negative, neutral, positive] = Sentiment::ALL.map(of);
        let sentiment = Probabilities::of_sentiment(negative, neutral, positive);
        let own = self.outputs.iter().position(|output| *output == Output::Discontent);
        let discontent = own.map_or(negative, |place| sigmoid(logits[place]));
        Some(Probabilities { discontent, ..sentiment })
    }
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
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

    fn answers(softmax: &[&str], sigmoid: &str) -> Answers {
        let softmax = softmax.iter().map(|&name| name.to_owned()).collect();
        let discontent = Sigmoid { sigmoid: sigmoid.to_owned() };
        Answers { sentiment: Softmax { softmax }, discontent }
    }

    #[test]
    fn discontent_may_have_an_output_of_its_own() {
        let names = ["unhappy", "negative", "neutral", "positive"].map(str::to_owned).to_vec();
        let said = answers(&["neutral", "negative", "positive"], "unhappy");
        let two = Labels::parse_answers(names, &said).expect("two answers");
        assert_eq!(two.discontent_source(), DiscontentSource::Output);
        assert_eq!(two.outputs(), 4);
        let logits = [3.0_f32.ln(), 0.2_f32.ln(), 0.5_f32.ln(), 0.3_f32.ln()];
        let p = two.probabilities(&logits).expect("finite");
        let found = [p.negative, p.neutral, p.positive, p.discontent];
        for (found, wanted) in found.into_iter().zip([0.2, 0.5, 0.3, 0.75]) {
            assert!((found - wanted).abs() < 1e-6);
        }
        for far in [-1e9, 1e9] {
            let p = two.probabilities(&[far, 0.0, 0.0, 0.0]).expect("finite");
            assert!((0.0..=1.0).contains(&p.discontent));
        }
        let one = labels(&["negative", "positive"]).expect("one answer");
        assert_eq!(one.discontent_source(), DiscontentSource::Negative);
        let p = one.probabilities(&[1.0, 0.0]).expect("finite");
        assert!((p.discontent - p.negative).abs() < f32::EPSILON);
    }

    #[test]
    fn answers_name_each_output_once() {
        let names =
            || ["negative", "neutral", "positive", "discontent"].map(str::to_owned).to_vec();
        for said in [
            answers(&["negative", "neutral", "positive"], "anger"),
            answers(&["negative", "positive"], "discontent"),
            answers(&["negative", "neutral", "positive", "discontent"], "discontent"),
        ] {
            let refused = Labels::parse_answers(names(), &said);
            assert_eq!(refused, Err(LabelsError::Answers(names())));
        }
        let said = answers(&["negative", "neutral", "discontent"], "positive");
        let refused = Labels::parse_answers(names(), &said);
        assert!(matches!(refused, Err(LabelsError::Unknown(_))));
    }

    #[test]
    fn weights_choose_the_class() {
        let labels = labels(&["negative", "neutral", "positive"]).expect("three classes");
        let torn = Probabilities::of_sentiment(0.3, 0.4, 0.3);
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
