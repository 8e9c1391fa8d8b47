//! Every metric's name, unit, help and buckets. Call sites say what happened.
//!
//! Never a label: post, author, or a topic outside the configured list.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::discontent::Board;
use crate::discontent::alert::{AlertChange, ChangeKind, Suppression};
use crate::discontent::key::AlertKind;
use crate::inference::scorer::{Scored, Timings};
use crate::inference::waiting::Closed;
use crate::post::Timestamp;
use crate::score::{Sentiment, Severity};

/// Seconds: 1 ms to 10 s.
const LATENCY: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds: 10 s to 4 h, with the promised 15 minutes among them.
const RESPONSE: [f64; 10] = [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 14400.0];
const TENTHS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
const POWERS: [f64; 14] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Label of topics outside the configured list.
pub const TOPIC_OTHER: &str = "_other";

/// How often histogram samples are folded into buckets between scrapes.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// Why a post was taken out of the queue without a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full.
    Shed,
    /// The caller went away.
    Cancelled,
    /// The caller's deadline passed.
    Deadline,
}

impl DropReason {
    const ALL: [Self; 3] = [Self::Shed, Self::Cancelled, Self::Deadline];

    fn name(self) -> &'static str {
        match self {
            Self::Shed => "shed",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
        }
    }
}

/// Why a connection was closed before it said anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// As many as may be were open.
    Limit,
    /// The TLS handshake failed: a stranger, or a client without a good certificate.
    Handshake,
    /// Nothing came in time.
    Silent,
}

impl ConnectionRefusal {
    const ALL: [Self; 3] = [Self::Limit, Self::Handshake, Self::Silent];

    fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Handshake => "handshake",
            Self::Silent => "silent",
        }
    }
}

/// Why a call was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallRefusal {
    /// It had no token.
    MissingToken,
    /// Its token is not, or no longer, known.
    UnknownToken,
    /// Its token is not for this.
    MissingScope,
    /// Its token has sent too many posts of late.
    PostsPerSecond,
}

impl CallRefusal {
    const ALL: [Self; 4] =
        [Self::MissingToken, Self::UnknownToken, Self::MissingScope, Self::PostsPerSecond];

    fn name(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::UnknownToken => "unknown_token",
            Self::MissingScope => "missing_scope",
            Self::PostsPerSecond => "posts_per_second",
        }
    }
}

fn closed_name(closed: Closed) -> &'static str {
    match closed {
        Closed::Full => "full",
        Closed::Tokens => "tokens",
        Closed::Padding => "padding",
        Closed::Drained => "drained",
    }
}

/// Reasons of `pounce_posts_rejected_total`: the rejection codes in lower case.
pub const REJECTIONS: [&str; 9] = [
    "missing",
    "too_long",
    "invalid_utf8",
    "out_of_range",
    "unknown_value",
    "resource_exhausted",
    "deadline_exceeded",
    "internal",
    "unavailable",
];

/// Flags of `pounce_post_flags_total` other than discontent, which has a severity.
pub const FLAGS: [&str; 8] = [
    "influential_author",
    "advocate",
    "truncated",
    "duplicate_text",
    "language_unknown_to_model",
    "topic_alert",
    "late",
    "duplicate",
];

/// Installs the recorder of this process. Histogram samples pile up until
/// [`PrometheusHandle::run_upkeep`] is called, which is due every [`UPKEEP`].
/// # Errors
/// If a recorder was installed before.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let buckets = [
        ("pounce_post_duration_seconds", &LATENCY[..]),
        ("pounce_stage_duration_seconds", &LATENCY[..]),
        ("pounce_alert_ack_seconds", &RESPONSE[..]),
        ("pounce_alert_detection_delay_seconds", &RESPONSE[..]),
        ("pounce_discontent_score", &TENTHS[..]),
        ("pounce_batch_posts", &POWERS[..]),
        ("pounce_batch_padded_tokens", &POWERS[..]),
    ];
    let mut builder = PrometheusBuilder::new();
    for (name, bounds) in buckets {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)?;
    }
    let handle = builder.install_recorder()?;
    describe();
    zero();
    Ok(handle)
}

