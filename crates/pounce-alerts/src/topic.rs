//! One topic: its event time, the posts of its open minutes, and its crowds.
//!
//! A minute is judged once, when the watermark passes its end. Until then its
//! posts wait, and are then counted in an order of their own: this is why
//! neither the order of arrival nor the wall clock shows in any alert.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::AlertChange;
use super::crowd::{Crowd, Vote};
use super::key::{AlertKind, Key};
use super::ledger::Ledger;
use super::memory::Memory;
use super::minute::Minute;
use super::observation::Record;
use super::settings::{Rules, Settings};
use pounce_types::post::{Place, Timestamp, Topic};

/// When a post id was seen within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sighting {
    /// Of posts with one id the first in event time counts: its minute.
    minute: Minute,
    counted: bool,
}

/// What topics share.
pub(super) struct Shared<'a> {
    pub(super) settings: &'a Settings,
    pub(super) posts: &'a mut Memory<Sighting>,
    pub(super) votes: &'a mut Memory<Vote>,
    pub(super) ledger: &'a mut Ledger,
    /// Posts waiting in open minutes, of all topics.
    pub(super) open: &'a mut usize,
    /// Crowds made since; their recency is not known yet.
    pub(super) born: &'a mut Vec<(u64, Key)>,
    /// Number of the post at hand.
    pub(super) seen: u64,
    pub(super) now: Timestamp,
}

/// Where a post went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Counted,
    Duplicate,
    Late,
    LateDuplicate,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TopicState {
    #[serde(skip)]
    pub(super) rules: Arc<Rules>,
    pub(super) name: Topic,
    /// First minute that is not closed.
    next: Minute,
    /// Newest event time, and the wall clock when the topic was heard of last.
    newest: Timestamp,
    heard_at: Timestamp,
    open: BTreeMap<Minute, Vec<Record>>,
    pub(super) whole: Crowd,
    pub(super) places: BTreeMap<Place, Crowd>,
    /// Wall clock at which the next minute closes if no post comes.
    #[serde(skip)]
    pub(super) due: Option<Timestamp>,
}

impl TopicState {
    pub(super) fn new(name: Topic, first: Timestamp, shared: &mut Shared<'_>) -> Self {
        let key = Key { topic: name.clone(), place: None };
        shared.born.push((shared.seen, key.clone()));
        let newest = first.min(shared.now);
        Self {
            rules: shared.settings.rules(&name),
            name,
            next: Minute::of(shared.settings.counting.watermark(newest)),
            newest: first,
            heard_at: shared.now,
            open: BTreeMap::new(),
            whole: Crowd::new(key, shared.seen),
            places: BTreeMap::new(),
            due: None,
        }
    }

    /// Takes in a post: waiting if its minute is open, counted at once if it
    /// comes late.
    pub(super) fn take_in(&mut self, record: Record, shared: &mut Shared<'_>) -> Taken {
        let counting = &shared.settings.counting;
        let minute = record.minute();
        let again = counting.duplicate_hours.saturating_mul(60);
        let sighting =
            shared.posts.get_mut(record.id).filter(|old| old.minute.distance(minute) <= again);
        let lateness = Duration::from_secs(u64::from(counting.lateness_max_minutes) * 60);
        let watermark = counting.watermark(self.newest.min(shared.now)).max(self.next.start());
        if record.at.after(lateness) < watermark {
            return if sighting.is_some() { Taken::LateDuplicate } else { Taken::Late };
        }
        self.newest = self.newest.max(record.at);
        self.heard_at = shared.now;
        let is_open = minute >= self.next;
        if let Some(first) = sighting {
            // Which of the two counts is settled when the minute closes.
            if is_open && !first.counted && minute <= first.minute {
                first.minute = minute;
                self.wait(minute, record, shared);
            }
            return Taken::Duplicate;
        }
        let sighting = Sighting { minute, counted: !is_open };
        shared.posts.put(record.id, sighting, shared.now, shared.settings.limits.post_ids_max);
        if is_open {
            self.wait(minute, record, shared);
        } else {
            self.count(&record, shared);
        }
        Taken::Counted
    }

    /// Closes every minute that ended before the watermark.
    pub(super) fn advance(&mut self, shared: &mut Shared<'_>, changes: &mut Vec<AlertChange>) {
        let limits = &shared.settings.limits;
        let mut next = Minute::of(self.watermark(shared.settings, shared.now));
        if *shared.open > limits.open_posts_max && !self.open.is_empty() {
            shared.ledger.totals.closed_early += 1;
            next = next.max(Minute::of(self.newest).plus(1));
        }
        while self.next < next {
            if self.is_at_rest() {
                let until = self.open.keys().next().map_or(next, |&first| first.min(next));
                if until > self.next {
                    self.rest(until);
                    continue;
                }
            }
            self.close(shared, changes);
        }
    }

