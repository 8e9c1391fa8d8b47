//! The rules of one topic, and the range of each of their settings.

use serde::Deserialize;

use super::error::{SettingsError, check};

/// Minutes whose negative posts VOLUME sums.
pub(crate) const VOLUME_WINDOW_MINUTES: u32 = 15;
/// Longest window or period, in minutes: a week.
const MINUTES_MAX: u32 = 7 * 24 * 60;

/// The rules of one topic.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// The share of negative posts.
    pub share: Share,
    /// The number of negative posts.
    pub volume: Volume,
    /// The audience of negative posts.
    pub reach: Reach,
    /// From opening to resolving.
    pub life: Lifecycle,
}

/// SHARE: the share of negative posts is significantly above the key's baseline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Share {
    /// Whether the rule is evaluated.
    pub enabled: bool,
    /// Trailing windows, shortest first.
    pub windows_minutes: Vec<u32>,
    /// Posts a window needs.
    pub posts_min: u64,
    /// Normal quantile of Wilson's lower bound: 2.65 leaves 0.4 % above it.
    pub z: f64,
    /// The threshold is never below this share ...
    pub threshold_min: f64,
    /// ... nor below the baseline plus this ...
    pub threshold_rise: f64,
    /// ... nor below the baseline times this.
    pub threshold_ratio: f64,
    /// Length of the baseline.
    pub baseline_minutes: u32,
    /// The baseline ends this long ago.
    pub baseline_gap_minutes: u32,
    /// Weight of the prior share, in posts.
    pub prior_posts: u32,
    /// Negative ones of the prior's posts.
    pub prior_negatives: u32,
    /// Weight of the prior share, in posts, while a topic has no baseline of its own.
    pub cold_prior_posts: u32,
    /// Normal quantile of the upper bound that stands in for the baseline until then: 1.64
    /// leaves 5 % above it.
    pub cold_z: f64,
    /// An alert older than this is the new normal: its minutes are learnt.
    pub relearn_minutes: u32,
    /// Medium from this many times the rise from baseline to threshold.
    pub medium_rise: f64,
    /// High from this many times the rise from baseline to threshold.
    pub high_rise: f64,
    /// A window with fewer posts says nothing about calm.
    pub calm_posts_min: u64,
    /// Calm for this long resolves.
    pub calm_minutes: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            enabled: true,
            windows_minutes: vec![15, 30, 60, 240],
            posts_min: 20,
            z: 2.65,
            threshold_min: 0.10,
            threshold_rise: 0.05,
            threshold_ratio: 1.5,
            baseline_minutes: 24 * 60,
            baseline_gap_minutes: 240,
            prior_posts: 200,
            prior_negatives: 30,
            cold_prior_posts: 5,
            cold_z: 1.64,
            relearn_minutes: 24 * 60,
            medium_rise: 2.0,
            high_rise: 4.0,
            calm_posts_min: 10,
            calm_minutes: 10,
        }
    }
}

/// VOLUME: the number of negative posts is far above its expected value. Evaluated
/// every five minutes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Volume {
    /// Whether the rule is evaluated.
    pub enabled: bool,
    /// Fires from this many standard deviations above the expected value.
    pub z: f64,
    /// Severity medium from this z.
    pub medium_z: f64,
    /// Severity high from this z.
    pub high_z: f64,
    /// Negative posts that 15 minutes need.
    pub negatives_min: u64,
    /// The sum must also exceed this many times ...
    pub peak_ratio: f64,
    /// ... this quantile of the last 7 days' sums.
    pub peak_quantile: f64,
    /// Upper limit of the dispersion (variance / mean).
    pub dispersion_max: f64,
    /// Nothing fires before this much was seen.
    pub warmup_minutes: u32,
    /// Below this z it is calm.
    pub calm_z: f64,
    /// Calm for this long resolves; a multiple of 5.
    pub calm_minutes: u32,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            enabled: true,
            z: 3.0,
            medium_z: 6.0,
            high_z: 10.0,
            negatives_min: 10,
            peak_ratio: 1.3,
            peak_quantile: 0.995,
            dispersion_max: 50.0,
            warmup_minutes: 12 * 60,
            calm_z: 2.0,
            calm_minutes: 10,
        }
    }
}

/// REACH: authors with a large audience post negative posts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reach {
    /// Whether the rule is evaluated.
    pub enabled: bool,
    /// Width of the window, in minutes.
    pub window_minutes: u32,
    /// Distinct authors of negative posts.
    pub authors_min: u64,
    /// Their followers together.
    pub followers_min: u64,
    /// Authors with fewer followers have no audience: they don't count here,
    /// or the key_state of a busy topic would always have reach.
    pub author_followers_min: u64,
    /// Severity medium from this many followers together.
    pub medium_followers: u64,
    /// Severity high from this many followers together.
    pub high_followers: u64,
    /// Authors remembered a topic or place; those with the most followers stay.
    pub authors_max: usize,
    /// Below the thresholds for this long resolves.
    pub calm_minutes: u32,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            enabled: true,
            window_minutes: 60,
            authors_min: 3,
            followers_min: 100_000,
            author_followers_min: 1_000,
            medium_followers: 1_000_000,
            high_followers: 10_000_000,
            authors_max: 200,
            calm_minutes: 10,
        }
    }
}

/// From opening to resolving.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lifecycle {
    /// After an alert resolved, the same kind opens again on the same topic or
    /// place only this much later, unless it is more severe.
    pub cooldown_minutes: u32,
    /// Somebody should respond within this.
    pub respond_minutes: u32,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { cooldown_minutes: 60, respond_minutes: 15 }
    }
}

