//! What `pounce watch` shows on a terminal: alerts that fire, the advocates
//! seen last, and the state of the connection.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use pounce_client::Watched;
use pounce_proto::{Advocate, Alert, AlertChangeKind, AlertState};

use super::alert_line;
use super::clock;
use super::terminal::escaped;

/// Advocates shown, the newest first.
const ADVOCATES_MAX: usize = 10;

/// The table; written out, it takes the whole screen.
#[derive(Default)]
pub(super) struct Table {
    /// Oldest first.
    firing: BTreeMap<(i64, String), Alert>,
    advocates: VecDeque<Advocate>,
    missed: u64,
    advocates_missed: u64,
    /// Why there is no connection; none while there is one.
    lost: Option<String>,
}

impl Table {
    /// Takes in what was heard.
    pub(super) fn apply(&mut self, news: Watched) {
        match news {
            Watched::Connected => self.lost = None,
            Watched::Lost(reason) => self.lost = Some(reason),
            Watched::Change(change) => {
                let resolved = change.kind() == AlertChangeKind::Resolved;
                let Some(alert) = change.alert else { return };
                // Some alerts are acknowledged or closed once they are over.
                if resolved || alert.state() == AlertState::Resolved {
                    self.firing.remove(&place(&alert));
                } else {
                    self.firing.insert(place(&alert), alert);
                }
            }
            Watched::Forgotten(alert) => {
                self.firing.remove(&place(&alert));
            }
            Watched::Advocate(advocate) => {
                self.advocates.push_front(advocate);
                self.advocates.truncate(ADVOCATES_MAX);
            }
            Watched::Missed(missed) => self.missed += missed,
            Watched::AdvocatesMissed(missed) => self.advocates_missed += missed,
        }
    }
}

/// Where an alert stands in the table.
fn place(alert: &Alert) -> (i64, String) {
    (alert.opened_at.map_or(0, |at| at.seconds), alert.id.clone())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the top left, and clear what was below.
        write!(f, "\x1b[H\x1b[J{} firing", self.firing.len())?;
        if self.missed > 0 {
            write!(f, ", missed {} changes", self.missed)?;
        }
        if let Some(reason) = &self.lost {
            write!(f, ", connection lost, trying again: {}", escaped(reason))?;
        }
        writeln!(f, "\n")?;
        writeln!(
            f,
            "{:<17} {:<7} {:<8} {:<24} {:<12} {:<16} {:<32} why",
            "opened", "kind", "severity", "topic", "acknowledged", "outcome", "alert"
        )?;
        for alert in self.firing.values() {
            let line = format!(
                "{:<17} {:<7} {:<8} {:<24} {:<12} {:<16} {:<32} {}",
                clock::shown(alert.opened_at),
                alert.kind().name(),
                alert.severity().name(),
                alert_line::subject(&alert.topic, &alert.place),
                alert.acknowledgement.as_ref().map_or("", |taken| taken.by.as_str()),
                alert.closing.as_ref().map_or("", |closing| closing.outcome().name()),
                alert.id,
                alert_line::reason(alert),
            );
            writeln!(f, "{}", escaped(&line))?;
        }
        if self.advocates.is_empty() {
            return Ok(());
        }
        write!(f, "\nadvocates")?;
        if self.advocates_missed > 0 {
            write!(f, ", missed {}", self.advocates_missed)?;
        }
        writeln!(
            f,
            "\n\n{:<17} {:>9} {:>8} {:<24} post",
            "posted", "followers", "positive", "topic"
        )?;
        for advocate in &self.advocates {
            let line = format!(
                "{:<17} {:>9} {:>8.2} {:<24} {}",
                clock::shown(advocate.posted_at),
                advocate.followers,
                advocate.probability,
                alert_line::subject(&advocate.topic, &advocate.place),
                advocate.post_id,
            );
            writeln!(f, "{}", escaped(&line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pounce_proto::{AlertChange, AlertKind, CaseClosing, CaseOutcome};

    use super::*;

    fn change(kind: AlertChangeKind) -> Watched {
        let alert = Alert {
            id: "1".to_owned(),
            kind: AlertKind::Share.into(),
            topic: "kite".to_owned(),
            place: "Lisbon".to_owned(),
            ..Alert::default()
        };
        Watched::Change(Box::new(AlertChange {
            kind: kind.into(),
            alert: Some(alert),
            ..AlertChange::default()
        }))
    }

    #[test]
    fn an_alert_stays_until_it_ends() {
        let mut table = Table::default();
        table.apply(change(AlertChangeKind::Firing));
        table.apply(change(AlertChangeKind::Acknowledged));
        let shown = table.to_string();
        assert!(shown.contains("1 firing\n") && shown.contains("kite in Lisbon"), "{shown}");
        assert!(!shown.contains("could_not_reach"), "{shown}");
        let Watched::Change(mut closed) = change(AlertChangeKind::Closed) else { return };
        if let Some(alert) = &mut closed.alert {
            let outcome = CaseOutcome::CouldNotReach.into();
            alert.closing = Some(CaseClosing { outcome, ..CaseClosing::default() });
        }
        table.apply(Watched::Change(closed));
        let shown = table.to_string();
        assert!(shown.contains("1 firing\n") && shown.contains(" could_not_reach "), "{shown}");
        table.apply(change(AlertChangeKind::Resolved));
        let shown = table.to_string();
        assert!(shown.contains("0 firing\n") && !shown.contains("kite"), "{shown}");
    }

    #[test]
    fn names_can_neither_move_the_cursor_nor_make_up_a_line() {
        let mut table = Table::default();
        let alert = Alert { topic: "kite\n\u{1b}[2J\u{9b}A".to_owned(), ..Alert::default() };
        let kind = AlertChangeKind::Opened.into();
        table.apply(Watched::Change(Box::new(AlertChange {
            kind,
            alert: Some(alert),
            ..AlertChange::default()
        })));
        let advocate = Advocate { post_id: "1\u{1b}]0;x".to_owned(), ..Advocate::default() };
        table.apply(Watched::Advocate(advocate));
        let shown = table.to_string();
        let body = shown.strip_prefix("\x1b[H\x1b[J").expect("the table's own");
        assert!(body.chars().all(|c| c == '\n' || !c.is_control()), "{body:?}");
        assert!(body.contains(r"kite\u000a\u001b[2J\u009bA"), "{body}");
    }

    #[test]
    fn the_newest_advocates_stay_and_a_lost_connection_shows_until_it_is_back() {
        let mut table = Table::default();
        for nth in 0..=ADVOCATES_MAX {
            let post_id = format!("post-{nth}.");
            table.apply(Watched::Advocate(Advocate { post_id, ..Advocate::default() }));
        }
        table.apply(Watched::AdvocatesMissed(7));
        table.apply(Watched::Lost("gone".to_owned()));
        let shown = table.to_string();
        assert!(!shown.contains("post-0.") && shown.contains("post-1."), "{shown}");
        assert!(shown.contains("advocates, missed 7") && shown.contains("gone"), "{shown}");
        table.apply(Watched::Connected);
        assert!(!table.to_string().contains("gone"));
    }
}
