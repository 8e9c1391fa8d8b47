//! Names, units, help and buckets of the metrics of cases. Call sites say what happened.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use pounce_cases::case::Punctuality;
use pounce_cases::{Case, CaseChange, CaseChangeKind, CaseEngine, Outcome};
use pounce_types::post::{Timestamp, Topic};
use pounce_types::score::Severity;

/// Seconds: 10 s to 24 h, with the promised 15 minutes among them.
const RESPONSE: [f64; 12] =
    [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0];

/// Upper bounds of the buckets of each histogram.
pub(crate) const BUCKETS: [(&str, &[f64]); 2] =
    [("pounce_case_claim_seconds", &RESPONSE), ("pounce_case_close_seconds", &RESPONSE)];

/// Label of topics outside the configured list.
const TOPIC_OTHER: &str = "_other";

/// Describes every metric and makes every series exist that is known from the start.
pub(crate) fn register(topics: &[Topic]) {
    describe_counter!("pounce_cases_opened_total", "Cases opened");
    describe_counter!("pounce_cases_closed_total", "Cases closed, by severity and outcome");
    describe_counter!(
        "pounce_cases_due_total",
        "Cases whose deadline was met (in_time), missed (late), or over when they opened \
         (opened_late)"
    );
    describe_counter!(
        "pounce_cases_evicted_total",
        "Cases dropped for want of room before they were closed"
    );
    describe_gauge!("pounce_cases_open", "Cases that are not closed");
    describe_gauge!("pounce_cases_overdue", "Cases whose deadline passed and that are not closed");
    describe_histogram!(
        "pounce_case_claim_seconds",
        Unit::Seconds,
        "From a case's opening to its first claim"
    );
    describe_histogram!(
        "pounce_case_close_seconds",
        Unit::Seconds,
        "From a case's opening to its closing"
    );
    for severity in Severity::ALL {
        opened_counter(severity).absolute(0);
        gauge!("pounce_cases_open", "severity" => severity.name()).set(0.0);
        for outcome in Outcome::ALL {
            closed_counter(severity, outcome).absolute(0);
        }
    }
    for punctuality in Punctuality::ALL {
        due_counter(punctuality).absolute(0);
    }
    counter!("pounce_cases_evicted_total").absolute(0);
    for topic in topics.iter().map(Topic::as_str).chain([TOPIC_OTHER]) {
        overdue(topic, 0);
    }
    for (name, _) in BUCKETS {
        let _ = histogram!(name);
    }
}

/// A case opened or changed.
pub(crate) fn case_changed(change: &CaseChange) {
    let case = &change.case;
    match change.kind {
        CaseChangeKind::Opened => opened_counter(case.severity).increment(1),
        CaseChangeKind::Overdue => judged(case),
        CaseChangeKind::Claimed => {
            let first = case.claim.as_ref().filter(|claim| case.first_claimed_at == Some(claim.at));
            if let Some(claim) = first {
                histogram!("pounce_case_claim_seconds").record(between(case.opened_at, claim.at));
            }
        }
        CaseChangeKind::Closed => {
            let Some(closing) = &case.closing else { return };
            // One that was late was counted when its deadline passed.
            if case.punctuality == Some(Punctuality::InTime) {
                judged(case);
            }
            closed_counter(case.severity, closing.outcome).increment(1);
            histogram!("pounce_case_close_seconds").record(between(case.opened_at, closing.at));
        }
        CaseChangeKind::Evicted => counter!("pounce_cases_evicted_total").increment(1),
        CaseChangeKind::Joined
        | CaseChangeKind::Renewed
        | CaseChangeKind::Released
        | CaseChangeKind::LeaseEnded => {}
    }
}

fn judged(case: &Case) {
    if let Some(punctuality) = case.punctuality {
        due_counter(punctuality).increment(1);
    }
}

/// What the engine has to tell of itself; metrics may name `topics`.
pub(crate) fn engine_state(engine: &CaseEngine, topics: &[Topic]) {
    for (severity, open) in Severity::ALL.into_iter().zip(engine.unclosed()) {
        gauge!("pounce_cases_open", "severity" => severity.name()).set(as_f64(open));
    }
    let mut other = engine.overdue();
    for topic in topics {
        let of_topic = engine.overdue_of(topic);
        other = other.saturating_sub(of_topic);
        overdue(topic.as_str(), of_topic);
    }
    overdue(TOPIC_OTHER, other);
}

fn opened_counter(severity: Severity) -> metrics::Counter {
    counter!("pounce_cases_opened_total", "severity" => severity.name())
}

fn closed_counter(severity: Severity, outcome: Outcome) -> metrics::Counter {
    let labels = [("severity", severity.name()), ("outcome", outcome.name())];
    counter!("pounce_cases_closed_total", &labels)
}

fn due_counter(punctuality: Punctuality) -> metrics::Counter {
    counter!("pounce_cases_due_total", "result" => punctuality.name())
}

fn overdue(topic: &str, cases: usize) {
    gauge!("pounce_cases_overdue", "topic" => topic.to_owned()).set(as_f64(cases));
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(to.millis().saturating_sub(from.millis()))
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
