//! What is counted by topic, by which rules, and where it is kept.

use std::path::{Path, PathBuf};

use clap::Args;
use pounce_alerts::Settings;
use pounce_types::post::{Fault, NAME_BYTES_MAX, Topic};

use super::error::{ConfigError, within};

/// Labels of `pounce_topic_posts_total` that a dashboard can bear.
const TOPIC_LABELS_MAX: usize = 50;
/// Topics that an engine may be told to count.
const TOPICS_MAX: usize = 1 << 20;

#[derive(Debug, Args)]
#[command(next_help_heading = "Alerts on topics")]
pub(super) struct AlertFlags {
    /// Topics with a metric label of their own, at most 50; all others share `_other`
    #[arg(long, env = "POUNCE_TOPIC_LABELS", value_delimiter = ',', value_name = "TOPIC,..")]
    topic_labels: Vec<String>,
    /// TOML file with the rules by which posts become alerts on topics [default: the rules in
    /// docs/alerts.md]
    #[arg(long, env = "POUNCE_ALERTS", value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Topics and places that are counted, at most; beyond it, those with the
    /// fewest posts and no baseline are forgotten first, those with an alert last
    #[arg(long, env = "POUNCE_TOPICS_MAX", default_value_t = 10_000, value_name = "N")]
    topics_max: usize,
    /// Folder for the state of topics, alerts and cases, so that it survives a restart [default: it
    /// does not]; with --observations, for what the log did not take before the end
    #[arg(long, env = "POUNCE_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Checked settings of topics; what they mean is told at [`AlertFlags`].
pub(super) struct AlertConfig {
    pub(super) topic_labels: Vec<Topic>,
    pub(super) rules: Settings,
    pub(super) topics_max: usize,
    pub(super) state_dir: Option<PathBuf>,
}

impl AlertFlags {
    pub(super) fn checked(self) -> Result<AlertConfig, ConfigError> {
        if self.topic_labels.len() > TOPIC_LABELS_MAX {
            return Err(ConfigError::OutOfRange {
                flag: "--topic-labels",
                value: format!("{} topics", self.topic_labels.len()),
                range: format!("at most {TOPIC_LABELS_MAX}"),
            });
        }
        let named = self.topic_labels.iter().filter(|name| !name.trim().is_empty());
        let topic_labels = named.map(|name| {
            let fault = |fault: Fault| ConfigError::OutOfRange {
                flag: "--topic-labels",
                value: format!("a name that {fault}"),
                range: format!("at most {NAME_BYTES_MAX} bytes long"),
            };
            Topic::parse(name.as_bytes()).map_err(fault)
        });
        Ok(AlertConfig {
            topic_labels: topic_labels.collect::<Result<_, _>>()?,
            rules: self.alerts.as_deref().map_or_else(|| Ok(Settings::default()), read)?,
            topics_max: within("--topics-max", self.topics_max, 1, TOPICS_MAX)?,
            state_dir: self.state_dir,
        })
    }
}

/// Reads and checks a file of rules.
fn read(file: &Path) -> Result<Settings, ConfigError> {
    let fault = |reason| ConfigError::File { file: file.display().to_string(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
    Settings::parse(&text).map_err(|error| fault(error.to_string()))
}
