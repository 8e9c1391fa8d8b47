//! `POST /v1/score`: one post, several, or a stream of them.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{Extensions, HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use tonic::metadata::MetadataMap;

use super::api::Api;
use super::lines::{self, NDJSON};
use super::problem::Problem;
use crate::auth::caller_key::CallerKey;
use crate::scoring::ids::run_id;
use crate::scoring::service::CallTerms;
use pounce_client::Reply;
use pounce_client::json::{Object, PostLine, fault, show_reply};
use pounce_proto::post_result::Result as PostResultKind;
use pounce_proto::scoring_service_server::ScoringService;
use pounce_proto::{Post, ScoreBatchRequest, ScoreRequest, Thresholds};

const JSON: &str = "application/json";

/// Answers in the form of the request: an object for an object, an array for an array, lines for
/// lines.
pub(super) async fn score(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let answered = async {
        let extensions = api.admit(&head)?;
        let terms = terms(&head.uri)?;
        match content_type(&head.headers) {
            JSON => whole(&api, extensions, terms, &head.headers, body).await,
            NDJSON => stream(&api, &extensions, terms, body),
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_argument",
                format!("content-type must be {JSON} or {NDJSON}"),
            )),
        }
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

/// Without its parameters, such as a charset.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

/// Thresholds instead of the server's, and whether the posts are recorded ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreQuery {
    discontent_low: Option<f64>,
    discontent_medium: Option<f64>,
    discontent_high: Option<f64>,
    advocate: Option<f64>,
    influential_followers: Option<u64>,
    #[serde(default)]
    history: bool,
}

fn terms(uri: &Uri) -> Result<CallTerms, Problem> {
    if uri.query().is_none_or(str::is_empty) {
        return Ok(CallTerms::default());
    }
    let Query(query) = Query::<ScoreQuery>::try_from_uri(uri).map_err(|_| {
        Problem::invalid(
            "query",
            "may have numbers for discontent_low, discontent_medium, discontent_high, advocate and \
             influential_followers, and true or false for history",
        )
    })?;
    let thresholds = Some(Thresholds {
        discontent_low: query.discontent_low,
        discontent_medium: query.discontent_medium,
        discontent_high: query.discontent_high,
        advocate: query.advocate,
        influential_followers: query.influential_followers,
    });
    Ok(CallTerms { thresholds, history: query.history })
}

async fn whole(
    api: &Api,
    extensions: Extensions,
    terms: CallTerms,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = api.limits.read(&CallerKey::of(&extensions), headers, body).await?;
    let posts = parse(&body, api.limits.posts_max)?;
    // The posts wait long, and a body can be far larger than they are.
    drop(body);
    let answer = match posts {
        Posts::One(post) => {
            let CallTerms { thresholds, history } = terms;
            let request = ScoreRequest { post: Some(post), thresholds, history };
            let request = tonic::Request::from_parts(MetadataMap::new(), extensions, request);
            let event = api.scoring.score(request).await?.into_inner().event;
            show_reply(&Reply::Event(Box::new(event.unwrap_or_default())))
        }
        Posts::Many(posts) => {
            let replies = api.score_batch(extensions, posts, terms).await?;
            let replies: Vec<_> = replies.iter().map(show_reply).collect();
            format!("[{}]", replies.join(","))
        }
    };
    Ok(([(header::CONTENT_TYPE, JSON)], answer).into_response())
}

impl Api {
    /// Scores several posts; one reply for each.
    pub(super) async fn score_batch(
        &self,
        extensions: Extensions,
        posts: Vec<Post>,
        CallTerms { thresholds, history }: CallTerms,
    ) -> Result<Vec<Reply>, Problem> {
        let request = ScoreBatchRequest { posts, thresholds, history };
        let request = tonic::Request::from_parts(MetadataMap::new(), extensions, request);
        let results = self.scoring.score_batch(request).await?.into_inner().results;
        let reply = |result| match result {
            PostResultKind::Event(event) => Reply::Event(Box::new(event)),
            PostResultKind::Rejection(rejection) => Reply::Rejection(Box::new(rejection)),
        };
        Ok(results.into_iter().filter_map(|result| result.result).map(reply).collect())
    }
}

fn stream(
    api: &Api,
    extensions: &Extensions,
    terms: CallTerms,
    body: Body,
) -> Result<Response, Problem> {
    let (posts, rest) = lines::posts(body, api.limits.line_bytes_max, run_id()?);
    let replies = api.scoring.stream(extensions, None, terms, posts)?;
    Ok(lines::replies(replies, rest))
}

enum Posts {
    One(Post),
    Many(Vec<Post>),
}

fn parse(body: &[u8], posts_max: usize) -> Result<Posts, Problem> {
    let malformed =
        |error: &serde_json::Error| Problem::invalid("", format!("the body {}", fault(error)));
    let run = run_id()?;
    if body.trim_ascii_start().first() != Some(&b'[') {
        let Object(post): Object<PostLine> =
            serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        return Ok(Posts::One(post.into_post(|| run)));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let (lines, count) = AtMost(posts_max)
        .deserialize(&mut json)
        .and_then(|lines| json.end().map(|()| lines))
        .map_err(|error| malformed(&error))?;
    if count > posts_max {
        let detail = format!("the body has {count} posts, more than the limit of {posts_max}");
        return Err(Problem::invalid("posts", detail));
    }
    let number = |(number, Object(line)): (usize, Object<PostLine>)| {
        line.into_post(|| format!("{run}-{number}"))
    };
    Ok(Posts::Many((1..).zip(lines).map(number).collect()))
}

/// Reads so many posts of an array and counts the rest, so that a body of many small ones holds
/// no more memory.
struct AtMost(usize);

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = (Vec<Object<PostLine>>, usize);

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AtMost {
    type Value = (Vec<Object<PostLine>>, usize);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of posts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut lines = Vec::new();
        while lines.len() < self.0 {
            let Some(line) = array.next_element()? else {
                let count = lines.len();
                return Ok((lines, count));
            };
            lines.push(line);
        }
        let mut count = lines.len();
        while array.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((lines, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(body: &str) -> Result<usize, Problem> {
        match parse(body.as_bytes(), 2)? {
            Posts::One(_) => panic!("an array"),
            Posts::Many(posts) => Ok(posts.len()),
        }
    }

    #[test]
    fn an_object_is_one_post_and_an_array_several() {
        let Ok(Posts::One(post)) = parse(br#" {"text": "late"} "#, 2) else { panic!("one post") };
        assert!(!post.id.is_empty(), "it has an id");
        assert_eq!(many(r#"[{"text": "late"}, {"id": 7}]"#), Ok(2));
        assert_eq!(many("[]"), Ok(0));
    }

    #[test]
    fn more_posts_than_may_be_are_counted_and_not_kept() {
        let problem = many(r#"[{}, {}, {"text": 1}, {}]"#).expect_err("too many");
        let told = serde_json::to_value(&problem).expect("JSON");
        assert_eq!(told["field"], "posts");
        assert_eq!(told["detail"], "the body has 4 posts, more than the limit of 2");
    }

    #[test]
    fn what_is_no_post_is_told_without_repeating_it() {
        for body in [
            "",
            "secret",
            r#"{"text": "secret""#,
            r#"[{"text": ["secret"]}]"#,
            r#"[["secret", "secret"]]"#,
            "[{}] secret",
        ] {
            let Err(problem) = parse(body.as_bytes(), 2) else { panic!("{body}") };
            let told = serde_json::to_string(&problem).expect("JSON");
            assert!(!told.contains("secret"), "{told}");
            assert!(told.contains("column"), "{told}");
        }
    }
}
