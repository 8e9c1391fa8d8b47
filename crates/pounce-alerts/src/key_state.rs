//! The state of one key, a topic or a place within it: its counts, its baselines
//! and its alerts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::{AlertChange, SAMPLES_MAX};
use super::baseline::Baseline;
use super::bounded_map::BoundedMap;
use super::key::{AlertId, AlertKind, Key, key_hash, within};
use super::ledger::Ledger;
use super::lifecycle::{Evaluation, Lifecycle, Step, StepContext};
use super::minute::{Minute, minutes_long};
use super::observation::Record;
use super::reach::Audience;
use super::recency::Rank;
use super::settings::{Rules, Settings, VOLUME_WINDOW_MINUTES};
use super::share::{self, ShareLimits};
use super::status::{ShareHistory, SharePoint, TopicStatus, WindowStatus};
use super::volume::{self, WeeklySums, WeeklySumsV1};
use super::wilson::lower_bound;
use super::window::MinuteCounts;
use pounce_types::post::{PostId, Timestamp};
use pounce_types::score::Severity;

/// Minutes from one point of a history to the next.
const HISTORY_STEP_MINUTES: u32 = 5;
/// Steps of a history: no more than half a day, whatever the settings.
const HISTORY_STEPS_MAX: u32 = 144;
/// A sample and its post's id.
const SAMPLE_BYTES: usize = 128;
/// The longest window whose history is worth showing.
const HISTORY_WINDOW_MINUTES_MAX: u32 = 60;

/// The one vote of an author, and what more they wrote in its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vote {
    minute: Minute,
    negatives: u32,
}

/// A negative post to show; the greatest are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Sample {
    severity: Option<Severity>,
    followers: u64,
    at: Timestamp,
    id: PostId,
}

/// A topic, or a place within it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyState {
    key: Key,
    hash: u64,
    minutes: MinuteCounts,
    baseline: Baseline,
    history: WeeklySums,
    audience: Audience,
    lifecycles: [Lifecycle; 3],
    samples: Vec<Sample>,
    /// Negative posts of the busiest author, and the minute of the last one.
    busiest: (Minute, u32),
    /// Something was counted: from here on the history has no gaps.
    started: bool,
    /// When it came to be, and was seen last, in posts that the engine took in.
    pub(super) created: u64,
    pub(super) last_seen: u64,
}

/// The state as format 1 holds it.
#[derive(Debug, Deserialize)]
pub(super) struct KeyStateV1 {
    key: Key,
    hash: u64,
    minutes: MinuteCounts,
    baseline: Baseline,
    history: WeeklySumsV1,
    audience: Audience,
    lifecycles: [Lifecycle; 3],
    samples: Vec<Sample>,
    busiest: (Minute, u32),
    started: bool,
    created: u64,
    last_seen: u64,
}

impl From<KeyStateV1> for KeyState {
    fn from(old: KeyStateV1) -> Self {
        Self {
            key: old.key,
            hash: old.hash,
            minutes: old.minutes,
            baseline: old.baseline,
            history: old.history.into(),
            audience: old.audience,
            lifecycles: old.lifecycles,
            samples: old.samples,
            busiest: old.busiest,
            started: old.started,
            created: old.created,
            last_seen: old.last_seen,
        }
    }
}

