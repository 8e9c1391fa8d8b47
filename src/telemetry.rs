//! Log lines and panics of the process. No post text ever.

use std::io::IsTerminal;

use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, LevelFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

/// A filter that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("--log (RUST_LOG) is `{filter}`: {reason}")]
pub struct BadFilter {
    filter: String,
    reason: ParseError,
}

/// Sends log lines to stderr: pretty on a terminal, JSON otherwise. `filter`
/// is in `RUST_LOG`'s syntax.
/// # Errors
/// [`BadFilter`]; then nothing is logged.
pub fn start(filter: &str) -> Result<(), BadFilter> {
    let parsed = EnvFilter::try_new(filter);
    let parsed = parsed.map_err(|reason| BadFilter { filter: filter.to_owned(), reason })?;
    lines(parsed, std::io::stderr().is_terminal(), std::io::stderr).init();
    // The message of a panic may hold what a library was working on: a post.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "a thread panicked");
    }));
    Ok(())
}

fn lines<W>(filter: EnvFilter, pretty: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    let lines = if pretty { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    // Without the hint every TRACE call of every library would ask the filter.
    let no_text = filter_fn(tells_no_text).with_max_level_hint(LevelFilter::TRACE);
    registry().with(lines.with_filter(filter.and(no_text)))
}

/// The tokenizer's library spells texts out at TRACE, letter by letter.
fn tells_no_text(event: &Metadata<'_>) -> bool {
    !event.target().starts_with("tokenizers")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic under the lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_filter_leaves_out_is_left_out_before_it_is_formed() {
        for (filter, most) in
            [("info", LevelFilter::INFO), ("warn,pounce=debug", LevelFilter::DEBUG)]
        {
            let lines = lines(EnvFilter::new(filter), false, std::io::sink);
            assert_eq!(lines.max_level_hint(), Some(most), "{filter}");
        }
    }

    #[test]
    fn no_filter_makes_the_tokenizer_spell_texts_out() {
        for filter in ["trace", "tokenizers::tokenizer=trace"] {
            let written = Written::default();
            let writer = written.clone();
            let lines = lines(EnvFilter::new(filter), false, move || writer.clone());
            tracing::subscriber::with_default(lines, || {
                tracing::trace!(target: "tokenizers::tokenizer::normalizer", "letter s");
                tracing::trace!("of our own");
            });
            let written = written.0.lock().expect("no panic under the lock").clone();
            let text = String::from_utf8(written).expect("text");
            assert!(!text.contains("letter"), "{text}");
            assert_eq!(text.contains("of our own"), filter == "trace", "{text}");
        }
    }
}
