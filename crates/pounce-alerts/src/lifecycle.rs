//! From opening to resolving: OK, then FIRING, then RESOLVED.
//!
//! Knows the result of a rule for a minute, not the rule; acknowledgement and
//! closing are independent of the state and change nothing here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, ChangeKind, Evidence, PlaceCounts, Suppression};
use super::key::{AlertId, AlertKind, Key};
use super::minute::Minute;
use super::settings;
use super::texts::TextSummary;
use pounce_types::post::{PostId, Timestamp};
use pounce_types::score::Severity;

/// A rule's condition is met: the numbers for the evidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detection {
    pub(super) severity: Severity,
    /// The one that decided, as the settings have it.
    pub(super) window: Duration,
    /// How much of it was looked at.
    pub(super) covered: Duration,
    pub(super) posts: u64,
    pub(super) negatives: u64,
    pub(super) observed: f64,
    pub(super) baseline: f64,
    pub(super) threshold: f64,
    pub(super) bound: f64,
}

/// A rule's result for one minute. Between a detection and calm nothing changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Evaluation {
    pub(super) detection: Option<Detection>,
    /// An alert that fires may end, if this stays so.
    pub(super) calm: bool,
}

/// An alert together with what its evidence does not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Firing {
    pub(super) alert: Alert,
    /// Wall clock at which it opened.
    pub(super) noticed_at: Timestamp,
    /// Shortest window that ever decided.
    pub(super) window: Duration,
    pub(super) opened: Minute,
    /// There was a baseline of its own when it opened.
    pub(super) warm: bool,
    pub(super) calm_minutes: u32,
}

/// One kind of alert on one key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Lifecycle {
    pub(super) firing: Option<Firing>,
    /// Minute and severity of the last one that resolved.
    pub(super) ended: Option<(Minute, Severity)>,
    /// It is due and was counted as held back.
    pub(super) held_back: bool,
}

/// The inputs of a step besides the evaluation.
pub(super) struct StepContext<'a> {
    pub(super) key: &'a Key,
    pub(super) kind: AlertKind,
    pub(super) minute: Minute,
    /// Minutes since the rule was last asked.
    pub(super) step_minutes: u32,
    pub(super) calm_minutes: u32,
    pub(super) rules: &'a settings::Lifecycle,
    /// The same kind fires for the whole topic.
    pub(super) topic_fires: bool,
    pub(super) warm: bool,
    /// Wall clock.
    pub(super) now: Timestamp,
    /// What is shown of the minutes of a window.
    pub(super) shown: &'a dyn Fn(Duration) -> Shown,
}

/// What evidence shows beside the numbers of the rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    pub(super) samples: Vec<PostId>,
    pub(super) busiest_author_posts: u64,
    pub(super) texts: TextSummary,
    pub(super) places: Vec<PlaceCounts>,
}

/// The result of one step.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Unchanged,
    Changed(ChangeKind, Box<Alert>),
    /// The alert ended; its firing half is handed over to be kept.
    Resolved(Box<Firing>),
    HeldBack(Suppression),
}

impl Lifecycle {
    /// Moves on by one evaluation.
    pub(super) fn step(&mut self, evaluation: Evaluation, about: &StepContext<'_>) -> Step {
        if self.firing.is_some() {
            return self.update_firing(evaluation, about);
        }
        let Some(detection) = evaluation.detection else {
            self.held_back = false;
            return Step::Unchanged;
        };
        if let Some(reason) = self.obstacle(&detection, about) {
            let counted = std::mem::replace(&mut self.held_back, true);
            return if counted { Step::Unchanged } else { Step::HeldBack(reason) };
        }
        self.held_back = false;
        let firing = Firing::open(&detection, about);
        let alert = firing.alert.clone();
        self.firing = Some(firing);
        Step::Changed(ChangeKind::Opened, Box::new(alert))
    }

