//! The span of a batch: a trace of its own that links the posts it holds. Knows OpenTelemetry's
//! interface alone; who samples and where spans go is the process's to say.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, global};

/// A batch of `rows` posts, `real` tokens and `padded` tokens with padding has
/// run for `took`, until now. `None` unless one of its posts has a span.
pub(crate) fn batch(
    posts: &[SpanContext],
    rows: usize,
    real: usize,
    padded: usize,
    took: Duration,
) -> Option<SpanContext> {
    if posts.is_empty() {
        return None;
    }
    let links = posts.iter().map(|post| Link::with_context(post.clone())).collect();
    let tracer = global::tracer_provider().tracer("pounce");
    let mut span = tracer.build_with_context(
        SpanBuilder::from_name("batch")
            .with_start_time(SystemTime::now() - took)
            .with_attributes([
                KeyValue::new("pounce.batch.posts", as_i64(rows)),
                KeyValue::new("pounce.batch.tokens", as_i64(real)),
                KeyValue::new("pounce.batch.padded_tokens", as_i64(padded)),
            ])
            .with_links(links),
        &Context::new(),
    );
    span.end();
    let context = span.span_context().clone();
    context.is_valid().then_some(context)
}

fn as_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
