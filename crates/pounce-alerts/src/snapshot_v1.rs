//! Format 1 of snapshots: one checksum, a `u64`, and then the whole state at once. It is only
//! read.

use std::io::Read;
use std::sync::Arc;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::bounded_map::MapV1;
use super::engine::AlertEngine;
use super::key_state::Vote;
use super::ledger::Ledger;
use super::snapshot_error::SnapshotError;
use super::topic::{SeenPost, TopicState, TopicV1};

#[derive(Deserialize)]
struct State {
    topics: Vec<TopicV1>,
    posts: MapV1<SeenPost>,
    votes: MapV1<Vote>,
    ledger: Ledger,
    seen: u64,
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
        engine.topics.insert(topic.name.clone(), Arc::new(topic));
    }
    let limits = &engine.settings.limits;
    engine.posts = state.posts.into_map(limits.post_ids_max);
    engine.votes = state.votes.into_map(limits.author_votes_max);
    engine.ledger = state.ledger;
    engine.seen = state.seen;
    Ok(())
}
