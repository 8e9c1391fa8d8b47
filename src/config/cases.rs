//! Which posts open cases, and how many cases are kept.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::error::{ConfigError, within};
use crate::cases::monitor::CaseSpec;
use pounce_cases::CaseSettings;
use pounce_types::score::Severity;

/// Cases that an engine may be told to keep: the largest take about 10 KiB each.
const CASES_MAX: usize = 1_000_000;
/// Seconds of a lease: a minute to a day.
const LEASE: (u64, u64) = (60, 86_400);

#[derive(Debug, Args)]
#[command(next_help_heading = "Cases")]
pub(super) struct CaseFlags {
    /// Open a case for each post flagged as discontent at or above this severity, for somebody to
    /// claim, answer and close [default: no cases]
    #[arg(long, env = "POUNCE_CASES", value_name = "SEVERITY",
        value_parser = PossibleValuesParser::new(Severity::ALL.map(Severity::name)).map(severity))]
    cases: Option<Severity>,
    /// Cases that are kept, at most; beyond it closed ones are dropped, then the oldest of the lowest
    /// severity. With --observations the same for all replicas
    #[arg(long, env = "POUNCE_CASES_MAX", default_value_t = 20_000, value_name = "N")]
    cases_max: usize,
    /// Cases of one topic that are kept, at most. With --observations the same for all replicas
    #[arg(long, env = "POUNCE_TOPIC_CASES_MAX", default_value_t = 5_000, value_name = "N")]
    topic_cases_max: usize,
    /// How long a claimed case is its holder's, unless they claim it again
    #[arg(long, env = "POUNCE_CASE_LEASE", default_value_t = 900, value_name = "SECONDS")]
    case_lease: u64,
}

fn severity(name: String) -> Severity {
    let known = Severity::ALL.into_iter().find(|severity| severity.name() == name);
    known.expect("clap takes no other name")
}

impl CaseFlags {
    pub(super) fn checked(self) -> Result<CaseSpec, ConfigError> {
        let cases_max = within("--cases-max", self.cases_max, 1, CASES_MAX)?;
        Ok(CaseSpec {
            severity_min: self.cases,
            lease: Duration::from_secs(within("--case-lease", self.case_lease, LEASE.0, LEASE.1)?),
            settings: CaseSettings {
                cases_max,
                topic_cases_max: within("--topic-cases-max", self.topic_cases_max, 1, CASES_MAX)?,
            },
        })
    }
}
