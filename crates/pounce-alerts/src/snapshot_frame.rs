//! A part of a snapshot: what one frame holds.

use serde::{Deserialize, Serialize};

use super::hashing::HashKey;
use super::key_state::KeyState;
use super::ledger::{ResolvedAlert, Totals};
use super::minute::Minute;
use super::observation::Record;
use super::signal::Signal;
use super::topic::{SeenPost, TopicHead};
use super::votes::Vote;
use pounce_types::post::Place;

/// A part of the state.
#[derive(Serialize, Deserialize)]
pub(super) enum Frame {
    /// First: what concerns all topics.
    Engine {
        seen: u64,
        totals: Totals,
        posts_forgotten: u64,
        votes_forgotten: u64,
        text_votes_forgotten: u64,
        hash_key: Option<HashKey>,
        signal: Option<Signal>,
    },
    Resolved(Vec<ResolvedAlert>),
    Topic(TopicHead),
    /// Of the topic before it.
    Place(Place, KeyState),
    /// Of the open minutes of the topic before it.
    Open(Vec<Record>),
    Posts(Vec<(Minute, u64, SeenPost)>),
    Votes(Vec<(Minute, u64, Vote)>),
    TextVotes(Vec<(Minute, u64, Minute)>),
    End,
}
