//! `ScoringService`: shells around the pipeline and the stream.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{Stream, StreamExt};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::auth::caller::Caller;
use crate::auth::caller_key::CallerKey;
use crate::lifecycle::drain::{Drain, Phase};
use crate::scoring::backlog::Backlog;
use crate::scoring::input::StreamInput;
use crate::scoring::pipeline::{AcceptedPost, CallOptions, Pipeline, ScoredPost};
use crate::scoring::stream::{self, StreamLimits};
use crate::scoring::wire::{self, Refusal};
use pounce_inference::scorer::{Flow, WhenFull};
use pounce_proto::post_result::Result as PostResultKind;
use pounce_proto::scoring_service_server::ScoringService;
use pounce_proto::{
    self as proto, GetModelRequest, GetModelResponse, PostResult, ScoreBatchRequest,
    ScoreBatchResponse, ScoreRequest, ScoreResponse, ScoreStreamRequest, ScoreStreamResponse,
};
use pounce_types::post::Fault;

/// How a call wants its posts scored.
#[derive(Clone, Copy, Default)]
pub(crate) struct CallTerms {
    /// None: the server's.
    pub(crate) thresholds: Option<proto::Thresholds>,
    /// The posts are recorded ones.
    pub(crate) history: bool,
}

/// The service's handlers.
pub(crate) struct Scoring {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) limits: proto::Limits,
    pub(crate) batch_posts_max: usize,
    pub(crate) stream_posts_in_flight_max: usize,
    pub(crate) stream_age_max: Option<Duration>,
    pub(crate) drain: Drain,
    pub(crate) backlog: Backlog,
}

impl Scoring {
    fn terms(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
        terms: CallTerms,
    ) -> Result<CallOptions, Status> {
        let thresholds = wire::thresholds(terms.thresholds.as_ref(), &self.pipeline.thresholds)
            .map_err(|error| Refusal::from(error).status())?;
        Ok(CallOptions {
            thresholds,
            deadline: deadline(metadata),
            when_full: WhenFull::Refuse,
            history: terms.history,
            span: extensions.get().cloned(),
        })
    }
}

impl Scoring {
    /// Scores a post of a call that is no stream.
    async fn scored(
        &self,
        flow: &Flow,
        terms: &CallOptions,
        accepted: Box<AcceptedPost>,
    ) -> Result<ScoredPost, Refusal> {
        let turned_away = self.backlog.turned_away(accepted.text_bytes());
        self.pipeline.score(flow, terms, accepted, turned_away).await
    }

    /// Answers a stream of posts, whichever protocol it comes by. `extensions` hold the caller and
    /// its address. `terms` hold until the stream's options say otherwise.
    pub(crate) fn stream<S>(
        &self,
        extensions: &Extensions,
        deadline: Option<Instant>,
        CallTerms { thresholds, history }: CallTerms,
        inputs: S,
    ) -> Result<impl Stream<Item = Result<ScoreStreamResponse, Status>> + Send + use<S>, Status>
    where
        S: Stream<Item = Result<StreamInput, Status>> + Send + Unpin + 'static,
    {
        if self.drain.phase() >= Phase::Draining {
            return Err(Status::unavailable("the server is draining"));
        }
        let thresholds = wire::thresholds(thresholds.as_ref(), &self.pipeline.thresholds)
            .map_err(|error| Refusal::from(error).status())?;
        let terms = StreamLimits {
            posts_in_flight_max: self.stream_posts_in_flight_max,
            age_max: self.stream_age_max.map(with_jitter),
            deadline,
            thresholds,
            history,
            span: extensions.get().cloned(),
            drain: self.drain.clone(),
            backlog: self.backlog.clone(),
        };
        let flow = self.pipeline.scorer.flow(&CallerKey::of(extensions));
        let inputs = Caller::of(extensions).paced(inputs, StreamInput::asks);
        Ok(stream::replies(Arc::clone(&self.pipeline), flow, terms, inputs))
    }
}

