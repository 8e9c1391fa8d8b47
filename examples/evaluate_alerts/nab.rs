//! Reads the tweet counts and the labelled windows of the Numenta Anomaly
//! Benchmark.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One brand: tweets in each five minutes, and the labelled windows, both in
/// seconds since 1970.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) counts: Vec<(u64, u64)>,
    pub(crate) windows: Vec<(u64, u64)>,
}

pub(crate) fn load(folder: &Path) -> Result<Vec<Series>, String> {
    let path = folder.join("windows.json");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let windows: BTreeMap<String, Vec<(String, String)>> =
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    windows.into_iter().map(|(file, windows)| read(folder, &file, &windows)).collect()
}

fn read(folder: &Path, file: &str, windows: &[(String, String)]) -> Result<Series, String> {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let count = |line: &str| {
        let (at, count) = line.split_once(',')?;
        Some((seconds(at)?, count.trim().parse().ok()?))
    };
    let counts: Option<Vec<_>> = text.lines().skip(1).map(count).collect();
    let windows: Option<Vec<_>> =
        windows.iter().map(|(from, to)| Some((seconds(from)?, seconds(to)?))).collect();
    let name = file.rsplit('_').next().unwrap_or(file).trim_end_matches(".csv").to_owned();
    match (counts, windows) {
        (Some(counts), Some(windows)) => Ok(Series { name, counts, windows }),
        _ => Err(format!("{}: not a list of times and counts", path.display())),
    }
}

/// Seconds since 1970 of a time like `2015-02-26 21:42:53`.
fn seconds(text: &str) -> Option<u64> {
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let (hour, minute, second) = (part(11..13)?, part(14..16)?, part(17..19)?);
    // Days from 1970, with years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)? * 24 + hour) * 3600 + minute * 60 + second)
}
