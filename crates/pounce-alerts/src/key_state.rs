//! The state of one key, a topic or a place within it: its counts, its baselines
//! and its alerts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::{AlertChange, PlaceCounts};
use super::baseline::Baseline;
use super::key::{AlertId, AlertKind, Key, key_hash};
use super::ledger::Ledger;
use super::lifecycle::{Evaluation, Lifecycle, Shown, Step, StepContext};
use super::minute::{Minute, minutes_of};
use super::observation::Record;
use super::reach::Audience;
use super::recency::Rank;
use super::samples::Samples;
use super::settings::{Counting, Rules, VOLUME_WINDOW_MINUTES};
use super::share::{self, ShareLimits};
use super::texts::RecentTexts;
use super::volume::{self, WeeklySums};
use super::votes::Votes;
use super::window::{Counts, MinuteCounts};
use pounce_types::post::Timestamp;

/// A topic, or a place within it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyState {
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) minutes: MinuteCounts,
    pub(super) baseline: Baseline,
    pub(super) history: WeeklySums,
    pub(super) audience: Audience,
    pub(super) lifecycles: [Lifecycle; 3],
    pub(super) samples: Samples,
    pub(super) texts: RecentTexts,
    /// Negative posts of the busiest author, and the minute of the last one.
    pub(super) busiest: (Minute, u32),
    /// Something was counted: from here on the history has no gaps.
    pub(super) started: bool,
    /// When it came to be, and was seen last, in posts that the engine took in.
    pub(super) created: u64,
    pub(super) last_seen: u64,
}

