//! `pounce replay`: recorded posts, in event time, and the alerts they open.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use pounce_client::{ClientError, Reply, StreamSpec, WatchSpec, Watched, json};
use pounce_proto::{AlertChange, AlertChangeKind, Flag, Post, Rejection};
use tokio::time::Instant;

use super::alert_line;
use super::connection::ConnectionFlags;
use super::terminal::escaped;

/// Silence after the last reply that ends the wait for changes of alerts: the
/// service moves idle topics on every second.
const SETTLE: Duration = Duration::from_secs(2);

/// The flags of `pounce replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayFlags {
    /// JSON lines with `text` and `posted_at`, as for `pounce score`; a post without an id gets a
    /// random prefix of this run and its line's number
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Replay speed: seconds of event time per second; 0: as fast as possible
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    speed: f64,
    /// Topic for posts without one
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
}

/// Replays a file; shows alerts as they come and a summary by topic at the end.
#[allow(clippy::print_stderr, reason = "a word to a person")]
pub(crate) async fn run(flags: ReplayFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if !(flags.speed >= 0.0 && flags.speed.is_finite()) {
        return Err("--speed must be 0 or more".into());
    }
    let posts = read(&flags.file, flags.topic.as_deref())?;
    let client = flags.connection.client()?;
    let mut watch = client.watch(WatchSpec::default());
    // The watch is open before the first post leaves, so that it misses nothing.
    watch.next().await.transpose()?;
    let progress = progress(posts.len() as u64);
    let mut replies = client.score_all(Box::pin(paced(posts, flags.speed)), StreamSpec::default());
    let mut summary = Summary::default();
    loop {
        tokio::select! {
            reply = replies.next() => match reply {
                Some(reply) => {
                    summary.reply(&reply?);
                    progress.inc(1);
                }
                None => break,
            },
            news = watch.next() => summary.news(news, &progress)?,
        }
    }
    while let Ok(news) = tokio::time::timeout(SETTLE, watch.next()).await {
        summary.news(news, &progress)?;
    }
    progress.finish_and_clear();
    eprint!("{summary}");
    Ok(ExitCode::SUCCESS)
}

/// The posts of a file in the order of their times.
fn read(file: &Path, topic: Option<&str>) -> Result<Vec<Post>, Box<dyn std::error::Error>> {
    let lines = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (mut posts, run) = (Vec::new(), super::run_id()?);
    for (line, number) in lines.split(|byte| *byte == b'\n').zip(1..) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let post = json::parse_post(line, &run, number);
        let mut post = post.map_err(|bad| format!("line {number}: {}", bad.reason))?;
        if post.posted_at.is_none() {
            return Err(format!("line {number}: a replay needs posted_at").into());
        }
        if post.topic.is_empty() {
            post.topic = topic.unwrap_or_default().to_owned().into();
        }
        posts.push(post);
    }
    posts.sort_by_key(|post| post.posted_at.map(|at| (at.seconds, at.nanos)));
    Ok(posts)
}

/// Sends each post when its time has come; at speed 0 at once.
fn paced(posts: Vec<Post>, speed: f64) -> impl Stream<Item = Result<Post, Rejection>> + Send {
    let started = Instant::now();
    let seconds = |post: &Post| post.posted_at.map_or(0, |at| at.seconds);
    let first = posts.first().map_or(0, seconds);
    futures::stream::iter(posts).then(move |post| async move {
        if speed > 0.0 {
            let since = u32::try_from(seconds(&post) - first).unwrap_or(u32::MAX);
            let wait = Duration::try_from_secs_f64(f64::from(since) / speed);
            tokio::time::sleep_until(started + wait.unwrap_or(Duration::MAX / 4)).await;
        }
        Ok(post)
    })
}

#[derive(Default)]
struct Summary {
    scored: u64,
    rejected: u64,
    flagged: u64,
    late: u64,
    duplicate: u64,
    /// Alerts opened, by topic and kind.
    opened: BTreeMap<(String, &'static str), u64>,
}

impl Summary {
    fn reply(&mut self, reply: &Reply) {
        let Reply::Event(event) = reply else {
            self.rejected += 1;
            return;
        };
        self.scored += 1;
        for flag in event.flags() {
            match flag {
                Flag::Discontent => self.flagged += 1,
                Flag::Late => self.late += 1,
                Flag::Duplicate => self.duplicate += 1,
                _ => {}
            }
        }
    }

    fn news(
        &mut self,
        news: Option<Result<Watched, ClientError>>,
        progress: &ProgressBar,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let Watched::Change(change) = news.ok_or("the watch ended")?? else { return Ok(()) };
        self.opened(&change);
        let mut out = std::io::stdout();
        let line = if out.is_terminal() {
            alert_line::short_line(&change)
        } else {
            alert_line::json_line(&change)
        };
        progress.suspend(|| writeln!(out, "{}", escaped(&line)))?;
        Ok(())
    }

    fn opened(&mut self, change: &AlertChange) {
        if let (AlertChangeKind::Opened, Some(alert)) = (change.kind(), &change.alert) {
            let key = (alert_line::subject(&alert.topic, &alert.place), alert.kind().name());
            *self.opened.entry(key).or_default() += 1;
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scored, rejected, flagged, late, duplicate, opened } = self;
        writeln!(
            f,
            "scored {scored}, rejected {rejected}, flagged {flagged}, late {late}, \
             duplicate {duplicate}"
        )?;
        for ((subject, kind), count) in opened {
            writeln!(f, "{}: {count} {kind}", escaped(subject))?;
        }
        Ok(())
    }
}

fn progress(posts: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} posts, {per_sec}, {eta}");
    ProgressBar::new(posts).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
