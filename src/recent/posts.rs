//! The latest flagged posts, and the rate and latency of the last minute. Bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::latency::{LatencyWindow, Rates};
use super::texts::RecentTexts;
use pounce_alerts::flags::PostFlags;
use pounce_types::post::{Place, Post, PostId, Timestamp, Topic};
use pounce_types::score::{Probabilities, Severity};

/// Flagged posts that are remembered.
pub(crate) const FLAGGED_MAX: usize = 50;
/// Bytes of a text that are remembered.
const TEXT_BYTES_MAX: usize = 1000;

/// A post that was flagged as discontent, or as an advocate's. Its text is in
/// no `Debug` output: there is none.
#[derive(Clone)]
pub(crate) struct Flagged {
    pub(crate) id: PostId,
    pub(crate) topic: Option<Topic>,
    pub(crate) place: Option<Place>,
    pub(crate) followers: u64,
    /// Set when the post is discontent; else it is an advocate's.
    pub(crate) severity: Option<Severity>,
    /// Of the class that it was flagged for.
    pub(crate) probability: f32,
    /// Event time.
    pub(crate) at: Timestamp,
    pub(crate) respond_by: Option<Timestamp>,
    /// The first bytes of the text, if texts are kept.
    pub(crate) text: Option<Box<str>>,
}

/// Remembers what the page shows of single posts. Cheap to clone.
#[derive(Clone)]
pub struct RecentPosts {
    inner: Arc<Inner>,
}

struct Inner {
    texts: bool,
    started: Instant,
    // std Mutex: held for a few additions, never across an await.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Newest last.
    flagged: VecDeque<Flagged>,
    /// Of discontent posts, if texts are kept.
    texts: RecentTexts,
    latency: LatencyWindow,
}

impl RecentPosts {
    /// Remembers nothing yet; the texts of flagged posts only if `texts`.
    #[must_use]
    pub fn new(texts: bool) -> Self {
        let kept = Mutex::default();
        Self { inner: Arc::new(Inner { texts, started: Instant::now(), kept }) }
    }

    /// A post was scored, `took` after it was accepted.
    pub(crate) fn scored(&self, took: Duration) {
        self.kept().latency.scored(self.inner.started.elapsed(), took);
    }

    /// Keeps a live post that was scored, if it is flagged.
    pub(crate) fn keep_flagged(
        &self,
        post: &Post,
        probabilities: &Probabilities,
        flags: &PostFlags,
        at: Timestamp,
        respond_by: Option<Timestamp>,
    ) {
        let discontent = flags.discontent.is_some();
        if !discontent && !flags.advocate {
            return;
        }
        let flagged = Flagged {
            id: post.id.clone(),
            topic: post.topic.clone(),
            place: post.place.clone(),
            followers: post.followers(),
            severity: flags.discontent,
            probability: if discontent { probabilities.discontent } else { probabilities.positive },
            at,
            respond_by,
            text: self.inner.texts.then(|| beginning(post.text.as_str()).into()),
        };
        let mut kept = self.kept();
        if let (Some(topic), Some(text), true) = (&flagged.topic, &flagged.text, discontent) {
            kept.texts.keep(topic.clone(), flagged.id.clone(), text.clone());
        }
        if kept.flagged.len() == FLAGGED_MAX {
            kept.flagged.pop_front();
        }
        kept.flagged.push_back(flagged);
    }

    /// A post was rejected.
    pub(crate) fn rejected(&self) {
        self.kept().latency.rejected(self.inner.started.elapsed());
    }

    /// The latest flagged posts, newest first.
    pub(crate) fn flagged(&self) -> Vec<Flagged> {
        self.kept().flagged.iter().rev().cloned().collect()
    }

    /// The beginnings of the texts of a topic's posts, null where one is not known; none unless
    /// texts are kept.
    pub(crate) fn texts(&self, topic: &Topic, ids: &[PostId]) -> Option<Vec<Option<String>>> {
        let kept = self.inner.texts.then(|| self.kept())?;
        let text = |id| kept.texts.of(topic, id).map(str::to_owned);
        Some(ids.iter().map(text).collect())
    }

    pub(crate) fn rates(&self) -> Rates {
        self.kept().latency.rates(self.inner.started.elapsed())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_alerts::flags::Thresholds;
    use pounce_types::post::PostText;

    fn keep(recent: &RecentPosts, id: usize, negative: f32, text: &str) {
        let post = Post {
            id: PostId::parse(id.to_string().as_bytes()).expect("an id"),
            text: PostText::parse(text.as_bytes(), usize::MAX).expect("a text"),
            topic: None,
            place: None,
            author: None,
            posted_at: None,
            language: None,
        };
        let probabilities = Probabilities::of_sentiment(negative, 1.0 - negative, 0.0);
        let flags = Thresholds::default().flags(&probabilities, 0);
        recent.keep_flagged(&post, &probabilities, &flags, Timestamp::MIN, None);
    }

    #[test]
    fn the_latest_flagged_posts_are_kept_and_no_more() {
        let recent = RecentPosts::new(false);
        for id in 0..FLAGGED_MAX + 10 {
            keep(&recent, id, 0.9, "late again");
        }
        keep(&recent, 1000, 0.1, "fine");
        let flagged = recent.flagged();
        assert_eq!(flagged.len(), FLAGGED_MAX);
        assert_eq!(flagged[0].id.as_str(), "59");
        assert!(flagged.iter().all(|post| post.text.is_none()), "texts are not kept unasked");
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let recent = RecentPosts::new(true);
        keep(&recent, 1, 0.9, &"\u{1f624}".repeat(400));
        let text = recent.flagged()[0].text.clone().expect("texts are kept");
        assert_eq!(text.len(), 1000);
    }
}