    /// Event time up to which minutes are, or may be, closed: behind the newest
    /// post, going on with the wall clock while no post comes.
    pub(super) fn watermark(&self, settings: &Settings, now: Timestamp) -> Timestamp {
        let idle = now.millis().saturating_sub(self.heard_at.millis());
        let newest = self.newest.min(self.heard_at).after(Duration::from_millis(idle));
        settings.counting.watermark(newest).max(self.next.start())
    }

    /// Wall clock at which the next minute closes if no post comes; none if
    /// nothing can come of it.
    pub(super) fn next_due(&self, settings: &Settings) -> Option<Timestamp> {
        if self.open.is_empty() && self.is_at_rest() {
            return None;
        }
        let lag = Duration::from_secs(settings.counting.watermark_lag_seconds.into());
        let newest = self.newest.min(self.heard_at).millis();
        let wait = self.next.end().after(lag).millis().saturating_sub(newest);
        Some(self.heard_at.after(Duration::from_millis(wait)))
    }

    /// Takes out the posts that wait.
    pub(super) fn take_open(&mut self) -> impl Iterator<Item = Record> + use<> {
        std::mem::take(&mut self.open).into_values().flatten()
    }

    /// First minute that is not closed.
    pub(super) fn next(&self) -> Minute {
        self.next
    }

    /// Posts waiting in open minutes.
    pub(super) fn open_posts(&self) -> usize {
        self.open.values().map(Vec::len).sum()
    }

    /// The whole topic's crowd, or that of a place.
    pub(super) fn crowd(&self, place: Option<&Place>) -> Option<&Crowd> {
        place.map_or(Some(&self.whole), |place| self.places.get(place))
    }

    /// As [`TopicState::crowd`], to be changed.
    pub(super) fn crowd_mut(&mut self, place: Option<&Place>) -> Option<&mut Crowd> {
        match place {
            Some(place) => self.places.get_mut(place),
            None => Some(&mut self.whole),
        }
    }

    /// Marks the topic, and the place if the post has one, as seen.
    pub(super) fn touch(&mut self, place: Option<&Place>, shared: &mut Shared<'_>) {
        if let Some(place) = place {
            self.place(place, shared).last_seen = shared.seen;
        }
        self.whole.last_seen = shared.seen;
    }

    fn place(&mut self, place: &Place, shared: &mut Shared<'_>) -> &mut Crowd {
        if !self.places.contains_key(place) {
            let key = Key { topic: self.name.clone(), place: Some(place.clone()) };
            shared.born.push((shared.seen, key.clone()));
            self.places.insert(place.clone(), Crowd::new(key, shared.seen));
        }
        self.places.get_mut(place).expect("inserted above if it was not there")
    }

    fn wait(&mut self, minute: Minute, record: Record, shared: &mut Shared<'_>) {
        self.open.entry(minute).or_default().push(record);
        *shared.open += 1;
    }

    fn count(&mut self, record: &Record, shared: &mut Shared<'_>) {
        let rules = Arc::clone(&self.rules);
        if let Some(place) = &record.place {
            self.place(place, shared);
        }
        let place = record.place.as_ref().and_then(|place| self.places.get_mut(place));
        for crowd in std::iter::once(&mut self.whole).chain(place) {
            crowd.count(record, &rules, shared.settings, shared.votes, shared.ledger, shared.now);
        }
    }

    /// Counts and judges the next minute.
    fn close(&mut self, shared: &mut Shared<'_>, changes: &mut Vec<AlertChange>) {
        let minute = self.next;
        let mut records = self.open.remove(&minute).unwrap_or_default();
        *shared.open = shared.open.saturating_sub(records.len());
        records.sort_unstable();
        for record in &records {
            let counts = match shared.posts.get_mut(record.id) {
                Some(old) => old.minute == minute && !std::mem::replace(&mut old.counted, true),
                None => true,
            };
            if counts {
                self.count(record, shared);
            }
        }
        let rules = Arc::clone(&self.rules);
        let (now, ledger) = (shared.now, &mut *shared.ledger);
        self.whole.close(minute, &rules, [false; 3], now, ledger, changes);
        let fires = self.whole.fires();
        for place in self.places.values_mut() {
            let held_back = place.close(minute, &rules, fires, now, ledger, changes);
            for kind in AlertKind::ALL.into_iter().filter(|kind| held_back[kind.index()]) {
                self.whole.suppress(kind);
            }
        }
        self.next = minute.plus(1);
    }

    /// Whether no minute without posts can change anything.
    fn is_at_rest(&self) -> bool {
        self.whole.is_at_rest() && self.places.values().all(Crowd::is_at_rest)
    }

    fn rest(&mut self, until: Minute) {
        for crowd in std::iter::once(&mut self.whole).chain(self.places.values_mut()) {
            crowd.rest(self.next, until, &self.rules);
        }
        self.next = until;
    }
}
