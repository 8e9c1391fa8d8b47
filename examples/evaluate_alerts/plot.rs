//! A picture of one replay: the share, its bound, what is usual, and when the
//! alert fired.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use pounce_alerts::Settings;
use pounce_alerts::key::AlertKind;

use super::stream::{DAY, Mood, Player};

const RATE: f64 = 3.0;
const SHIFT: f64 = 0.36;
/// Minutes shown, from a day after the start.
const SHOWN: u64 = 8 * 60;
/// The share shifts for this long.
const FROM: u64 = 2 * 60;
const TO: u64 = 4 * 60;
const SHARE_MAX: f64 = 0.6;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 36.0;

fn x(minute: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a few hours")]
    let part = minute as f64 / SHOWN as f64;
    LEFT + part * (WIDTH - LEFT - 12.0)
}

fn y(share: f64) -> f64 {
    TOP + (1.0 - (share / SHARE_MAX).min(1.0)) * (HEIGHT - TOP - BOTTOM)
}

#[derive(Default)]
struct Line {
    points: String,
}

impl Line {
    fn to(&mut self, minute: u64, share: f64) {
        let _ = write!(self.points, "{:.1},{:.1} ", x(minute), y(share));
    }

    fn svg(&self, colour: &str, width: f64, dash: &str) -> String {
        format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
             stroke-dasharray=\"{dash}\" points=\"{}\"/>\n",
            self.points.trim_end()
        )
    }
}

pub(crate) fn write(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, draw())
}

fn draw() -> String {
    let mut player = Player::new(Settings::default());
    let [mut share, mut bound, mut baseline, mut threshold]: [Line; 4] = Default::default();
    let mut firing = Vec::new();
    let mood = Mood::new(7, RATE).shifted(DAY + FROM, DAY + TO, SHIFT);
    for (minute, posts) in (0..DAY + SHOWN).zip(mood) {
        player.play(posts);
        let Some(at) = minute.checked_sub(DAY) else { continue };
        let Some(status) = player.engine.topic(player.topic(), None) else { continue };
        let window = &status.windows[0];
        share.to(at, window.counts.share());
        bound.to(at, window.bound);
        baseline.to(at, status.baseline);
        threshold.to(at, status.threshold);
        if player.engine.alerts(false).iter().any(|alert| alert.kind == AlertKind::Share) {
            firing.push(at);
        }
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for run in firing.chunk_by(|a, b| a + 1 == *b) {
        let (from, to) = (x(run[0]), x(run[run.len() - 1] + 1));
        band(&mut svg, from, to, TOP, HEIGHT - BOTTOM, "#f6c6c0");
    }
    band(&mut svg, x(FROM), x(TO), HEIGHT - BOTTOM, HEIGHT - BOTTOM + 6.0, "#555555");
    for tenth in 0..=6 {
        let level = f64::from(tenth) / 10.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{level}</text>",
            WIDTH - 12.0,
            y(level),
            LEFT - 6.0,
            y(level) + 4.0
        );
    }
    for hour in 0..=SHOWN / 60 {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{hour} h</text>",
            x(hour * 60),
            HEIGHT - BOTTOM + 20.0
        );
    }
    svg += &share.svg("#2b6cb0", 1.5, "");
    svg += &bound.svg("#c0392b", 2.0, "");
    svg += &baseline.svg("#2f855a", 1.5, "");
    svg += &threshold.svg("#2f855a", 1.5, "5 4");
    for (nth, (colour, text)) in [
        ("#2b6cb0", "share of 15 minutes"),
        ("#c0392b", "Wilson's lower bound"),
        ("#2f855a", "baseline, and dashed the threshold"),
        ("#b5655b", "pink: the alert fires"),
        ("#555555", "grey bar: the share is 0.36, not 0.12"),
    ]
    .into_iter()
    .enumerate()
    {
        let at = LEFT + [0.0, 140.0, 290.0, 520.0, 650.0][nth];
        let _ = writeln!(svg, "<text x=\"{at}\" y=\"16\" fill=\"{colour}\">{text}</text>");
    }
    svg + "</svg>\n"
}

fn band(svg: &mut String, from: f64, to: f64, top: f64, bottom: f64, colour: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
        to - from,
        bottom - top
    );
}
