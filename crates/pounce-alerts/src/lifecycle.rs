//! From opening to resolving: OK, then FIRING, then RESOLVED.
//!
//! Knows what a rule reads off a minute, not how; whether somebody took the
//! alert stands beside its state and changes nothing here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, ChangeKind, Evidence, Suppression};
use super::key::{AlertId, AlertKind, Key};
use super::minute::Minute;
use super::settings;
use pounce_types::post::{PostId, Timestamp};
use pounce_types::score::Severity;

/// What a rule found to be true: numbers for the evidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) window: Duration,
    pub(super) posts: u64,
    pub(super) negatives: u64,
    pub(super) observed: f64,
    pub(super) baseline: f64,
    pub(super) threshold: f64,
    pub(super) bound: f64,
}

/// What a rule reads off a minute. Between a finding and calm nothing changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) finding: Option<Finding>,
    /// An alert that fires may end, if this stays so.
    pub(super) calm: bool,
}

/// An alert together with what its evidence does not tell.
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
    calm_minutes: u32,
}

/// One kind of alert on one key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) firing: Option<Firing>,
    /// Minute and severity of the last one that resolved.
    ended: Option<(Minute, Severity)>,
    /// It is due and was counted as held back.
    held_back: bool,
}

/// What decides besides the reading.
pub(super) struct Circumstances<'a> {
    pub(super) key: &'a Key,
    pub(super) kind: AlertKind,
    pub(super) minute: Minute,
    /// Minutes since the rule was last asked.
    pub(super) step_minutes: u32,
    pub(super) calm_minutes: u32,
    pub(super) rules: &'a settings::Life,
    /// The same kind fires for the whole topic.
    pub(super) topic_fires: bool,
    pub(super) warm: bool,
    /// Wall clock.
    pub(super) now: Timestamp,
    /// Negative posts to show.
    pub(super) samples: &'a dyn Fn() -> Vec<PostId>,
    pub(super) busiest_author_posts: u64,
}

/// What a step of a life led to.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    Changed(ChangeKind, Box<Alert>),
    /// The alert ended; its firing half is handed over to be kept.
    Resolved(Box<Firing>),
    HeldBack(Suppression),
}

impl Life {
    /// Moves on by one reading.
    pub(super) fn step(&mut self, reading: Reading, about: &Circumstances<'_>) -> Step {
        if self.firing.is_some() {
            return self.go_on(reading, about);
        }
        let Some(finding) = reading.finding else {
            self.held_back = false;
            return Step::Nothing;
        };
        if let Some(reason) = self.obstacle(&finding, about) {
            let counted = std::mem::replace(&mut self.held_back, true);
            return if counted { Step::Nothing } else { Step::HeldBack(reason) };
        }
        self.held_back = false;
        let firing = Firing::open(&finding, about);
        let alert = firing.alert.clone();
        self.firing = Some(firing);
        Step::Changed(ChangeKind::Opened, Box::new(alert))
    }

    /// Ends the alert that fires, if one does, whatever its rule reads.
    pub(super) fn end(&mut self, minute: Minute) -> Option<Firing> {
        let mut firing = self.firing.take()?;
        firing.alert.resolved_at = Some(minute.end());
        self.ended = Some((minute, firing.alert.severity));
        Some(firing)
    }

    /// When the last one resolved.
    pub(super) fn ended(&self) -> Option<Minute> {
        self.ended.map(|(minute, _)| minute)
    }

    /// Whether time alone can change something.
    pub(super) fn is_at_rest(&self) -> bool {
        self.firing.is_none() && !self.held_back
    }

    fn obstacle(&self, finding: &Finding, about: &Circumstances<'_>) -> Option<Suppression> {
        if about.topic_fires {
            return Some(Suppression::TopicFiring);
        }
        let (ended, severity) = self.ended?;
        let cooling = about.minute.since(ended) < about.rules.cooldown_minutes;
        (cooling && finding.severity <= severity).then_some(Suppression::Cooldown)
    }

    fn go_on(&mut self, reading: Reading, about: &Circumstances<'_>) -> Step {
        let Some(firing) = self.firing.as_mut() else { return Step::Nothing };
        if let Some(finding) = reading.finding {
            firing.calm_minutes = 0;
            firing.window = firing.window.min(finding.window);
            if finding.severity > firing.alert.severity {
                firing.alert.severity = finding.severity;
                let suppressed = firing.alert.evidence.suppressed;
                firing.alert.evidence = evidence(&finding, about, suppressed);
                return Step::Changed(ChangeKind::Escalated, Box::new(firing.alert.clone()));
            }
            return Step::Nothing;
        }
        if !reading.calm {
            firing.calm_minutes = 0;
            return Step::Nothing;
        }
        firing.calm_minutes = firing.calm_minutes.saturating_add(about.step_minutes);
        if firing.calm_minutes < about.calm_minutes {
            return Step::Nothing;
        }
        match self.end(about.minute) {
            Some(firing) => Step::Resolved(Box::new(firing)),
            None => Step::Nothing,
        }
    }
}

impl Firing {
    fn open(finding: &Finding, about: &Circumstances<'_>) -> Self {
        let opened_at = about.minute.end();
        let respond = Duration::from_secs(u64::from(about.rules.respond_minutes) * 60);
        Self {
            alert: Alert {
                id: AlertId::of(about.key, about.kind, about.minute),
                key: about.key.clone(),
                kind: about.kind,
                severity: finding.severity,
                opened_at,
                resolved_at: None,
                respond_by: opened_at.after(respond),
                evidence: evidence(finding, about, 0),
                acknowledgement: None,
            },
            noticed_at: about.now,
            window: finding.window,
            opened: about.minute,
            warm: about.warm,
            calm_minutes: 0,
        }
    }
}

fn evidence(finding: &Finding, about: &Circumstances<'_>, suppressed: u64) -> Evidence {
    Evidence {
        window: finding.window,
        posts: finding.posts,
        negatives: finding.negatives,
        observed: finding.observed,
        baseline: finding.baseline,
        threshold: finding.threshold,
        bound: finding.bound,
        sample_post_ids: (about.samples)(),
        busiest_author_posts: about.busiest_author_posts,
        suppressed,
    }
}
