//! `pounce bench`: engines side by side, then the service beside its bare engine.

mod engines;
mod figures;
mod no_op;
mod service;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pounce::config::ServeFlags;
use pounce_proto::Post;

use self::engines::Contender;
use self::figures::Outcome;
use super::sample_posts;

/// The flags of `pounce bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchFlags {
    /// JSON lines with `text` to score instead of made-up posts
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Posts to score
    #[arg(long, default_value_t = 7000, value_name = "N")]
    posts: usize,
    /// Engines to compare, the first is the reference [default: all that
    /// this build and the model's folder have]
    #[arg(long, value_delimiter = ',', value_name = "ENGINE[:PRECISION],..")]
    engines: Vec<Contender>,
    /// Concurrent streams of the second run with the service; 0: measure engines only
    #[arg(long, default_value_t = 50, value_name = "N")]
    streams: usize,
    // Last, since its headings go on to whatever follows.
    #[command(flatten)]
    serve: ServeFlags,
}

/// Measures and prints; every figure is of this machine, now.
#[allow(clippy::print_stdout, reason = "the command's output")]
pub(crate) async fn run(flags: BenchFlags) -> Outcome<ExitCode> {
    let posts = match &flags.file {
        Some(file) => read(file, flags.posts)?,
        None => sample_posts::posts(flags.posts),
    };
    if posts.is_empty() {
        return Err("there are no posts to score".into());
    }
    let mut config = flags.serve.checked()?;
    // A post that was scored before costs nothing: it must not count here.
    config.scorer.cache_bytes_max = 0;
    let contenders = match flags.engines {
        none if none.is_empty() => Contender::all(&config.model.folder),
        named => named,
    };
    engines::compare(&config, &contenders, &posts)?;
    if flags.streams > 0 {
        service::compare(&config, &posts, flags.streams).await?;
    }
    if let Some([resident, peak]) = memory() {
        println!("memory of all this: {resident} MiB, at most {peak} MiB");
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &std::path::Path, count: usize) -> Outcome<Vec<Post>> {
    let lines = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut posts = Vec::new();
    for (line, number) in lines.split(|byte| *byte == b'\n').zip(1..) {
        if !line.trim_ascii().is_empty() && posts.len() < count {
            let post = pounce_client::json::parse_post(line, "line", number);
            posts.push(post.map_err(|rejection| rejection.reason)?);
        }
    }
    Ok(posts)
}

/// MiB that this process holds and has held at most, where the system tells.
fn memory() -> Option<[u64; 2]> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib / 1024)
    };
    Some([mib("VmRSS:")?, mib("VmHWM:")?])
}
