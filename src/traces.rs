//! Traces for an OpenTelemetry collector: what spans are called and hold. Call
//! sites say what happened, as with metrics.
//!
//! ```text
//! pounce.v1.ScoringService/Score    continues the caller's trace (W3C traceparent)
//!   post                            one a post of the call, links the batch
//! batch                             a trace of its own, links its posts
//! ```
//!
//! Nothing is made unless a collector was named and the call is sampled. Never
//! a post's text. Spans are made by OpenTelemetry's own interface, not by `tracing-opentelemetry`: a
//! span of `tracing` would cost every post, sampled or not, and a post's span links a batch that
//! has ended.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceId,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{
    Sampler, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample, Span, SpanData,
    SpanExporter,
};
use tonic::transport::ClientTlsConfig;

use metrics::{counter, describe_counter};
use pounce_inference::scorer::Timings;
use pounce_proto::RejectionCode;

/// Posts of a call that have a span: a stream of hours must not become one
/// trace of millions.
const CALL_POSTS_MAX: u64 = 256;
/// Time for one export, and for the last one.
const EXPORT_MAX: Duration = Duration::from_secs(5);

/// Set once, if at all.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSpec {
    /// The collector's OTLP/gRPC address, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// Share of the calls without a parent that are sampled, 0 to 1; a parent
    /// decides for its own.
    pub root_share: f64,
}

/// Why traces can't be sent.
#[derive(Debug, thiserror::Error)]
#[error("--otlp-endpoint: {0}")]
pub struct TraceError(#[from] ExporterBuildError);

/// Sends spans in the background.
pub struct Exporter {
    provider: SdkTracerProvider,
}

/// Begins to trace; connects with the first spans. Call it within a runtime,
/// once a process.
/// # Errors
/// [`TraceError`] if the address is none.
pub fn start(spec: &TraceSpec) -> Result<Exporter, TraceError> {
    let mut otlp = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&spec.endpoint)
        .with_timeout(EXPORT_MAX);
    if spec.endpoint.starts_with("https:") {
        otlp = otlp.with_tls_config(ClientTlsConfig::new().with_native_roots());
    }
    let otlp = Observed { otlp: otlp.build()?, failing: AtomicBool::new(false) };
    // OTEL_RESOURCE_ATTRIBUTES, read last, adds what the platform knows.
    let resource = Resource::builder_empty()
        .with_service_name("pounce")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(otlp)
        .with_sampler(LinkedOrParent(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            spec.root_share,
        )))))
        .with_resource(resource)
        .build();
    spans_known();
    // A second one in this process would send its spans where the first does.
    let _ = TRACER.set(provider.tracer("pounce"));
    // Inference makes the spans of batches by the process's provider.
    opentelemetry::global::set_tracer_provider(provider.clone());
    let TraceSpec { endpoint, root_share } = spec;
    tracing::info!(endpoint, root_share, "sending traces to a collector");
    Ok(Exporter { provider })
}

impl Exporter {
    /// Sends what is left; blocks for at most a few seconds.
    pub fn finish(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(EXPORT_MAX) {
            tracing::warn!(%error, "the last spans may be lost");
        }
    }

    /// Sends what has ended so far; blocks until the collector has it.
    /// # Errors
    /// One line, if it could not be sent.
    pub fn flush(&self) -> Result<(), String> {
        self.provider.force_flush().map_err(|error| error.to_string())
    }
}

/// Samples a batch if one of its posts is, and anything else as its parent is.
#[derive(Debug, Clone)]
struct LinkedOrParent(Sampler);

impl ShouldSample for LinkedOrParent {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let linked = links.iter().any(|link| link.span_context.is_sampled());
        let sampler = if linked { &Sampler::AlwaysOn } else { &self.0 };
        sampler.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}

/// Counts what the collector took, and tells once when it stops taking.
#[derive(Debug)]
struct Observed {
    otlp: opentelemetry_otlp::SpanExporter,
    failing: AtomicBool,
}