    /// Ends the alert that fires, if one does, whatever its rule says.
    pub(super) fn end(&mut self, minute: Minute) -> Option<Firing> {
        let mut firing = self.firing.take()?;
        // Not before it opened, even if the clock went back.
        firing.alert.resolved_at = Some(minute.end().max(firing.alert.opened_at));
        self.ended = Some((minute, firing.alert.severity));
        Some(firing)
    }

    /// The clock went back, `next` is the first minute to come: the end of an alert after it is forgotten.
    pub(super) fn turn_back(&mut self, next: Minute) {
        self.ended = self.ended.filter(|(minute, _)| *minute < next);
        if let Some(firing) = &mut self.firing {
            firing.opened = firing.opened.min(next);
        }
    }

    /// When the last one resolved.
    pub(super) fn ended(&self) -> Option<Minute> {
        self.ended.map(|(minute, _)| minute)
    }

    /// Whether time alone can change something.
    pub(super) fn is_idle(&self) -> bool {
        self.firing.is_none() && !self.held_back
    }

    fn obstacle(&self, detection: &Detection, about: &StepContext<'_>) -> Option<Suppression> {
        if about.topic_fires {
            return Some(Suppression::TopicFiring);
        }
        let (ended, severity) = self.ended?;
        let cooling = about.minute.since(ended) < about.rules.cooldown_minutes;
        (cooling && detection.severity <= severity).then_some(Suppression::Cooldown)
    }

    fn update_firing(&mut self, evaluation: Evaluation, about: &StepContext<'_>) -> Step {
        let Some(firing) = self.firing.as_mut() else { return Step::Unchanged };
        if let Some(detection) = evaluation.detection {
            firing.calm_minutes = 0;
            firing.window = firing.window.min(detection.window);
            if detection.severity > firing.alert.severity {
                firing.alert.severity = detection.severity;
                let suppressed = firing.alert.evidence.suppressed;
                firing.alert.evidence = evidence(&detection, about, suppressed);
                return Step::Changed(ChangeKind::Escalated, Box::new(firing.alert.clone()));
            }
            return Step::Unchanged;
        }
        if !evaluation.calm {
            firing.calm_minutes = 0;
            return Step::Unchanged;
        }
        firing.calm_minutes = firing.calm_minutes.saturating_add(about.step_minutes);
        if firing.calm_minutes < about.calm_minutes {
            return Step::Unchanged;
        }
        match self.end(about.minute) {
            Some(firing) => Step::Resolved(Box::new(firing)),
            None => Step::Unchanged,
        }
    }
}

impl Firing {
    fn open(detection: &Detection, about: &StepContext<'_>) -> Self {
        let opened_at = about.minute.end();
        let respond = Duration::from_secs(u64::from(about.rules.respond_minutes) * 60);
        Self {
            alert: Alert {
                id: AlertId::of(about.key, about.kind, about.minute),
                key: about.key.clone(),
                kind: about.kind,
                severity: detection.severity,
                opened_at,
                resolved_at: None,
                respond_by: opened_at.after(respond),
                evidence: evidence(detection, about, 0),
                acknowledgement: None,
                closing: None,
            },
            noticed_at: about.now,
            window: detection.window,
            opened: about.minute,
            warm: about.warm,
            calm_minutes: 0,
        }
    }
}

fn evidence(detection: &Detection, about: &StepContext<'_>, suppressed: u64) -> Evidence {
    let Shown { samples, busiest_author_posts, texts, places } = (about.shown)(detection.covered);
    Evidence {
        window: detection.covered,
        posts: detection.posts,
        negatives: detection.negatives,
        observed: detection.observed,
        baseline: detection.baseline,
        threshold: detection.threshold,
        bound: detection.bound,
        sample_post_ids: samples,
        busiest_author_posts,
        suppressed,
        distinct_texts: texts.distinct,
        commonest_text_posts: texts.commonest,
        texts_window: texts.window,
        places,
    }
}
