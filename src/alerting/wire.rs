//! Alerts and topics to messages, and filters back.

use tonic::Status;

use crate::alerting::advocates::Advocate;
use crate::wire::{show_closing, show_duration, show_severity, show_timestamp};
use pounce_alerts::alert::{Alert, ChangeKind, PlaceCounts};
use pounce_alerts::key::AlertKind;
use pounce_alerts::status::{TopicStatus, WindowStatus};
use pounce_proto::{self as proto, AlertChangeKind, AlertState};
use pounce_replication::NumberedChange;
use pounce_types::post::{Fault, Place, Topic};
use pounce_types::score::Severity;

/// Which alerts somebody wants to see.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Filter {
    /// None: what names no topic.
    topics: Vec<Option<Topic>>,
    /// None: what is of no single place.
    places: Vec<Option<Place>>,
    kinds: Vec<AlertKind>,
    severity_min: Option<Severity>,
}

impl Filter {
    /// Reads a filter; an unknown enum value or a name that can't be is INVALID_ARGUMENT.
    pub(crate) fn parse(wire: Option<proto::AlertFilter>) -> Result<Self, Status> {
        let wire = wire.unwrap_or_default();
        let kinds = wire.kinds.iter().map(|&kind| match proto::AlertKind::try_from(kind) {
            Ok(proto::AlertKind::Share) => Ok(AlertKind::Share),
            Ok(proto::AlertKind::Volume) => Ok(AlertKind::Volume),
            Ok(proto::AlertKind::Reach) => Ok(AlertKind::Reach),
            Ok(proto::AlertKind::Unspecified) | Err(_) => Err(unknown("kinds")),
        });
        Ok(Self {
            kinds: kinds.collect::<Result<_, _>>()?,
            topics: names("topics", &wire.topics, Topic::parse)?,
            places: names("places", &wire.places, Place::parse)?,
            severity_min: severity_min(wire.severity_min)?,
        })
    }

    /// Whether an alert passes; an empty list lets everything pass.
    pub(crate) fn passes(&self, alert: &Alert) -> bool {
        self.is_about(Some(&alert.key.topic), alert.key.place.as_ref())
            && (self.kinds.is_empty() || self.kinds.contains(&alert.kind))
            && self.severity_min.is_none_or(|min| alert.severity >= min)
    }

    /// Whether an advocate passes: by topic and place alone.
    pub(crate) fn passes_advocate(&self, advocate: &Advocate) -> bool {
        self.is_about(advocate.topic.as_ref(), advocate.place.as_ref())
    }

    fn is_about(&self, topic: Option<&Topic>, place: Option<&Place>) -> bool {
        is_among(&self.topics, topic) && is_among(&self.places, place)
    }
}

pub(crate) fn is_among<T: PartialEq>(list: &[Option<T>], name: Option<&T>) -> bool {
    list.is_empty() || list.iter().any(|of_list| of_list.as_ref() == name)
}

/// The least severity of a filter.
pub(crate) fn severity_min(wire: i32) -> Result<Option<Severity>, Status> {
    match proto::Severity::try_from(wire) {
        Ok(proto::Severity::Unspecified) => Ok(None),
        Ok(proto::Severity::Low) => Ok(Some(Severity::Low)),
        Ok(proto::Severity::Medium) => Ok(Some(Severity::Medium)),
        Ok(proto::Severity::High) => Ok(Some(Severity::High)),
        Err(_) => Err(unknown("severity_min")),
    }
}

fn unknown(field: &str) -> Status {
    Status::invalid_argument(format!("filter.{field} has an unknown value"))
}

/// Names of a filter; an empty one stands for what names none.
pub(crate) fn names<T>(
    field: &str,
    names: &[String],
    parse: impl Fn(&[u8]) -> Result<T, Fault>,
) -> Result<Vec<Option<T>>, Status> {
    let parsed = names.iter().map(|name| match parse(name.as_bytes()) {
        Ok(name) => Ok(Some(name)),
        Err(Fault::Missing) => Ok(None),
        Err(fault) => Err(Status::invalid_argument(format!("filter.{field} {fault}"))),
    });
    parsed.collect()
}

