//! Tries what the service promises, on the release binary, and prints what it
//! sees: `make trials`, or some of them: `make trials ARGS="floods texts"`.
//!
//! Every post is made up. Each trial starts servers of its own on free ports
//! and ends with an error if a promise is broken.

mod bad_posts;
mod bystander;
mod faults;
mod floods;
mod greedy;
mod server;
mod soak;
mod stalled;
mod texts;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use pounce_client::{Client, Reply, StreamSpec};
use pounce_proto::Post;

use self::server::Server;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const POSTS: usize = 12_000;
const STREAMS: usize = 50;

/// One promise after another.
#[derive(clap::Parser)]
struct Flags {
    /// Trials to run [default: all but soak]
    #[arg(value_enum)]
    trials: Vec<Trial>,
    /// Servers that the trial `faults` ends with SIGTERM, and as many with SIGKILL
    #[arg(long, default_value_t = 20, value_name = "N")]
    rounds: usize,
    /// Clients of the trial `stalled`
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    streams: u32,
    /// Seconds of the trial `stalled`
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    seconds: u64,
    /// Minutes of the trial `soak`
    #[arg(long, default_value_t = 60, value_name = "MINUTES")]
    minutes: usize,
    /// Posts a second of the trial `soak` [default: 70 % of what the server can do]; latency is then
    /// not judged, since such a rate is for a machine that has other work
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Folder to write the figures and the plot of the trial `soak` to
    #[arg(long, value_name = "DIR")]
    plot: Option<std::path::PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// 12,000 posts through `pounce score`
    InOrder,
    /// The same over 50 streams
    ManyStreams,
    /// Every kind of bad post in a stream
    BadPosts,
    /// SIGTERM in the middle of `pounce score`
    Restart,
    /// Clients that write and never read
    Stalled,
    /// Servers ended and killed again and again
    Faults,
    /// Floods of frames and connections
    Floods,
    /// Fifty callers that take all they can beside a polite one
    Greedy,
    /// Texts that are costly to prepare
    Texts,
    /// An hour at 70 % load: memory, descriptors, latency
    Soak,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut flags = <Flags as clap::Parser>::parse();
    if flags.trials.is_empty() {
        let all = <Trial as clap::ValueEnum>::value_variants();
        flags.trials = all.iter().copied().filter(|trial| *trial != Trial::Soak).collect();
    }
    for trial in &flags.trials {
        match trial {
            Trial::InOrder => in_order().await?,
            Trial::ManyStreams => many_streams().await?,
            Trial::BadPosts => bad_posts::run().await?,
            Trial::Restart => restart().await?,
            Trial::Stalled => stalled::run(flags.streams.into(), flags.seconds).await?,
            Trial::Faults => {
                faults::run("-TERM", flags.rounds).await?;
                faults::run("-KILL", flags.rounds).await?;
            }
            Trial::Floods => floods::run().await?,
            Trial::Greedy => greedy::run().await?,
            Trial::Texts => texts::run().await?,
            Trial::Soak => soak::run(flags.minutes, flags.rate, flags.plot.as_deref()).await?,
        }
    }
    Ok(())
}

/// `pounce score` on one long file.
async fn in_order() -> Outcome<()> {
    let server = Server::start(0)?;
    let mut job = Job::start(&server, 0..POSTS)?;
    job.finish().await?;
    say(&format!("{POSTS} posts through `pounce score`: {}", job.report()?))
}

/// The same posts from many streams at once.
async fn many_streams() -> Outcome<()> {
    let server = Server::start(0)?;
    let client = Client::connect(&server.addr)?;
    let share = POSTS / STREAMS;
    let started = Instant::now();
    let jobs = (0..STREAMS).map(|stream| {
        let numbers = stream * share..(stream + 1) * share;
        let posts = numbers.clone().map(|n| Ok(post(n))).collect::<Vec<_>>();
        let mut replies = client.score_all(futures::stream::iter(posts), StreamSpec::default());
        async move {
            let mut expected = numbers;
            while let Some(reply) = replies.next().await {
                let Reply::Event(event) = reply? else { return Err("a post was rejected".into()) };
                let due = expected.next().map(|n| n.to_string());
                if due.as_ref() != Some(&event.post_id) {
                    return Err(format!("{} came where {due:?} was due", event.post_id).into());
                }
            }
            if expected.next().is_some() { Err("a post was lost".into()) } else { Ok(()) }
        }
    });
    for outcome in futures::future::join_all(jobs).await {
        let outcome: Outcome<()> = outcome;
        outcome?;
    }
    let seconds = started.elapsed().as_secs_f64();
    say(&format!("{POSTS} posts over {STREAMS} streams: all answered in order, in {seconds:.1} s"))
}