/// What a key needs to know when a minute closes.
pub(super) struct Closing<'a> {
    pub(super) minute: Minute,
    pub(super) rules: &'a Rules,
    /// Kinds that fire for the whole topic; none for the whole topic itself.
    pub(super) topic_fires: [bool; 3],
    /// Wall clock.
    pub(super) now: Timestamp,
    /// The leading places of a window of so many minutes; none for a place.
    pub(super) places: &'a dyn Fn(u32) -> Vec<PlaceCounts>,
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
            samples: Samples::default(),
            texts: RecentTexts::default(),
            busiest: (Minute::default(), 0),
            started: false,
            created,
            last_seen: created,
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Forgets every count. Its alerts stay.
    pub(super) fn set_counts_aside(&mut self) {
        *self = Self {
            lifecycles: std::mem::take(&mut self.lifecycles),
            last_seen: self.last_seen,
            hash: self.hash,
            ..Self::new(self.key.clone(), self.created)
        };
    }

    /// Counts a post in its minute, unless its author or its text had their vote.
    pub(super) fn count(
        &mut self,
        record: &Record,
        rules: &Rules,
        counting: &Counting,
        votes: &mut Votes,
        ledger: &mut Ledger,
        now: Timestamp,
    ) {
        let (minute, negative) = (record.minute(), record.is_negative());
        if let Some(author) = record.author.filter(|_| negative) {
            ledger.totals.reach_authors_forgotten +=
                self.audience.record(author, record.followers, minute, &rules.reach);
        }
        if let Some(author) = record.author {
            let vote = votes.author(self.hash, author, (minute, negative), counting, now);
            self.note_busiest(minute, vote.negatives, negative, counting);
            if !vote.counts {
                ledger.totals.author_repeats += 1;
                return;
            }
        }
        if negative {
            self.texts.record(minute, record.near_text);
        }
        if let Some(text) = record.near_text
            && !votes.text(self.hash, text, (minute, negative), counting, now)
        {
            ledger.totals.text_repeats += 1;
            return;
        }
        self.started = true;
        self.minutes.add(minute, negative);
        self.samples.keep(record, counting.author_minutes);
    }

    fn note_busiest(&mut self, minute: Minute, posts: u32, negative: bool, counting: &Counting) {
        let stale = minute.since(self.busiest.0) >= counting.author_minutes;
        if negative && (stale || posts >= self.busiest.1) {
            self.busiest = (minute, posts);
        }
    }

    /// Evaluates the rules on a minute all of whose posts were counted. Returns which kinds were
    /// held back because they fire for the whole topic.
    pub(super) fn close(
        &mut self,
        closing: &Closing<'_>,
        ledger: &mut Ledger,
        changes: &mut Vec<AlertChange>,
    ) -> [bool; 3] {
        let &Closing { minute, rules, topic_fires, now, .. } = closing;
        let oldest = minute.plus(1).minus(rules.span_minutes());
        self.minutes.forget_before(oldest);
        self.texts.forget_before(oldest);
        let mut held_back = [false; 3];
        for kind in AlertKind::ALL {
            let Some((evaluation, step_minutes)) = self.read(kind, minute, rules) else { continue };
            if evaluation.detection.is_none() && self.lifecycles[kind.index()].is_idle() {
                continue;
            }
            let mut lifecycle = std::mem::take(&mut self.lifecycles[kind.index()]);
            let calm_minutes = match kind {
                AlertKind::Share => rules.share.calm_minutes,
                AlertKind::Volume => rules.volume.calm_minutes,
                AlertKind::Reach => rules.reach.calm_minutes,
            };
            let shown = |window| self.shown(window, closing);
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
                shown: &shown,
            };
            let step = lifecycle.step(evaluation, &about);
            self.lifecycles[kind.index()] = lifecycle;
            match step {
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
            + self.samples.bytes()
            + self.texts.bytes()
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

    /// Limits of the share for the window of `width` minutes that ends with `last`; the baseline
    /// has learnt the minutes up to `learnt`.
    pub(super) fn share_limits(
        &self,
        last: Minute,
        width: u32,
        learnt: Minute,
        rules: &Rules,
    ) -> ShareLimits {
        let rules = &rules.share;
        if !self.baseline.is_warming(rules) {
            return ShareLimits::of(self.baseline.share(rules), rules);
        }
        // At most half of what is known is held against the other half: a change that began a
        // while ago would else count as usual.
        let known = self.minutes.oldest().map_or(0, |oldest| last.plus(1).since(oldest));
        let mut first = last.plus(1).minus(width.max(known / 2));
        if let Some(firing) = &self.lifecycles[AlertKind::Share.index()].firing {
            // What an alert rests on does not tell what is usual.
            first = first.min(firing.opened.plus(1).minus(minutes_of(firing.window)));
        }
        let unlearnt = self.minutes.trailing(first.minus(1), first.minus(1).since(learnt));
        ShareLimits::cold(self.baseline.learnt().and(unlearnt), rules)
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
                let learnt = minute.minus(1).minus(rules.share.baseline_gap_minutes);
                let limits = |width| self.share_limits(minute, width, learnt, rules);
                let lifecycle = &self.lifecycles[kind.index()];
                let firing = lifecycle.firing.as_ref().map(|firing| firing.window);
                let ended = lifecycle.ended();
                (share::read(&self.minutes, minute, limits, firing, ended, &rules.share), 1)
            }
            AlertKind::Volume => {
                let is_step = minute.plus(1).number().is_multiple_of(volume::STEP_MINUTES);
                let fires = self.lifecycles[kind.index()].firing.is_some();
                match (is_step, self.started) {
                    (true, true) => {}
                    // What it rests on was set aside, and nothing came since.
                    (true, false) if fires => return Some((disabled, volume::STEP_MINUTES)),
                    _ => return None,
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

    fn shown(&self, window: Duration, closing: &Closing<'_>) -> Shown {
        let (minute, width) = (closing.minute, minutes_of(window));
        let from = minute.plus(1).minus(width).start();
        let busy = self.busiest.0.end() > from;
        Shown {
            samples: self.samples.since(from),
            busiest_author_posts: if busy { self.busiest.1.into() } else { 0 },
            texts: self.texts.summary(minute, width),
            places: (closing.places)(width),
        }
    }

    /// Its posts in the `width` minutes that end with `last`.
    pub(super) fn counts(&self, last: Minute, width: u32) -> Counts {
        self.minutes.trailing(last, width)
    }

    /// Lets the baseline learn the minute that is now old enough, and remembers
    /// whether the one just evaluated may be learnt later.
    pub(super) fn learn(&mut self, minute: Minute, rules: &Rules) {
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
