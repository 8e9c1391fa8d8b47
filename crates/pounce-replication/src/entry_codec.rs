//! Entries of the log to bytes and back: parsed once, so that the state machine meets checked values.

use std::time::Duration;

use bytes::BytesMut;
use prost::Message;

use crate::entry::{Advocate, Batch, EntryError, Item, LoggedObservation, NewerVersion};
use crate::form::EntryForm;
use crate::wire::{
    AcknowledgeWire, ActionKindWire, AdvocateWire, BatchWire, CaseActionWire, CloseAlertWire,
    CloseWire, ITEMS_TAG, ItemKindWire, ItemWire, ObservationWire, ReleaseWire, SignalWire,
};
use pounce_alerts::{AuthorHash, CloseAction, Observation, Signal, SignalId, TextHash};
use pounce_cases::{ActionKind, CaseAction};
use pounce_types::closing::Outcome;
use pounce_types::post::{Fault, Place, PostId, Timestamp, Topic};
use pounce_types::score::{DiscontentSource, Sentiment, Severity};

/// Where an encoded batch has its version: after the tag of the first field.
const VERSION_AT: usize = 1;

impl Batch {
    /// The head of a batch of the oldest form, to which [`encode_item`] adds. `reads` is the newest
    /// form that the writer reads.
    pub(crate) fn encode_head(
        reads: EntryForm,
        writer: u64,
        number: u64,
        settings: u64,
    ) -> BytesMut {
        let version = EntryForm::OLDEST.version();
        // Releases that read the oldest form alone tell nothing.
        let reads = if reads > EntryForm::OLDEST { reads.version() } else { 0 };
        let head = BatchWire { version, writer, number, settings, items: Vec::new(), reads };
        let mut bytes = BytesMut::with_capacity(256);
        head.encode(&mut bytes).expect("the buffer grows");
        bytes
    }

    /// Makes an encoded batch one of `form`.
    pub(crate) fn raise(bytes: &mut BytesMut, form: EntryForm) {
        bytes[VERSION_AT] = u8::try_from(form.version()).expect("below 128");
    }

    /// Reads an entry.
    /// # Errors
    /// [`EntryError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let wire = BatchWire::decode(bytes).map_err(|e| EntryError::Damaged(e.to_string()))?;
        let max = EntryForm::NEWEST.version();
        if wire.version > max {
            return Err(NewerVersion { version: wire.version, max }.into());
        }
        if wire.version == 0 || wire.number == 0 {
            return Err(EntryError::Damaged("it has no version or no number".to_owned()));
        }
        let items: Result<Vec<Item>, EntryError> = wire.items.into_iter().map(item).collect();
        let BatchWire { writer, number, settings, version, reads, .. } = wire;
        let form = EntryForm::read_by(version);
        Ok(Self { form, reads: reads.max(version), writer, number, settings, items: items? })
    }
}

/// Adds an item to a batch.
pub(crate) fn encode_item(item: &Item, to: &mut BytesMut) {
    let kind = match item {
        Item::Observation(logged) => {
            let LoggedObservation { observation, oldest_in_flight, advocate, respond_within } =
                logged;
            ItemKindWire::Observation(ObservationWire {
                topic: observation.topic.to_string(),
                place: show(observation.place.as_ref()),
                post_id: observation.post_id.to_string(),
                author: observation.author.map(AuthorHash::bits),
                followers: observation.followers,
                at: observation.at.millis(),
                sentiment: sentiment_number(observation.sentiment),
                discontent: observation.discontent.map_or(0, severity_number),
                oldest_in_flight: oldest_in_flight.map(Timestamp::millis),
                advocate: *advocate,
                foreign: observation.foreign,
                signal: observation.signal.bits(),
                near_text: observation.near_text.map(TextHash::bits),
                respond_within: respond_within.map(millis),
            })
        }
        Item::Acknowledge { id, by, note } => ItemKindWire::Acknowledge(AcknowledgeWire {
            id: id.clone(),
            by: by.clone(),
            note: note.clone(),
        }),
        Item::Advocate(advocate) => ItemKindWire::Advocate(AdvocateWire {
            topic: show(advocate.topic.as_ref()),
            place: show(advocate.place.as_ref()),
            post_id: advocate.post_id.to_string(),
            followers: advocate.followers,
            probability: advocate.probability,
            at: advocate.at.millis(),
        }),
        Item::Release { topic, oldest_in_flight } => ItemKindWire::Release(ReleaseWire {
            topic: topic.to_string(),
            oldest_in_flight: oldest_in_flight.map(Timestamp::millis),
        }),
        Item::Signal(signal) => ItemKindWire::Signal(SignalWire {
            model: signal.model.clone(),
            revision: signal.revision.clone(),
            source: source_number(signal.source),
            threshold: signal.threshold,
        }),
        Item::Case(CaseAction { id, by, kind }) => ItemKindWire::Case(CaseActionWire {
            id: id.to_string(),
            by: by.clone(),
            kind: Some(match kind {
                ActionKind::Claim { lease } => ActionKindWire::Claim(millis(*lease)),
                ActionKind::Release => ActionKindWire::Release(true),
                ActionKind::Close { outcome, note } => ActionKindWire::Close(CloseWire {
                    outcome: outcome_number(*outcome),
                    note: note.clone(),
                }),
            }),
        }),
        Item::CloseAlert(CloseAction { id, by, outcome, note }) => {
            ItemKindWire::CloseAlert(CloseAlertWire {
                id: id.clone(),
                by: by.clone(),
                outcome: outcome_number(*outcome),
                note: note.clone(),
            })
        }
    };
    prost::encoding::message::encode(ITEMS_TAG, &ItemWire { kind: Some(kind) }, to);
}