impl SpanExporter for Observed {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let count = spans.len();
        let result = self.otlp.export(spans).await;
        spans_exported(count, result.is_ok());
        let failed = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed => {
                tracing::warn!(%error, "the trace collector does not accept spans")
            }
            Ok(()) if failed => tracing::info!("the trace collector accepts spans again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.otlp.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

/// A call, from its head to its status.
pub struct CallSpan(Box<Span>);

/// A call began; `None` unless it is sampled.
pub fn call(headers: &HeaderMap, service: &'static str, method: &'static str) -> Option<CallSpan> {
    let tracer = TRACER.get()?;
    let parent =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    let span = SpanBuilder::from_name(format!("{service}/{method}"))
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service),
            KeyValue::new("rpc.method", method),
        ])
        .start_with_context(tracer, &parent);
    span.is_recording().then(|| CallSpan(Box::new(span)))
}

impl CallSpan {
    /// For the spans of its posts.
    #[must_use]
    pub fn span_context(&self) -> SpanContext {
        self.0.span_context().clone()
    }

    /// The call ended with gRPC's status `number`, of this `name`.
    pub fn ended(mut self, number: u8, name: &'static str) {
        self.0.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(number)));
        // Codes that OpenTelemetry takes for the server's fault.
        if [2, 4, 12, 13, 14, 15].contains(&number) {
            self.0.set_status(Status::error(name));
        }
        self.0.end();
    }
}

/// A post, from being read to its reply.
pub struct PostSpan(Span);

/// A post of a call was read; `None` unless the call is sampled.
#[must_use]
pub fn post(call: Option<&SpanContext>, sequence: u64) -> Option<PostSpan> {
    let call = call.filter(|_| sequence <= CALL_POSTS_MAX)?;
    let parent = Context::new().with_remote_span_context(call.clone());
    let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
    let span = SpanBuilder::from_name("post")
        .with_attributes([KeyValue::new("pounce.post.sequence", sequence)])
        .start_with_context(TRACER.get()?, &parent);
    Some(PostSpan(span))
}

impl PostSpan {
    /// For the batch that it runs in.
    #[must_use]
    pub fn span_context(&self) -> SpanContext {
        self.0.span_context().clone()
    }

    /// The post was scored, in `batch` unless its score was remembered.
    pub fn scored(
        mut self,
        id: &str,
        tokens: usize,
        timings: &Timings,
        batch: Option<SpanContext>,
    ) {
        self.0.set_attributes([
            KeyValue::new("pounce.post.id", id.to_owned()),
            KeyValue::new("pounce.post.tokens", as_i64(tokens)),
            KeyValue::new("pounce.stage.tokenize.seconds", timings.tokenize.as_secs_f64()),
            KeyValue::new("pounce.stage.queue.seconds", timings.queue.as_secs_f64()),
            KeyValue::new("pounce.stage.infer.seconds", timings.infer.as_secs_f64()),
        ]);
        if let Some(batch) = batch {
            self.0.add_link(batch, Vec::new());
        }
        self.0.end();
    }

    /// The post was answered with a rejection.
    pub fn rejected(mut self, code: RejectionCode) {
        self.0.set_attribute(KeyValue::new("pounce.post.rejected", code.name()));
        self.0.end();
    }
}

fn as_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Describes the metric of exported spans; its series come with a collector.
pub(crate) fn describe_metrics() {
    describe_counter!("pounce_spans_total", "Spans sent to the collector of traces");
}

/// Spans are sent to a collector.
fn spans_known() {
    for taken in [true, false] {
        spans_counter(taken).absolute(0);
    }
}

fn spans_counter(taken: bool) -> metrics::Counter {
    counter!("pounce_spans_total", "result" => if taken { "taken" } else { "lost" })
}

/// So many spans were sent to the collector, which took them or did not.
fn spans_exported(spans: usize, taken: bool) {
    spans_counter(taken).increment(spans as u64);
}

/// gRPC metadata, as the propagator reads it.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
