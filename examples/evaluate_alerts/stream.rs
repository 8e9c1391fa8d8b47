//! A topic's posts, made up minute by minute from a seed.

use std::f64::consts::TAU;
use std::time::Duration;

use pounce_alerts::alert::{AlertChange, ChangeKind};
use pounce_alerts::{AlertEngine, Observation, Settings, SignalId};
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Beta, Binomial, Distribution, Poisson};

/// Usual share of negative posts.
pub(crate) const USUAL: f64 = 0.12;
/// How far the rate swings within a day.
const SWING: f64 = 0.7;
/// Correlation of the posts of one minute: each minute draws its own share
/// from a beta distribution with this overdispersion.
pub(crate) const OVERDISPERSION: f64 = 0.03;
/// 2026-01-05, a Monday.
const START: u64 = 1_767_571_200_000;
pub(crate) const DAY: u64 = 24 * 60;

/// Posts and negatives of a minute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minute {
    pub(crate) posts: u64,
    pub(crate) negatives: u64,
}

/// An endless stream of minutes.
pub(crate) struct Mood {
    rng: StdRng,
    rate: f64,
    swing: f64,
    phase: f64,
    minute: u64,
    /// From this minute on, until that one, the share is this.
    shift: Option<(u64, u64, f64)>,
}

impl Mood {
    /// `rate` posts a minute on average over a day.
    pub(crate) fn new(seed: u64, rate: f64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let phase = rng.random_range(0.0..TAU);
        Self { rng, rate, swing: SWING, phase, minute: 0, shift: None }
    }

    /// The same rate at all times of day.
    pub(crate) fn steady(mut self) -> Self {
        self.swing = 0.0;
        self
    }

    pub(crate) fn shifted(mut self, from: u64, to: u64, share: f64) -> Self {
        self.shift = Some((from, to, share));
        self
    }
}

impl Iterator for Mood {
    type Item = Minute;

    fn next(&mut self) -> Option<Minute> {
        #[allow(clippy::cast_precision_loss, reason = "a few days of minutes")]
        let turn = self.minute as f64 / DAY as f64 * TAU;
        let rate = self.rate * (1.0 + self.swing * (turn + self.phase).sin());
        let share = match self.shift {
            Some((from, to, share)) if (from..to).contains(&self.minute) => share,
            _ => USUAL,
        };
        self.minute += 1;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let posts = Poisson::new(rate).ok()?.sample(&mut self.rng) as u64;
        let sum = (1.0 - OVERDISPERSION) / OVERDISPERSION;
        let p = Beta::new(share * sum, (1.0 - share) * sum).ok()?.sample(&mut self.rng);
        let negatives = Binomial::new(posts, p).ok()?.sample(&mut self.rng);
        Some(Minute { posts, negatives })
    }
}

/// A engine with one topic, played to in its own time.
pub(crate) struct Player {
    pub(crate) engine: AlertEngine,
    topic: Topic,
    posts: u64,
    minute: u64,
}

impl Player {
    pub(crate) fn new(settings: Settings) -> Self {
        let topic = Topic::parse(b"kite").expect("a topic");
        Self { engine: AlertEngine::new(settings, 10), topic, posts: 0, minute: 0 }
    }

    /// Plays a minute's posts evenly spread, and the seconds between. Returns
    /// each change with the minutes since the start at which it was told.
    pub(crate) fn play(&mut self, minute: Minute) -> Vec<(f64, AlertChange)> {
        let start = START + self.minute * 60_000;
        self.minute += 1;
        let mut told = Vec::new();
        let mut next = 0;
        for tick in 0..6 {
            while next < minute.posts && next * 60_000 / minute.posts < (tick + 1) * 10_000 {
                let at = start + next * 60_000 / minute.posts;
                // Negatives evenly among the others, whatever their number.
                let negative = (next + 1) * minute.negatives / minute.posts
                    > next * minute.negatives / minute.posts;
                let changes = self.post(at, negative);
                told.extend(changes.into_iter().map(|change| (minutes(at), change)));
                next += 1;
            }
            let now = start + (tick + 1) * 10_000;
            let changes = self.engine.tick(Timestamp::from_millis(now));
            told.extend(changes.into_iter().map(|change| (minutes(now), change)));
        }
        told
    }

    fn post(&mut self, at: u64, negative: bool) -> Vec<AlertChange> {
        self.posts += 1;
        let at = Timestamp::from_millis(at);
        let observation = Observation {
            topic: self.topic.clone(),
            place: None,
            post_id: PostId::parse(self.posts.to_string().as_bytes()).expect("an id"),
            author: None,
            followers: 0,
            at,
            foreign: false,
            sentiment: Sentiment::Neutral,
            discontent: negative.then_some(Severity::Low),
            signal: SignalId::default(),
            near_text: None,
        };
        self.engine.observe(&observation, at).changes
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }
}

/// Minutes from the start to a moment.
#[allow(clippy::cast_precision_loss, reason = "a few days of milliseconds")]
pub(crate) fn minutes(millis: u64) -> f64 {
    millis.saturating_sub(START) as f64 / 60_000.0
}

/// Whether a change is the opening of an alert of `kind`.
pub(crate) fn opened(change: &AlertChange, kind: pounce_alerts::key::AlertKind) -> bool {
    change.kind == ChangeKind::Opened && change.alert.kind == kind
}

/// The lag that every delay includes.
pub(crate) fn lag() -> Duration {
    Duration::from_secs(Settings::default().counting.watermark_lag_seconds.into())
}
