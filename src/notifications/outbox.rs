//! Which alerts are to be told, and under which labels. Pure: time is an argument.
//!
//! Firing alerts are told again and again, each time with an end a few minutes ahead, as
//! Prometheus does: a sender that is gone ends its alerts. What has ended is told for a while
//! longer, so that an Alertmanager that was away hears of it.
//!
//! Alerts of recorded posts call nobody: those whose topic is far behind the clock. That is known of
//! an alert whenever it is looked at, so a restart changes nothing, and replicas agree.

use std::collections::BTreeMap;
use std::time::Duration;

use pounce_alerts::alert::{Alert, AlertChange, ChangeKind};
use pounce_alerts::key::AlertId;
use pounce_types::post::Timestamp;

use super::alertmanager::{AlertTemplate, Labels, PostableAlert};

/// How often firing alerts are told.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
/// After so long without being told again, an alert ends.
const FIRING_FOR: Duration = Duration::from_secs(4 * 60);
/// For so long an end is told.
const ENDED_FOR: Duration = Duration::from_secs(15 * 60);
/// For so long a replica that is behind tells what it told before. Shorter than [`ENDED_FOR`]: of an
/// end, one that reads on has the last word.
pub(super) const AS_TOLD_FOR: Duration = Duration::from_secs(10 * 60);

/// An alert that fires.
pub(super) struct Firing {
    pub(super) alert: Alert,
    /// Event time up to which its topic's minutes are closed.
    pub(super) watermark: Timestamp,
}

/// What is told, by alert.
pub(super) struct Outbox {
    template: AlertTemplate,
    /// A topic further behind the clock is of recorded posts.
    age_max: Duration,
    entries: BTreeMap<AlertId, Entry>,
}

struct Entry {
    alert: Alert,
    /// When its end was heard of, by the wall clock.
    ended: Option<Timestamp>,
    /// The labels that it was told under last.
    labels: Option<Labels>,
    /// Labels that it was told under before, and when they ended.
    earlier: Vec<(Labels, Timestamp)>,
}

impl Outbox {
    /// Tells nothing yet.
    pub(super) fn new(template: AlertTemplate, age_max: Duration) -> Self {
        Self { template, age_max, entries: BTreeMap::new() }
    }

    /// Takes over all alerts that fire: others have ended. One that was not told before is left out
    /// if it is of recorded posts.
    pub(super) fn sync(&mut self, firing: Vec<Firing>, now: Timestamp) {
        for entry in self.entries.values_mut() {
            entry.ended = entry.ended.or(Some(now));
        }
        for Firing { alert, watermark } in firing {
            if !self.entries.contains_key(&alert.id) && !self.is_live(watermark, now) {
                continue;
            }
            let entry = self.entries.entry(alert.id.clone()).or_insert_with(|| Entry::of(&alert));
            (entry.alert, entry.ended) = (alert, None);
        }
    }

    /// Whether a topic with this watermark is of posts of now.
    fn is_live(&self, watermark: Timestamp, now: Timestamp) -> bool {
        let age = now.millis().saturating_sub(watermark.millis());
        u128::from(age) <= self.age_max.as_millis()
    }

    /// Hears of a change; whether it is to be told at once.
    pub(super) fn hear(&mut self, change: &AlertChange, now: Timestamp) -> bool {
        let alert = &change.alert;
        // The watermark has just passed the minute that opened it.
        let opens = change.kind == ChangeKind::Opened && self.is_live(alert.opened_at, now);
        if !opens && !self.entries.contains_key(&alert.id) {
            return false;
        }
        let entry = self.entries.entry(alert.id.clone()).or_insert_with(|| Entry::of(alert));
        entry.alert = alert.clone();
        match change.kind {
            ChangeKind::Resolved => entry.ended = Some(now),
            // Read again, after a state without it was adopted.
            ChangeKind::Opened => entry.ended = None,
            _ => {}
        }
        true
    }

    /// One alert to be told at `now`, under its labels and those that ended.
    pub(super) fn due(&mut self, id: &AlertId, now: Timestamp) -> Vec<PostableAlert> {
        let Some(entry) = self.entries.get_mut(id) else { return Vec::new() };
        entry.check_ends(now);
        // What ended keeps the labels that it was told under.
        if entry.ended.is_none() || entry.labels.is_none() {
            entry.relabel(&self.template, now);
        }
        entry.told(&self.template, now)
    }

    /// Everything to be told at `now`; forgets what ended long ago.
    pub(super) fn all_due(&mut self, now: Timestamp) -> Vec<PostableAlert> {
        self.forget(now);
        let ids: Vec<AlertId> = self.entries.keys().cloned().collect();
        ids.iter().flat_map(|id| self.due(id, now)).collect()
    }

