//! Moments as people read them: local time, with UTC beside it, as on the dashboard.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A moment as the reader's clock shows it now; a dash if there is none.
pub(super) fn shown(at: Option<prost_types::Timestamp>) -> String {
    let at = at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
    at.map_or_else(|| "-".to_owned(), |at| in_zone(at, Timestamp::now(), TimeZone::system()))
}

/// `11:42 (10:42 UTC)`, with the date if it is not that of `now`; in UTC itself `10:42 UTC`.
fn in_zone(at: Timestamp, now: Timestamp, zone: TimeZone) -> String {
    let (local, today) = (at.to_zoned(zone.clone()), now.to_zoned(zone));
    let utc = at.to_zoned(TimeZone::UTC);
    let day = if local.date() == today.date() { "" } else { "%Y-%m-%d " };
    if local.offset().seconds() == 0 {
        return utc.strftime(&format!("{day}%H:%M UTC")).to_string();
    }
    let utc_day = if utc.date() == local.date() { "" } else { "%Y-%m-%d " };
    let utc = utc.strftime(&format!("{utc_day}%H:%M UTC")).to_string();
    format!("{} ({utc})", local.strftime(&format!("{day}%H:%M")))
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    #[test]
    fn utc_stands_beside_local_time_and_the_date_where_it_is_another_day() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a moment");
        let in_hours = |at: &str, hours: i8| {
            let at: Timestamp = at.parse().expect("a moment");
            in_zone(at, now, Offset::constant(hours).to_time_zone())
        };
        assert_eq!(in_hours("2026-11-25T10:42:07Z", 0), "10:42 UTC");
        assert_eq!(in_hours("2026-11-25T10:42:07Z", 1), "11:42 (10:42 UTC)");
        assert_eq!(in_hours("2026-11-24T10:42:07Z", 0), "2026-11-24 10:42 UTC");
        assert_eq!(in_hours("2026-11-24T10:42:07Z", 1), "2026-11-24 11:42 (10:42 UTC)");
        assert_eq!(in_hours("2026-11-24T23:42:07Z", 1), "00:42 (2026-11-24 23:42 UTC)");
    }
}