impl Rules {
    /// For how many minutes counts a minute must be kept.
    pub(crate) fn span_minutes(&self) -> u32 {
        let windows = self.share.windows_minutes.last().copied().unwrap_or(1);
        windows.max(self.share.baseline_gap_minutes + 1).max(VOLUME_WINDOW_MINUTES)
    }

    /// Checks every field; `at` is the path before it.
    pub(super) fn check(&self, at: &str) -> Result<(), SettingsError> {
        self.share.check(at)?;
        self.volume.check(at)?;
        self.reach.check(at)?;
        let life = [
            ("cooldown_minutes", self.life.cooldown_minutes),
            ("respond_minutes", self.life.respond_minutes),
        ];
        for (field, value) in life {
            check(value <= MINUTES_MAX, format!("{at}life.{field}"), "at most 10080 (a week)")?;
        }
        Ok(())
    }
}

const PROBABILITY: &str = "between 0 and 1";
const QUANTILE: &str = "between 0 and 100";
const RATIO: &str = "between 1 and 1000";
const MINUTES: &str = "from 1 to 10080 (a week)";

fn is_minutes(value: u32) -> bool {
    (1..=MINUTES_MAX).contains(&value)
}

impl Share {
    fn check(&self, at: &str) -> Result<(), SettingsError> {
        let of = |field: &str| format!("{at}share.{field}");
        let windows = &self.windows_minutes;
        check(
            (1..=8).contains(&windows.len())
                && windows.iter().all(|&width| (1..=1440).contains(&width))
                && windows.is_sorted_by(|a, b| a < b),
            of("windows_minutes"),
            "1 to 8 rising numbers from 1 to 1440",
        )?;
        check(self.posts_min >= 1, of("posts_min"), "at least 1")?;
        check((0.0..=100.0).contains(&self.z), of("z"), QUANTILE)?;
        check((0.0..=1.0).contains(&self.threshold_min), of("threshold_min"), PROBABILITY)?;
        check((0.0..=1.0).contains(&self.threshold_rise), of("threshold_rise"), PROBABILITY)?;
        check((1.0..=1000.0).contains(&self.threshold_ratio), of("threshold_ratio"), RATIO)?;
        check(
            self.threshold_min > 0.0 && (self.threshold_rise > 0.0 || self.threshold_ratio > 1.0),
            of("threshold_rise"),
            "above 0, or threshold_ratio above 1, and threshold_min above 0",
        )?;
        check(is_minutes(self.baseline_minutes), of("baseline_minutes"), MINUTES)?;
        check(
            (1..=1440).contains(&self.baseline_gap_minutes),
            of("baseline_gap_minutes"),
            "from 1 to 1440",
        )?;
        check((1..=1_000_000).contains(&self.prior_posts), of("prior_posts"), "from 1 to 1000000")?;
        check(
            self.prior_negatives <= self.prior_posts,
            of("prior_negatives"),
            "at most share.prior_posts",
        )?;
        check(
            (1..=1_000_000).contains(&self.cold_prior_posts),
            of("cold_prior_posts"),
            "from 1 to 1000000",
        )?;
        check((0.0..=100.0).contains(&self.cold_z), of("cold_z"), QUANTILE)?;
        check(is_minutes(self.relearn_minutes), of("relearn_minutes"), MINUTES)?;
        check(
            1.0 <= self.medium_rise
                && self.medium_rise <= self.high_rise
                && self.high_rise <= 1000.0,
            of("medium_rise"),
            "at least 1 and at most share.high_rise, itself at most 1000",
        )?;
        check(is_minutes(self.calm_minutes), of("calm_minutes"), MINUTES)
    }
}

impl Volume {
    fn check(&self, at: &str) -> Result<(), SettingsError> {
        let of = |field: &str| format!("{at}volume.{field}");
        check((0.0..=100.0).contains(&self.z), of("z"), QUANTILE)?;
        check(
            self.z <= self.medium_z && self.medium_z <= self.high_z && self.high_z <= 1000.0,
            of("medium_z"),
            "at least volume.z and at most volume.high_z, itself at most 1000",
        )?;
        check(self.negatives_min >= 1, of("negatives_min"), "at least 1")?;
        check((0.0..=1000.0).contains(&self.peak_ratio), of("peak_ratio"), "between 0 and 1000")?;
        check((0.0..=1.0).contains(&self.peak_quantile), of("peak_quantile"), PROBABILITY)?;
        check((1.0..=1000.0).contains(&self.dispersion_max), of("dispersion_max"), RATIO)?;
        check(is_minutes(self.warmup_minutes), of("warmup_minutes"), MINUTES)?;
        check(
            (0.0..=self.z).contains(&self.calm_z),
            of("calm_z"),
            "at least 0 and at most volume.z",
        )?;
        check(
            is_minutes(self.calm_minutes) && self.calm_minutes.is_multiple_of(5),
            of("calm_minutes"),
            "a multiple of 5 from 5 to 10080",
        )
    }
}

impl Reach {
    fn check(&self, at: &str) -> Result<(), SettingsError> {
        let of = |field: &str| format!("{at}reach.{field}");
        check((1..=1440).contains(&self.window_minutes), of("window_minutes"), "from 1 to 1440")?;
        check((1..=100_000).contains(&self.authors_max), of("authors_max"), "from 1 to 100000")?;
        check(
            self.authors_min >= 1 && self.authors_min <= self.authors_max as u64,
            of("authors_min"),
            "at least 1 and at most reach.authors_max",
        )?;
        check(
            self.followers_min <= self.medium_followers
                && self.medium_followers <= self.high_followers,
            of("medium_followers"),
            "at least reach.followers_min and at most reach.high_followers",
        )?;
        check(is_minutes(self.calm_minutes), of("calm_minutes"), MINUTES)
    }
}