#[tonic::async_trait]
impl ScoringService for Scoring {
    async fn score(
        &self,
        request: Request<ScoreRequest>,
    ) -> Result<Response<ScoreResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let terms = CallTerms { thresholds: request.thresholds, history: request.history };
        let terms = self.terms(&metadata, &extensions, terms)?;
        Caller::of(&extensions).pay(1)?;
        let post = request.post.ok_or_else(|| refused(Fault::Missing, "post"))?;
        let post = wire::post(&post, self.pipeline.text_bytes_max);
        let flow = self.pipeline.scorer.shared_flow(&CallerKey::of(&extensions));
        let scored = async {
            let accepted = self.pipeline.accept(&terms, post, 1)?;
            self.scored(&flow, &terms, accepted).await
        };
        let scored = scored.await.map_err(|refusal: Refusal| refusal.status())?;
        let counted = self.pipeline.counted(self.pipeline.count(scored)).await;
        let event = self.pipeline.event(&counted);
        Ok(Response::new(ScoreResponse { event: Some(event) }))
    }

    async fn score_batch(
        &self,
        request: Request<ScoreBatchRequest>,
    ) -> Result<Response<ScoreBatchResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let terms = CallTerms { thresholds: request.thresholds, history: request.history };
        let terms = self.terms(&metadata, &extensions, terms)?;
        if request.posts.is_empty() {
            return Err(refused(Fault::Missing, "posts"));
        }
        if request.posts.len() > self.batch_posts_max {
            return Err(Status::invalid_argument(format!(
                "posts has {} posts, more than the limit of {}",
                request.posts.len(),
                self.batch_posts_max
            )));
        }
        Caller::of(&extensions).pay(request.posts.len())?;
        let pipeline = &self.pipeline;
        let flow = pipeline.scorer.shared_flow(&CallerKey::of(&extensions));
        // Parsed at once: posts that wait must not hold on to the message. Accepted before the
        // first is scored: they are counted in this order.
        let accepted: Vec<_> = (1..)
            .zip(request.posts)
            .map(|(sequence, wire)| {
                let post = wire::post(&wire, pipeline.text_bytes_max);
                (wire::echoed_id(&wire.id), sequence, pipeline.accept(&terms, post, sequence))
            })
            .collect();
        let (flow, terms) = (&flow, &terms);
        let counted = accepted.into_iter().map(|(post_id, sequence, accepted)| async move {
            let scored = async { self.scored(flow, terms, accepted?).await }.await;
            match scored {
                Ok(scored) => Ok(pipeline.counted(pipeline.count(scored)).await),
                Err(refusal) => Err(refusal.rejection(post_id, sequence)),
            }
        });
        // The events once all are counted: with the alerts that fire then.
        let results = join_all(counted).await.into_iter().map(|counted| PostResult {
            result: Some(match counted {
                Ok(counted) => PostResultKind::Event(pipeline.event(&counted)),
                Err(rejection) => PostResultKind::Rejection(rejection),
            }),
        });
        Ok(Response::new(ScoreBatchResponse { results: results.collect() }))
    }

    type ScoreStreamStream =
        Pin<Box<dyn Stream<Item = Result<ScoreStreamResponse, Status>> + Send>>;

    async fn score_stream(
        &self,
        request: Request<Streaming<ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let deadline = deadline(request.metadata());
        let (_, extensions, messages) = request.into_parts();
        let inputs = messages.map(|message| message.map(StreamInput::Request));
        Ok(Response::new(Box::pin(self.stream(
            &extensions,
            deadline,
            CallTerms::default(),
            inputs,
        )?)))
    }

    async fn get_model(
        &self,
        request: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        let mut limits = self.limits;
        if let Some(own) = Caller::of(request.extensions()).posts_per_second_max() {
            limits.token_posts_per_second_max = own.get();
        }
        let model = self.pipeline.scorer.model();
        Ok(Response::new(GetModelResponse {
            name: model.name.clone(),
            revision: model.revision.clone(),
            labels: model.labels.names().to_vec(),
            languages: model.languages.clone(),
            engine: model.engine.name().to_owned(),
            kernel: model.engine.kernel().unwrap_or_default().to_owned(),
            limits: Some(limits),
            thresholds: Some(wire::show_thresholds(&self.pipeline.thresholds)),
            label_weights: Some(wire::show_label_weights(model.labels.weights())),
            discontent_source: wire::show_source(model.labels.discontent_source()).into(),
            history: true,
        }))
    }
}

fn refused(fault: Fault, field: &'static str) -> Status {
    Refusal::from(fault.of(field)).status()
}

/// Shortens an age by up to a fifth, so that streams opened together do not
/// all move at once.
fn with_jitter(age: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Each RandomState has keys of its own: enough chance for a jitter.
    let fraction = RandomState::new().hash_one(0) % 1000;
    age.mul_f64(1.0 - f64::from(u32::try_from(fraction).unwrap_or(0)) / 5000.0)
}

/// When the caller stops waiting, from the `grpc-timeout` header: at most
/// eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    };
    Instant::now().checked_add(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_grpc_timeout_header_sets_the_deadline() {
        let of = |value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", value.parse().expect("ascii"));
            deadline(&metadata).map(|at| at - Instant::now())
        };
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(of("123456789S"), None);
        assert_eq!(of("S"), None);
        assert_eq!(of(""), None);
    }
}
