//! A case as a row of a table.

use pounce_proto::Case;
use pounce_types::post::Timestamp;

use crate::commands::alert_line::subject;

/// The names of the columns.
pub(super) const HEAD: &str = "due          severity state            by               posts topic                    \
     case                             first post";

/// A case as a row; `now` is the wall clock.
pub(super) fn row(case: &Case, now: Timestamp) -> String {
    let by = case.claim.as_ref().map(|claim| &claim.by);
    let by = by.or(case.closing.as_ref().map(|closing| &closing.by));
    let state = match &case.closing {
        Some(closing) => closing.outcome().name(),
        None => case.state().name(),
    };
    format!(
        "{:<12} {:<8} {:<16} {:<16} {:>5} {:<24} {:<32} {}",
        due(case, now),
        case.severity().name(),
        state,
        by.map_or("", String::as_str),
        case.posts,
        subject(&case.topic, &case.place),
        case.id,
        case.post_ids.first().map_or("", String::as_str),
    )
}

/// How long there is to respond, or for how long it has been too late.
fn due(case: &Case, now: Timestamp) -> String {
    if case.closing.is_some() {
        return "-".to_owned();
    }
    let respond_by = case.respond_by.map_or(0, |at| at.seconds);
    let left = respond_by - i64::try_from(now.millis() / 1000).unwrap_or(i64::MAX);
    let (minutes, seconds) = (left.abs() / 60, left.abs() % 60);
    match (left < 0, minutes) {
        (false, _) => format!("in {minutes}:{seconds:02}"),
        (true, 0..600) => format!("late {minutes}:{seconds:02}"),
        (true, _) => format!("late {} h", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_proto::{CaseClosing, CaseOutcome, CaseState, Severity};

    #[test]
    fn a_row_tells_how_long_there_is_and_whose_the_case_is() {
        let respond_by = Some(prost_types::Timestamp { seconds: 1000, nanos: 0 });
        let mut case = Case {
            id: "1f".to_owned(),
            state: CaseState::Open.into(),
            severity: Severity::High.into(),
            topic: "kite".to_owned(),
            place: "Lisbon".to_owned(),
            respond_by,
            ..Case::default()
        };
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        assert!(row(&case, at(300)).starts_with("in 11:40     high     open"));
        assert!(row(&case, at(1061)).starts_with("late 1:01    high"));
        assert!(row(&case, at(1000 + 36_000)).starts_with("late 10 h"));
        assert!(row(&case, at(0)).contains("kite in Lisbon"));
        let outcome = CaseOutcome::FalseAlarm.into();
        case.closing =
            Some(CaseClosing { outcome, by: "ann".to_owned(), ..CaseClosing::default() });
        let closed = row(&case, at(0));
        assert!(closed.starts_with("-  ") && closed.contains("false_alarm      ann"), "{closed}");
    }
}
