//! The beginnings of the latest discontent posts' texts, to be shown with the alerts that they
//! opened. Bounded.

use std::collections::{HashMap, VecDeque};

use pounce_types::post::{PostId, Topic};

/// Texts that are remembered: of several windows of a busy topic.
const TEXTS_MAX: usize = 1000;

type PostKey = (Topic, PostId);

/// Texts by topic and post.
#[derive(Default)]
pub(super) struct RecentTexts {
    /// Newest last.
    order: VecDeque<PostKey>,
    texts: HashMap<PostKey, Box<str>>,
}

impl RecentTexts {
    /// Keeps a text; the first one of a post stays.
    pub(super) fn keep(&mut self, topic: Topic, id: PostId, text: Box<str>) {
        let key = (topic, id);
        if self.texts.contains_key(&key) {
            return;
        }
        if self.order.len() == TEXTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.texts.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.texts.insert(key, text);
    }

    /// The text of a post, if it is known.
    pub(super) fn of(&self, topic: &Topic, id: &PostId) -> Option<&str> {
        self.texts.get(&(topic.clone(), id.clone())).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_texts_are_kept_and_no_more() {
        let topic = Topic::parse(b"kite").expect("a topic");
        let id = |n: usize| PostId::parse(n.to_string().as_bytes()).expect("an id");
        let mut texts = RecentTexts::default();
        for n in 0..=TEXTS_MAX {
            texts.keep(topic.clone(), id(n), format!("text {n}").into());
        }
        texts.keep(topic.clone(), id(7), "another".into());
        assert_eq!(texts.of(&topic, &id(0)), None);
        assert_eq!(texts.of(&topic, &id(7)), Some("text 7"));
        assert_eq!(texts.of(&topic, &id(TEXTS_MAX)), Some("text 1000"));
        assert_eq!((texts.order.len(), texts.texts.len()), (TEXTS_MAX, TEXTS_MAX));
    }
}
