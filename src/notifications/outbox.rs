//! Which alerts are to be told, and under which labels. Pure: time is an argument.
//!
//! Firing alerts are told again and again, each time with an end a few minutes ahead, as
//! Prometheus does: a sender that is gone ends its alerts. What has ended is told for a while
//! longer, so that an Alertmanager that was away hears of it.

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

/// What is told, by alert.
pub(super) struct Outbox {
    template: AlertTemplate,
    /// An alert of a minute so long ago is of recorded posts, and calls nobody.
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

    /// As [`Self::replace`], after changes were missed: of alerts that were not heard of, those of
    /// recorded posts stay untold.
    pub(super) fn catch_up(&mut self, mut firing: Vec<Alert>, now: Timestamp) {
        firing.retain(|alert| self.entries.contains_key(&alert.id) || self.is_live(alert, now));
        self.replace(firing, now);
    }

    /// Whether an alert that opens now is of posts of now.
    fn is_live(&self, alert: &Alert, now: Timestamp) -> bool {
        let age = now.millis().saturating_sub(alert.opened_at.millis());
        u128::from(age) <= self.age_max.as_millis()
    }

    /// Takes over the alerts that fire, and ends all others: at the start, and when another state
    /// took the place of the one that was watched.
    pub(super) fn replace(&mut self, firing: Vec<Alert>, now: Timestamp) {
        let ended = self.entries.values_mut().filter(|entry| entry.ended.is_none());
        for entry in ended {
            entry.ended = Some(now);
        }
        for alert in firing {
            let entry = self.entries.entry(alert.id.clone()).or_insert_with(|| Entry::of(&alert));
            (entry.alert, entry.ended) = (alert, None);
        }
    }

    /// Hears of a change; whether it is to be told at once.
    pub(super) fn hear(&mut self, change: &AlertChange, now: Timestamp) -> bool {
        let alert = &change.alert;
        if change.kind == ChangeKind::Opened {
            if !self.is_live(alert, now) {
                return false;
            }
            self.entries.insert(alert.id.clone(), Entry::of(alert));
            return true;
        }
        let Some(entry) = self.entries.get_mut(&alert.id) else { return false };
        entry.alert = alert.clone();
        if change.kind == ChangeKind::Resolved {
            entry.ended = Some(now);
        }
        true
    }

    /// One alert to be told at `now`, under its labels and those that ended.
    pub(super) fn due(&mut self, id: &AlertId, now: Timestamp) -> Vec<PostableAlert> {
        let Some(entry) = self.entries.get_mut(id) else { return Vec::new() };
        // An alert that ended keeps the labels that it had then.
        let labels = self.template.labels(&entry.alert, entry.ended.unwrap_or(now));
        if let Some(before) = entry.labels.replace(labels.clone())
            && before != labels
        {
            entry.earlier.push((before, now));
        }
        // A label set that returns is not ended by its own past.
        entry.earlier.retain(|(earlier, at)| *earlier != labels && now < at.after(ENDED_FOR));
        let ends = entry.ended.unwrap_or_else(|| now.after(FIRING_FOR));
        let earlier = entry.earlier.iter().map(|(labels, at)| (labels.clone(), *at));
        let told = earlier.chain([(labels, ends)]);
        told.map(|(labels, ends)| self.template.postable(&entry.alert, labels, ends)).collect()
    }

    /// Everything to be told at `now`; forgets what ended long ago.
    pub(super) fn all_due(&mut self, now: Timestamp) -> Vec<PostableAlert> {
        self.entries.retain(|_, entry| entry.ended.is_none_or(|at| now < at.after(ENDED_FOR)));
        let ids: Vec<AlertId> = self.entries.keys().cloned().collect();
        ids.iter().flat_map(|id| self.due(id, now)).collect()
    }
}

impl Entry {
    fn of(alert: &Alert) -> Self {
        Self { alert: alert.clone(), ended: None, labels: None, earlier: Vec::new() }
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
        outbox.catch_up(vec![alert.clone()], at(26));
        assert!(outbox.all_due(at(26)).is_empty());
    }

    #[test]
    fn after_missed_changes_what_no_longer_fires_has_ended() {
        let (mut outbox, alert) = (outbox(), alert());
        outbox.catch_up(vec![alert.clone()], at(1));
        assert_eq!(told(&outbox.all_due(at(1))), [("low", "none", &*rfc3339(at(5)))]);
        outbox.catch_up(Vec::new(), at(2));
        assert_eq!(told(&outbox.all_due(at(2))), [("low", "none", &*rfc3339(at(2)))]);
        outbox.replace(vec![alert], at(3));
        assert_eq!(told(&outbox.all_due(at(3))), [("low", "none", &*rfc3339(at(7)))]);
    }
}
