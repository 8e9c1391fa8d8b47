//! All topics together: posts go in, changes of alerts come out.
//!
//! The engine has no clock and does no work of its own: whoever drives it calls
//! [`AlertEngine::observe`] for each scored post and [`AlertEngine::tick`] every second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::alert::{Acknowledgement, Alert, AlertChange, ChangeKind};
use super::bounded_map::BoundedMap;
use super::in_flight::{InFlight, Ticket};
use super::key::{AlertId, AlertKind, Key};
use super::key_state::Vote;
use super::ledger::Ledger;
use super::lifecycle::Firing;
use super::observation::{Observation, Record};
use super::recency::Recency;
use super::settings::Settings;
use super::topic::{EngineContext, Intake, SeenPost, TopicState};
use pounce_types::post::{Timestamp, Topic};

/// Entries outlive by this much what is asked of them in event time.
const MEMORY_SLACK: Duration = Duration::from_secs(3600);

/// What came of one post.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// Too far behind the watermark to be counted.
    pub late: bool,
    /// Its topic and id were seen before: not counted again.
    pub duplicate: bool,
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

/// Counts scored posts by topic and place, and tells when a key_state's mood
/// changes. See the [module](super) for what it promises.
#[derive(Debug, Clone)]
pub struct AlertEngine {
    pub(super) settings: Settings,
    pub(super) topics_max: usize,
    pub(super) topics: HashMap<Topic, Arc<TopicState>>,
    pub(super) posts: BoundedMap<SeenPost>,
    pub(super) votes: BoundedMap<Vote>,
    pub(super) ledger: Ledger,
    /// Number of posts taken in; orders keys by when they were seen.
    pub(super) seen: u64,
    /// Posts waiting in open minutes.
    pub(super) open: usize,
    /// Memory of the keys' states.
    pub(super) bytes: usize,
    /// Topics and places.
    pub(super) keys: usize,
    in_flight: InFlight,
    pub(super) recency: Recency,
    /// Topics that time alone can change, by when it will.
    pub(super) due: BTreeSet<(Timestamp, Topic)>,
    pub(super) firing: BTreeMap<AlertId, (Key, AlertKind)>,
}

impl AlertEngine {
    /// An empty engine. At most `topics_max` (at least 1) topics and places are
    /// counted at a time; past it the one seen least recently is forgotten.
    #[must_use]
    pub fn new(settings: Settings, topics_max: usize) -> Self {
        Self {
            topics_max: topics_max.max(1),
            topics: HashMap::new(),
            posts: BoundedMap::new(settings.limits.post_ids_max),
            votes: BoundedMap::new(settings.limits.author_votes_max),
            settings,
            ledger: Ledger::default(),
            seen: 0,
            open: 0,
            bytes: 0,
            keys: 0,
            in_flight: InFlight::default(),
            recency: Recency::default(),
            due: BTreeSet::new(),
            firing: BTreeMap::new(),
        }
    }

    /// Registers a post of `topic` that arrived and is to be scored: until its ticket is given
    /// back, the topic's watermark does not pass it. Whether it is late is decided here, by
    /// the posts that arrived before it.
    pub fn admit(&mut self, topic: &Topic, at: Timestamp, now: Timestamp) -> Ticket {
        let at = self.clamp(at, now);
        let late = self.is_late(topic, at, now);
        self.in_flight.add(topic, at, late, now)
    }

    /// Gives back the ticket of a post that will not be scored.
    pub fn release(&mut self, ticket: &Ticket) {
        self.in_flight.remove(ticket);
    }

    /// Counts the scored post that `ticket` was given for; `now` is the wall clock.
    pub fn observe_admitted(
        &mut self,
        observation: &Observation,
        ticket: &Ticket,
        now: Timestamp,
    ) -> Observed {
        self.in_flight.remove(ticket);
        self.count(observation, ticket.at, ticket.late, now)
    }

    /// Counts a scored post that arrives now.
    pub fn observe(&mut self, observation: &Observation, now: Timestamp) -> Observed {
        let at = self.clamp(observation.at, now);
        let late = self.is_late(&observation.topic, at, now);
        self.count(observation, at, late, now)
    }

    fn count(
        &mut self,
        observation: &Observation,
        at: Timestamp,
        late: bool,
        now: Timestamp,
    ) -> Observed {
        self.seen += 1;
        self.ledger.totals.posts += 1;
        let mut observed = Observed { late, ..Observed::default() };
        let counted =
            self.with_topic(&observation.topic, Some(at), now, |topic, context, changes| {
                topic.touch(observation.place.as_ref(), context);
                let record = Record::of(observation, topic.whole.hash(), at);
                let intake = topic.take_in(record, late, context);
                topic.advance(context, changes);
                intake
            });
        if let Some((intake, changes)) = counted {
            observed.duplicate = intake == Intake::Duplicate;
            observed.changes = changes;
        }
        self.ledger.totals.late += u64::from(observed.late);
        self.ledger.totals.duplicates += u64::from(observed.duplicate);
        self.make_room(&mut observed.changes);
        self.index(&observed.changes);
        observed
    }

