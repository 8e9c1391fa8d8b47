//! Everything that can be set of alerts on topics: one TOML document, checked
//! as a whole. Each field's default is the value Pounce was measured with.
//!
//! `[share]`, `[volume]`, `[reach]` and `[life]` can be overridden for one
//! topic: `[topics."acme".share]` changes what it names and keeps the rest.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use pounce_types::post::{Timestamp, Topic};

/// Longest window or period, in minutes: a week.
const MINUTES_MAX: u32 = 7 * 24 * 60;

/// Why settings can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not TOML, an unknown field, or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A topic's own settings have an unknown field or a value of the wrong type.
    #[error("topics.{topic:?}: {reason}")]
    Topic {
        /// Name of the topic.
        topic: String,
        /// What is wrong.
        reason: String,
    },
    /// A value outside its range.
    #[error("{field} must be {range}")]
    OutOfRange {
        /// Path of the field.
        field: String,
        /// What holds, in words.
        range: &'static str,
    },
}

/// How posts become alerts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// Event time, late and repeated posts.
    pub counting: Counting,
    /// Bounds of what is remembered.
    pub limits: Limits,
    rules: Arc<Rules>,
    topics: HashMap<Topic, Arc<Rules>>,
}

/// Event time, and which posts count.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counting {
    /// How long a minute stays open after its end, in event time: posts may
    /// come out of order by as much without any effect.
    pub watermark_lag_seconds: u32,
    /// Posts behind the watermark by at most this still count in their minute.
    pub lateness_max_minutes: u32,
    /// Posts ahead of the clock by more than this are taken to be of now.
    pub future_max_seconds: u32,
    /// For how long a post id counts once within its topic.
    pub duplicate_hours: u32,
    /// For how long an author counts once within a topic or place.
    pub author_minutes: u32,
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            watermark_lag_seconds: 60,
            lateness_max_minutes: 10,
            future_max_seconds: 120,
            duplicate_hours: 24,
            author_minutes: 15,
        }
    }
}

/// Bounds of memory; past each one the oldest goes, and is counted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Post ids remembered, all topics together; about 50 bytes each.
    pub post_ids_max: usize,
    /// Authors' votes remembered, all topics together; about 50 bytes each.
    pub author_votes_max: usize,
    /// Posts of minutes that are still open, all topics together; about 120
    /// bytes each. Past it the minutes of the topic at hand close early.
    pub open_posts_max: usize,
    /// Resolved alerts kept ...
    pub resolved_alerts_max: usize,
    /// ... for at most this long.
    pub resolved_hours: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            post_ids_max: 1_000_000,
            author_votes_max: 500_000,
            open_posts_max: 500_000,
            resolved_alerts_max: 10_000,
            resolved_hours: 24,
        }
    }
}

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
    pub life: Life,
}

/// SHARE: the share of negative posts is really higher.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Share {
    /// Whether it is looked for.
    pub enabled: bool,
    /// Windows that are looked at, shortest first.
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
            relearn_minutes: 24 * 60,
            medium_rise: 2.0,
            high_rise: 4.0,
            calm_posts_min: 10,
            calm_minutes: 10,
        }
    }
}

/// VOLUME: there are far more negative posts than usual. Looked for every five
/// minutes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Volume {
    /// Whether it is looked for.
    pub enabled: bool,
    /// Standard deviations above the usual from which it fires.
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
    /// Largest dispersion (variance / mean) that is believed.
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

/// REACH: people with an audience are unhappy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reach {
    /// Whether it is looked for.
    pub enabled: bool,
    /// Window.
    pub window_minutes: u32,
    /// Distinct authors of negative posts.
    pub authors_min: u64,
    /// Their followers together.
    pub followers_min: u64,
    /// Authors with fewer followers have no audience: they don't count here,
    /// or the crowd of a busy topic would always have reach.
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
pub struct Life {
    /// After an alert resolved, the same kind opens again on the same topic or
    /// place only this much later, unless it is more severe.
    pub cooldown_minutes: u32,
    /// Somebody should respond within this.
    pub respond_minutes: u32,
}

impl Default for Life {
    fn default() -> Self {
        Self { cooldown_minutes: 60, respond_minutes: 15 }
    }
}

/// Tables of the document that are not rules.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Document {
    counting: Counting,
    limits: Limits,
    share: Share,
    volume: Volume,
    reach: Reach,
    life: Life,
    topics: toml::Table,
}

impl Settings {
    /// Reads and checks a TOML document; what it leaves out keeps its default.
    /// # Errors
    /// [`SettingsError`] naming the field and what would hold.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let syntax =
            |e: toml::de::Error| SettingsError::Syntax(e.to_string().trim_end().to_owned());
        let document: Document = toml::from_str(text).map_err(syntax)?;
        let mut base: toml::Table = toml::from_str(text).map_err(syntax)?;
        for other in ["counting", "limits", "topics"] {
            base.remove(other);
        }
        let Document { counting, limits, share, volume, reach, life, topics } = document;
        check_counting(&counting)?;
        check_limits(&limits)?;
        let rules = Rules { share, volume, reach, life };
        rules.check("")?;
        let mut overridden = HashMap::with_capacity(topics.len());
        for (name, own) in topics {
            let fault = |reason: String| SettingsError::Topic { topic: name.clone(), reason };
            let topic = Topic::parse(name.as_bytes()).map_err(|e| fault(format!("name {e}")))?;
            let mut merged = toml::Value::Table(base.clone());
            overlay(&mut merged, own);
            let rules: Rules =
                merged.try_into().map_err(|e: toml::de::Error| fault(e.message().to_owned()))?;
            rules.check(&format!("topics.{name:?}."))?;
            overridden.insert(topic, Arc::new(rules));
        }
        Ok(Self { counting, limits, rules: Arc::new(rules), topics: overridden })
    }

    /// The rules that hold for `topic`.
    #[must_use]
    pub fn rules(&self, topic: &Topic) -> Arc<Rules> {
        Arc::clone(self.topics.get(topic).unwrap_or(&self.rules))
    }

    /// The topics that have settings of their own.
    pub fn overridden(&self) -> impl Iterator<Item = &Topic> {
        self.topics.keys()
    }
}