fn item(wire: ItemWire) -> Result<Item, EntryError> {
    let damaged = |field: &str, fault: &Fault| EntryError::Damaged(format!("{field} {fault}"));
    let topic = |raw: &str| Topic::parse(raw.as_bytes()).map_err(|fault| damaged("topic", &fault));
    let place = |raw: &str| {
        let place = (!raw.is_empty()).then(|| Place::parse(raw.as_bytes())).transpose();
        place.map_err(|fault| damaged("place", &fault))
    };
    let post_id =
        |raw: &str| PostId::parse(raw.as_bytes()).map_err(|fault| damaged("post_id", &fault));
    // A kind that this release does not know raises the version: no release writes none.
    let kind = wire.kind.ok_or_else(|| EntryError::Damaged("an item is empty".to_owned()))?;
    Ok(match kind {
        ItemKindWire::Observation(wire) => Item::Observation(LoggedObservation {
            observation: Observation {
                topic: topic(&wire.topic)?,
                place: place(&wire.place)?,
                post_id: post_id(&wire.post_id)?,
                author: wire.author.map(AuthorHash::from_bits),
                followers: wire.followers,
                at: Timestamp::from_millis(wire.at),
                foreign: wire.foreign,
                sentiment: sentiment(wire.sentiment)?,
                discontent: severity(wire.discontent)?,
                signal: SignalId::from_bits(wire.signal),
                near_text: wire.near_text.map(TextHash::from_bits),
            },
            oldest_in_flight: wire.oldest_in_flight.map(Timestamp::from_millis),
            advocate: wire.advocate,
            respond_within: wire.respond_within.map(Duration::from_millis),
        }),
        ItemKindWire::Acknowledge(AcknowledgeWire { id, by, note }) => {
            Item::Acknowledge { id, by, note }
        }
        ItemKindWire::Advocate(wire) => Item::Advocate(Advocate {
            topic: (!wire.topic.is_empty()).then(|| topic(&wire.topic)).transpose()?,
            place: place(&wire.place)?,
            post_id: post_id(&wire.post_id)?,
            followers: wire.followers,
            probability: wire.probability,
            at: Timestamp::from_millis(wire.at),
        }),
        ItemKindWire::Release(wire) => Item::Release {
            topic: topic(&wire.topic)?,
            oldest_in_flight: wire.oldest_in_flight.map(Timestamp::from_millis),
        },
        ItemKindWire::Signal(SignalWire { model, revision, source, threshold }) => {
            Item::Signal(Signal { model, revision, source: source_of(source)?, threshold })
        }
        ItemKindWire::Case(wire) => Item::Case(case_action(wire)?),
        ItemKindWire::CloseAlert(CloseAlertWire { id, by, outcome, note }) => {
            Item::CloseAlert(CloseAction { id, by, outcome: outcome_of(outcome)?, note })
        }
    })
}

fn case_action(wire: CaseActionWire) -> Result<CaseAction, EntryError> {
    let CaseActionWire { id, by, kind } = wire;
    let id = id.parse().map_err(|_| unknown("the id of a case"))?;
    let kind = match kind.ok_or_else(|| unknown("an action"))? {
        ActionKindWire::Claim(lease) => ActionKind::Claim { lease: Duration::from_millis(lease) },
        ActionKindWire::Release(_) => ActionKind::Release,
        ActionKindWire::Close(CloseWire { outcome, note }) => {
            ActionKind::Close { outcome: outcome_of(outcome)?, note }
        }
    };
    Ok(CaseAction { id, by, kind })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn outcome_number(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Answered => 1,
        Outcome::NoAnswerNeeded => 2,
        Outcome::FalseAlarm => 3,
        Outcome::CouldNotReach => 4,
    }
}

fn outcome_of(number: u32) -> Result<Outcome, EntryError> {
    let found = Outcome::ALL.into_iter().find(|outcome| outcome_number(*outcome) == number);
    found.ok_or_else(|| unknown("outcome"))
}

fn show(name: Option<&impl ToString>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

fn severity_number(severity: Severity) -> u32 {
    match severity {
        Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 3,
    }
}

fn severity(number: u32) -> Result<Option<Severity>, EntryError> {
    Ok(match number {
        0 => None,
        1 => Some(Severity::Low),
        2 => Some(Severity::Medium),
        3 => Some(Severity::High),
        _ => return Err(unknown("severity")),
    })
}

fn sentiment_number(sentiment: Sentiment) -> u32 {
    match sentiment {
        Sentiment::Negative => 1,
        Sentiment::Neutral => 2,
        Sentiment::Positive => 3,
    }
}

fn sentiment(number: u32) -> Result<Sentiment, EntryError> {
    Ok(match number {
        1 => Sentiment::Negative,
        2 => Sentiment::Neutral,
        3 => Sentiment::Positive,
        _ => return Err(unknown("sentiment")),
    })
}

fn source_number(source: DiscontentSource) -> u32 {
    match source {
        DiscontentSource::Negative => 1,
        DiscontentSource::Output => 2,
    }
}

fn source_of(number: u32) -> Result<DiscontentSource, EntryError> {
    Ok(match number {
        1 => DiscontentSource::Negative,
        2 => DiscontentSource::Output,
        _ => return Err(unknown("source of discontent")),
    })
}

fn unknown(field: &str) -> EntryError {
    EntryError::Damaged(format!("{field} is none that is known"))
}