pub(crate) fn show_change(numbered: &NumberedChange) -> proto::AlertChange {
    let NumberedChange { position, change } = numbered;
    let kind = match change.kind {
        ChangeKind::Opened => AlertChangeKind::Opened,
        ChangeKind::Escalated => AlertChangeKind::Escalated,
        ChangeKind::Acknowledged => AlertChangeKind::Acknowledged,
        ChangeKind::Closed => AlertChangeKind::Closed,
        ChangeKind::Resolved => AlertChangeKind::Resolved,
    };
    proto::AlertChange {
        kind: kind.into(),
        alert: Some(show_alert(&change.alert)),
        position: position.map(|position| position.to_string()).unwrap_or_default(),
    }
}

/// An alert that was firing when somebody began to watch.
pub(crate) fn show_firing(alert: &Alert) -> proto::AlertChange {
    let kind = AlertChangeKind::Firing.into();
    proto::AlertChange { kind, alert: Some(show_alert(alert)), ..proto::AlertChange::default() }
}

pub(crate) fn show_alert(alert: &Alert) -> proto::Alert {
    let kind = match alert.kind {
        AlertKind::Share => proto::AlertKind::Share,
        AlertKind::Volume => proto::AlertKind::Volume,
        AlertKind::Reach => proto::AlertKind::Reach,
    };
    let resolved = alert.resolved_at.is_some();
    let state = if resolved { AlertState::Resolved } else { AlertState::Firing };
    let evidence = &alert.evidence;
    proto::Alert {
        id: alert.id.to_string(),
        kind: kind.into(),
        state: state.into(),
        severity: show_severity(Some(alert.severity)).into(),
        topic: alert.key.topic.to_string(),
        place: alert.key.place.as_ref().map(ToString::to_string).unwrap_or_default(),
        opened_at: Some(show_timestamp(alert.opened_at)),
        resolved_at: alert.resolved_at.map(show_timestamp),
        respond_by: Some(show_timestamp(alert.respond_by)),
        evidence: Some(proto::AlertEvidence {
            window: Some(show_duration(evidence.window)),
            posts: evidence.posts,
            negatives: evidence.negatives,
            observed: evidence.observed,
            baseline: evidence.baseline,
            threshold: evidence.threshold,
            bound: evidence.bound,
            sample_post_ids: evidence.sample_post_ids.iter().map(ToString::to_string).collect(),
            busiest_author_posts: evidence.busiest_author_posts,
            suppressed: evidence.suppressed,
            distinct_texts: evidence.distinct_texts,
            commonest_text_posts: evidence.commonest_text_posts,
            texts_window: Some(show_duration(evidence.texts_window)),
            places: evidence.places.iter().map(show_place).collect(),
        }),
        acknowledgement: alert.acknowledgement.as_ref().map(|taken| proto::Acknowledgement {
            by: taken.by.clone(),
            note: taken.note.clone(),
            at: Some(show_timestamp(taken.at)),
        }),
        closing: alert.closing.as_ref().map(show_closing),
    }
}

fn show_place(of: &PlaceCounts) -> proto::PlaceCounts {
    let PlaceCounts { place, counts } = of;
    proto::PlaceCounts {
        place: place.to_string(),
        posts: counts.posts,
        negatives: counts.negatives,
    }
}

pub(crate) fn show_advocate(advocate: &Advocate) -> proto::Advocate {
    proto::Advocate {
        post_id: advocate.post_id.to_string(),
        topic: advocate.topic.as_ref().map(ToString::to_string).unwrap_or_default(),
        place: advocate.place.as_ref().map(ToString::to_string).unwrap_or_default(),
        followers: advocate.followers,
        probability: advocate.probability.into(),
        posted_at: Some(show_timestamp(advocate.at)),
    }
}

pub(crate) fn show_topic(status: &TopicStatus) -> proto::TopicStatus {
    proto::TopicStatus {
        topic: status.key.topic.to_string(),
        place: status.key.place.as_ref().map(ToString::to_string).unwrap_or_default(),
        warming: status.warming,
        baseline: status.baseline,
        threshold: status.threshold,
        windows: status.windows.iter().map(show_window).collect(),
        watermark: Some(show_timestamp(status.watermark)),
        alert_ids: status.alert_ids.iter().map(ToString::to_string).collect(),
    }
}

fn show_window(status: &WindowStatus) -> proto::TopicWindow {
    proto::TopicWindow {
        window: Some(show_duration(status.window)),
        posts: status.counts.posts,
        negatives: status.counts.negatives,
        share: status.counts.share(),
        bound: status.bound,
    }
}
