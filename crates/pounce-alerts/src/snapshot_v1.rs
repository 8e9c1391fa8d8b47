//! Format 1 of snapshots: one checksum, a `u64`, and then the whole state at once. It is only
//! read.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::bounded_map::MapV1;
use super::engine::AlertEngine;
use super::minute::Minute;
use super::observation::Record;
use super::snapshot_error::SnapshotError;
use super::snapshot_v2::{KeyStateV2, RecordV2, ResolvedV2, TotalsV2, resolved};
use super::topic::{SeenPost, TopicHead, TopicState};
use super::volume::WeeklySumsV1;
use super::votes::Vote;
use pounce_types::post::{Place, Timestamp, Topic};

#[derive(Deserialize)]
struct State {
    topics: Vec<TopicV1>,
    posts: MapV1<SeenPost>,
    _votes: MapV1<Vote>,
    ledger: LedgerV1,
    seen: u64,
}

#[derive(Deserialize)]
struct TopicV1 {
    name: Topic,
    next: Minute,
    newest: Timestamp,
    heard_at: Timestamp,
    open: BTreeMap<Minute, Vec<RecordV2>>,
    whole: KeyStateV2<WeeklySumsV1>,
    places: BTreeMap<Place, KeyStateV2<WeeklySumsV1>>,
}

impl From<TopicV1> for TopicState {
    fn from(old: TopicV1) -> Self {
        let TopicV1 { name, next, newest, heard_at, open, whole, places } = old;
        let mut topic = Self::from(TopicHead { name, next, newest, heard_at, whole: whole.into() });
        for (place, old) in places {
            topic.places.put_back(place, old.into());
        }
        topic.put_back(open.into_values().flatten().map(Record::from).collect());
        topic
    }
}

#[derive(Deserialize)]
struct LedgerV1 {
    totals: TotalsV2,
    over: VecDeque<ResolvedV2>,
    _now: Timestamp,
    _over_max: usize,
}

/// Reads what comes after the version into an empty engine.
pub(super) fn read(mut from: impl Read, engine: &mut AlertEngine) -> Result<(), SnapshotError> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(|error| SnapshotError::Unreadable(error.kind()))?;
    let Some((checksum, body)) = bytes.split_at_checked(8) else {
        return Err(SnapshotError::Damaged("shorter than its header"));
    };
    if checksum != xxh3_64(body).to_le_bytes() {
        return Err(SnapshotError::Damaged("its checksum does not match"));
    }
    let state: State = postcard::from_bytes(body)
        .map_err(|_| SnapshotError::Damaged("it does not hold what its header says"))?;
    for topic in state.topics.into_iter().map(TopicState::from) {
        engine.put_back(Some(topic));
    }
    engine.posts = state.posts.into_map(engine.settings.limits.post_ids_max);
    engine.ledger.totals = state.ledger.totals.into();
    engine.ledger.over = state.ledger.over.into_iter().map(resolved).collect();
    engine.seen = state.seen;
    Ok(())
}