/// SIGTERM in the middle of `pounce score`, and a new server on the port.
async fn restart() -> Outcome<()> {
    let mut server = Server::start(0)?;
    let mut job = Job::start(&server, 0..POSTS)?;
    while job.answered()? < POSTS / 4 && job.runs()? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = job.answered()?;
    server.signal("-TERM")?;
    let code = server.wait()?;
    if before == POSTS || code != Some(0) {
        return Err(format!("SIGTERM after {before} answers, exit code {code:?}").into());
    }
    let port = server.port()?;
    drop(server);
    let _second = Server::start(port)?;
    job.finish().await?;
    say(&format!(
        "SIGTERM after {before} answers (the server's exit code: 0), a new server on the port: {}",
        job.report()?
    ))
}

/// `pounce score` on a file of made-up posts, as a process of its own.
struct Job {
    folder: tempfile::TempDir,
    child: std::process::Child,
    posts: usize,
    started: Instant,
    took: Duration,
}

impl Job {
    fn start(server: &Server, numbers: std::ops::Range<usize>) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let (input, output) = (folder.path().join("posts.jsonl"), folder.path().join("out.jsonl"));
        let posts = numbers.len();
        let mut file = std::io::BufWriter::new(std::fs::File::create(&input)?);
        for n in numbers {
            writeln!(file, r#"{{"id": "{n}", "text": "{}", "topic": "acme"}}"#, text(n))?;
        }
        file.into_inner()?.sync_all()?;
        let child = Command::new(server::BINARY)
            .args(["score", "--addr", &server.addr])
            .arg(&input)
            .stdout(std::fs::File::create(output)?)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { folder, child, posts, started: Instant::now(), took: Duration::ZERO })
    }

    fn output(&self) -> std::io::Result<String> {
        std::fs::read_to_string(self.folder.path().join("out.jsonl"))
    }

    fn answered(&self) -> Outcome<usize> {
        Ok(self.output()?.lines().count())
    }

    fn runs(&mut self) -> Outcome<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    async fn finish(&mut self) -> Outcome<()> {
        while self.runs()? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.took = self.started.elapsed();
        Ok(())
    }

    /// Holds the output against the input, line by line.
    fn report(&mut self) -> Outcome<String> {
        let code = self.child.wait()?.code();
        let output = self.output()?;
        for (n, line) in output.lines().enumerate() {
            let reply: serde_json::Value = serde_json::from_str(line)?;
            let id = reply["post_id"].as_str();
            if id != Some(&n.to_string()) || reply["sequence"] != n + 1 {
                return Err(format!("line {} answers another post: {line}", n + 1).into());
            }
            if !reply["probabilities"]["negative"].is_number() {
                return Err(format!("post {n} was not scored: {line}").into());
            }
        }
        let answered = output.lines().count();
        if answered != self.posts || code != Some(0) {
            return Err(format!("{answered} of {} answered, exit code {code:?}", self.posts).into());
        }
        let seconds = self.took.as_secs_f64();
        Ok(format!("all {answered} answered once and in order, exit code 0, {seconds:.1} s"))
    }
}

/// The n-th made-up post.
fn post(n: usize) -> Post {
    Post { id: n.to_string().into(), text: text(n).into(), topic: "acme".into(), ..Post::default() }
}

fn text(n: usize) -> String {
    const VERDICTS: [&str; 6] = [
        "works like a charm",
        "is late again and nobody picks up the phone",
        "was charged twice and I still wait for an answer",
        "opens at nine on Sundays",
        "has been down since this morning, what a joke",
        "got fixed within the hour, impressed",
    ];
    format!("case {n}: the order from the corner store {}", VERDICTS[n * 5 % VERDICTS.len()])
}

fn say(line: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
