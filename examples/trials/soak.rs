//! A long load at 70 % of what the server can do, with clients that come and go: what grows?

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::server::{self, Server};
use super::{Outcome, say};

/// Minutes until caches and pools are full: their growth is no leak.
const WARM_UP: usize = 10;
/// MiB an hour that resident memory may grow by after that.
const SLOPE_MAX: f64 = 1.0;
/// Part by which the 99th percentile may be higher at the end.
const DRIFT_MAX: f64 = 0.1;

/// One minute of the load.
struct Minute {
    memory_kib: u64,
    descriptors: usize,
    p99: f64,
    rate: f64,
}

pub(crate) async fn run(minutes: usize, fixed: Option<f64>, plot: Option<&Path>) -> Outcome<()> {
    if minutes < 3 * WARM_UP {
        return Err(format!("--minutes {minutes}: a soak needs {} or more", 3 * WARM_UP).into());
    }
    let server = Server::start(0)?;
    let rate = match fixed {
        Some(rate) => rate,
        None => 0.7 * load(&server, 20, None)?["rate"].as_f64().ok_or("no rate")?,
    };
    let mut seen = Vec::new();
    for _ in 0..minutes {
        // A process of its own each minute: connections and streams come and go.
        let report = load(&server, 60, Some(rate))?;
        let count = |name: &str| report[name].as_u64().ok_or(format!("no {name}"));
        if count("failed")? + count("rejected")? > 0 {
            return Err(format!("posts went unanswered or were rejected: {report}").into());
        }
        seen.push(Minute {
            memory_kib: server.resident_kib().ok_or("no /proc")?,
            descriptors: server.descriptors().ok_or("no /proc")?,
            p99: report["p99"].as_f64().ok_or("no p99")?,
            rate: report["rate"].as_f64().ok_or("no rate")?,
        });
    }
    if let Some(folder) = plot {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("soak.csv"), table(&seen))?;
        std::fs::write(folder.join("soak.svg"), picture(&seen))?;
    }
    judge(&seen, rate, fixed.is_none())
}

fn judge(seen: &[Minute], rate: f64, latency: bool) -> Outcome<()> {
    let warm = &seen[WARM_UP..];
    let slope = 60.0 * slope(&warm.iter().map(|minute| mib(minute.memory_kib)).collect::<Vec<_>>());
    let quarter = warm.len() / 4;
    let median_p99 = |minutes: &[Minute]| median(minutes.iter().map(|minute| minute.p99).collect());
    let (first, last) = (median_p99(&warm[..quarter]), median_p99(&warm[warm.len() - quarter..]));
    let descriptors = |minute: &Minute| minute.descriptors;
    let (opened, open) = (descriptors(&warm[0]), descriptors(&warm[warm.len() - 1]));
    let told = format!(
        "{} minutes at {rate:.0} posts/s: memory {slope:+.2} MiB/h, descriptors {opened} then {open}, \
         p99 {first:.1} ms then {last:.1} ms",
        seen.len()
    );
    let drifts = latency && last > first * (1.0 + DRIFT_MAX);
    if slope > SLOPE_MAX || open > opened || drifts {
        return Err(format!("{told}: something grows").into());
    }
    say(&told)
}

/// A load of `pounce load`, and its report.
fn load(server: &Server, seconds: u32, rate: Option<f64>) -> Outcome<serde_json::Value> {
    let mut command = Command::new(server::BINARY);
    command.args(["load", "--json", "--streams", "8", "--addr", &server.addr]);
    command.args(["--seconds", &seconds.to_string()]);
    if let Some(rate) = rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let done = command.stderr(Stdio::null()).output()?;
    if !done.status.success() {
        return Err(format!("the load failed: {}", String::from_utf8_lossy(&done.stdout)).into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

/// Growth from one value to the next, by least squares.
#[allow(clippy::cast_precision_loss, reason = "a few hundred minutes")]
fn slope(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / count;
    let (mut up, mut across) = (0.0, 0.0);
    for (n, value) in values.iter().enumerate() {
        let x = n as f64 - middle;
        up += x * (value - mean);
        across += x * x;
    }
    up / across
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[allow(clippy::cast_precision_loss, reason = "memory of one process")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn table(seen: &[Minute]) -> String {
    let mut table = "minute,memory_mib,descriptors,p99_ms,posts_per_second\n".to_owned();
    for (n, Minute { memory_kib, descriptors, p99, rate }) in seen.iter().enumerate() {
        let memory = mib(*memory_kib);
        let _ = writeln!(table, "{},{memory:.2},{descriptors},{p99:.2},{rate:.0}", n + 1);
    }
    table
}

/// Memory above, the 99th percentile below, both from zero.
fn picture(seen: &[Minute]) -> String {
    const WIDTH: f64 = 900.0;
    const HEIGHT: f64 = 140.0;
    const LEFT: f64 = 20.0;
    let mut svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"940\" height=\"380\" \
                   font-family=\"sans-serif\" font-size=\"12\">\n\
                   <rect width=\"940\" height=\"380\" fill=\"white\"/>\n"
        .to_owned();
    let memory: Vec<f64> = seen.iter().map(|minute| mib(minute.memory_kib)).collect();
    let p99: Vec<f64> = seen.iter().map(|minute| minute.p99).collect();
    for (name, values, top) in [("resident memory, MiB", memory, 30.0), ("p99, ms", p99, 220.0)] {
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let step = WIDTH / f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
        let mut points = String::new();
        let mut x = LEFT;
        for value in &values {
            let _ = write!(points, "{x:.1},{:.1} ", top + HEIGHT * (1.0 - value / most));
            x += step;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\">{name}: at most {most:.1}; minutes 1 to {}</text>\n\
             <line x1=\"{LEFT}\" x2=\"920\" y1=\"{2}\" y2=\"{2}\" stroke=\"#bbb\"/>\n\
             <polyline fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\" points=\"{points}\"/>",
            top - 10.0,
            values.len(),
            top + HEIGHT
        );
    }
    svg + "</svg>\n"
}