fn describe() {
    describe_counter!("grpc_server_started_total", "gRPC calls started");
    describe_counter!("grpc_server_handled_total", "gRPC calls ended, by status code");
    describe_counter!("grpc_server_msg_received_total", "gRPC messages received");
    describe_counter!("grpc_server_msg_sent_total", "gRPC messages sent");
    describe_counter!("pounce_posts_total", "Posts scored");
    describe_counter!(
        "pounce_topic_posts_total",
        "Scored posts that name a topic, late and repeated ones too"
    );
    describe_counter!("pounce_posts_rejected_total", "Posts answered with a rejection");
    describe_counter!("pounce_post_flags_total", "Flags set on scored posts");
    describe_counter!(
        "pounce_posts_dropped_total",
        "Posts given up before they were scored, in the queue or waiting for room in it"
    );
    describe_counter!("pounce_tokens_total", "Tokens run through the model");
    describe_counter!("pounce_batches_closed_total", "Batches formed, by why they were closed");
    describe_counter!("pounce_worker_restarts_total", "Engines rebuilt after a panic");
    describe_counter!("pounce_calls_refused_total", "Calls turned away for want of a right");
    describe_counter!("pounce_connections_refused_total", "Connections closed before a call");
    describe_counter!("pounce_reloads_total", "Times that changed files were read anew");
    describe_counter!("pounce_spans_total", "Spans sent to the collector of traces");
    describe_histogram!("pounce_discontent_score", "Probability of discontent of scored posts");
    describe_histogram!(
        "pounce_post_duration_seconds",
        Unit::Seconds,
        "From accepting a post to its reply"
    );
    describe_histogram!(
        "pounce_stage_duration_seconds",
        Unit::Seconds,
        "Time of a post in each stage"
    );
    describe_histogram!("pounce_batch_posts", "Posts a batch");
    describe_histogram!("pounce_batch_padded_tokens", "Tokens a batch, padding included");
    describe_gauge!("pounce_queue_posts", "Posts waiting for a worker");
    describe_gauge!("pounce_queue_capacity", "Posts that may wait or run");
    describe_gauge!("pounce_streams_open", "Open ScoreStream calls");
    describe_gauge!("pounce_connections_open", "Open gRPC connections");
    describe_gauge!("pounce_workers", "Workers with an engine");
    describe_gauge!("pounce_workers_busy", "Workers running a batch");
    describe_gauge!("pounce_draining", "1 while the process drains");
    describe_counter!("pounce_events_late_total", "Posts too late for their topic's statistics");
    describe_counter!("pounce_events_duplicate_total", "Posts whose topic and id were seen before");
    describe_counter!("pounce_alerts_opened_total", "Topic alerts opened");
    describe_counter!("pounce_alerts_suppressed_total", "Topic alerts held back");
    describe_counter!("pounce_board_forgotten_total", "What was dropped for want of room");
    describe_gauge!("pounce_alerts_firing", "Topic alerts that fire");
    describe_gauge!("pounce_topics", "Topics and places being counted");
    describe_gauge!(
        "pounce_watermark_timestamp_seconds",
        Unit::Seconds,
        "Furthest event time up to which a topic's minutes are closed"
    );
    describe_histogram!(
        "pounce_alert_ack_seconds",
        Unit::Seconds,
        "From an alert's opening to somebody taking it"
    );
    describe_histogram!(
        "pounce_alert_detection_delay_seconds",
        Unit::Seconds,
        "From the end of the minute that opened an alert, in event time, to its opening"
    );
    describe_gauge!("pounce_build_info", "1; the label tells the version");
    describe_gauge!("pounce_model_info", "1; the labels tell the model");
}

