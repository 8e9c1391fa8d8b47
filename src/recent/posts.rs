//! The latest flagged posts, and the rate and latency of the last minute. Bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::latency::{LatencyWindow, Rates};
use super::texts::RecentTexts;
use pounce_types::post::{Place, PostId, Timestamp, Topic};
use pounce_types::score::Severity;

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

    /// What is kept of a text, if texts are.
    pub(crate) fn beginning(&self, text: &str) -> Option<Box<str>> {
        self.inner.texts.then(|| text[..text.floor_char_boundary(TEXT_BYTES_MAX)].into())
    }

    /// Keeps a live post that was flagged.
    pub(crate) fn keep_flagged(&self, flagged: Flagged) {
        let discontent = flagged.severity.is_some();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(recent: &RecentPosts, id: usize, text: &str) {
        recent.keep_flagged(Flagged {
            id: PostId::parse(id.to_string().as_bytes()).expect("an id"),
            topic: None,
            place: None,
            followers: 0,
            severity: Some(Severity::Low),
            probability: 0.9,
            at: Timestamp::MIN,
            respond_by: None,
            text: recent.beginning(text),
        });
    }

    #[test]
    fn the_latest_flagged_posts_are_kept_and_no_more() {
        let recent = RecentPosts::new(false);
        for id in 0..FLAGGED_MAX + 10 {
            keep(&recent, id, "late again");
        }
        let flagged = recent.flagged();
        assert_eq!(flagged.len(), FLAGGED_MAX);
        assert_eq!(flagged[0].id.as_str(), "59");
        assert!(flagged.iter().all(|post| post.text.is_none()), "texts are not kept unasked");
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let recent = RecentPosts::new(true);
        keep(&recent, 1, &"\u{1f624}".repeat(400));
        let text = recent.flagged()[0].text.clone().expect("texts are kept");
        assert_eq!(text.len(), 1000);
    }
}
