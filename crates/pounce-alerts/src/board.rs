//! All topics together: posts go in, changes of alerts come out.
//!
//! The board has no clock and does no work of its own: whoever drives it calls
//! [`Board::observe`] for each scored post and [`Board::tick`] every second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::alert::{Acknowledgement, Alert, AlertChange, ChangeKind};
use super::crowd::Vote;
use super::key::{AlertId, AlertKind, Key};
use super::ledger::{Ledger, Totals};
use super::lifecycle::Firing;
use super::memory::Memory;
use super::observation::{Observation, Record};
use super::recency::Recency;
use super::settings::Settings;
use super::status::{ShareHistory, TopicStatus};
use super::topic::{Shared, Sighting, Taken, TopicState};
use pounce_types::post::{Place, Timestamp, Topic};

/// Entries outlive by this much what is asked of them in event time.
const MEMORY_SLACK: Duration = Duration::from_secs(3600);

/// What came of one post.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// Too far behind the watermark to be counted.
    pub late: bool,
    /// Its topic and id were seen before: not counted again.
    pub duplicate: bool,
    /// Alerts that fire for its topic, and for its place.
    pub alert_ids: Vec<AlertId>,
    /// What changed by it, oldest first: of its topic, or of one that was
    /// forgotten for want of room.
    pub changes: Vec<AlertChange>,
}

/// What came of acknowledging an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledged {
    /// The alert, with whoever took it first.
    pub alert: Alert,
    /// How long it had waited by the wall clock; none if it was taken before.
    pub waited: Option<Duration>,
}

/// No alert has this id: it never had, or resolved too long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no alert has this id: it never opened, or resolved more than a day ago")]
pub struct UnknownAlert;

/// Counts scored posts by topic and place, and tells when a crowd's mood
/// changes. See the [module](super) for what it promises.
#[derive(Debug, Clone)]
pub struct Board {
    pub(super) settings: Settings,
    pub(super) topics_max: usize,
    pub(super) topics: HashMap<Topic, TopicState>,
    pub(super) posts: Memory<Sighting>,
    pub(super) votes: Memory<Vote>,
    pub(super) ledger: Ledger,
    /// Number of posts taken in; orders keys by when they were seen.
    pub(super) seen: u64,
    /// Posts waiting in open minutes.
    open: usize,
    /// Topics and places.
    keys: usize,
    recency: Recency,
    /// Topics that time alone can change, by when it will.
    due: BTreeSet<(Timestamp, Topic)>,
    firing: BTreeMap<AlertId, (Key, AlertKind)>,
}

impl Board {
    /// An empty board. At most `topics_max` (at least 1) topics and places are
    /// counted at a time; past it the one seen least recently is forgotten.
    #[must_use]
    pub fn new(settings: Settings, topics_max: usize) -> Self {
        Self {
            settings,
            topics_max: topics_max.max(1),
            topics: HashMap::new(),
            posts: Memory::default(),
            votes: Memory::default(),
            ledger: Ledger::default(),
            seen: 0,
            open: 0,
            keys: 0,
            recency: Recency::default(),
            due: BTreeSet::new(),
            firing: BTreeMap::new(),
        }
    }

    /// Counts one scored post; `now` is the wall clock.
    pub fn observe(&mut self, observation: &Observation, now: Timestamp) -> Observed {
        let at = self.clamp(observation.at, now);
        self.seen += 1;
        self.ledger.totals.posts += 1;
        let mut observed = Observed::default();
        let taken = self.with_topic(&observation.topic, Some(at), now, |topic, shared, changes| {
            topic.touch(observation.place.as_ref(), shared);
            let record = Record::of(observation, topic.whole.hash(), at);
            let taken = topic.take_in(record, shared);
            topic.advance(shared, changes);
            observed.alert_ids.extend(topic.whole.alert_ids());
            let place = observation.place.as_ref().and_then(|place| topic.crowd(Some(place)));
            observed.alert_ids.extend(place.into_iter().flat_map(|crowd| crowd.alert_ids()));
            taken
        });
        let (taken, changes) = taken.unwrap_or((Taken::Late, Vec::new()));
        observed.changes = changes;
        observed.late = matches!(taken, Taken::Late | Taken::LateDuplicate);
        observed.duplicate = matches!(taken, Taken::Duplicate | Taken::LateDuplicate);
        self.ledger.totals.late += u64::from(observed.late);
        self.ledger.totals.duplicates += u64::from(observed.duplicate);
        self.make_room(&mut observed.changes);
        self.index(&observed.changes);
        observed
    }

