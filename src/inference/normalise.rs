//! Text becomes what the model was trained on. Pure; knows nothing of tokens.
//!
//! The rules of `social-v1` stand in `training/README.md` and in the steps
//! below; `tests/data/normalisation.jsonl` holds both implementations to them.

use std::borrow::Cow;

/// How texts are prepared for a model, as its folder's config.json names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalisation {
    /// Mentions, links, e-mail addresses, long numbers, entities, emoji and white space.
    #[default]
    SocialV1,
    /// Nothing is changed.
    None,
}

impl Normalisation {
    /// Reads the name of a scheme.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "social-v1" => Some(Self::SocialV1),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    /// Prepares a text.
    #[must_use]
    pub fn apply<'a>(self, text: &'a str) -> Cow<'a, str> {
        match self {
            Self::SocialV1 => Cow::Owned(social_v1::normalise(text)),
            Self::None => Cow::Borrowed(text),
        }
    }
}

mod social_v1;
