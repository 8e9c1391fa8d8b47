//! The engine's state as bytes and back: versioned, checksummed. Files are for others.
//!
//! Layout, numbers little-endian: 8 bytes magic, a `u32` version, then frames. A frame is a
//! `u32` length, a `u64` xxh3 of the content, and the content as
//! [postcard](https://postcard.jamesmunns.com). The last frame says that it is the last. Both
//! sides hold one frame at a time. Behind a topic or a place stands, within its frame, how it
//! stood in the order of eviction; readers that don't know that pass over it, and it may be missing.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::bounded_map::BoundedMap;
use super::engine::AlertEngine;
use super::hashing::HashKey;
use super::key::Key;
use super::ledger::{Ledger, ResolvedAlert};
use super::observation::Record;
use super::recency::Standing;
use super::settings::Settings;
use super::signal::Signal;
use super::snapshot_error::{SnapshotError, VERSION};
use super::snapshot_frame::Frame;
use super::snapshot_v1;
use super::snapshot_v2::FrameV2;
use super::topic::{SeenPost, TopicState};
use super::votes::Votes;
use pounce_types::post::Place;

const MAGIC: [u8; 8] = *b"PNCBOARD";
/// Entries of a list in one frame.
const LIST_MAX: usize = 4096;
/// Bytes of one frame: far more than any that is written.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// The state at one moment. It shares its memory with the engine until the engine changes it.
pub struct Snapshot {
    topics: Vec<Arc<TopicState>>,
    posts: BoundedMap<SeenPost>,
    votes: Votes,
    ledger: Ledger,
    seen: u64,
    hash_key: Option<HashKey>,
    signal: Option<Signal>,
    standings: HashMap<Key, Standing>,
}

impl AlertEngine {
    /// Everything that is known now, without the settings. Takes little time: encoding it is
    /// the snapshot's own work.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            topics: self.topics.values().cloned().collect(),
            posts: self.posts.clone(),
            votes: self.votes.clone(),
            ledger: self.ledger.clone(),
            seen: self.seen,
            hash_key: self.hash_key,
            signal: self.signal.clone(),
            standings: self.recency.standings().clone(),
        }
    }

    /// The engine that a snapshot was made of, under settings that may have
    /// changed since.
    /// # Errors
    /// [`SnapshotError`] if it is no snapshot, of another version, damaged, or can't be read.
    pub fn restore(
        mut from: impl Read,
        settings: Settings,
        topics_max: usize,
    ) -> Result<Self, SnapshotError> {
        let mut magic = [0; 8];
        let read = read_up_to(&mut from, &mut magic)?;
        if read == 0 || !MAGIC.starts_with(&magic[..read]) {
            return Err(SnapshotError::Foreign);
        }
        let mut version = [0; 4];
        if read < magic.len() || read_up_to(&mut from, &mut version)? < version.len() {
            return Err(SnapshotError::Damaged("shorter than its header"));
        }
        let mut engine = Self::new(settings, topics_max);
        match u32::from_le_bytes(version) {
            1 => snapshot_v1::read(from, &mut engine)?,
            2 => engine.read_frames(&mut from, |from, buffer| {
                Ok((read_frame::<FrameV2>(from, buffer)?.into(), None))
            })?,
            VERSION => engine.read_frames(&mut from, read_frame_with_standing)?,
            found => return Err(SnapshotError::Version { found }),
        }
        engine.rebuild_indices();
        Ok(engine)
    }

    fn read_frames<R: Read>(
        &mut self,
        from: &mut R,
        read: impl Fn(&mut R, &mut Vec<u8>) -> Result<(Frame, Option<Standing>), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let mut topic: Option<TopicState> = None;
        let mut buffer = Vec::new();
        loop {
            let (frame, standing) = read(from, &mut buffer)?;
            let orphan = SnapshotError::Damaged("a part without its topic");
            match frame {
                Frame::Engine {
                    seen,
                    totals,
                    posts_forgotten,
                    votes_forgotten,
                    text_votes_forgotten,
                    hash_key,
                    signal,
                } => {
                    (self.seen, self.ledger.totals) = (seen, totals);
                    (self.hash_key, self.signal) = (hash_key, signal);
                    self.posts.set_forgotten(posts_forgotten);
                    self.votes.authors.set_forgotten(votes_forgotten);
                    self.votes.texts.set_forgotten(text_votes_forgotten);
                }
                Frame::Resolved(resolved) => self.ledger.over.extend(resolved),
                Frame::Topic(head) => {
                    let key = Key { topic: head.name.clone(), place: None };
                    self.stood(key, standing);
                    self.put_back(topic.replace(head.into()));
                }
                Frame::Place(place, key_state) => {
                    let topic = topic.as_mut().ok_or(orphan)?;
                    let key = Key { topic: topic.name.clone(), place: Some(place.clone()) };
                    self.stood(key, standing);
                    let gone = topic.put_back_place(place, key_state).into_iter().collect();
                    let minute = topic.next().minus(1);
                    self.end_alerts(gone, minute, &mut Vec::new());
                }
                Frame::Open(records) => topic.as_mut().ok_or(orphan)?.put_back(records),
                Frame::Posts(posts) => self.posts.put_back(posts),
                Frame::Votes(votes) => self.votes.authors.put_back(votes),
                Frame::TextVotes(votes) => self.votes.texts.put_back(votes),
                Frame::End => break,
            }
        }
        self.put_back(topic);
        match read_up_to(from, &mut [0])? {
            0 => Ok(()),
            _ => Err(SnapshotError::Damaged("it goes on after its end")),
        }
    }

    /// Notes how a key stood in the order of eviction, if the snapshot tells.
    fn stood(&mut self, key: Key, standing: Option<Standing>) {
        if let Some(standing) = standing {
            self.recency.put(key, standing);
        }
    }

    /// Of topics whose names differ in case or white space alone, which older versions told apart,
    /// the one seen last stays.
    pub(super) fn put_back(&mut self, topic: Option<TopicState>) {
        let Some(topic) = topic else { return };
        let other = self.topics.remove(&topic.name).map(Arc::unwrap_or_clone);
        let [stays, goes] = match other {
            Some(other) if other.whole.last_seen > topic.whole.last_seen => {
                [other, topic].map(Some)
            }
            other => [Some(topic), other],
        };
        self.topics.extend(stays.map(|stays| (stays.name.clone(), Arc::new(stays))));
        if let Some(goes) = goes {
            let minute = goes.next().minus(1);
            let gone = std::iter::once(goes.whole)
                .chain(goes.places.into_all().map(|(_, place)| place))
                .collect();
            self.end_alerts(gone, minute, &mut Vec::new());
        }
    }
}

