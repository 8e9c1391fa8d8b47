//! The flags that select cases.

use clap::{Args, ValueEnum};
use pounce_proto::{CaseFilter, Severity};

/// Which cases.
#[derive(Debug, Args)]
pub(super) struct FilterFlags {
    /// Only these topics
    #[arg(long, value_delimiter = ',', value_name = "TOPIC,..")]
    topics: Vec<String>,
    /// Only these places
    #[arg(long, value_delimiter = ',', value_name = "PLACE,..")]
    places: Vec<String>,
    /// Only cases of this severity or higher
    #[arg(long, value_enum)]
    severity: Option<SeverityName>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SeverityName {
    Low,
    Medium,
    High,
}

impl FilterFlags {
    /// As a message.
    pub(super) fn filter(self) -> CaseFilter {
        let severity_min = match self.severity {
            None => Severity::Unspecified,
            Some(SeverityName::Low) => Severity::Low,
            Some(SeverityName::Medium) => Severity::Medium,
            Some(SeverityName::High) => Severity::High,
        };
        let Self { topics, places, .. } = self;
        let by = String::new();
        CaseFilter { topics, places, severity_min: severity_min.into(), by }
    }
}
