//! Text becomes what the model was trained on. Pure; knows nothing of tokens.
//!
//! The rules of `social-v1` and `social-v2` stand in `training/README.md` and in the steps below;
//! `tests/data/normalisation.jsonl` and `normalisation_v2.jsonl` hold both implementations to them.

mod social_v1;
mod social_v2;
mod tweet_eval;

use std::borrow::Cow;

/// How texts are prepared for a model, as a flag or its folder's config.json names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalisation {
    /// Nothing is changed: the tokenizer gets the text as it came, as in transformers' pipelines.
    #[default]
    None,
    /// Mentions, links, e-mail addresses, long numbers, entities, emoji and white space.
    SocialV1,
    /// As social-v1; then without what stands around a post: mentions in front, links at the end,
    /// quotes round it, a full stop.
    SocialV2,
    /// Mentions and links alone, as the models of the TweetEval benchmark were trained.
    TweetEval,
}

impl Normalisation {
    /// Every scheme.
    pub const ALL: [Self; 4] = [Self::None, Self::SocialV1, Self::SocialV2, Self::TweetEval];

    /// Reads the name of a scheme.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    /// Name for people, flags and config.json.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SocialV1 => "social-v1",
            Self::SocialV2 => "social-v2",
            Self::TweetEval => "tweet-eval",
        }
    }

    /// Prepares a text.
    #[must_use]
    pub fn apply<'a>(self, text: &'a str) -> Cow<'a, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::SocialV1 => Cow::Owned(social_v1::normalise(text)),
            Self::SocialV2 => Cow::Owned(social_v2::normalise(text)),
            Self::TweetEval => Cow::Owned(tweet_eval::normalise(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_read_by_its_name() {
        for scheme in Normalisation::ALL {
            assert_eq!(Normalisation::parse(scheme.name()), Some(scheme));
        }
        assert_eq!(Normalisation::parse("social"), None);
    }

    #[test]
    fn none_leaves_a_text_as_it_came() {
        let text = " @shop &amp;  co\thttps://example.org \u{200d}";
        assert_eq!(Normalisation::None.apply(text), text);
    }
}
