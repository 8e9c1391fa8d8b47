//! Names that posts carry. Every limit is in bytes of UTF-8.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use unicase::UniCase;

use crate::fault::{Fault, parse_text};

/// Longest id, topic, place or author id, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest language tag, in bytes (RFC 5646, section 4.4.1).
pub const LANGUAGE_BYTES_MAX: usize = 35;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl TryFrom<String> for $name {
            type Error = Fault;

            fn try_from(raw: String) -> Result<Self, Fault> {
                Self::parse(raw.as_bytes())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl $name {
            /// Checks and copies a value from the wire.
            /// # Errors
            /// A [`Fault`] if it is blank, too long or not UTF-8.
            pub fn parse(raw: &[u8]) -> Result<Self, Fault> {
                let text = parse_text(raw, $max)?;
                if text.trim().is_empty() {
                    return Err(Fault::Missing);
                }
                Ok(Self(text.into()))
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Identifies a post within its topic.
    PostId, NAME_BYTES_MAX
);
name!(
    /// Identifies an author.
    AuthorId, NAME_BYTES_MAX
);
name!(
    /// A BCP 47 language tag.
    LanguageTag, LANGUAGE_BYTES_MAX
);

impl LanguageTag {
    /// The primary language in lower case: `pt` of `pt-BR`.
    #[must_use]
    pub fn primary(&self) -> String {
        let end = self.0.find(['-', '_']).unwrap_or(self.0.len());
        self.0[..end].to_ascii_lowercase()
    }
}

/// A name as it was written, and without what people write differently: case (Unicode's full
/// case folding) and white space.
#[derive(Clone)]
struct Folded {
    written: Arc<str>,
    folded: Arc<str>,
}

impl Folded {
    fn new(written: &str) -> Self {
        let written: Arc<str> = written.into();
        let words: Vec<&str> = written.split_whitespace().collect();
        let folded = UniCase::new(words.join(" ")).to_folded_case();
        let folded = if *folded == *written { Arc::clone(&written) } else { folded.into() };
        Self { written, folded }
    }
}

macro_rules! folded_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        /// Names that differ in case or white space alone are equal; each shows as it was written.
        #[derive(Clone, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Folded);

        impl $name {
            /// Checks and copies a value from the wire.
            /// # Errors
            /// A [`Fault`] if it is blank, too long or not UTF-8.
            pub fn parse(raw: &[u8]) -> Result<Self, Fault> {
                let text = parse_text(raw, NAME_BYTES_MAX)?;
                if text.trim().is_empty() {
                    return Err(Fault::Missing);
                }
                Ok(Self(Folded::new(text)))
            }

            /// As it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0.written
            }

            /// The same for all names that are equal to it.
            #[must_use]
            pub fn folded(&self) -> &str {
                &self.0.folded
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.folded == other.0.folded
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.folded.hash(state);
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.folded.cmp(&other.0.folded)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl TryFrom<String> for $name {
            type Error = Fault;

            fn try_from(raw: String) -> Result<Self, Fault> {
                Self::parse(raw.as_bytes())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

folded_name!(
    /// What posts are about: a brand, a product, a campaign.
    Topic
);
folded_name!(
    /// Where: a store, a city.
    Place
);

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::parse(name.as_bytes()).expect("a topic")
    }

    #[test]
    fn names_that_differ_in_case_or_white_space_are_one() {
        for (written, same) in [
            ("Acme Air", "acme air"),
            ("Acme Air", "  ACME\tAIR\n"),
            ("acme\u{a0}air", "acme air"),
            ("Straße", "STRASSE"),
            ("ΑΘΉΝΑΣ", "Αθήνας"),
            ("İstanbul", "i\u{307}stanbul"),
            ("МОСКВА", "Москва"),
            ("\u{fb01}sh", "FISH"),
        ] {
            assert_eq!(topic(written), topic(same), "{written}");
            assert_eq!(topic(written).folded(), topic(same).folded());
            assert_eq!(topic(written).as_str(), written, "it shows as it was written");
        }
    }

    #[test]
    fn names_that_differ_otherwise_are_two() {
        for (one, other) in
            [("acme air", "acmeair"), ("acme", "acmé"), ("Ispar", "ıspar"), ("a-b", "a b")]
        {
            assert_ne!(topic(one), topic(other));
        }
    }

    #[test]
    fn a_folded_name_is_its_own_fold_and_takes_no_more_memory() {
        let name = topic("acme air");
        assert!(Arc::ptr_eq(&name.0.written, &name.0.folded));
        assert_eq!(topic(topic("Straße").folded()).folded(), topic("Straße").folded());
    }
}
