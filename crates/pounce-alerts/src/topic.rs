//! One topic: its event time, the posts of its open minutes, and its keys' states.
//!
//! A minute is evaluated once, when the watermark passes its end. Until then its
//! posts wait, and are then counted in an order of their own: this is why
//! neither the order of arrival nor the wall clock shows in any alert.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::AlertChange;
use super::bounded_map::BoundedMap;
use super::key::Key;
use super::key_state::{Closing, KeyState};
use super::ledger::Ledger;
use super::minute::Minute;
use super::observation::Record;
use super::places::Places;
use super::recency::{Rank, Standing};
use super::settings::{Rules, Settings};
use super::votes::Votes;
use pounce_types::post::{Place, Timestamp, Topic};

/// When a post id was seen within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeenPost {
    /// Of posts with one id the first in event time counts: its minute.
    minute: Minute,
    counted: bool,
}

/// The parts of the engine that every topic uses.
pub(super) struct EngineContext<'a> {
    pub(super) settings: &'a Settings,
    pub(super) posts: &'a mut BoundedMap<SeenPost>,
    pub(super) votes: &'a mut Votes,
    pub(super) ledger: &'a mut Ledger,
    /// Posts waiting in open minutes, of all topics.
    pub(super) open: &'a mut usize,
    /// Keys created since; their recency is not known yet.
    pub(super) created: &'a mut Vec<(u64, Key)>,
    /// Number of the post at hand.
    pub(super) seen: u64,
    /// Event time of the topic's oldest post that is not scored yet.
    pub(super) oldest_in_flight: Option<Timestamp>,
    pub(super) now: Timestamp,
}

/// What was done with a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intake {
    Counted,
    Duplicate,
    Late,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TopicState {
    pub(super) rules: Arc<Rules>,
    pub(super) name: Topic,
    /// First minute that is not closed.
    next: Minute,
    /// Newest event time, and the wall clock when the topic was heard of last.
    newest: Timestamp,
    heard_at: Timestamp,
    open: BTreeMap<Minute, Vec<Record>>,
    pub(super) whole: KeyState,
    pub(super) places: Places,
    /// Wall clock at which the next minute closes if no post comes.
    pub(super) due: Option<Timestamp>,
    /// Memory of its keys' states.
    pub(super) bytes: usize,
}

/// A topic as snapshots hold it, without its places and the posts of its open minutes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicHead {
    pub(super) name: Topic,
    pub(super) next: Minute,
    pub(super) newest: Timestamp,
    pub(super) heard_at: Timestamp,
    pub(super) whole: KeyState,
}

impl From<TopicHead> for TopicState {
    fn from(head: TopicHead) -> Self {
        let TopicHead { name, next, newest, heard_at, whole } = head;
        Self {
            rules: Arc::default(),
            name,
            next,
            newest,
            heard_at,
            open: BTreeMap::new(),
            whole,
            places: Places::default(),
            due: None,
            bytes: 0,
        }
    }
}

impl TopicState {
    /// What a snapshot holds of it, besides its places and the posts of its open minutes.
    pub(super) fn head(&self) -> TopicHead {
        TopicHead {
            name: self.name.clone(),
            next: self.next,
            newest: self.newest,
            heard_at: self.heard_at,
            whole: self.whole.clone(),
        }
    }

    /// The posts of the open minutes.
    pub(super) fn open(&self) -> impl Iterator<Item = &Record> {
        self.open.values().flatten()
    }

    /// Puts posts back into their open minutes.
    pub(super) fn put_back(&mut self, records: Vec<Record>) {
        for record in records {
            self.open.entry(record.minute()).or_default().push(record);
        }
    }

    /// Puts back a place; of those whose names differ in case or white space alone, the one seen
    /// last stays. Returns the other one.
    pub(super) fn put_back_place(&mut self, place: Place, key_state: KeyState) -> Option<KeyState> {
        match self.places.get(&place) {
            Some(other) if other.last_seen > key_state.last_seen => Some(key_state),
            _ => self.places.put_back(place, key_state),
        }
    }

