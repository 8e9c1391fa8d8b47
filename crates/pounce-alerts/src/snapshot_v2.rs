//! Format 2 of snapshots, and the parts that format 1 has in common with it. Only read.
//!
//! Both know neither near-texts nor the signal behind a decision, and their authors are hashed
//! without a key: votes and audiences are not taken over, so that no author counts twice.

use std::time::Duration;

use serde::Deserialize;

use super::alert::{Acknowledgement, Alert, Evidence};
use super::baseline::Baseline;
use super::hashing::AuthorHash;
use super::key::{AlertId, AlertKind, Key};
use super::key_state::KeyState;
use super::ledger::{ResolvedAlert, Totals};
use super::lifecycle::{Firing, Lifecycle};
use super::minute::Minute;
use super::observation::Record;
use super::reach::Audience;
use super::samples::Samples;
use super::snapshot_frame::Frame;
use super::topic::{SeenPost, TopicHead};
use super::volume::WeeklySums;
use super::window::MinuteCounts;
use pounce_types::post::{Place, PostId, Timestamp, Topic};
use pounce_types::score::Severity;

#[derive(Deserialize)]
pub(super) enum FrameV2 {
    Engine {
        seen: u64,
        totals: TotalsV2,
        posts_forgotten: u64,
        votes_forgotten: u64,
    },
    Resolved(Vec<ResolvedV2>),
    Topic(TopicHeadV2),
    Place(Place, KeyStateV2<WeeklySums>),
    Open(Vec<RecordV2>),
    Posts(Vec<(Minute, u64, SeenPost)>),
    /// What follows is not read.
    Votes,
    End,
}