impl Snapshot {
    /// Writes the snapshot; memory that only it holds is freed on the way. Blocks.
    /// # Errors
    /// If `to` refuses.
    pub fn write(self, to: &mut impl Write) -> std::io::Result<()> {
        let Self { mut topics, posts, votes, ledger, seen, hash_key, signal, standings } = self;
        let mut buffer = Vec::new();
        to.write_all(&MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        let mut put = |frame: &Frame, standing: Option<Standing>| match standing {
            Some(standing) => write_frame(to, &mut buffer, &(frame, standing)),
            None => write_frame(to, &mut buffer, frame),
        };
        put(
            &Frame::Engine {
                seen,
                totals: ledger.totals,
                posts_forgotten: posts.forgotten(),
                votes_forgotten: votes.authors.forgotten(),
                text_votes_forgotten: votes.texts.forgotten(),
                hash_key,
                signal,
            },
            None,
        )?;
        // What changes soonest first: until it is written, each change is a copy.
        for posts in posts.chunks(LIST_MAX) {
            put(&Frame::Posts(posts), None)?;
        }
        for authors in votes.authors.chunks(LIST_MAX) {
            put(&Frame::Votes(authors), None)?;
        }
        for texts in votes.texts.chunks(LIST_MAX) {
            put(&Frame::TextVotes(texts), None)?;
        }
        let resolved: Vec<ResolvedAlert> = ledger.over.into();
        for resolved in resolved.chunks(LIST_MAX) {
            put(&Frame::Resolved(resolved.to_vec()), None)?;
        }
        topics.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        while let Some(topic) = topics.pop() {
            let standing = |place: Option<&Place>| {
                standings.get(&Key { topic: topic.name.clone(), place: place.cloned() }).copied()
            };
            put(&Frame::Topic(topic.head()), standing(None))?;
            for (place, key_state) in topic.places.as_of(topic.next(), &topic.rules) {
                put(&Frame::Place(place.clone(), key_state), standing(Some(place)))?;
            }
            let open: Vec<&Record> = topic.open().collect();
            for records in open.chunks(LIST_MAX) {
                put(&Frame::Open(records.iter().map(|&record| record.clone()).collect()), None)?;
            }
        }
        put(&Frame::End, None)?;
        to.flush()
    }
}

pub(super) fn write_frame(
    to: &mut impl Write,
    buffer: &mut Vec<u8>,
    frame: &impl Serialize,
) -> std::io::Result<()> {
    buffer.clear();
    let content = postcard::to_extend(frame, std::mem::take(buffer))
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    let length = u32::try_from(content.len()).map_err(std::io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&xxh3_64(&content).to_le_bytes())?;
    to.write_all(&content)?;
    *buffer = content;
    Ok(())
}

pub(super) fn read_frame<F: DeserializeOwned>(
    from: &mut impl Read,
    buffer: &mut Vec<u8>,
) -> Result<F, SnapshotError> {
    read_content(from, buffer)?;
    postcard::from_bytes(buffer).map_err(not_what_it_says)
}

fn read_frame_with_standing(
    from: &mut impl Read,
    buffer: &mut Vec<u8>,
) -> Result<(Frame, Option<Standing>), SnapshotError> {
    read_content(from, buffer)?;
    let (frame, rest) = postcard::take_from_bytes(buffer).map_err(not_what_it_says)?;
    let standing = (!rest.is_empty()).then(|| postcard::from_bytes(rest));
    Ok((frame, standing.transpose().map_err(not_what_it_says)?))
}

fn not_what_it_says(_: postcard::Error) -> SnapshotError {
    SnapshotError::Damaged("it does not hold what its header says")
}

/// Fills `buffer` with the content of the next frame.
fn read_content(from: &mut impl Read, buffer: &mut Vec<u8>) -> Result<(), SnapshotError> {
    let mut header = [0; 12];
    if read_up_to(from, &mut header)? < header.len() {
        return Err(SnapshotError::Damaged("it ends early"));
    }
    let (length, checksum) = header.split_at(4);
    let length = length.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte));
    if length > FRAME_BYTES_MAX {
        return Err(SnapshotError::Damaged("a part is longer than any can be"));
    }
    buffer.resize(length, 0);
    if read_up_to(from, buffer)? < length {
        return Err(SnapshotError::Damaged("it ends early"));
    }
    if checksum != xxh3_64(buffer).to_le_bytes() {
        return Err(SnapshotError::Damaged("a checksum does not match"));
    }
    Ok(())
}

/// Fills `buffer` as far as there is something to read.
pub(super) fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize, SnapshotError> {
    let mut read = 0;
    while read < buffer.len() {
        match from.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(SnapshotError::Unreadable(error.kind())),
        }
    }
    Ok(read)
}