    /// As [`Self::all_due`], but nothing that was not told before, and under no other labels.
    pub(super) fn all_as_told(&mut self, now: Timestamp) -> Vec<PostableAlert> {
        self.forget(now);
        self.entries.values().flat_map(|entry| entry.told(&self.template, now)).collect()
    }

    fn forget(&mut self, now: Timestamp) {
        for entry in self.entries.values_mut() {
            entry.check_ends(now);
        }
        self.entries.retain(|_, entry| entry.ended.is_none_or(|at| now < at.after(ENDED_FOR)));
    }
}

impl Entry {
    fn of(alert: &Alert) -> Self {
        Self { alert: alert.clone(), ended: None, labels: None, earlier: Vec::new() }
    }

    /// Forgets labels that ended long ago. No end is later than `now`: one heard of by a clock that
    /// ran ahead would fire until then.
    fn check_ends(&mut self, now: Timestamp) {
        self.ended = self.ended.map(|at| at.min(now));
        for (_, at) in &mut self.earlier {
            *at = now.min(*at);
        }
        self.earlier.retain(|(_, at)| now < at.after(ENDED_FOR));
    }

    fn relabel(&mut self, template: &AlertTemplate, now: Timestamp) {
        let labels = template.labels(&self.alert, self.ended.unwrap_or(now));
        // A label set that returns is not ended by its own past.
        self.earlier.retain(|(earlier, _)| *earlier != labels);
        if let Some(before) = self.labels.replace(labels.clone())
            && before != labels
        {
            self.earlier.push((before, now));
        }
    }

    /// The alert under its labels and those that ended.
    fn told(&self, template: &AlertTemplate, now: Timestamp) -> Vec<PostableAlert> {
        let Some(labels) = &self.labels else { return Vec::new() };
        let ends = self.ended.unwrap_or_else(|| now.after(FIRING_FOR));
        let earlier = self.earlier.iter().map(|(labels, at)| (labels, *at));
        let told = earlier.chain([(labels, ends)]);
        told.map(|(labels, ends)| template.postable(&self.alert, labels.clone(), ends)).collect()
    }
}

#[cfg(test)]
mod tests {
    use pounce_alerts::alert::Acknowledgement;
    use pounce_types::score::Severity;

    use super::super::alertmanager::tests::{alert, at};
    use super::*;
    use crate::wire::rfc3339;

    const AGE_MAX: Duration = Duration::from_secs(25 * 60);

    fn outbox() -> Outbox {
        Outbox::new(AlertTemplate::default(), AGE_MAX)
    }

    fn change(kind: ChangeKind, alert: &Alert) -> AlertChange {
        AlertChange { kind, alert: alert.clone() }
    }

    /// An alert that fires, of a topic whose watermark is that of `minutes`.
    fn firing(alert: &Alert, minutes: u64) -> Vec<Firing> {
        vec![Firing { alert: alert.clone(), watermark: at(minutes) }]
    }

    /// Severity, escalation and end of what is told.
    fn told(posts: &[PostableAlert]) -> Vec<(&str, &str, &str)> {
        posts
            .iter()
            .map(|post| (&*post.labels["severity"], &*post.labels["escalation"], &*post.ends_at))
            .collect()
    }

    #[test]
    fn a_firing_alert_is_told_again_and_again_and_its_end_for_a_while() {
        let (mut outbox, alert) = (outbox(), alert());
        assert!(outbox.hear(&change(ChangeKind::Opened, &alert), at(1)));
        assert_eq!(told(&outbox.due(&alert.id, at(1))), [("low", "none", &*rfc3339(at(5)))]);
        assert_eq!(told(&outbox.all_due(at(2))), [("low", "none", &*rfc3339(at(6)))]);
        assert!(outbox.hear(&change(ChangeKind::Resolved, &alert), at(3)));
        for now in [3, 10, 17] {
            assert_eq!(told(&outbox.all_due(at(now))), [("low", "none", &*rfc3339(at(3)))]);
        }
        assert!(outbox.all_due(at(18)).is_empty());
    }