impl From<FrameV2> for Frame {
    fn from(old: FrameV2) -> Self {
        match old {
            FrameV2::Engine { seen, totals, posts_forgotten, votes_forgotten } => Self::Engine {
                seen,
                totals: totals.into(),
                posts_forgotten,
                votes_forgotten,
                text_votes_forgotten: 0,
                hash_key: None,
                signal: None,
            },
            FrameV2::Resolved(old) => Self::Resolved(old.into_iter().map(resolved).collect()),
            FrameV2::Topic(head) => Self::Topic(head.into()),
            FrameV2::Place(place, key_state) => Self::Place(place, key_state.into()),
            FrameV2::Open(old) => Self::Open(old.into_iter().map(Record::from).collect()),
            FrameV2::Posts(posts) => Self::Posts(posts),
            FrameV2::Votes => Self::Votes(Vec::new()),
            FrameV2::End => Self::End,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct TotalsV2 {
    posts: u64,
    late: u64,
    duplicates: u64,
    clamped: u64,
    author_repeats: u64,
    keys_forgotten: u64,
    post_ids_forgotten: u64,
    votes_forgotten: u64,
    reach_authors_forgotten: u64,
    closed_early: u64,
    resolved_forgotten: u64,
    suppressed: [[u64; 2]; 3],
}

impl From<TotalsV2> for Totals {
    fn from(old: TotalsV2) -> Self {
        Self {
            posts: old.posts,
            late: old.late,
            duplicates: old.duplicates,
            clamped: old.clamped,
            author_repeats: old.author_repeats,
            keys_forgotten: old.keys_forgotten,
            post_ids_forgotten: old.post_ids_forgotten,
            votes_forgotten: old.votes_forgotten,
            reach_authors_forgotten: old.reach_authors_forgotten,
            closed_early: old.closed_early,
            resolved_forgotten: old.resolved_forgotten,
            suppressed: old.suppressed,
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RecordV2 {
    at: Timestamp,
    id: u64,
    author: Option<u64>,
    negative: bool,
    severity: Option<Severity>,
    followers: u64,
    place: Option<Place>,
    post_id: Option<PostId>,
}

impl From<RecordV2> for Record {
    fn from(old: RecordV2) -> Self {
        let severity = old.severity.unwrap_or(Severity::Low);
        Self {
            at: old.at,
            id: old.id,
            author: old.author.map(AuthorHash),
            discontent: old.negative.then_some(severity),
            followers: old.followers,
            place: old.place,
            near_text: None,
            post_id: old.post_id,
        }
    }
}

/// `H` is how the format holds the sums of a week.
#[derive(Deserialize)]
pub(super) struct KeyStateV2<H> {
    key: Key,
    hash: u64,
    minutes: MinuteCounts,
    baseline: Baseline,
    history: H,
    _audience: Audience,
    lifecycles: [LifecycleV2; 3],
    samples: Samples,
    busiest: (Minute, u32),
    started: bool,
    created: u64,
    last_seen: u64,
}

impl<H: Into<WeeklySums>> From<KeyStateV2<H>> for KeyState {
    fn from(old: KeyStateV2<H>) -> Self {
        Self {
            hash: old.hash,
            minutes: old.minutes,
            baseline: old.baseline,
            history: old.history.into(),
            lifecycles: old.lifecycles.map(Lifecycle::from),
            samples: old.samples,
            busiest: old.busiest,
            started: old.started,
            last_seen: old.last_seen,
            ..Self::new(old.key, old.created)
        }
    }
}

#[derive(Deserialize)]
pub(super) struct TopicHeadV2 {
    name: Topic,
    next: Minute,
    newest: Timestamp,
    heard_at: Timestamp,
    whole: KeyStateV2<WeeklySums>,
}

impl From<TopicHeadV2> for TopicHead {
    fn from(old: TopicHeadV2) -> Self {
        let TopicHeadV2 { name, next, newest, heard_at, whole } = old;
        Self { name, next, newest, heard_at, whole: whole.into() }
    }
}

#[derive(Deserialize)]
struct LifecycleV2 {
    firing: Option<FiringV2>,
    ended: Option<(Minute, Severity)>,
    held_back: bool,
}

impl From<LifecycleV2> for Lifecycle {
    fn from(old: LifecycleV2) -> Self {
        let LifecycleV2 { firing, ended, held_back } = old;
        Self { firing: firing.map(Firing::from), ended, held_back }
    }
}

#[derive(Deserialize)]
pub(super) struct FiringV2 {
    alert: AlertV2,
    noticed_at: Timestamp,
    window: Duration,
    opened: Minute,
    warm: bool,
    calm_minutes: u32,
}

impl From<FiringV2> for Firing {
    fn from(old: FiringV2) -> Self {
        let FiringV2 { alert, noticed_at, window, opened, warm, calm_minutes } = old;
        Self { alert: alert.into(), noticed_at, window, opened, warm, calm_minutes }
    }
}

pub(super) type ResolvedV2 = (Timestamp, FiringV2);

pub(super) fn resolved((at, firing): ResolvedV2) -> ResolvedAlert {
    (at, firing.into())
}

#[derive(Deserialize)]
struct AlertV2 {
    id: AlertId,
    key: Key,
    kind: AlertKind,
    severity: Severity,
    opened_at: Timestamp,
    resolved_at: Option<Timestamp>,
    respond_by: Timestamp,
    evidence: EvidenceV2,
    acknowledgement: Option<Acknowledgement>,
}

impl From<AlertV2> for Alert {
    fn from(old: AlertV2) -> Self {
        Self {
            id: old.id,
            key: old.key,
            kind: old.kind,
            severity: old.severity,
            opened_at: old.opened_at,
            resolved_at: old.resolved_at,
            respond_by: old.respond_by,
            evidence: old.evidence.into(),
            acknowledgement: old.acknowledgement,
            closing: None,
        }
    }
}

#[derive(Deserialize)]
struct EvidenceV2 {
    window: Duration,
    posts: u64,
    negatives: u64,
    observed: f64,
    baseline: f64,
    threshold: f64,
    bound: f64,
    sample_post_ids: Vec<PostId>,
    busiest_author_posts: u64,
    suppressed: u64,
}

impl From<EvidenceV2> for Evidence {
    fn from(old: EvidenceV2) -> Self {
        Self {
            window: old.window,
            posts: old.posts,
            negatives: old.negatives,
            observed: old.observed,
            baseline: old.baseline,
            threshold: old.threshold,
            bound: old.bound,
            sample_post_ids: old.sample_post_ids,
            busiest_author_posts: old.busiest_author_posts,
            suppressed: old.suppressed,
            distinct_texts: 0,
            commonest_text_posts: 0,
            texts_window: Duration::ZERO,
            places: Vec::new(),
        }
    }
}