/// Puts the values of `over` in place of those in `under`, table by table.
fn overlay(under: &mut toml::Value, over: toml::Value) {
    match (under, over) {
        (toml::Value::Table(under), toml::Value::Table(over)) => {
            for (name, value) in over {
                match under.get_mut(&name) {
                    Some(old) => overlay(old, value),
                    None => {
                        under.insert(name, value);
                    }
                }
            }
        }
        (under, over) => *under = over,
    }
}

/// Collects what a field must satisfy; the first fault wins.
fn check(holds: bool, field: impl Into<String>, range: &'static str) -> Result<(), SettingsError> {
    if holds { Ok(()) } else { Err(SettingsError::OutOfRange { field: field.into(), range }) }
}

fn check_counting(counting: &Counting) -> Result<(), SettingsError> {
    check(
        (1..=3600).contains(&counting.watermark_lag_seconds),
        "counting.watermark_lag_seconds",
        "from 1 to 3600",
    )?;
    check(counting.lateness_max_minutes <= 60, "counting.lateness_max_minutes", "at most 60")?;
    check(counting.future_max_seconds <= 3600, "counting.future_max_seconds", "at most 3600")?;
    check(
        (1..=168).contains(&counting.duplicate_hours),
        "counting.duplicate_hours",
        "from 1 to 168",
    )?;
    check(
        (1..=1440).contains(&counting.author_minutes),
        "counting.author_minutes",
        "from 1 to 1440",
    )
}

fn check_limits(limits: &Limits) -> Result<(), SettingsError> {
    for (field, value) in [
        ("limits.post_ids_max", limits.post_ids_max),
        ("limits.author_votes_max", limits.author_votes_max),
        ("limits.open_posts_max", limits.open_posts_max),
        ("limits.resolved_alerts_max", limits.resolved_alerts_max),
    ] {
        check((1..=1_000_000_000).contains(&value), field, "from 1 to 1000000000")?;
    }
    check(limits.resolved_hours <= 168, "limits.resolved_hours", "at most 168")
}

impl Rules {
    /// For how many minutes counts a minute must be kept.
    pub(super) fn span_minutes(&self) -> u32 {
        let windows = self.share.windows_minutes.last().copied().unwrap_or(1);
        windows.max(self.share.baseline_gap_minutes + 1).max(super::volume::WINDOW_MINUTES)
    }

    /// Checks every field; `at` is the path before it.
    fn check(&self, at: &str) -> Result<(), SettingsError> {
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

impl Counting {
    /// Event time up to which minutes close once `newest` was seen.
    pub(super) fn watermark(&self, newest: Timestamp) -> Timestamp {
        newest.before(std::time::Duration::from_secs(self.watermark_lag_seconds.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Settings::parse(text).expect_err("settings that can't be").to_string()
    }

    #[test]
    fn an_empty_document_is_the_default() {
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
    }

    #[test]
    fn a_topic_changes_what_it_names_and_keeps_the_rest() {
        let settings = Settings::parse(
            "[share]\nz = 3.0\n[topics.\"acme air\".share]\nposts_min = 50\n\
             [topics.\"acme air\".reach]\nenabled = false\n",
        )
        .expect("good settings");
        let own = settings.rules(&Topic::parse(b"acme air").expect("a topic"));
        assert_eq!((own.share.z, own.share.posts_min, own.reach.enabled), (3.0, 50, false));
        let other = settings.rules(&Topic::parse(b"other").expect("a topic"));
        assert_eq!((other.share.z, other.share.posts_min, other.reach.enabled), (3.0, 20, true));
    }

    #[test]
    fn faults_name_the_field_and_what_would_hold() {
        assert!(fault("[share]\nzz = 3").contains("unknown field `zz`"));
        assert!(fault("[share]\nz = \"high\"").contains("line 2"));
        assert_eq!(fault("[share]\nz = -1.0"), "share.z must be between 0 and 100");
        assert_eq!(fault("[share]\nz = nan"), "share.z must be between 0 and 100");
        assert_eq!(
            fault("[topics.a.share]\nwindows_minutes = [60, 15]"),
            "topics.\"a\".share.windows_minutes must be 1 to 8 rising numbers from 1 to 1440"
        );
        assert!(fault("[topics.a.shares]\nz = 1.0").starts_with("topics.\"a\": unknown field"));
        assert!(fault("[topics.a]\ncounting = 1").starts_with("topics.\"a\": unknown field"));
        assert_eq!(
            fault("[limits]\npost_ids_max = 0"),
            "limits.post_ids_max must be from 1 to 1000000000"
        );
        assert_eq!(
            fault("[volume]\ncalm_z = 5.0"),
            "volume.calm_z must be at least 0 and at most volume.z"
        );
    }
}
