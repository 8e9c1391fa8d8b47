//! Names, units, help and buckets of the metrics of scored and rejected posts. Call sites say
//! what happened.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use pounce_inference::scorer::Scored;
use pounce_proto::{Flag, RejectionCode};
use pounce_types::score::{Sentiment, Severity};

/// Seconds: 1 ms to 10 s.
const LATENCY: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const TENTHS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Upper bounds of the buckets of each histogram.
pub(crate) const BUCKETS: [(&str, &[f64]); 3] = [
    ("pounce_post_duration_seconds", &LATENCY),
    ("pounce_stage_duration_seconds", &LATENCY),
    ("pounce_discontent_score", &TENTHS),
];

/// Label of topics outside the configured list.
pub(crate) const TOPIC_OTHER: &str = "_other";

/// Describes every metric and makes every series exist that is known from the start.
pub(crate) fn register() {
    describe_counter!("pounce_posts_total", "Posts scored");
    describe_counter!(
        "pounce_topic_posts_total",
        "Scored posts that name a topic, late and repeated ones too"
    );
    describe_counter!(
        "pounce_topic_discontent_total",
        "Scored posts that name a topic and are discontent by the thresholds of the service"
    );
    describe_counter!("pounce_posts_rejected_total", "Posts answered with a rejection");
    describe_counter!("pounce_post_flags_total", "Flags set on scored posts");
    describe_histogram!("pounce_discontent_score", "Probability of discontent of scored posts");
    describe_histogram!(
        "pounce_post_duration_seconds",
        Unit::Seconds,
        "From accepting a post to its reply"
    );
    describe_gauge!("pounce_streams_open", "Open ScoreStream calls");

    for code in RejectionCode::ALL {
        rejected_counter(code).absolute(0);
    }
    for severity in Severity::ALL {
        discontent_counter(severity).absolute(0);
    }
    for flag in Flag::ALL.into_iter().filter(|flag| *flag != Flag::Discontent) {
        flag_counter(flag).absolute(0);
    }
    let _ = histogram!("pounce_stage_duration_seconds", "stage" => "reply");
    let _ = histogram!("pounce_post_duration_seconds");
    gauge!("pounce_streams_open").set(0.0);
}

/// The process scores with the model of this name.
pub(crate) fn model_known(model: &str) {
    for sentiment in Sentiment::ALL {
        posts_counter(sentiment, model).absolute(0);
    }
    let _ = histogram!("pounce_discontent_score", "model" => model.to_owned());
}

fn posts_counter(sentiment: Sentiment, model: &str) -> metrics::Counter {
    counter!("pounce_posts_total", "sentiment" => sentiment.name(), "model" => model.to_owned())
}

/// A topic of the allow-list has this label.
pub(crate) fn topic_known(topic: &str) {
    for sentiment in Sentiment::ALL {
        topic_counter(topic, sentiment).absolute(0);
    }
    topic_discontent_counter(topic).absolute(0);
}

fn topic_counter(topic: &str, sentiment: Sentiment) -> metrics::Counter {
    let topic = topic.to_owned();
    counter!("pounce_topic_posts_total", "topic" => topic, "sentiment" => sentiment.name())
}

fn topic_discontent_counter(topic: &str) -> metrics::Counter {
    counter!("pounce_topic_discontent_total", "topic" => topic.to_owned())
}

/// A post that names a topic was scored, be it late or repeated; `topic` is of
/// the allow-list or [`TOPIC_OTHER`].
pub(crate) fn topic_post(topic: &str, sentiment: Sentiment, discontent: bool) {
    topic_counter(topic, sentiment).increment(1);
    topic_discontent_counter(topic).increment(discontent.into());
}

/// A post was scored, `took` after it was accepted.
pub(crate) fn post_scored(scored: &Scored, model: &str, took: Duration) {
    posts_counter(scored.sentiment, model).increment(1);
    histogram!("pounce_discontent_score", "model" => model.to_owned())
        .record(f64::from(scored.probabilities.discontent));
    histogram!("pounce_post_duration_seconds").record(took);
}

/// A reply waited this long to be handed to the transport.
pub(crate) fn reply_sent(waited: Duration) {
    histogram!("pounce_stage_duration_seconds", "stage" => "reply").record(waited);
}

/// A post was flagged as discontent.
pub(crate) fn post_discontent(severity: Severity) {
    discontent_counter(severity).increment(1);
}

fn discontent_counter(severity: Severity) -> metrics::Counter {
    let labels = [("flag", Flag::Discontent.name()), ("severity", severity.name())];
    counter!("pounce_post_flags_total", &labels)
}

/// A post got another flag than discontent, which has a severity.
pub(crate) fn post_flagged(flag: Flag) {
    flag_counter(flag).increment(1);
}

fn flag_counter(flag: Flag) -> metrics::Counter {
    counter!("pounce_post_flags_total", "flag" => flag.name(), "severity" => "")
}

/// A post was answered with a rejection.
pub(crate) fn post_rejected(code: RejectionCode) {
    rejected_counter(code).increment(1);
}

fn rejected_counter(code: RejectionCode) -> metrics::Counter {
    counter!("pounce_posts_rejected_total", "reason" => code.name())
}

/// A ScoreStream call began or ended.
pub(crate) fn stream_open(open: bool) {
    gauge!("pounce_streams_open").increment(if open { 1.0 } else { -1.0 });
}
