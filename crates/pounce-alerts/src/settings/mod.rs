//! Everything that can be set of alerts on topics: one TOML document, checked
//! as a whole. Each field's default is the value Pounce was measured with.
//!
//! `[share]`, `[volume]`, `[reach]` and `[life]` can be overridden for one
//! topic: `[topics."acme".share]` changes what it names and keeps the rest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

mod counting;
mod error;
mod rules;

pub use counting::{Counting, Limits};
pub use error::SettingsError;
pub(crate) use rules::VOLUME_WINDOW_MINUTES;
pub use rules::{Lifecycle, Reach, Rules, Share, Volume};

use counting::{check_counting, check_limits};
use pounce_types::post::Topic;

/// How posts become alerts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// Event time, late and repeated posts.
    pub counting: Counting,
    /// Bounds of what is remembered.
    pub limits: Limits,
    rules: Arc<Rules>,
    topics: HashMap<Topic, Arc<Rules>>,
}

/// Tables of the document that are not rules.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Document {
    counting: Counting,
    limits: Limits,
    share: Share,
    volume: Volume,
    reach: Reach,
    life: Lifecycle,
    topics: toml::Table,
}

impl Settings {
    /// Reads and checks a TOML document; what it leaves out keeps its default.
    /// # Errors
    /// [`SettingsError`] naming the field and what would hold.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let syntax =
            |e: toml::de::Error| SettingsError::Syntax(e.to_string().trim_end().to_owned());
        let document: Document = toml::from_str(text).map_err(syntax)?;
        let mut base: toml::Table = toml::from_str(text).map_err(syntax)?;
        for other in ["counting", "limits", "topics"] {
            base.remove(other);
        }
        let Document { counting, limits, share, volume, reach, life, topics } = document;
        check_counting(&counting)?;
        check_limits(&limits)?;
        let rules = Rules { share, volume, reach, life };
        rules.check("")?;
        let mut overridden = HashMap::with_capacity(topics.len());
        for (name, own) in topics {
            let fault = |reason: String| SettingsError::Topic { topic: name.clone(), reason };
            let topic = Topic::parse(name.as_bytes()).map_err(|e| fault(format!("name {e}")))?;
            let mut merged = toml::Value::Table(base.clone());
            overlay(&mut merged, own);
            let rules: Rules =
                merged.try_into().map_err(|e: toml::de::Error| fault(e.message().to_owned()))?;
            rules.check(&format!("topics.{name:?}."))?;
            if overridden.insert(topic, Arc::new(rules)).is_some() {
                let reason = "another one differs from it in case or white space alone";
                return Err(SettingsError::Topic { topic: name, reason: reason.to_owned() });
            }
        }
        Ok(Self { counting, limits, rules: Arc::new(rules), topics: overridden })
    }

    /// The rules of topics without rules of their own.
    #[must_use]
    pub fn base(&self) -> &Rules {
        &self.rules
    }

    /// The rules that hold for `topic`.
    #[must_use]
    pub fn rules(&self, topic: &Topic) -> Arc<Rules> {
        Arc::clone(self.topics.get(topic).unwrap_or(&self.rules))
    }

    /// Digest of all settings: equal for equal settings, also of another process.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let topics: BTreeMap<_, _> = self.topics.iter().collect();
        let all = format!("{:?}{:?}{:?}{topics:?}", self.counting, self.limits, self.rules);
        xxh3_64(all.as_bytes())
    }

    /// The topics that have settings of their own.
    pub fn overridden(&self) -> impl Iterator<Item = &Topic> {
        self.topics.keys()
    }
}

/// Puts the values of `over` in place of those in `under`, table by table.
fn overlay(under: &mut toml::Value, over: toml::Value) {
    match (under, over) {
        (toml::Value::Table(under), toml::Value::Table(over)) => {
            for (name, value) in over {
                match under.get_mut(&name) {
                    Some(old) => overlay(old, value),
                    None => {
                        under.insert(name, value);
                    }
                }
            }
        }
        (under, over) => *under = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Settings::parse(text).expect_err("settings that can't be").to_string()
    }

    #[test]
    fn an_empty_document_is_the_default() {
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
    }

    #[test]
    fn a_topic_changes_what_it_names_and_keeps_the_rest() {
        let settings = Settings::parse(
            "[share]\nz = 3.0\n[topics.\"acme air\".share]\nposts_min = 50\n\
             [topics.\"acme air\".reach]\nenabled = false\n",
        )
        .expect("good settings");
        let own = settings.rules(&Topic::parse(b"acme air").expect("a topic"));
        assert_eq!((own.share.z, own.share.posts_min, own.reach.enabled), (3.0, 50, false));
        let other = settings.rules(&Topic::parse(b"other").expect("a topic"));
        assert_eq!((other.share.z, other.share.posts_min, other.reach.enabled), (3.0, 20, true));
    }

    #[test]
    fn faults_name_the_field_and_what_would_hold() {
        assert!(fault("[share]\nzz = 3").contains("unknown field `zz`"));
        assert!(fault("[share]\nz = \"high\"").contains("line 2"));
        assert_eq!(fault("[share]\nz = -1.0"), "share.z must be between 0 and 100");
        assert_eq!(fault("[share]\nz = nan"), "share.z must be between 0 and 100");
        assert_eq!(
            fault("[topics.a.share]\nwindows_minutes = [60, 15]"),
            "topics.\"a\".share.windows_minutes must be 1 to 8 rising numbers from 1 to 1440"
        );
        assert!(fault("[topics.Acme.life]\n[topics.acme.life]\n").contains("case or white space"));
        assert!(fault("[topics.a.shares]\nz = 1.0").starts_with("topics.\"a\": unknown field"));
        assert!(fault("[topics.a]\ncounting = 1").starts_with("topics.\"a\": unknown field"));
        assert_eq!(
            fault("[limits]\npost_ids_max = 0"),
            "limits.post_ids_max must be from 1 to 1000000000"
        );
        assert_eq!(
            fault("[volume]\ncalm_z = 5.0"),
            "volume.calm_z must be at least 0 and at most volume.z"
        );
    }
}