    /// Whether a post that arrives now lies too far behind those that arrived before it.
    fn is_late(&self, topic: &Topic, at: Timestamp, now: Timestamp) -> bool {
        let counting = &self.settings.counting;
        let state = self.topics.get(topic);
        let newest = state.map(|state| state.newest()).max(self.in_flight.newest(topic));
        let Some(newest) = newest else { return false };
        let closed = state.map_or(Timestamp::default(), |state| state.next().start());
        at.after(counting.lateness()) < counting.watermark(newest.min(now)).max(closed)
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
                Arc::make_mut(state).due = None;
            }
            if let Some(((), more)) =
                self.with_topic(&topic, None, now, |state, context, changes| {
                    state.advance(context, changes);
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

    /// Takes over the posts that wait in the open minutes of an engine that took
    /// in another part of the same stream, as if they had come here. What
    /// `part` had evaluated already stays as it was.
    pub fn merge(&mut self, part: Self, now: Timestamp) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        let mut topics: Vec<TopicState> =
            part.topics.into_values().map(Arc::unwrap_or_clone).collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for mut other in topics {
            for record in other.take_open() {
                let late = self.is_late(&other.name, record.at, now);
                self.seen += 1;
                self.ledger.totals.posts += 1;
                let merged =
                    self.with_topic(&other.name, Some(record.at), now, |topic, context, _| {
                        topic.touch(record.place.as_ref(), context);
                        topic.take_in(record, late, context)
                    });
                let duplicate = merged.is_some_and(|(intake, _)| intake == Intake::Duplicate);
                self.ledger.totals.duplicates += u64::from(duplicate);
            }
            if let Some(((), more)) =
                self.with_topic(&other.name, None, now, |topic, context, changes| {
                    topic.advance(context, changes);
                })
            {
                changes.extend(more);
            }
        }
        self.make_room(&mut changes);
        self.index(&changes);
        changes
    }

    /// Notes who acknowledged an alert, firing or resolved. The first one stays.
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

    /// Rebuilds the indices that a snapshot does not hold.
    pub(super) fn rebuild_indices(&mut self) {
        let mut created = Vec::new();
        let names: Vec<Topic> = self.topics.keys().cloned().collect();
        for (name, state) in &mut self.topics {
            let state = Arc::make_mut(state);
            state.weigh();
            self.bytes += state.bytes;
            state.rules = self.settings.rules(name);
            self.open += state.open_posts();
            let key_states = std::iter::once((None, &state.whole)).chain(
                state.places.iter().map(|(place, key_state)| (Some(place.clone()), key_state)),
            );
            for (place, key_state) in key_states {
                let key = Key { topic: name.clone(), place };
                for firing in
                    key_state.lifecycles().iter().filter_map(|lifecycle| lifecycle.firing.as_ref())
                {
                    let alert = &firing.alert;
                    self.firing.insert(alert.id.clone(), (key.clone(), alert.kind));
                }
                created.push((key_state.created, key));
            }
        }
        self.keys = created.len();
        for (created, key) in created {
            self.recency.push(key, created);
        }
        for name in names {
            self.schedule(&name);
        }
        let mut gone = Vec::new();
        self.make_room(&mut gone);
        self.index(&gone);
    }

    /// Runs `act` on a topic, made at `first` if it is new, and keeps up what
    /// the engine knows of it. None if there is no such topic.
    fn with_topic<T>(
        &mut self,
        name: &Topic,
        first: Option<Timestamp>,
        now: Timestamp,
        act: impl FnOnce(&mut TopicState, &mut EngineContext<'_>, &mut Vec<AlertChange>) -> T,
    ) -> Option<(T, Vec<AlertChange>)> {
        let (mut changes, mut created) = (Vec::new(), Vec::new());
        let counting = &self.settings.counting;
        let mut context = EngineContext {
            settings: &self.settings,
            posts: &mut self.posts,
            votes: &mut self.votes,
            ledger: &mut self.ledger,
            open: &mut self.open,
            created: &mut created,
            seen: self.seen,
            oldest_in_flight: self.in_flight.oldest(name, now, counting.lateness()),
            now,
        };
        let limits = &self.settings.limits;
        context.ledger.at(now, limits.resolved_alerts_max);
        if let Some(first) = first.filter(|_| !self.topics.contains_key(name)) {
            let state = TopicState::new(name.clone(), first, &mut context);
            self.bytes += state.bytes;
            self.topics.insert(name.clone(), Arc::new(state));
        }
        let state = Arc::make_mut(self.topics.get_mut(name)?);
        let before = state.bytes;
        let out = act(state, &mut context, &mut changes);
        self.bytes = self.bytes + state.bytes - before;
        self.keys += created.len();
        for (created, key) in created {
            self.recency.push(key, created);
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
            if let Some(noted) = Arc::make_mut(state).due.replace(due) {
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

    fn find_mut(&mut self, id: &str) -> Option<&mut Firing> {
        let found = self.firing.iter().find(|(found, _)| found.as_str() == id);
        if let Some((_, (key, kind))) = found {
            let state = Arc::make_mut(self.topics.get_mut(&key.topic)?);
            let key_state = state.key_state_mut(key.place.as_ref())?;
            return key_state.lifecycles_mut()[kind.index()].firing.as_mut();
        }
        let over = self.ledger.over.iter_mut().map(|(_, firing)| firing);
        over.rev().find(|firing| firing.alert.id.as_str() == id)
    }
}
