//! From which probabilities posts are flagged: the server's flags over the model's folder.

use clap::Args;
use pounce_alerts::flags::Thresholds;
use pounce_inference::model::{ModelSeverities, ModelThresholds};

use super::error::ConfigError;

#[derive(Debug, Args)]
#[command(next_help_heading = "Flags on posts")]
pub(super) struct ThresholdFlags {
    /// P(discontent) from which a post is flagged with severity low, medium, high [default: what the
    /// model's folder says, or 0.6,0.8,0.95]
    #[arg(long, env = "POUNCE_DISCONTENT", value_delimiter = ',', value_name = "LOW,MEDIUM,HIGH")]
    discontent: Option<Vec<f64>>,
    /// P(positive) from which the post of an influential author is an advocate's [default: what the
    /// model's folder says, or 0.8]
    #[arg(long, env = "POUNCE_ADVOCATE", value_name = "P")]
    advocate: Option<f64>,
    /// Followers from which an author is influential
    #[arg(long, env = "POUNCE_INFLUENTIAL_FOLLOWERS", default_value_t = 10_000, value_name = "N")]
    influential_followers: u64,
}

impl ThresholdFlags {
    /// The thresholds in force before a model is known, and which of them are set by flags.
    pub(super) fn checked(self) -> Result<(Thresholds, ModelThresholds), ConfigError> {
        let discontent = match self.discontent.as_deref() {
            None => None,
            Some(&[low, medium, high]) => Some(ModelSeverities { low, medium, high }),
            Some(other) => {
                return Err(ConfigError::OutOfRange {
                    flag: "--discontent",
                    value: format!("{} numbers", other.len()),
                    range: "three: low,medium,high".to_owned(),
                });
            }
        };
        let set = ModelThresholds { discontent, advocate: self.advocate };
        let defaults = Thresholds {
            influential_followers: self.influential_followers,
            ..Thresholds::default()
        };
        Ok((put(&set, defaults).checked()?, set))
    }
}

/// Puts what is set `over` thresholds.
pub(super) fn put(set: &ModelThresholds, mut over: Thresholds) -> Thresholds {
    if let Some(ModelSeverities { low, medium, high }) = set.discontent {
        over.discontent_low = low;
        over.discontent_medium = medium;
        over.discontent_high = high;
    }
    over.advocate = set.advocate.unwrap_or(over.advocate);
    over
}
