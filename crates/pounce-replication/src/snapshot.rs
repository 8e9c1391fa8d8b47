//! All that a replica knows at one position of the log, as bytes and back: what a replica that
//! starts reads instead of the whole log.
//!
//! Layout: 8 bytes magic, the head's length as a little-endian `u32`, the head as protobuf, from
//! version 2 on the snapshot of the cases, from version 3 on the outcomes of alerts, and then the
//! snapshot of the alert engine. Each has a version and checksums of its own. The oldest version
//! that can hold what there is is written: without outcomes 2, and while there never was a case 1.

use std::io::{Read, Write};

use prost::Message;

use crate::replica::{ChangePosition, Replica};
use crate::sessions::{Session, Sessions};
use pounce_alerts::{AlertEngine, Closings, Hold, Outage, Settings, Snapshot, SnapshotError};
use pounce_cases::{CaseEngine, CaseSettings, CaseSnapshot, CaseSnapshotError};
use pounce_types::post::{Timestamp, Topic};

const MAGIC: [u8; 8] = *b"PNCREPLY";
/// The newest version.
const VERSION: u32 = 3;
/// The first version with cases.
const VERSION_CASES: u32 = 2;
/// The first version with outcomes of alerts.
const VERSION_OUTCOMES: u32 = 3;
/// Bytes of a head: ten thousand holds and writers have far fewer.
const HEAD_BYTES_MAX: usize = 64 << 20;

