//! What is kept of a post once it is scored: all but its text.
//!
//! A reply waits for its reader without a limit of time, and hundreds of them may wait on a stream:
//! kilobytes of text that nobody needs any more would wait with each.

use pounce_alerts::TextHash;
use pounce_types::post::{Author, Place, Post, PostId, Topic};

/// A post without its text.
pub(super) struct TextlessPost {
    pub(super) id: PostId,
    pub(super) topic: Option<Topic>,
    pub(super) place: Option<Place>,
    pub(super) author: Option<Author>,
    /// Stands for the text among its copies, where the post counts for a topic.
    pub(super) near_text: Option<TextHash>,
    /// What the page shows of the text, if it does.
    pub(super) beginning: Option<Box<str>>,
}

impl TextlessPost {
    pub(super) fn of(post: Post, near_text: Option<TextHash>, beginning: Option<Box<str>>) -> Self {
        let Post { id, topic, place, author, .. } = post;
        Self { id, topic, place, author, near_text, beginning }
    }

    /// Followers of the author; 0 when unknown.
    pub(super) fn followers(&self) -> u64 {
        self.author.as_ref().map_or(0, |author| author.followers)
    }
}
