//! Topics as a table for people.

use pounce_proto::{TopicStatus, TopicWindow};

use super::alert_line::subject;
use super::clock;
use super::terminal::escaped;

/// Posts from which a short window says something.
const POSTS_MIN: u64 = 20;
const HEAD: [&str; 10] = [
    "topic",
    "window",
    "posts",
    "negative",
    "share",
    "bound",
    "threshold",
    "baseline",
    "alerts",
    "as of",
];

/// A line for each topic or place. The window shown is the shortest with 20 posts, or else the
/// longest; the bound is the lower bound of its share.
pub(super) fn table(topics: &[TopicStatus]) -> String {
    let rows = std::iter::once(HEAD.map(str::to_owned)).chain(topics.iter().map(row));
    let rows: Vec<_> = rows.collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut table = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            // Names to the left, numbers to the right.
            if column == 0 || column + 1 == HEAD.len() {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        table += line.trim_end();
        table.push('\n');
    }
    table
}

fn row(topic: &TopicStatus) -> [String; 10] {
    let enough = topic.windows.iter().find(|window| window.posts >= POSTS_MIN);
    let window = enough.or(topic.windows.last()).copied().unwrap_or_default();
    let TopicWindow { posts, negatives, share, bound, .. } = window;
    let minutes = window.window.map_or(0, |length| length.seconds / 60);
    let warming = if topic.warming { " (warming up)" } else { "" };
    [
        escaped(&subject(&topic.topic, &topic.place)).into_owned(),
        format!("{minutes} min"),
        posts.to_string(),
        negatives.to_string(),
        percent(share),
        percent(bound),
        percent(topic.threshold),
        percent(topic.baseline) + warming,
        topic.alert_ids.len().to_string(),
        clock::shown(topic.watermark),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_window_with_enough_posts_is_shown() {
        let window = |minutes: i64, posts| TopicWindow {
            window: Some(prost_types::Duration { seconds: 60 * minutes, nanos: 0 }),
            posts,
            negatives: posts / 4,
            share: 0.25,
            bound: 0.125,
        };
        let topic = |windows| TopicStatus {
            topic: "kite\u{1b}[2J".to_owned(),
            place: "Lisbon".to_owned(),
            threshold: 0.22,
            baseline: 0.15,
            warming: true,
            windows,
            alert_ids: vec!["1".to_owned()],
            ..TopicStatus::default()
        };
        let shown = table(&[
            topic(vec![window(15, 8), window(30, 20), window(60, 40)]),
            topic(vec![window(15, 8), window(30, 9)]),
            topic(Vec::new()),
        ]);
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(lines[0][..3], ["topic", "window", "posts"]);
        assert_eq!(
            lines[1],
            [
                r"kite\u001b[2J in Lisbon",
                "30 min",
                "20",
                "5",
                "25.0 %",
                "12.5 %",
                "22.0 %",
                "15.0 % (warming up)",
                "1",
                "-"
            ]
        );
        assert_eq!(lines[2][1..3], ["30 min", "9"]);
        assert_eq!(lines[3][1..3], ["0 min", "0"]);
    }
}