    /// Moves time on when no post comes. Call it every second: it costs what
    /// there is to do, not what there is.
    pub fn tick(&mut self, now: Timestamp) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        // Taken out first: at the end of time what is due stays due.
        let mut due = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.due.pop_first());
        }
        for (_, topic) in due {
            if let Some(state) = self.topics.get_mut(&topic) {
                state.due = None;
            }
            if let Some(((), more)) =
                self.with_topic(&topic, None, now, |state, shared, changes| {
                    state.advance(shared, changes);
                })
            {
                changes.extend(more);
            }
        }
        let counting = &self.settings.counting;
        let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600) + MEMORY_SLACK;
        self.posts.forget(now, hours(counting.duplicate_hours));
        self.votes.forget(now, hours(counting.author_minutes.div_ceil(60)));
        self.ledger.forget(now, hours(self.settings.limits.resolved_hours) - MEMORY_SLACK);
        self.make_room(&mut changes);
        self.index(&changes);
        changes
    }

    /// Takes over the posts that wait in the open minutes of a board that took
    /// in another part of the same stream, as if they had come here. What
    /// `part` had judged already stays judged on what it saw.
    pub fn merge(&mut self, part: Self, now: Timestamp) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        let mut topics: Vec<TopicState> = part.topics.into_values().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for mut other in topics {
            for record in other.take_open() {
                self.seen += 1;
                self.ledger.totals.posts += 1;
                let merged =
                    self.with_topic(&other.name, Some(record.at), now, |topic, shared, _| {
                        topic.touch(record.place.as_ref(), shared);
                        topic.take_in(record, shared)
                    });
                let duplicate = merged.is_some_and(|(taken, _)| taken == Taken::Duplicate);
                self.ledger.totals.duplicates += u64::from(duplicate);
            }
            if let Some(((), more)) =
                self.with_topic(&other.name, None, now, |topic, shared, changes| {
                    topic.advance(shared, changes);
                })
            {
                changes.extend(more);
            }
        }
        self.make_room(&mut changes);
        self.index(&changes);
        changes
    }

    /// Alerts that fire, and if `resolved` those that did lately, newest first.
    #[must_use]
    pub fn alerts(&self, resolved: bool) -> Vec<Alert> {
        let firing = self.firing.iter().filter_map(|(_, (key, kind))| self.firing_of(key, *kind));
        let over = self.ledger.over.iter().map(|(_, firing)| firing).filter(|_| resolved);
        let mut alerts: Vec<Alert> =
            firing.chain(over).map(|firing| firing.alert.clone()).collect();
        alerts.sort_by(|a, b| b.opened_at.cmp(&a.opened_at).then_with(|| a.id.cmp(&b.id)));
        alerts
    }

    /// Number of alerts that fire, of each kind in the order of
    /// [`AlertKind::ALL`].
    #[must_use]
    pub fn firing(&self) -> [u64; 3] {
        let mut firing = [0; 3];
        for (_, kind) in self.firing.values() {
            firing[kind.index()] += 1;
        }
        firing
    }

    /// Notes who took an alert, firing or over. The first one stays.
    /// # Errors
    /// [`UnknownAlert`] if no alert has this id.
    pub fn acknowledge(
        &mut self,
        id: &str,
        by: &str,
        note: &str,
        at: Timestamp,
    ) -> Result<Acknowledged, UnknownAlert> {
        let firing = self.find_mut(id).ok_or(UnknownAlert)?;
        let first = firing.alert.acknowledgement.is_none();
        if first {
            firing.alert.acknowledgement =
                Some(Acknowledgement { by: by.to_owned(), note: note.to_owned(), at });
        }
        let waited = at.millis().saturating_sub(firing.noticed_at.millis());
        Ok(Acknowledged {
            alert: firing.alert.clone(),
            waited: first.then(|| Duration::from_millis(waited)),
        })
    }

    /// The numbers of a topic, or of a place within it.
    #[must_use]
    pub fn topic(&self, topic: &Topic, place: Option<&Place>) -> Option<TopicStatus> {
        let state = self.topics.get(topic)?;
        let watermark = state.next().start();
        Some(state.crowd(place)?.status(state.next(), watermark, &state.rules))
    }

    /// The topics that fire first, then those with most discontent; at most
    /// `topics_max`.
    #[must_use]
    pub fn topics(&self, topics_max: usize) -> Vec<TopicStatus> {
        // Of thousands, few are shown: only these are made into statuses and sorted.
        let mood = |state: &TopicState| state.whole.mood(state.next(), &state.rules);
        let mut topics: Vec<((bool, f64), &TopicState)> =
            self.topics.values().map(|state| (mood(state), state)).collect();
        let order = |a: &((bool, f64), &TopicState), b: &((bool, f64), &TopicState)| {
            let by_mood = b.0.partial_cmp(&a.0);
            by_mood.unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.1.name.cmp(&b.1.name))
        };
        if (1..topics.len()).contains(&topics_max) {
            topics.select_nth_unstable_by(topics_max - 1, order);
        }
        topics.truncate(topics_max);
        topics.sort_unstable_by(order);
        let status = |state: &TopicState| {
            state.whole.status(state.next(), state.next().start(), &state.rules)
        };
        topics.into_iter().map(|(_, state)| status(state)).collect()
    }

    /// How the share of a topic went over the last hours.
    #[must_use]
    pub fn history(&self, topic: &Topic) -> Option<ShareHistory> {
        let state = self.topics.get(topic)?;
        Some(state.whole.history(state.next(), &state.rules))
    }

    /// Topics and places being counted.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Posts that wait in open minutes, post ids and votes remembered: what
    /// [`Limits`](super::settings::Limits) bounds.
    #[must_use]
    pub fn held(&self) -> [usize; 3] {
        [self.open, self.posts.len(), self.votes.len()]
    }

    /// Counters of what was taken in, not counted, or dropped.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.ledger.totals;
        totals.post_ids_forgotten = self.posts.forgotten();
        totals.votes_forgotten = self.votes.forgotten();
        totals
    }

    /// The furthest event time up to which a topic's minutes are closed.
    #[must_use]
    pub fn watermark(&self) -> Option<Timestamp> {
        self.topics.values().map(|topic| topic.next().start()).max()
    }

    /// Puts back in line what a snapshot held.
    pub(super) fn relink(&mut self) {
        let mut born = Vec::new();
        let names: Vec<Topic> = self.topics.keys().cloned().collect();
        for (name, state) in &mut self.topics {
            state.rules = self.settings.rules(name);
            self.open += state.open_posts();
            let crowds = std::iter::once((None, &state.whole))
                .chain(state.places.iter().map(|(place, crowd)| (Some(place.clone()), crowd)));
            for (place, crowd) in crowds {
                let key = Key { topic: name.clone(), place };
                for firing in crowd.lives().iter().filter_map(|life| life.firing.as_ref()) {
                    let alert = &firing.alert;
                    self.firing.insert(alert.id.clone(), (key.clone(), alert.kind));
                }
                born.push((crowd.born, key));
            }
        }
        self.keys = born.len();
        for (born, key) in born {
            self.recency.push(key, born);
        }
        for name in names {
            self.schedule(&name);
        }
        let mut gone = Vec::new();
        self.make_room(&mut gone);
        self.index(&gone);
    }

    /// Runs `act` on a topic, made at `first` if it is new, and keeps up what
    /// the board knows of it. None if there is no such topic.
    fn with_topic<T>(
        &mut self,
        name: &Topic,
        first: Option<Timestamp>,
        now: Timestamp,
        act: impl FnOnce(&mut TopicState, &mut Shared<'_>, &mut Vec<AlertChange>) -> T,
    ) -> Option<(T, Vec<AlertChange>)> {
        let (mut changes, mut born) = (Vec::new(), Vec::new());
        let mut shared = Shared {
            settings: &self.settings,
            posts: &mut self.posts,
            votes: &mut self.votes,
            ledger: &mut self.ledger,
            open: &mut self.open,
            born: &mut born,
            seen: self.seen,
            now,
        };
        let limits = &self.settings.limits;
        shared.ledger.at(now, limits.resolved_alerts_max);
        if let Some(first) = first.filter(|_| !self.topics.contains_key(name)) {
            let state = TopicState::new(name.clone(), first, &mut shared);
            self.topics.insert(name.clone(), state);
        }
        let out = act(self.topics.get_mut(name)?, &mut shared, &mut changes);
        self.keys += born.len();
        for (born, key) in born {
            self.recency.push(key, born);
        }
        self.schedule(name);
        Some((out, changes))
    }

    /// Notes when time alone will change the topic, if that is sooner than
    /// what is noted. A note that proves too soon is made anew when it is due.
    fn schedule(&mut self, name: &Topic) {
        let Some(state) = self.topics.get_mut(name) else { return };
        let Some(due) = state.next_due(&self.settings) else { return };
        if state.due.is_none_or(|noted| due < noted) {
            if let Some(noted) = state.due.replace(due) {
                self.due.remove(&(noted, name.clone()));
            }
            self.due.insert((due, name.clone()));
        }
    }

    fn clamp(&mut self, at: Timestamp, now: Timestamp) -> Timestamp {
        let ahead = Duration::from_secs(self.settings.counting.future_max_seconds.into());
        if at <= now.after(ahead) {
            return at;
        }
        self.ledger.totals.clamped += 1;
        now
    }

    fn make_room(&mut self, changes: &mut Vec<AlertChange>) {
        while self.keys > self.topics_max {
            let topics = &self.topics;
            let least = self.recency.pop(|key| {
                let crowd = topics.get(&key.topic)?.crowd(key.place.as_ref())?;
                Some((crowd.born, crowd.last_seen))
            });
            let Some(key) = least else { return };
            self.forget(&key, changes);
        }
    }

    /// Forgets a place, or a topic with all its places. Their alerts end.
    fn forget(&mut self, key: &Key, changes: &mut Vec<AlertChange>) {
        let Some(state) = self.topics.get_mut(&key.topic) else { return };
        let minute = state.next().minus(1);
        let mut gone = Vec::new();
        if let Some(place) = &key.place {
            gone.extend(state.places.remove(place));
        } else if let Some(state) = self.topics.remove(&key.topic) {
            self.open = self.open.saturating_sub(state.open_posts());
            if let Some(due) = state.due {
                self.due.remove(&(due, key.topic.clone()));
            }
            gone.push(state.whole);
            gone.extend(state.places.into_values());
        }
        self.keys = self.keys.saturating_sub(gone.len());
        self.ledger.totals.keys_forgotten += gone.len() as u64;
        for mut crowd in gone {
            for firing in crowd.lives_mut().iter_mut().filter_map(|life| life.end(minute)) {
                self.ledger.resolved(firing, changes);
            }
        }
    }

    fn index(&mut self, changes: &[AlertChange]) {
        for AlertChange { kind, alert } in changes {
            match kind {
                ChangeKind::Opened => {
                    self.firing.insert(alert.id.clone(), (alert.key.clone(), alert.kind));
                }
                ChangeKind::Resolved => {
                    self.firing.remove(&alert.id);
                }
                ChangeKind::Escalated | ChangeKind::Acknowledged => {}
            }
        }
    }

    fn firing_of(&self, key: &Key, kind: AlertKind) -> Option<&Firing> {
        let crowd = self.topics.get(&key.topic)?.crowd(key.place.as_ref())?;
        crowd.lives()[kind.index()].firing.as_ref()
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Firing> {
        let found = self.firing.iter().find(|(found, _)| found.as_str() == id);
        if let Some((_, (key, kind))) = found {
            let crowd = self.topics.get_mut(&key.topic)?.crowd_mut(key.place.as_ref())?;
            return crowd.lives_mut()[kind.index()].firing.as_mut();
        }
        let over = self.ledger.over.iter_mut().map(|(_, firing)| firing);
        over.rev().find(|firing| firing.alert.id.as_str() == id)
    }
}
