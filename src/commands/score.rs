//! `pounce score`: JSON lines in, JSON lines out.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use pounce_client::{Reply, StreamSpec, json};
use pounce_proto::{Flag, Post, Rejection, RejectionCode};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::oneshot;

use super::connection::ConnectionFlags;
use super::terminal::escaped;

/// Bytes of a line; a longer one is rejected without being kept.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The flags of `pounce score`.
#[derive(Debug, Args)]
pub(crate) struct ScoreFlags {
    /// JSON lines with `text` and optionally id, topic, place, author, followers, posted_at,
    /// language; `-` reads standard input. A post without an id gets a random prefix of this run
    /// and its line's number
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Posts sent and not yet answered, at most
    #[arg(long, default_value_t = 256, value_name = "N")]
    in_flight: u32,
    /// The posts are recorded ones: score them, but count them for no topic, so that they open no
    /// alert
    #[arg(long)]
    history: bool,
    /// Seconds without any reply after which the command gives up
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
}

/// How the posts fared.
#[derive(Debug, Default)]
struct Summary {
    received: u64,
    scored: u64,
    rejected: u64,
    flagged: u64,
}

/// Scores every line; succeeds only if every post was answered.
pub(crate) async fn run(flags: ScoreFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let client = flags.connection.fleet()?;
    let input: Box<dyn AsyncBufRead + Send + Unpin> = if flags.file.as_os_str() == "-" {
        Box::new(BufReader::new(tokio::io::stdin()))
    } else {
        let file = tokio::fs::File::open(&flags.file).await;
        let file = file.map_err(|error| format!("{}: {error}", flags.file.display()))?;
        Box::new(BufReader::new(file))
    };
    let spec = StreamSpec {
        posts_in_flight_max: flags.in_flight,
        history: flags.history,
        patience: Duration::from_secs(flags.patience),
        ..StreamSpec::default()
    };
    let (unread, mut unreadable) = oneshot::channel();
    let mut replies = client.score_all(Box::pin(posts(super::run_id()?, input, unread)), spec);
    let progress = progress();
    let mut summary = Summary::default();
    let mut out = std::io::stdout().lock();
    let mut failure = None;
    while let Some(reply) = replies.next().await {
        match reply {
            Ok(reply) => {
                summary.count(&reply);
                writeln!(out, "{}", escaped(&json::show_reply(&reply)))?;
                progress.inc(1);
            }
            Err(error) => failure = Some(error),
        }
    }
    out.flush()?;
    progress.finish_and_clear();
    summary.tell();
    let unread = unreadable.try_recv().map(|error| format!("{}: {error}", flags.file.display()));
    let faults: Vec<_> = failure.map(|error| error.to_string()).into_iter().chain(unread).collect();
    if faults.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(faults.join("; ").into()) }
}

impl Summary {
    fn count(&mut self, reply: &Reply) {
        self.received += 1;
        match reply {
            Reply::Event(event) => {
                self.scored += 1;
                self.flagged += u64::from(event.flags().any(|flag| flag == Flag::Discontent));
            }
            Reply::Rejection(_) => self.rejected += 1,
        }
    }

    #[allow(clippy::print_stderr, reason = "a word to a person")]
    fn tell(&self) {
        let Self { received, scored, rejected, flagged } = self;
        eprintln!("received {received}, scored {scored}, rejected {rejected}, flagged {flagged}");
    }
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} posts, {per_sec}, {elapsed}");
    let progress = ProgressBar::new_spinner();
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    progress
}

/// The posts of a file's lines; blank lines are skipped. `unread` hears why the input
/// ended before its end.
fn posts(
    run: String,
    mut input: impl AsyncBufRead + Send + Unpin,
    unread: oneshot::Sender<std::io::Error>,
) -> impl Stream<Item = Result<Post, Rejection>> + Send {
    async_stream::stream! {
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut input).take(LINE_BYTES_MAX);
            match limited.read_until(b'\n', &mut line).await {
                Ok(0) => break,
                Ok(_) => number += 1,
                Err(error) => {
                    let _ = unread.send(error);
                    break;
                }
            }
            let whole = line.ends_with(b"\n") || (line.len() as u64) < LINE_BYTES_MAX;
            if !whole {
                yield Err(too_long(&run, number));
                if let Err(error) = skip_line(&mut input).await {
                    let _ = unread.send(error);
                    break;
                }
            } else if !line.trim_ascii().is_empty() {
                yield json::parse_post(&line, &run, number);
            }
        }
    }
}

/// Reads on to the end of a line without keeping it.
async fn skip_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf().await?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (taken, done) = (end.map_or(buffer.len(), |at| at + 1), end.is_some());
        input.consume(taken);
        if done || taken == 0 {
            return Ok(());
        }
    }
}

fn too_long(run: &str, number: u64) -> Rejection {
    Rejection {
        post_id: format!("{run}-{number}"),
        code: RejectionCode::TooLong.into(),
        field: format!("line {number}"),
        reason: format!("the line has more than {LINE_BYTES_MAX} bytes"),
        ..Rejection::default()
    }
}
