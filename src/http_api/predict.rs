//! `POST /predict`: classification as text-embeddings-inference has it, so that its clients need
//! no change.
//!
//! Texts have no id, topic or author: they are scored and count for no alert. A text that is longer
//! than the model reads is cut, whatever `truncate` says.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tonic::{Code, Status};

use super::api::Api;
use super::problem::Problem;
use crate::auth::caller_key::CallerKey;
use crate::scoring::ids::run_id;
use crate::scoring::service::CallTerms;
use crate::scoring::wire::status_code;
use pounce_client::Reply;
use pounce_client::json::{Object, fault};
use pounce_proto::{Post, Probabilities, Rejection};

/// Texts that are read at all: as many as any server may be set to take at once.
const TEXTS_MAX: usize = 65_536;

#[derive(Deserialize)]
struct Predict {
    inputs: Inputs,
    /// Long texts are always cut.
    #[serde(rename = "truncate")]
    _truncate: Option<bool>,
    #[serde(default)]
    raw_scores: bool,
    parameters: Option<Object<Parameters>>,
}

/// What clients of Hugging Face's inference API add; they want a list of lists for one text too.
#[derive(Default, Deserialize)]
struct Parameters {
    top_k: Option<NonZeroUsize>,
    function_to_apply: Option<String>,
}

enum Inputs {
    One(String),
    Many(Vec<Input>),
}

/// A text, or a list of one; a list of two is a pair, which this model does not read.
struct Input(String);

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Inputs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Inputs, E> {
                Ok(Inputs::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Inputs, A::Error> {
                let mut many = Vec::new();
                while let Some(text) = texts.next_element()? {
                    if many.len() == TEXTS_MAX {
                        return Err(A::Error::custom("more texts than any server takes"));
                    }
                    many.push(text);
                }
                Ok(Inputs::Many(many))
            }
        }

        json.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Input;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or a list of one")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Input, E> {
                Ok(Input(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Input, A::Error> {
                let none = || A::Error::invalid_length(0, &self);
                let text = texts.next_element()?.ok_or_else(none)?;
                match texts.next_element::<IgnoredAny>()? {
                    None => Ok(Input(text)),
                    Some(_) => Err(A::Error::invalid_length(2, &self)),
                }
            }
        }

        json.deserialize_any(Read)
    }
}

/// One class of a text; the likeliest comes first.
#[derive(Serialize)]
struct Prediction {
    score: f64,
    label: &'static str,
}

/// Answers one text with a list of its classes, several with a list of lists.
pub(super) async fn predict(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let answered = async {
        let extensions = api.admit(&head)?;
        let body = api.limits.read(&CallerKey::of(&extensions), &head.headers, body).await?;
        let Object(predict): Object<Predict> =
            serde_json::from_slice(&body).map_err(|error| unread(&error))?;
        // The texts wait long, and a body can be far larger than they are.
        drop(body);
        predict.check()?;
        let top = predict.parameters.as_ref().and_then(|given| given.0.top_k);
        let top = top.map_or(usize::MAX, NonZeroUsize::get);
        let (texts, alone) = match predict.inputs {
            Inputs::One(text) => (vec![text], predict.parameters.is_none()),
            Inputs::Many(inputs) => (inputs.into_iter().map(|Input(text)| text).collect(), false),
        };
        let max = api.limits.posts_max;
        if !(1..=max).contains(&texts.len()) {
            let detail = format!("inputs has {} texts, allowed are 1 to {max}", texts.len());
            return Err(Problem::invalid("inputs", detail));
        }
        let run = run_id()?;
        let post = |(number, text): (u32, String)| Post {
            id: format!("{run}-{number}").into(),
            text: text.into(),
            ..Post::default()
        };
        let posts = (1..).zip(texts).map(post).collect();
        let replies = api.score_batch(extensions, posts, CallTerms::default()).await?;
        let predictions: Result<Vec<_>, Problem> =
            replies.iter().map(|reply| predictions(reply, top)).collect();
        let mut predictions = predictions?;
        Ok(match predictions.pop() {
            Some(only) if alone => Json(only).into_response(),
            last => {
                predictions.extend(last);
                Json(predictions).into_response()
            }
        })
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

impl Predict {
    fn check(&self) -> Result<(), Problem> {
        if self.raw_scores {
            let detail = "raw_scores must be false: scores are calibrated probabilities";
            return Err(Problem::invalid("raw_scores", detail));
        }
        let parameters = self.parameters.as_ref();
        match parameters.and_then(|given| given.0.function_to_apply.as_deref()) {
            None | Some("softmax") => Ok(()),
            Some(_) => {
                let detail = "function_to_apply must be softmax: scores are probabilities";
                Err(Problem::invalid("parameters.function_to_apply", detail))
            }
        }
    }
}

fn unread(error: &serde_json::Error) -> Problem {
    if error.is_data() {
        let detail = "the body must be an object with `inputs`, a text or a list of texts";
        return Problem::invalid("inputs", detail);
    }
    Problem::invalid("", format!("the body {}", fault(error)))
}

fn predictions(reply: &Reply, top: usize) -> Result<Vec<Prediction>, Problem> {
    let event = match reply {
        Reply::Event(event) => event,
        Reply::Rejection(rejection) => return Err(refused(rejection)),
    };
    let Probabilities { negative, neutral, positive } = event.probabilities.unwrap_or_default();
    let mut classes = [("negative", negative), ("neutral", neutral), ("positive", positive)]
        .map(|(label, score)| Prediction { score, label });
    classes.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(classes.into_iter().take(top).collect())
}

/// One bad text fails the request: its answer has no place for a rejection.
fn refused(rejection: &Rejection) -> Problem {
    match status_code(rejection.code()) {
        Code::InvalidArgument => {
            let number = rejection.sequence;
            let detail = format!("text {number} of inputs: {}", rejection.reason);
            Problem::invalid("inputs", detail)
        }
        code => Problem::from(Status::new(code, rejection.reason.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<Predict> {
        serde_json::from_str(body).ok().filter(|read: &Predict| read.check().is_ok())
    }

    #[test]
    fn inputs_are_a_text_or_a_list_and_what_would_change_scores_is_refused() {
        for good in [
            r#"{"inputs": "late"}"#,
            r#"{"inputs": ["late", ["again"]], "truncate": true}"#,
            r#"{"inputs": "late", "parameters": {"top_k": 1, "function_to_apply": "softmax"}}"#,
        ] {
            assert!(read(good).is_some(), "{good}");
        }
        for bad in [
            r#"{"inputs": [["a", "pair"]]}"#,
            r#"{"inputs": 7}"#,
            r#"{"inputs": [[]]}"#,
            r#"{"inputs": [["a", [0, 0]]]}"#,
            r#"{"inputs": {"text": "late"}}"#,
            r#"{"inputs": "late", "raw_scores": true}"#,
            r#"{"inputs": "late", "parameters": {"function_to_apply": "none"}}"#,
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