/// Makes series exist before anything happens, or `rate()` misses the first
/// event and `absent()` fires. Those of the model, of topics, methods, files and
/// the board come as soon as these are known.
fn zero() {
    for reason in REJECTIONS {
        counter!("pounce_posts_rejected_total", "reason" => reason).absolute(0);
    }
    for reason in DropReason::ALL {
        counter!("pounce_posts_dropped_total", "reason" => reason.name()).absolute(0);
    }
    for severity in Severity::ALL {
        let labels = [("flag", "discontent"), ("severity", severity.name())];
        counter!("pounce_post_flags_total", &labels).absolute(0);
    }
    for flag in FLAGS {
        counter!("pounce_post_flags_total", "flag" => flag, "severity" => "").absolute(0);
    }
    for refusal in ConnectionRefusal::ALL {
        counter!("pounce_connections_refused_total", "reason" => refusal.name()).absolute(0);
    }
    for refusal in CallRefusal::ALL {
        counter!("pounce_calls_refused_total", "reason" => refusal.name()).absolute(0);
    }
    for kind in ["real", "padding"] {
        counter!("pounce_tokens_total", "kind" => kind).absolute(0);
    }
    for closed in [Closed::Full, Closed::Tokens, Closed::Padding, Closed::Drained] {
        counter!("pounce_batches_closed_total", "reason" => closed_name(closed)).absolute(0);
    }
    counter!("pounce_worker_restarts_total").absolute(0);
    post_counted(false, false);
    gauge!("pounce_watermark_timestamp_seconds").set(0.0);
    for kind in AlertKind::ALL {
        for severity in Severity::ALL {
            alerts_opened_counter(kind, severity).absolute(0);
        }
        for name in ["pounce_alert_ack_seconds", "pounce_alert_detection_delay_seconds"] {
            let _ = histogram!(name, "kind" => kind.name());
        }
    }
    for stage in ["tokenize", "queue", "infer", "reply"] {
        let _ = histogram!("pounce_stage_duration_seconds", "stage" => stage);
    }
    let _ = histogram!("pounce_post_duration_seconds");
    let _ = histogram!("pounce_batch_posts");
    let _ = histogram!("pounce_batch_padded_tokens");
    for name in [
        "pounce_queue_posts",
        "pounce_queue_capacity",
        "pounce_streams_open",
        "pounce_connections_open",
        "pounce_workers",
        "pounce_workers_busy",
        "pounce_draining",
    ] {
        gauge!(name).set(0.0);
    }
}

/// The process serves this model.
pub fn serving(version: &'static str, model: &str, revision: &str) {
    gauge!("pounce_build_info", "version" => version).set(1.0);
    gauge!("pounce_model_info", "model" => model.to_owned(), "revision" => revision.to_owned())
        .set(1.0);
    for sentiment in Sentiment::ALL {
        posts_counter(sentiment, model).absolute(0);
    }
    let _ = histogram!("pounce_discontent_score", "model" => model.to_owned());
}

fn posts_counter(sentiment: Sentiment, model: &str) -> metrics::Counter {
    counter!("pounce_posts_total", "sentiment" => sentiment.name(), "model" => model.to_owned())
}

/// A topic of the allow-list has this label.
pub fn topic_known(topic: &str) {
    for sentiment in Sentiment::ALL {
        topic_counter(topic, sentiment).absolute(0);
    }
}

fn topic_counter(topic: &str, sentiment: Sentiment) -> metrics::Counter {
    let topic = topic.to_owned();
    counter!("pounce_topic_posts_total", "topic" => topic, "sentiment" => sentiment.name())
}

/// A post that names a topic was scored, be it late or repeated; `topic` is of
/// the allow-list or [`TOPIC_OTHER`].
pub fn topic_post(topic: &str, sentiment: Sentiment) {
    topic_counter(topic, sentiment).increment(1);
}

/// A post was scored, `took` after it was accepted.
pub fn post_scored(scored: &Scored, model: &str, took: Duration) {
    posts_counter(scored.sentiment, model).increment(1);
    histogram!("pounce_discontent_score", "model" => model.to_owned())
        .record(f64::from(scored.probabilities.negative));
    histogram!("pounce_post_duration_seconds").record(took);
}

/// The model ran on a post.
pub fn post_inferred(timings: &Timings) {
    for (stage, took) in
        [("tokenize", timings.tokenize), ("queue", timings.queue), ("infer", timings.infer)]
    {
        histogram!("pounce_stage_duration_seconds", "stage" => stage).record(took);
    }
}

/// A reply waited this long to be handed to the transport.
pub fn reply_sent(waited: Duration) {
    histogram!("pounce_stage_duration_seconds", "stage" => "reply").record(waited);
}

/// A post was flagged as discontent.
pub fn post_discontent(severity: Severity) {
    let labels = [("flag", "discontent"), ("severity", severity.name())];
    counter!("pounce_post_flags_total", &labels).increment(1);
}

