//! How many posts of a folder are taken to be in another language than English: one line a
//! language and file, for all posts and for the fifth that `training/language.py` held out.
//!
//! `cargo run --release -p pounce-inference --example languages -- DATA`, where DATA holds JSON
//! lines with `text`, and with `language` where it is not English.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pounce_inference::language::KnownLanguages;
use pounce_inference::normalise::Normalisation;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    text: String,
    language: Option<String>,
}

/// Posts, and how many of them were flagged.
#[derive(Default)]
struct Count {
    posts: u32,
    flagged: u32,
}

impl Count {
    fn add(&mut self, flagged: bool) {
        self.posts += 1;
        self.flagged += u32::from(flagged);
    }

    fn percent(&self) -> f64 {
        100.0 * f64::from(self.flagged) / f64::from(self.posts.max(1))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: languages DATA")?);
    let known = KnownLanguages::new(&["en".to_owned()]);
    let mut counts: BTreeMap<String, [Count; 2]> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    let (mut posts, mut took) = (0_u32, Duration::ZERO);
    let mut files: Vec<_> = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::path);
    for file in files.iter().map(std::fs::DirEntry::path) {
        if file.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for line in std::fs::read_to_string(&file)?.lines() {
            let Row { text, language } = serde_json::from_str(line)?;
            let normalised = Normalisation::SocialV1.apply(&text);
            let started = Instant::now();
            let flagged = known.is_foreign(&normalised, None);
            let elapsed = started.elapsed();
            longest = longest.max(elapsed);
            (posts, took) = (posts + 1, took + elapsed);
            let group = language.map_or(name.clone(), |language| format!("language {language}"));
            let [all, held_out] = counts.entry(group).or_default();
            all.add(flagged);
            if text.len() % 5 == 0 {
                held_out.add(flagged);
            }
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:24} {:>8} {:>9} {:>9} {:>9}", "", "posts", "flagged", "held out", "flagged")?;
    for (group, [all, held_out]) in &counts {
        writeln!(
            out,
            "{group:24} {:8} {:8.1}% {:9} {:8.1}%",
            all.posts,
            all.percent(),
            held_out.posts,
            held_out.percent()
        )?;
    }
    writeln!(out, "{:?} a post, {longest:?} at most", took / posts.max(1))?;
    Ok(())
}