impl KeyState {
    pub(super) fn new(key: Key, created: u64) -> Self {
        Self {
            hash: key_hash(&key),
            key,
            minutes: MinuteCounts::default(),
            baseline: Baseline::default(),
            history: WeeklySums::default(),
            audience: Audience::default(),
            lifecycles: Default::default(),
            samples: Vec::new(),
            busiest: (Minute::default(), 0),
            started: false,
            created,
            last_seen: created,
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Counts a post in its minute, unless its author had their vote.
    pub(super) fn count(
        &mut self,
        record: &Record,
        rules: &Rules,
        settings: &Settings,
        votes: &mut BoundedMap<Vote>,
        ledger: &mut Ledger,
        now: Timestamp,
    ) {
        let minute = record.minute();
        let voted = match record.author {
            Some(author) => self.vote(author, record, settings, votes, now),
            None => true,
        };
        if voted {
            self.started = true;
            self.minutes.add(minute, record.negative);
            self.keep_sample(record, settings.counting.author_minutes);
        } else {
            ledger.totals.author_repeats += 1;
        }
        if let Some(author) = record.author.filter(|_| record.negative) {
            ledger.totals.reach_authors_forgotten +=
                self.audience.record(author, record.followers, minute, &rules.reach);
        }
    }

    /// Whether the post is its author's vote: the first within the period.
    fn vote(
        &mut self,
        author: u64,
        record: &Record,
        settings: &Settings,
        votes: &mut BoundedMap<Vote>,
        now: Timestamp,
    ) -> bool {
        let (minute, negative) = (record.minute(), u32::from(record.negative));
        let period = settings.counting.author_minutes;
        let hash = within(self.hash, author);
        let first = votes.get_mut(hash).filter(|vote| vote.minute.distance(minute) < period);
        let (voted, negatives) = if let Some(vote) = first {
            vote.negatives = vote.negatives.saturating_add(negative);
            (false, vote.negatives)
        } else {
            votes.put(hash, Vote { minute, negatives: negative }, now);
            (true, negative)
        };
        let stale = minute.since(self.busiest.0) >= period;
        if record.negative && (stale || negatives >= self.busiest.1) {
            self.busiest = (minute, negatives);
        }
        voted
    }

    /// Keeps a negative post as a sample if it ranks among the recent ones by severity and
    /// followers.
    fn keep_sample(&mut self, record: &Record, fresh_minutes: u32) {
        let Some(id) = record.post_id.clone() else { return };
        let Record { severity, followers, at, .. } = *record;
        self.samples.push(Sample { severity, followers, at, id });
        if self.samples.len() <= SAMPLES_MAX {
            return;
        }
        let fresh = |sample: &Sample| Minute::of(at).since(Minute::of(sample.at)) < fresh_minutes;
        let least = (0..self.samples.len())
            .min_by_key(|&index| (fresh(&self.samples[index]), &self.samples[index]));
        if let Some(least) = least {
            self.samples.remove(least);
        }
    }

    /// Evaluates the rules on `minute`, all of whose posts were counted. `topic_fires` tells
    /// which kinds fire for the whole topic; none for the whole topic itself.
    pub(super) fn close(
        &mut self,
        minute: Minute,
        rules: &Rules,
        topic_fires: [bool; 3],
        now: Timestamp,
        ledger: &mut Ledger,
        changes: &mut Vec<AlertChange>,
    ) -> [bool; 3] {
        self.minutes.forget_before(minute.plus(1).minus(rules.span_minutes()));
        let mut held_back = [false; 3];
        for kind in AlertKind::ALL {
            let Some((evaluation, step_minutes)) = self.read(kind, minute, rules) else { continue };
            let lifecycle = &self.lifecycles[kind.index()];
            if evaluation.detection.is_none() && lifecycle.is_idle() {
                continue;
            }
            let calm_minutes = match kind {
                AlertKind::Share => rules.share.calm_minutes,
                AlertKind::Volume => rules.volume.calm_minutes,
                AlertKind::Reach => rules.reach.calm_minutes,
            };
            let window = evaluation.detection.as_ref().map_or(Duration::ZERO, |found| found.window);
            let samples = || samples(&self.samples, minute.end().before(window));
            let busiest = self.busiest.0.end() > minute.end().before(window);
            let about = StepContext {
                key: &self.key,
                kind,
                minute,
                step_minutes,
                calm_minutes,
                rules: &rules.life,
                topic_fires: topic_fires[kind.index()],
                warm: !self.baseline.is_warming(&rules.share),
                now,
                samples: &samples,
                busiest_author_posts: if busiest { self.busiest.1.into() } else { 0 },
            };
            match self.lifecycles[kind.index()].step(evaluation, &about) {
                Step::Unchanged => {}
                Step::Changed(kind, alert) => changes.push(AlertChange { kind, alert: *alert }),
                Step::Resolved(firing) => ledger.resolved(*firing, changes),
                Step::HeldBack(reason) => {
                    held_back[kind.index()] = topic_fires[kind.index()];
                    ledger.held_back(kind, reason);
                }
            }
        }
        self.learn(minute, rules);
        held_back
    }

    /// Skips the minutes from `first` up to `next`, in which nothing can
    /// happen: see [`KeyState::is_idle`].
    pub(super) fn skip_idle(&mut self, first: Minute, next: Minute, rules: &Rules) {
        if self.started {
            let step = volume::STEP_MINUTES;
            let steps = next.period(step).saturating_sub(first.period(step));
            self.history.skip_idle(steps as usize, &rules.volume);
        }
        self.learn(next.minus(1), rules);
    }

    /// Whether nothing happens here until the next post: there is nothing left
    /// in any window, nothing to be learnt, and no alert.
    pub(super) fn is_idle(&self) -> bool {
        self.minutes.is_empty()
            && self.audience.is_empty()
            && self.baseline.is_settled()
            && self.lifecycles.iter().all(Lifecycle::is_idle)
    }

    /// Counts one more alert held back on behalf of the one that fires.
    pub(super) fn suppress(&mut self, kind: AlertKind) {
        if let Some(firing) = &mut self.lifecycles[kind.index()].firing {
            firing.alert.evidence.suppressed += 1;
        }
    }

    /// Which kinds fire.
    pub(super) fn fires(&self) -> [bool; 3] {
        self.lifecycles.each_ref().map(|lifecycle| lifecycle.firing.is_some())
    }

    /// Memory that it takes, in bytes: an estimate by the sizes of what it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.minutes.bytes()
            + self.baseline.bytes()
            + self.history.bytes()
            + self.audience.bytes()
            + self.samples.len() * SAMPLE_BYTES
    }

    /// What would be lost with it.
    pub(super) fn rank(&self, next: Minute, rules: &Rules) -> Rank {
        let longest = rules.share.windows_minutes.last().copied().unwrap_or(1);
        if self.fires().contains(&true) {
            Rank::Firing
        } else if !self.baseline.is_warming(&rules.share) {
            Rank::Established
        } else if self.minutes.trailing(next.minus(1), longest).posts >= rules.share.posts_min {
            Rank::Active
        } else {
            Rank::Newcomer
        }
    }

    pub(super) fn lifecycles(&self) -> &[Lifecycle; 3] {
        &self.lifecycles
    }

    pub(super) fn lifecycles_mut(&mut self) -> &mut [Lifecycle; 3] {
        &mut self.lifecycles
    }

    /// Ids of what fires.
    pub(super) fn alert_ids(&self) -> impl Iterator<Item = AlertId> {
        self.lifecycles
            .iter()
            .filter_map(|lifecycle| Some(lifecycle.firing.as_ref()?.alert.id.clone()))
    }

    /// The numbers as of the minutes before `next`.
    pub(super) fn status(&self, next: Minute, watermark: Timestamp, rules: &Rules) -> TopicStatus {
        let limits = self.share_limits(rules);
        let windows = rules.share.windows_minutes.iter().map(|&width| {
            let counts = self.minutes.trailing(next.minus(1), width);
            WindowStatus {
                window: minutes_long(width),
                counts,
                bound: lower_bound(counts, rules.share.z),
            }
        });
        TopicStatus {
            key: self.key.clone(),
            warming: self.baseline.is_warming(&rules.share),
            baseline: limits.baseline,
            threshold: limits.threshold,
            windows: windows.collect(),
            watermark,
            alert_ids: self.alert_ids().collect(),
        }
    }

    /// Whether anything fires, and the level of discontent: the highest
    /// lower bound of the windows before `next`.
    pub(super) fn mood(&self, next: Minute, rules: &Rules) -> (bool, f64) {
        let windows = rules.share.windows_minutes.iter();
        let bounds = windows
            .map(|&width| lower_bound(self.minutes.trailing(next.minus(1), width), rules.share.z));
        (self.fires().contains(&true), bounds.fold(0.0, f64::max))
    }

    /// The share over the hours before `next`. It is counted anew, so that a
    /// late post shows where it belongs.
    pub(super) fn history(&self, next: Minute, rules: &Rules) -> ShareHistory {
        let last = next.minus(1);
        let windows = &rules.share.windows_minutes;
        let has_posts =
            |&width: &u32| self.minutes.trailing(last, width).posts >= rules.share.posts_min;
        let mut shown =
            windows.iter().copied().filter(|&width| width <= HISTORY_WINDOW_MINUTES_MAX);
        let width = shown.clone().find(has_posts).or_else(|| shown.next_back());
        let width = width.or_else(|| windows.first().copied()).unwrap_or(1);
        let steps = rules.span_minutes().saturating_sub(width) / HISTORY_STEP_MINUTES;
        let points = (0..=steps.min(HISTORY_STEPS_MAX)).rev().map(|step| {
            let counts = self.minutes.trailing(last.minus(step * HISTORY_STEP_MINUTES), width);
            SharePoint { counts, bound: lower_bound(counts, rules.share.z) }
        });
        ShareHistory {
            window: minutes_long(width),
            step: minutes_long(HISTORY_STEP_MINUTES),
            points: points.collect(),
        }
    }

    fn share_limits(&self, rules: &Rules) -> ShareLimits {
        ShareLimits::of(self.baseline.share(&rules.share), &rules.share)
    }

    /// Evaluates one rule on `minute`; none when the rule has no step there.
    fn read(
        &mut self,
        kind: AlertKind,
        minute: Minute,
        rules: &Rules,
    ) -> Option<(Evaluation, u32)> {
        let disabled = Evaluation { detection: None, calm: true };
        Some(match kind {
            AlertKind::Share if !rules.share.enabled => (disabled, 1),
            AlertKind::Share => {
                let limits = self.share_limits(rules);
                let lifecycle = &self.lifecycles[kind.index()];
                let firing = lifecycle.firing.as_ref().map(|firing| firing.window);
                let ended = lifecycle.ended();
                (share::read(&self.minutes, minute, limits, firing, ended, &rules.share), 1)
            }
            AlertKind::Volume => {
                let is_step = minute.plus(1).number().is_multiple_of(volume::STEP_MINUTES);
                if !is_step || !self.started {
                    return None;
                }
                let sum = self.minutes.trailing(minute, VOLUME_WINDOW_MINUTES);
                let evaluation = self.history.step(sum.negatives, sum.posts, &rules.volume);
                (if rules.volume.enabled { evaluation } else { disabled }, volume::STEP_MINUTES)
            }
            AlertKind::Reach => {
                let evaluation = self.audience.read(minute, &rules.reach);
                (if rules.reach.enabled { evaluation } else { disabled }, 1)
            }
        })
    }

    /// Lets the baseline learn the minute that is now old enough, and remembers
    /// whether the one just evaluated may be learnt later.
    fn learn(&mut self, minute: Minute, rules: &Rules) {
        let rules = &rules.share;
        let lifecycle = &self.lifecycles[AlertKind::Share.index()];
        let hold = match &lifecycle.firing {
            // An alert that opened on the prior alone must be learnt, or it would
            // never end; and so must one that has lasted this long.
            Some(firing) => firing.warm && minute.since(firing.opened) < rules.relearn_minutes,
            None => !lifecycle.is_idle() && !self.baseline.is_warming(rules),
        };
        if hold {
            self.baseline.hold(minute);
        }
        let learnt = minute.minus(rules.baseline_gap_minutes);
        if minute.number() >= rules.baseline_gap_minutes {
            let counts = self.minutes.trailing(learnt, 1);
            self.baseline.learn(learnt, counts, rules.baseline_minutes);
        }
    }
}

/// Ids of the samples since `from`, the most severe first.
fn samples(samples: &[Sample], from: Timestamp) -> Vec<PostId> {
    let mut shown: Vec<&Sample> = samples.iter().filter(|sample| sample.at >= from).collect();
    shown.sort_unstable_by(|a, b| b.cmp(a));
    shown.into_iter().map(|sample| sample.id.clone()).collect()
}