/// A post got another flag, one of [`FLAGS`].
pub fn post_flagged(flag: &'static str) {
    counter!("pounce_post_flags_total", "flag" => flag, "severity" => "").increment(1);
}

/// A post was answered with a rejection, for one of [`REJECTIONS`].
pub fn post_rejected(reason: &'static str) {
    counter!("pounce_posts_rejected_total", "reason" => reason).increment(1);
}

/// A post left the queue unscored.
pub fn posts_dropped(reason: DropReason) {
    counter!("pounce_posts_dropped_total", "reason" => reason.name()).increment(1);
}

/// A batch of `rows` posts, `real` tokens and `padded` tokens with padding was formed.
pub fn batch_formed(rows: usize, real: usize, padded: usize, closed: Closed) {
    histogram!("pounce_batch_posts").record(as_f64(rows));
    histogram!("pounce_batch_padded_tokens").record(as_f64(padded));
    counter!("pounce_tokens_total", "kind" => "real").increment(real as u64);
    counter!("pounce_tokens_total", "kind" => "padding").increment((padded - real) as u64);
    counter!("pounce_batches_closed_total", "reason" => closed_name(closed)).increment(1);
}

/// So many posts wait for a worker.
pub fn queue_length(posts: usize) {
    gauge!("pounce_queue_posts").set(as_f64(posts));
}

/// So many posts may wait or run.
pub fn queue_capacity(posts: usize) {
    gauge!("pounce_queue_capacity").set(as_f64(posts));
}

/// So many workers have an engine.
pub fn workers(alive: usize) {
    gauge!("pounce_workers").set(as_f64(alive));
}

/// A worker began or ended a batch.
pub fn worker_busy(busy: bool) {
    gauge!("pounce_workers_busy").increment(if busy { 1.0 } else { -1.0 });
}

/// A worker builds its engine anew.
pub fn worker_restarted() {
    counter!("pounce_worker_restarts_total").increment(1);
}

/// A ScoreStream call began or ended.
pub fn stream_open(open: bool) {
    gauge!("pounce_streams_open").increment(if open { 1.0 } else { -1.0 });
}

/// A connection was opened or closed.
pub fn connection_open(open: bool) {
    gauge!("pounce_connections_open").increment(if open { 1.0 } else { -1.0 });
}

/// A connection was closed before it said anything.
pub fn connection_refused(refusal: ConnectionRefusal) {
    counter!("pounce_connections_refused_total", "reason" => refusal.name()).increment(1);
}

/// A call was turned away.
pub fn call_refused(refusal: CallRefusal) {
    counter!("pounce_calls_refused_total", "reason" => refusal.name()).increment(1);
}

/// Files that may be reloaded have this name.
pub fn reloads_known(what: &'static str) {
    for good in [true, false] {
        reloads_counter(what, good).absolute(0);
    }
}

fn reloads_counter(what: &'static str, good: bool) -> metrics::Counter {
    let result = if good { "ok" } else { "bad" };
    counter!("pounce_reloads_total", "files" => what, "result" => result)
}

/// Files had changed, and were good for use or not.
pub fn reloaded(what: &'static str, good: bool) {
    reloads_counter(what, good).increment(1);
}

/// Spans are sent to a collector.
pub fn spans_known() {
    for taken in [true, false] {
        spans_counter(taken).absolute(0);
    }
}

fn spans_counter(taken: bool) -> metrics::Counter {
    counter!("pounce_spans_total", "result" => if taken { "taken" } else { "lost" })
}

/// So many spans were sent to the collector, which took them or did not.
pub fn spans_exported(spans: usize, taken: bool) {
    spans_counter(taken).increment(spans as u64);
}

/// The process began to drain.
pub fn draining() {
    gauge!("pounce_draining").set(1.0);
}

/// A post was counted for its topic, or not.
pub fn post_counted(late: bool, duplicate: bool) {
    counter!("pounce_events_late_total").increment(u64::from(late));
    counter!("pounce_events_duplicate_total").increment(u64::from(duplicate));
}

/// An alert that is told so long after its minute was not of live posts.
const REPLAYED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// An alert opened or changed; `now` is the wall clock.
pub fn alert_changed(change: &AlertChange, now: Timestamp) {
    if change.kind == ChangeKind::Opened {
        let alert = &change.alert;
        alerts_opened_counter(alert.kind, alert.severity).increment(1);
        let delay = Duration::from_millis(now.millis().saturating_sub(alert.opened_at.millis()));
        // Posts of long ago are being replayed: nobody waited for their alerts.
        if delay < REPLAYED_AFTER {
            histogram!("pounce_alert_detection_delay_seconds", "kind" => alert.kind.name())
                .record(delay);
        }
    }
}