    #[test]
    fn when_labels_change_the_old_ones_end_in_the_same_request() {
        let (mut outbox, mut alert) = (outbox(), alert());
        outbox.hear(&change(ChangeKind::Opened, &alert), at(1));
        outbox.all_due(at(1));
        alert.severity = Severity::High;
        outbox.hear(&change(ChangeKind::Escalated, &alert), at(2));
        let end = rfc3339(at(2));
        assert_eq!(
            told(&outbox.due(&alert.id, at(2))),
            [("low", "none", &*end), ("high", "none", &*rfc3339(at(6)))]
        );
        // Nobody acknowledged it in time.
        assert_eq!(
            told(&outbox.all_due(at(15))),
            [
                ("low", "none", &*end),
                ("high", "none", &*rfc3339(at(15))),
                ("high", "overdue", &*rfc3339(at(19)))
            ]
        );
        // Somebody does: the labels of before are back, and are not ended.
        alert.acknowledgement =
            Some(Acknowledgement { by: "ann".into(), note: String::new(), at: at(16) });
        outbox.hear(&change(ChangeKind::Acknowledged, &alert), at(16));
        assert_eq!(
            told(&outbox.due(&alert.id, at(16))),
            [
                ("low", "none", &*end),
                ("high", "overdue", &*rfc3339(at(16))),
                ("high", "none", &*rfc3339(at(20)))
            ]
        );
    }

    #[test]
    fn alerts_of_recorded_posts_are_not_told() {
        let (mut outbox, alert) = (outbox(), alert());
        assert!(!outbox.hear(&change(ChangeKind::Opened, &alert), at(26)));
        assert!(!outbox.hear(&change(ChangeKind::Escalated, &alert), at(26)));
        outbox.sync(firing(&alert, 0), at(26));
        assert!(outbox.all_due(at(26)).is_empty());
        // A week later, after a restart.
        outbox.sync(firing(&alert, 60), at(7 * 24 * 60 + 61));
        assert!(outbox.all_due(at(7 * 24 * 60 + 61)).is_empty());
    }

    #[test]
    fn a_live_topics_alert_is_told_after_a_restart_however_long_ago_it_opened() {
        let (mut outbox, alert) = (outbox(), alert());
        // Heard of late, by a replica that read the log behind others.
        assert!(!outbox.hear(&change(ChangeKind::Opened, &alert), at(180)));
        outbox.sync(firing(&alert, 178), at(180));
        assert_eq!(told(&outbox.all_due(at(180))), [("low", "overdue", &*rfc3339(at(184)))]);
    }

    #[test]
    fn what_no_longer_fires_has_ended() {
        let (mut outbox, alert) = (outbox(), alert());
        outbox.sync(firing(&alert, 0), at(1));
        assert_eq!(told(&outbox.all_due(at(1))), [("low", "none", &*rfc3339(at(5)))]);
        outbox.sync(Vec::new(), at(2));
        assert_eq!(told(&outbox.all_due(at(2))), [("low", "none", &*rfc3339(at(2)))]);
        outbox.sync(firing(&alert, 0), at(3));
        assert_eq!(told(&outbox.all_due(at(3))), [("low", "none", &*rfc3339(at(7)))]);
        // It may open again: a log that is read again gives it the same id.
        outbox.sync(Vec::new(), at(4));
        assert!(outbox.hear(&change(ChangeKind::Opened, &alert), at(4)));
        assert_eq!(told(&outbox.due(&alert.id, at(4))), [("low", "none", &*rfc3339(at(8)))]);
        // That the topic falls behind ends nothing.
        outbox.sync(firing(&alert, 0), at(40));
        assert_eq!(told(&outbox.all_as_told(at(40))), [("low", "none", &*rfc3339(at(44)))]);
    }

    #[test]
    fn what_was_told_is_told_as_it_was() {
        let (mut outbox, alert) = (outbox(), alert());
        outbox.hear(&change(ChangeKind::Opened, &alert), at(1));
        assert!(outbox.all_as_told(at(1)).is_empty());
        outbox.all_due(at(1));
        assert_eq!(told(&outbox.all_as_told(at(20))), [("low", "none", &*rfc3339(at(24)))]);
        assert_eq!(told(&outbox.all_due(at(20))).len(), 2);
    }

    #[test]
    fn no_end_is_later_than_now_after_the_clock_ran_ahead() {
        let (mut outbox, mut alert) = (outbox(), alert());
        outbox.hear(&change(ChangeKind::Opened, &alert), at(1));
        outbox.all_due(at(1));
        let tomorrow = 24 * 60;
        alert.severity = Severity::High;
        outbox.hear(&change(ChangeKind::Escalated, &alert), at(tomorrow));
        outbox.all_due(at(tomorrow));
        outbox.hear(&change(ChangeKind::Resolved, &alert), at(tomorrow + 1));
        let end = rfc3339(at(4));
        for now in [4, 18] {
            assert_eq!(
                told(&outbox.all_due(at(now))),
                [("low", "none", &*end), ("high", "overdue", &*end)]
            );
        }
        assert!(outbox.all_due(at(19)).is_empty());
    }
}
