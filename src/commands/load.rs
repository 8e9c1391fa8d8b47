//! `pounce load`: an open-loop load on a running service, and how long replies take.
//!
//! With a rate, posts are due at fixed times whether or not the service keeps up, and latency
//! counts from the time a post was due: a service that stalls can't hide it (coordinated omission,
//! Tene 2013). Without one, each post is due when it can be sent.

mod drive;
mod posts;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::drive::{Schedule, Shape};
use self::report::Report;
use super::connection::ConnectionFlags;

/// The flags of `pounce load`.
#[derive(Debug, Args)]
pub(crate) struct LoadFlags {
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Posts per second over all streams [default: as fast as the service accepts them]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Seconds for which posts are sent
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Streams, or callers with --unary or --batch
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: u32,
    /// Posts sent on a stream and not yet answered, at most
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Send each post with a call of its own
    #[arg(long, conflicts_with = "batch")]
    unary: bool,
    /// Send posts in ScoreBatch calls of this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,
    /// JSON lines with `text` to send, over and over [default: made-up posts, all different]
    #[arg(long, value_name = "FILE")]
    posts: Option<PathBuf>,
    /// Share of posts that repeat an earlier text, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    repeats: f64,
    /// Share of posts with the model's maximum of tokens, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    long: f64,
    /// Write the result as one JSON object
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not between 0 and 1".to_owned()) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate > 0.0 && rate <= 1e7 { Ok(rate) } else { Err("not above 0 and at most 1e7".to_owned()) }
}

/// Sends the load and tells what came of it; exit code 1 if a post got no reply at all, or a stream failed.
#[allow(clippy::print_stdout, reason = "the command's output")]
pub(crate) async fn run(flags: LoadFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let texts = posts::Texts::open(flags.posts.as_deref(), flags.repeats, flags.long)?;
    let shape = match flags.batch {
        _ if flags.unary => Shape::Unary,
        Some(posts) => Shape::Batch { posts },
        None => Shape::Stream { in_flight: flags.in_flight },
    };
    let line = flags.connection.line()?;
    let schedule = Schedule::new(flags.rate, Duration::from_secs(flags.seconds), flags.streams);
    let outcome = drive::run(&line, shape, &schedule, texts).await?;
    let report = Report::of(&outcome, flags.rate);
    if flags.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    let whole = outcome.failed == 0 && outcome.failure.is_none();
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