/// Why a snapshot can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is none, or damaged.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// A newer release wrote it.
    #[error("the snapshot has version {0}; this release reads up to {VERSION}")]
    NewerVersion(u32),
    /// The part of the alert engine can't be used.
    #[error("the snapshot can't be used: {0}")]
    Engine(#[from] SnapshotError),
    /// The part of the cases can't be used.
    #[error("the snapshot can't be used: {0}")]
    Cases(#[from] CaseSnapshotError),
}

/// See the module. It shares memory with the engines until they change it.
pub struct ReplicaSnapshot {
    head: Head,
    cases: CaseSnapshot,
    closings: Closings,
    engine: Snapshot,
}

impl Replica {
    /// All that is known now. Takes little time: encoding it is the snapshot's own work.
    #[must_use]
    pub fn snapshot(&self, engine: &AlertEngine, cases: &CaseEngine) -> ReplicaSnapshot {
        let (cases, closings) = (cases.snapshot(), engine.closings());
        let (holds, outage) = engine.holds();
        let sessions = self.sessions.iter().map(|(writer, session)| SessionWire {
            writer,
            number: session.number,
            heard_at: session.heard_at.millis(),
            settings: session.settings,
            reads: session.reads,
        });
        let holds = holds.into_iter().map(|hold| HoldWire {
            topic: hold.topic.to_string(),
            writer: hold.writer,
            oldest: hold.oldest.millis(),
            told_at: hold.told_at.millis(),
        });
        let head = Head {
            version: match (closings.is_empty(), cases.is_empty()) {
                (false, _) => VERSION_OUTCOMES,
                (true, false) => VERSION_CASES,
                (true, true) => 1,
            },
            clock: self.clock.millis(),
            position: self.position,
            changes_origin: self.last_change.origin,
            changes_number: self.last_change.number,
            case_changes_number: self.last_case_change,
            sessions: sessions.collect(),
            holds: holds.collect(),
            signal_used_at: self.signal_used_at.millis(),
            form: self.form,
            resumed_at: self.resumed_at.millis(),
            outage_from: outage.map(|outage| outage.from.millis()),
            outage_until: outage.map(|outage| outage.until.millis()),
        };
        ReplicaSnapshot { head, cases, closings, engine: engine.snapshot() }
    }

    /// A replica as it was, and its engines.
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(
        mut from: impl Read,
        settings: Settings,
        topics_max: usize,
        case_settings: CaseSettings,
    ) -> Result<(Self, AlertEngine, CaseEngine), RestoreError> {
        let short = |_| RestoreError::Damaged("it ends early");
        let (mut magic, mut length) = ([0; 8], [0; 4]);
        from.read_exact(&mut magic).map_err(short)?;
        if magic != MAGIC {
            return Err(RestoreError::Damaged("it is no snapshot of a replica"));
        }
        from.read_exact(&mut length).map_err(short)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > HEAD_BYTES_MAX {
            return Err(RestoreError::Damaged("its head is longer than any can be"));
        }
        let mut head = vec![0; length];
        from.read_exact(&mut head).map_err(short)?;
        let head = Head::decode(&head[..]);
        let head = head.map_err(|_| RestoreError::Damaged("its head can't be decoded"))?;
        if head.version > VERSION {
            return Err(RestoreError::NewerVersion(head.version));
        }
        let cases = match head.version >= VERSION_CASES {
            true => CaseEngine::restore(&mut from, case_settings)?,
            false => CaseEngine::new(case_settings),
        };
        let closings = match head.version >= VERSION_OUTCOMES {
            true => Closings::read(&mut from)?,
            false => Closings::default(),
        };
        let mut engine = AlertEngine::restore(from, settings, topics_max)?;
        engine.restore_closings(closings);
        for hold in &head.holds {
            let topic = Topic::parse(hold.topic.as_bytes())
                .map_err(|_| RestoreError::Damaged("a topic can't be"))?;
            engine.restore_hold(&Hold {
                topic,
                writer: hold.writer,
                oldest: Timestamp::from_millis(hold.oldest),
                told_at: Timestamp::from_millis(hold.told_at),
            });
        }
        if let (Some(from), Some(until)) = (head.outage_from, head.outage_until) {
            let (from, until) = (Timestamp::from_millis(from), Timestamp::from_millis(until));
            engine.wait_for_writers(Outage { from, until });
        }
        Ok((Self::of(&head), engine, cases))
    }

    fn of(head: &Head) -> Self {
        let mut sessions = Sessions::default();
        // A release that kept neither has read all of its own version.
        let known = |version: u32| if version == 0 { head.version } else { version };
        for &SessionWire { writer, number, heard_at, settings, reads } in &head.sessions {
            let (heard_at, reads) = (Timestamp::from_millis(heard_at), known(reads));
            sessions.advance(writer, Session { number, heard_at, settings, reads });
        }
        Self {
            clock: Timestamp::from_millis(head.clock),
            position: head.position,
            last_change: ChangePosition {
                origin: head.changes_origin,
                number: head.changes_number,
            },
            last_case_change: head.case_changes_number,
            sessions,
            signal_used_at: Timestamp::from_millis(head.signal_used_at),
            form: known(head.form),
            resumed_at: Timestamp::from_millis(head.resumed_at),
        }
    }
}

impl ReplicaSnapshot {
    /// Writes the snapshot. Blocks.
    /// # Errors
    /// If `to` refuses.
    pub fn write(self, to: &mut impl Write) -> std::io::Result<()> {
        let head = self.head.encode_to_vec();
        let length = u32::try_from(head.len()).map_err(std::io::Error::other)?;
        to.write_all(&MAGIC)?;
        to.write_all(&length.to_le_bytes())?;
        to.write_all(&head)?;
        if self.head.version >= VERSION_CASES {
            self.cases.write(to)?;
        }
        if self.head.version >= VERSION_OUTCOMES {
            self.closings.write(to)?;
        }
        self.engine.write(to)
    }
}

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    clock: u64,
    #[prost(uint64, tag = "3")]
    position: u64,
    #[prost(uint64, tag = "4")]
    changes_origin: u64,
    #[prost(uint64, tag = "5")]
    changes_number: u64,
    #[prost(message, repeated, tag = "6")]
    sessions: Vec<SessionWire>,
    #[prost(message, repeated, tag = "7")]
    holds: Vec<HoldWire>,
    #[prost(uint64, optional, tag = "8")]
    outage_from: Option<u64>,
    #[prost(uint64, optional, tag = "9")]
    outage_until: Option<u64>,
    #[prost(uint64, tag = "10")]
    signal_used_at: u64,
    /// From version 2 on.
    #[prost(uint64, tag = "11")]
    case_changes_number: u64,
    /// Version of the newest form that an entry had.
    #[prost(uint32, tag = "12")]
    form: u32,
    #[prost(uint64, tag = "13")]
    resumed_at: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SessionWire {
    #[prost(fixed64, tag = "1")]
    writer: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint64, tag = "3")]
    heard_at: u64,
    #[prost(fixed64, tag = "4")]
    settings: u64,
    /// Version of the newest form of entries that it reads.
    #[prost(uint32, tag = "5")]
    reads: u32,
}

#[derive(Clone, PartialEq, Message)]
struct HoldWire {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(fixed64, tag = "2")]
    writer: u64,
    #[prost(uint64, tag = "3")]
    oldest: u64,
    #[prost(uint64, tag = "4")]
    told_at: u64,
}
