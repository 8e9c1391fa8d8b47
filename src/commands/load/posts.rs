//! The posts of a load: from a file or made up, some of them repeated or long.
//!
//! Made-up posts of one run are not those of another: a server would remember their scores.

use std::path::Path;
use std::sync::Arc;

use pounce_client::json;
use pounce_proto::Post;
use pounce_types::clock::now;

use crate::commands::sample_posts;

/// Words that fill a post past the 512 tokens that models read at most.
const LONG_WORDS: usize = 600;
/// A repeated text is one of this many.
const REPEATED: u64 = 64;

/// Texts that a run may use up in a second before they meet those of a run that begins in the next.
const TEXTS_PER_SECOND: u64 = 10_000;
/// Numbers of texts are below this: to a model that is given NUMBER for each number of eight digits or
/// more, texts that differ in such a one alone are one.
const NUMBERS_MAX: u64 = 10_000_000;

/// Gives the text of the n-th post, the same for the same n. Cheap to clone.
#[derive(Clone)]
pub(super) struct Texts {
    source: Arc<Source>,
    /// Number of the first made-up text.
    first: u64,
    repeats: f64,
    long: f64,
}

enum Source {
    File(Vec<Post>),
    MadeUp,
}

impl Texts {
    pub(super) fn open(file: Option<&Path>, repeats: f64, long: f64) -> Result<Self, String> {
        let source = match file {
            None => Source::MadeUp,
            Some(file) => Source::File(read(file)?),
        };
        let first = now().millis() / 1000 * TEXTS_PER_SECOND;
        Ok(Self { source: Arc::new(source), first, repeats, long })
    }

    /// The n-th post; `n` is its id.
    pub(super) fn post(&self, n: u64) -> Post {
        let mut post = match &*self.source {
            Source::File(posts) => posts[usize::try_from(n).unwrap_or(0) % posts.len()].clone(),
            Source::MadeUp => sample_posts::post(self.text_number(n)),
        };
        if spread(n, 1) < self.long {
            post.text = format!("{} {n}", "late ".repeat(LONG_WORDS)).into();
        }
        post.id = n.to_string().into();
        post
    }

    fn text_number(&self, n: u64) -> usize {
        let number = if spread(n, 2) < self.repeats {
            n % REPEATED
        } else {
            REPEATED + (self.first + n) % (NUMBERS_MAX - REPEATED)
        };
        usize::try_from(number).unwrap_or(usize::MAX)
    }
}

fn read(file: &Path) -> Result<Vec<Post>, String> {
    let lines = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let lines = lines.split(|byte| *byte == b'\n').zip(1..);
    let posts = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    let posts = posts.map(|(line, number)| json::parse_post(line, "load", number));
    let posts: Vec<_> = posts.collect::<Result<_, _>>().map_err(|rejection| rejection.reason)?;
    if posts.is_empty() { Err(format!("{}: holds no post", file.display())) } else { Ok(posts) }
}

/// A number in 0..1 for each n and salt, evenly spread: Weyl's sequence of the golden ratio.
fn spread(n: u64, salt: u64) -> f64 {
    let hash = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(salt << 61);
    f64::from(u32::try_from(hash >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn distinct(texts: &Texts) -> usize {
        (0..1000).map(|n| texts.post(n).text).collect::<HashSet<_>>().len()
    }

    #[test]
    fn made_up_posts_of_a_run_are_those_of_no_other_run_and_have_short_numbers() {
        let run = |first| Texts { first, ..Texts::open(None, 0.0, 0.0).expect("made up") };
        let second = 1_795_701_134 * TEXTS_PER_SECOND;
        for (one, next) in [(second, second + TEXTS_PER_SECOND), (0, 60 * TEXTS_PER_SECOND)] {
            let numbers = |first| (0..10_000).map(move |n| run(first).text_number(n));
            let both: HashSet<_> = numbers(one).chain(numbers(next)).collect();
            assert_eq!(both.len(), 20_000);
            assert!(both.iter().all(|&number| number < 10_000_000), "eight digits are NUMBER");
        }
    }

    #[test]
    fn shares_of_repeated_and_long_posts_are_kept() {
        let texts = |repeats, long| Texts::open(None, repeats, long).expect("made up");
        assert_eq!(distinct(&texts(0.0, 0.0)), 1000);
        let repeated = distinct(&texts(0.3, 0.0));
        assert!((700..=700 + 64 + 20).contains(&repeated), "{repeated}");
        let long = (0..1000).filter(|n| texts(0.0, 0.01).post(*n).text.len() > 2000).count();
        assert!((8..=12).contains(&long), "{long}");
    }
}