    pub(super) fn new(name: Topic, first: Timestamp, context: &mut EngineContext<'_>) -> Self {
        let key = Key { topic: name.clone(), place: None };
        context.created.push((context.seen, key.clone()));
        let whole = KeyState::new(key, context.seen);
        let oldest = context.oldest_in_flight.map_or(first, |oldest| oldest.min(first));
        let oldest = oldest.min(context.now);
        Self {
            rules: context.settings.rules(&name),
            name,
            next: Minute::of(context.settings.counting.watermark(oldest)),
            newest: first,
            heard_at: context.now,
            open: BTreeMap::new(),
            bytes: whole.bytes(),
            whole,
            places: Places::default(),
            due: None,
        }
    }

    /// Takes in a post: waiting if its minute is open, counted at once if it
    /// has closed, not at all if it is `late`.
    pub(super) fn take_in(
        &mut self,
        record: Record,
        late: bool,
        context: &mut EngineContext<'_>,
    ) -> Intake {
        let counting = &context.settings.counting;
        let minute = record.minute();
        let again = counting.duplicate_hours.saturating_mul(60);
        let seen =
            context.posts.get_mut(record.id).filter(|old| old.minute.distance(minute) <= again);
        if late {
            return if seen.is_some() { Intake::Duplicate } else { Intake::Late };
        }
        self.newest = self.newest.max(record.at);
        self.heard_at = context.now;
        let is_open = minute >= self.next;
        if let Some(first) = seen {
            // Which of the two counts is settled when the minute closes.
            if is_open && !first.counted && minute <= first.minute {
                first.minute = minute;
                self.wait(minute, record, context);
            }
            return Intake::Duplicate;
        }
        let seen = SeenPost { minute, counted: !is_open };
        context.posts.put(record.id, seen, context.now);
        if is_open {
            self.wait(minute, record, context);
        } else {
            self.count(&record, context);
        }
        Intake::Counted
    }