fn alerts_opened_counter(kind: AlertKind, severity: Severity) -> metrics::Counter {
    let labels = [("kind", kind.name()), ("severity", severity.name())];
    counter!("pounce_alerts_opened_total", &labels)
}

/// Somebody took an alert, so long after it opened.
pub fn alert_acknowledged(kind: AlertKind, waited: Duration) {
    histogram!("pounce_alert_ack_seconds", "kind" => kind.name()).record(waited);
}

/// What the board has to tell of itself.
pub fn board(board: &Board) {
    let totals = board.totals();
    for (kind, firing) in AlertKind::ALL.into_iter().zip(board.firing()) {
        gauge!("pounce_alerts_firing", "kind" => kind.name())
            .set(f64::from(u32::try_from(firing).unwrap_or(u32::MAX)));
        for reason in Suppression::ALL {
            let labels = [("kind", kind.name()), ("reason", reason.name())];
            counter!("pounce_alerts_suppressed_total", &labels)
                .absolute(totals.suppressed(kind, reason));
        }
    }
    for (what, forgotten) in [
        ("topic", totals.keys_forgotten),
        ("post_id", totals.post_ids_forgotten),
        ("vote", totals.votes_forgotten),
        ("reach_author", totals.reach_authors_forgotten),
        ("resolved_alert", totals.resolved_forgotten),
    ] {
        counter!("pounce_board_forgotten_total", "what" => what).absolute(forgotten);
    }
    gauge!("pounce_topics").set(as_f64(board.keys()));
    if let Some(watermark) = board.watermark() {
        gauge!("pounce_watermark_timestamp_seconds").set(watermark_seconds(watermark));
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds until the year 9999 are below 2^52")]
fn watermark_seconds(at: Timestamp) -> f64 {
    at.millis() as f64 / 1000.0
}

/// A gRPC method exists, whose calls may end with any of `codes`.
pub fn grpc_known(
    service: &'static str,
    method: &'static str,
    kind: &'static str,
    codes: &[&'static str],
) {
    grpc_started_counter(service, method, kind).absolute(0);
    for name in ["grpc_server_msg_received_total", "grpc_server_msg_sent_total"] {
        counter!(name, "grpc_service" => service, "grpc_method" => method).absolute(0);
    }
    for code in codes {
        grpc_handled_counter(service, method, kind, code).absolute(0);
    }
}

fn grpc_started_counter(
    service: &'static str,
    method: &'static str,
    kind: &'static str,
) -> metrics::Counter {
    let labels = [("grpc_type", kind), ("grpc_service", service), ("grpc_method", method)];
    counter!("grpc_server_started_total", &labels)
}

fn grpc_handled_counter(
    service: &'static str,
    method: &'static str,
    kind: &'static str,
    code: &'static str,
) -> metrics::Counter {
    let labels = [
        ("grpc_type", kind),
        ("grpc_service", service),
        ("grpc_method", method),
        ("grpc_code", code),
    ];
    counter!("grpc_server_handled_total", &labels)
}

/// A gRPC call began.
pub fn grpc_started(service: &'static str, method: &'static str, kind: &'static str) {
    grpc_started_counter(service, method, kind).increment(1);
}

/// A gRPC call ended.
pub fn grpc_handled(
    service: &'static str,
    method: &'static str,
    kind: &'static str,
    code: &'static str,
) {
    grpc_handled_counter(service, method, kind, code).increment(1);
}

/// gRPC messages came in.
pub fn grpc_received(service: &'static str, method: &'static str, messages: u64) {
    let labels = [("grpc_service", service), ("grpc_method", method)];
    counter!("grpc_server_msg_received_total", &labels).increment(messages);
}

/// gRPC messages went out.
pub fn grpc_sent(service: &'static str, method: &'static str, messages: u64) {
    let labels = [("grpc_service", service), ("grpc_method", method)];
    counter!("grpc_server_msg_sent_total", &labels).increment(messages);
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
