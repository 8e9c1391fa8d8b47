//! The calls of `inference.GRPCInferenceService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::fault::{check_model, refused};
use super::request::{INPUTS, parse};
use super::response::{Output, response};
use super::{stream, task};
use crate::lifecycle::health::Health;
use crate::scoring::ids::run_id;
use crate::scoring::service::Scoring;
use pounce_proto::inference::grpc_inference_service_server::GrpcInferenceService;
use pounce_proto::inference::model_metadata_response::TensorMetadata;
use pounce_proto::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ModelStreamInferResponse, ServerLiveRequest,
    ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse,
};
use pounce_proto::post_result::Result as PostResultKind;
use pounce_proto::scoring_service_server::ScoringService;
use pounce_proto::{ScoreBatchRequest, ScoredEvent};

/// The service's handlers.
pub(crate) struct Inference {
    pub(crate) scoring: Arc<Scoring>,
    pub(crate) health: Health,
}

impl Inference {
    /// Name and revision of the model.
    fn model(&self) -> (&str, &str) {
        let model = self.scoring.pipeline.scorer.model();
        (&model.name, &model.revision)
    }

    /// Whether a request is for the model that is served.
    fn check_model(&self, name: &str, version: &str) -> Result<(), Status> {
        check_model(self.model(), name, version)
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: self.health.alive() }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.health.ready() }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let known = self.check_model(&name, &version).is_ok();
        Ok(Response::new(ModelReadyResponse { ready: known && self.health.ready() }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: Vec::new(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        self.check_model(&name, &version)?;
        let input = |name: &&str| TensorMetadata {
            name: (*name).to_owned(),
            datatype: "BYTES".to_owned(),
            shape: vec![-1],
        };
        let (name, revision) = self.model();
        Ok(Response::new(ModelMetadataResponse {
            name: name.to_owned(),
            versions: vec![revision.to_owned()],
            platform: format!("pounce_{}", self.scoring.pipeline.scorer.model().engine.name()),
            inputs: INPUTS.iter().map(input).collect(),
            outputs: Output::ALL.into_iter().map(Output::metadata).collect(),
        }))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        self.check_model(&request.model_name, &request.model_version)?;
        let id = request.id.clone();
        let parsed = parse(request, self.scoring.batch_posts_max, &run_id()?)?;
        let batch = ScoreBatchRequest {
            posts: parsed.posts,
            thresholds: parsed.thresholds,
            history: false,
        };
        let batch = Request::from_parts(metadata, extensions, batch);
        let results = self.scoring.score_batch(batch).await?.into_inner().results;
        let events: Result<Vec<ScoredEvent>, Status> = results
            .into_iter()
            .filter_map(|result| result.result)
            .map(|result| match result {
                PostResultKind::Event(event) => Ok(event),
                PostResultKind::Rejection(rejection) => Err(refused(&rejection)),
            })
            .collect();
        Ok(Response::new(response(self.model(), id, &parsed.wanted, &events?)))
    }

    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let (_, extensions, requests): (MetadataMap, _, _) = request.into_parts();
        let responses = stream::responses(&self.scoring, &extensions, requests)?;
        Ok(Response::new(Box::pin(task::spawned(responses))))
    }
}