    /// Closes every minute that ended before the watermark.
    pub(super) fn advance(
        &mut self,
        context: &mut EngineContext<'_>,
        changes: &mut Vec<AlertChange>,
    ) {
        let limits = &context.settings.limits;
        let watermark = self.watermark(context.settings, context.now);
        let oldest = context.oldest_in_flight.unwrap_or(watermark);
        let mut next = Minute::of(watermark.min(oldest));
        if *context.open > limits.open_posts_max && !self.open.is_empty() {
            context.ledger.totals.closed_early += 1;
            next = next.max(Minute::of(self.newest).plus(1));
        }
        while self.next < next {
            if self.is_idle() {
                let until = self.open.keys().next().map_or(next, |&first| first.min(next));
                if until > self.next {
                    self.skip_idle(until);
                    continue;
                }
            }
            self.close(context, changes);
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
        if self.open.is_empty() && self.is_idle() {
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

    /// Whether it was heard of, or has posts, after `now`.
    pub(super) fn is_heard_after(&self, now: Timestamp) -> bool {
        self.newest.max(self.heard_at) > now
    }

    /// Nothing was heard of it after `now`.
    pub(super) fn hear_no_later_than(&mut self, now: Timestamp) {
        (self.newest, self.heard_at) = (self.newest.min(now), self.heard_at.min(now));
    }

    /// Newest event time of the posts that were counted.
    pub(super) fn newest(&self) -> Timestamp {
        self.newest
    }

    /// First minute that is not closed.
    pub(super) fn next(&self) -> Minute {
        self.next
    }

    /// Takes `next` for the first minute that is not closed, and `now` for the time.
    pub(super) fn go_on_from(&mut self, next: Minute, now: Timestamp) {
        (self.next, self.newest, self.heard_at) = (next, now, now);
    }

    /// Posts waiting in open minutes.
    pub(super) fn open_posts(&self) -> usize {
        self.open.values().map(Vec::len).sum()
    }

    /// The state of the whole topic, or of a place.
    pub(super) fn key_state(&self, place: Option<&Place>) -> Option<&KeyState> {
        place.map_or(Some(&self.whole), |place| self.places.get(place))
    }

    /// How the whole topic, or a place, stands when room is short. Places go with their topic.
    pub(super) fn standing(&self, place: Option<&Place>) -> Option<Standing> {
        let key_state = self.key_state(place)?;
        let mut rank = key_state.rank(self.next, &self.rules);
        if place.is_none() && self.places.fires() {
            rank = Rank::Firing;
        }
        Some(Standing { rank, seen: key_state.last_seen })
    }

    /// As [`TopicState::key_state`], to be changed.
    pub(super) fn key_state_mut(&mut self, place: Option<&Place>) -> Option<&mut KeyState> {
        match place {
            Some(place) => self.places.get_mut(place),
            None => Some(&mut self.whole),
        }
    }

    /// Marks the topic, and the place if the post has one, as seen.
    pub(super) fn touch(&mut self, place: Option<&Place>, context: &mut EngineContext<'_>) {
        if let Some(place) = place {
            self.place(place, context).last_seen = context.seen;
        }
        self.whole.last_seen = context.seen;
    }

    fn place(&mut self, place: &Place, context: &mut EngineContext<'_>) -> &mut KeyState {
        if self.places.get(place).is_none() {
            let key = Key { topic: self.name.clone(), place: Some(place.clone()) };
            context.created.push((context.seen, key.clone()));
            let key_state = KeyState::new(key, context.seen);
            self.bytes += key_state.bytes();
            self.places.add(place.clone(), key_state, self.next, &self.rules);
        }
        self.places.get_mut(place).expect("added above if it was not there")
    }

    fn wait(&mut self, minute: Minute, record: Record, context: &mut EngineContext<'_>) {
        self.open.entry(minute).or_default().push(record);
        *context.open += 1;
    }

    fn count(&mut self, record: &Record, context: &mut EngineContext<'_>) {
        let rules = Arc::clone(&self.rules);
        if let Some(place) = &record.place {
            self.place(place, context);
        }
        let place = record.place.as_ref();
        let place = place.and_then(|place| self.places.wake(place, self.next, &rules));
        for key_state in std::iter::once(&mut self.whole).chain(place) {
            let before = key_state.bytes();
            key_state.count(
                record,
                &rules,
                &context.settings.counting,
                context.votes,
                context.ledger,
                context.now,
            );
            self.bytes = self.bytes + key_state.bytes() - before;
        }
    }

    /// Counts the posts of the next minute and evaluates it.
    fn close(&mut self, context: &mut EngineContext<'_>, changes: &mut Vec<AlertChange>) {
        let minute = self.next;
        let mut records = self.open.remove(&minute).unwrap_or_default();
        *context.open = context.open.saturating_sub(records.len());
        records.sort_unstable();
        for record in &records {
            let counts = match context.posts.get_mut(record.id) {
                Some(old) => old.minute == minute && !std::mem::replace(&mut old.counted, true),
                None => true,
            };
            if counts {
                self.count(record, context);
            }
        }
        let rules = Arc::clone(&self.rules);
        let (now, ledger) = (context.now, &mut *context.ledger);
        let places: &dyn Fn(u32) -> _ = &|width| self.places.leading(minute, width);
        let closing = Closing { minute, rules: &rules, topic_fires: [false; 3], now, places };
        self.whole.close(&closing, ledger, changes);
        let topic_fires = self.whole.fires();
        let closing = Closing { minute, rules: &rules, topic_fires, now, places: &|_| Vec::new() };
        let whole = &mut self.whole;
        self.places.close(&closing, ledger, changes, |kind| whole.suppress(kind));
        self.next = minute.plus(1);
        self.weigh();
    }

    /// Looks at every place anew, after what was no minute that closed.
    pub(super) fn take_stock(&mut self) {
        self.places.take_stock(self.next, &self.rules);
        self.weigh();
    }

    /// Takes stock of its memory.
    fn weigh(&mut self) {
        self.bytes = self.whole.bytes() + self.places.bytes();
    }

    /// Whether no minute without posts can change anything.
    fn is_idle(&self) -> bool {
        self.whole.is_idle() && self.places.is_idle()
    }

    fn skip_idle(&mut self, until: Minute) {
        self.whole.skip_idle(self.next, until, &self.rules);
        self.places.skip_idle(self.next, until, &self.rules);
        self.next = until;
        self.weigh();
    }
}
