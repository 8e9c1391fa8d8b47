//! Traces arrive at a collector: a caller's trace goes on through its posts and
//! the batches they run in.

mod support;

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use pounce::traces::{self, TraceSpec};
use pounce_proto::{ScoreBatchRequest, ScoreRequest};
use support::{Service, Spec, message, metric, post};
use tokio::net::TcpListener;
use tonic::metadata::MetadataValue;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().expect("no panic under the lock").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Sink {
    async fn start(&self) -> String {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let url = format!("http://{}", socket.local_addr().expect("bound"));
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .serve_with_incoming(TcpIncoming::from(socket));
        tokio::spawn(server);
        url
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().expect("no panic under the lock");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const CALLER: u64 = 0x00f0_67aa_0ba9_02b7;

fn called_by<T>(message: T, trace: u128, sampled: bool) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{trace:032x}-{CALLER:016x}-{:02x}", u8::from(sampled));
    let parent = MetadataValue::try_from(parent).expect("ascii");
    request.metadata_mut().insert("traceparent", parent);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_on_through_posts_and_batches() {
    let sink = Sink::default();
    let spec = TraceSpec { endpoint: sink.start().await, root_share: 0.0 };
    let exporter = traces::start(&spec).expect("an address");
    let service = Service::start(Spec::default()).await;
    let mut client = service.connect().await;

    let posts = vec![post("p1", "good secret"), post("p2", "bad secret"), post("", "bad secret")];
    let batch = ScoreBatchRequest { posts, ..Default::default() };
    client.score_batch(called_by(batch, TRACE, true)).await.expect("scored");
    // Neither the parent nor the server wants these.
    let one = |id: &str| ScoreRequest { post: Some(post(id, id)), ..Default::default() };
    client.score(called_by(one("unsampled"), TRACE + 1, false)).await.expect("scored");
    client.score(one("untold")).await.expect("scored");
    let stream = futures::stream::iter((0..400).map(|n| message(post(n, format!("good {n}")))));
    let replies = client.score_stream(called_by(stream, TRACE + 2, true)).await.expect("a stream");
    let mut replies = replies.into_inner();
    while replies.message().await.expect("no status").is_some() {}
    drop(replies);
    service.stop().await;
    let flushed = tokio::task::spawn_blocking(move || {
        let flushed = exporter.flush();
        exporter.finish();
        flushed
    });
    flushed.await.expect("no panic").expect("the sink takes spans");

    let spans = sink.spans();
    let named = |name: &str, trace: Option<u128>| {
        let wanted = |span: &&Span| {
            span.name == name && trace.is_none_or(|trace| span.trace_id == trace.to_be_bytes())
        };
        spans.iter().filter(wanted).collect::<Vec<_>>()
    };
    let [call] = named("pounce.v1.ScoringService/ScoreBatch", Some(TRACE))[..] else {
        panic!("one call, not {spans:?}")
    };
    assert_eq!(call.parent_span_id, CALLER.to_be_bytes());
    let posts = named("post", Some(TRACE));
    assert_eq!(posts.len(), 3);
    assert!(posts.iter().all(|post| post.parent_span_id == call.span_id));
    let scored: Vec<_> = posts.iter().filter(|post| !post.links.is_empty()).collect();
    assert_eq!(scored.len(), 2, "the third had no id");
    let batches = named("batch", None);
    for post in scored {
        let batch = batches.iter().find(|batch| batch.span_id == post.links[0].span_id);
        let links = &batch.expect("the batch it names was sent").links;
        assert!(links.iter().any(|link| link.span_id == post.span_id));
    }
    assert!(spans.iter().all(|span| span.trace_id != (TRACE + 1).to_be_bytes()));
    assert!(named("pounce.v1.ScoringService/Score", None).is_empty(), "a parent decides");

    let streamed = named("post", Some(TRACE + 2)).len();
    assert_eq!(streamed, 256, "a long stream does not become a long trace");
    let everything = format!("{spans:?}");
    assert!(!everything.contains("secret"), "no text in spans");
    assert!(metric("pounce_spans_total{result=\"taken\"}") >= 260.0);
}
