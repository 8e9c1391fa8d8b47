//! The Open Inference Protocol on an engine that the test directs: its stream and its drain.

mod support;

use bytes::Bytes;
use pounce::lifecycle::drain::Phase;
use pounce_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use pounce_proto::inference::infer_parameter::ParameterChoice::DoubleParam;
use pounce_proto::inference::model_infer_request::InferInputTensor;
use pounce_proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelStreamInferResponse,
};
use support::{Service, Spec, eventually};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

fn request(id: &str, texts: &[&'static str]) -> ModelInferRequest {
    let bytes_contents = texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
    let contents = InferTensorContents { bytes_contents, ..Default::default() };
    let shape = vec![i64::try_from(texts.len()).expect("few")];
    let text = InferInputTensor {
        name: "text".to_owned(),
        datatype: "BYTES".to_owned(),
        shape,
        contents: Some(contents),
        ..Default::default()
    };
    ModelInferRequest {
        model_name: "tiny".to_owned(),
        id: id.to_owned(),
        inputs: vec![text],
        ..Default::default()
    }
}

async fn connect(service: &Service) -> GrpcInferenceServiceClient<Channel> {
    GrpcInferenceServiceClient::new(service.channel().await)
}

struct Exchange {
    requests: mpsc::Sender<ModelInferRequest>,
    responses: Streaming<ModelStreamInferResponse>,
}

impl Exchange {
    async fn open(service: &Service) -> Self {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = connect(service).await;
        let responses = client.model_stream_infer(ReceiverStream::new(receiver)).await;
        Self { requests, responses: responses.expect("a stream").into_inner() }
    }

    async fn hear(&mut self) -> Result<Option<(String, String)>, Status> {
        Ok(self.responses.message().await?.map(|response| {
            let id = response.infer_response.map(|answer| answer.id).unwrap_or_default();
            (id, response.error_message)
        }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gathers_replies_by_request_and_a_bad_one_costs_itself() {
    let service = Service::start(Spec::default()).await;
    let mut stream = Exchange::open(&service).await;
    let other = ModelInferRequest { model_name: "other".to_owned(), ..request("c", &["good"]) };
    for request in [
        request("a", &["good", "bad", "good bad"]),
        request("b", &["good", " "]),
        other,
        request("d", &["bad"]),
    ] {
        stream.requests.send(request).await.expect("it reads");
    }
    assert_eq!(stream.hear().await.expect("open"), Some(("a".to_owned(), String::new())));
    let (id, error) = stream.hear().await.expect("open").expect("an answer");
    assert!(id == "b" && error.starts_with("text[1]: text is required"), "{id}: {error}");
    let (id, error) = stream.hear().await.expect("open").expect("an answer");
    assert!(id == "c" && error.contains("no such model"), "{id}: {error}");
    assert_eq!(stream.hear().await.expect("open"), Some(("d".to_owned(), String::new())));
    drop(stream.requests);
    assert_eq!(stream.responses.message().await.expect("a good end"), None);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_requests_thresholds_hold_even_if_the_rest_of_it_is_refused() {
    let service = Service::start(Spec::default()).await;
    let mut stream = Exchange::open(&service).await;
    let low = InferParameter { parameter_choice: Some(DoubleParam(0.25)) };
    for texts in [&[][..], &["good"]] {
        let mut request = request("a", texts);
        request.parameters.insert("discontent_low".to_owned(), low.clone());
        stream.requests.send(request).await.expect("it reads");
    }
    let (_, error) = stream.hear().await.expect("open").expect("an answer");
    assert!(error.starts_with("text has no elements"), "{error}");
    assert_eq!(stream.hear().await.expect("open"), Some(("a".to_owned(), String::new())));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_whole_requests_and_says_that_others_are_not_taken() {
    let mut spec = Spec::default();
    spec.service.stream_posts_in_flight_max = 3;
    let service = Service::start(spec).await;
    service.script.hold();
    let mut stream = Exchange::open(&service).await;
    for id in ["a", "b"] {
        let texts = ["good", "bad"];
        stream.requests.send(request(id, &texts)).await.expect("it reads");
    }
    let scorer = service.scorer.clone();
    // The second text of `b` is beyond what may be unanswered.
    eventually("three posts are accepted", move || scorer.posts_open() >= 2).await;
    service.drain.advance(Phase::Draining);
    service.script.release();
    assert_eq!(stream.hear().await.expect("open"), Some(("a".to_owned(), String::new())));
    let end = loop {
        match stream.hear().await {
            Ok(answer) => assert_eq!(answer, Some(("b".to_owned(), String::new()))),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_tensors_than_are_known_are_refused_before_they_are_decoded() {
    let service = Service::start(Spec::default()).await;
    let tensor = request("a", &["good"]).inputs.remove(0);
    let many = ModelInferRequest { inputs: vec![tensor; 17], ..request("a", &[]) };
    let refused = connect(&service).await.model_infer(many).await.expect_err("too many");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("limit of 16"), "{}", refused.message());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_that_contradict_each_other_end_a_stream_and_refuse_a_call() {
    let service = Service::start(Spec::default()).await;
    let high = |value| InferParameter { parameter_choice: Some(DoubleParam(value)) };
    let mut bad = request("a", &["good"]);
    bad.parameters.insert("discontent_low".to_owned(), high(0.9));
    bad.parameters.insert("discontent_high".to_owned(), high(0.1));
    let refused = connect(&service).await.model_infer(bad.clone()).await.expect_err("no order");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut stream = Exchange::open(&service).await;
    stream.requests.send(bad).await.expect("it reads");
    let ended = stream.hear().await.expect_err("no order");
    assert_eq!((ended.code(), refused.message()), (Code::InvalidArgument, ended.message()));
    service.stop().await;
}
