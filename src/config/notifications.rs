//! Where topic alerts are told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::error::ConfigError;
use crate::notifications::alertmanager::{AlertTemplate, RESERVED_LABELS};
use crate::notifications::sender::{Credentials, NotificationSpec};

/// Beyond the lateness: an alert of a minute longer ago is of recorded posts.
const AGE_BEYOND_LATENESS: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Args)]
#[command(next_help_heading = "Notifications")]
pub(super) struct NotificationFlags {
    /// Alertmanagers to notify of topic alerts, such as http://127.0.0.1:9093; of a cluster, all
    #[arg(
        long,
        env = "POUNCE_ALERTMANAGER",
        value_delimiter = ',',
        value_name = "URL,..",
        value_parser = http_url
    )]
    alertmanager: Vec<String>,
    /// CA bundle (PEM) used to verify the Alertmanagers' certificates [default: the system's]
    #[arg(long, env = "POUNCE_ALERTMANAGER_CA", requires = "alertmanager", value_name = "FILE")]
    alertmanager_ca: Option<PathBuf>,
    /// File with the bearer token for the Alertmanagers
    #[arg(
        long,
        env = "POUNCE_ALERTMANAGER_TOKEN_FILE",
        requires = "alertmanager",
        conflicts_with = "alertmanager_user",
        value_name = "FILE"
    )]
    alertmanager_token_file: Option<PathBuf>,
    /// User name for the Alertmanagers (basic authentication)
    #[arg(
        long,
        env = "POUNCE_ALERTMANAGER_USER",
        requires_all = ["alertmanager", "alertmanager_password_file"],
        value_name = "NAME"
    )]
    alertmanager_user: Option<String>,
    /// File with the password of that user
    #[arg(
        long,
        env = "POUNCE_ALERTMANAGER_PASSWORD_FILE",
        requires = "alertmanager_user",
        value_name = "FILE"
    )]
    alertmanager_password_file: Option<PathBuf>,
    /// Further labels of every notification, such as fleet=eu
    #[arg(
        long,
        env = "POUNCE_ALERTMANAGER_LABELS",
        requires = "alertmanager",
        value_delimiter = ',',
        value_name = "NAME=VALUE,..",
        value_parser = label
    )]
    alertmanager_labels: Vec<(String, String)>,
    /// Label `replica` of every notification, since each process counts by itself [default: the
    /// host's name; with --observations none, since all count alike]
    #[arg(long, env = "POUNCE_REPLICA", value_name = "NAME")]
    replica: Option<String>,
    /// Address of the dashboard, for links in notifications
    #[arg(
        long,
        env = "POUNCE_DASHBOARD_URL",
        requires = "alertmanager",
        value_name = "URL",
        value_parser = http_url
    )]
    dashboard_url: Option<String>,
    /// Address of a post, with {post_id} in it, for links in notifications and on the dashboard
    #[arg(long, env = "POUNCE_POST_URL", value_name = "URL", value_parser = post_url)]
    post_url: Option<String>,
    /// Address of a page that says what to do about an alert
    #[arg(
        long,
        env = "POUNCE_RUNBOOK_URL",
        requires = "alertmanager",
        value_name = "URL",
        value_parser = http_url
    )]
    runbook_url: Option<String>,
}

impl NotificationFlags {
    /// Whether anybody is notified.
    pub(super) fn is_on(&self) -> bool {
        !self.alertmanager.is_empty()
    }

    /// Address of a post, with `{post_id}` in it.
    pub(super) fn post_url(&self) -> Option<String> {
        self.post_url.clone()
    }

    /// `lateness` is that of the alert rules. Replicas that share a log tell the same alerts, so
    /// that nothing has to tell them apart.
    pub(super) fn checked(
        self,
        lateness: Duration,
        shares_log: bool,
    ) -> Result<Option<NotificationSpec>, ConfigError> {
        if self.alertmanager.is_empty() {
            return Ok(None);
        }
        let password = self.alertmanager_user.zip(self.alertmanager_password_file);
        let credentials = match (self.alertmanager_token_file, password) {
            (Some(file), _) => Some(Credentials::Token { file }),
            (None, Some((user, password_file))) => Some(Credentials::Basic { user, password_file }),
            (None, None) => None,
        };
        let mut labels = BTreeMap::new();
        for (name, value) in self.alertmanager_labels {
            if RESERVED_LABELS.contains(&name.as_str()) || labels.contains_key(&name) {
                return Err(ConfigError::OutOfRange {
                    flag: "--alertmanager-labels",
                    value: name,
                    range: format!("named once, and none of {}", RESERVED_LABELS.join(", ")),
                });
            }
            labels.insert(name, value);
        }
        Ok(Some(NotificationSpec {
            alertmanagers: self.alertmanager,
            credentials,
            ca: self.alertmanager_ca,
            template: AlertTemplate {
                labels,
                replica: self
                    .replica
                    .unwrap_or_else(|| if shares_log { String::new() } else { host_name() }),
                dashboard_url: self.dashboard_url,
                post_url: self.post_url,
                runbook_url: self.runbook_url,
            },
            age_max: lateness + AGE_BEYOND_LATENESS,
        }))
    }
}

fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// An http or https URL, without the slash at its end. User names and passwords have flags and
/// files of their own, since URLs are shown in logs and metrics.
fn http_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("not an http or https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name; use the flags for that".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn post_url(text: &str) -> Result<String, String> {
    if !text.contains("{post_id}") {
        return Err("must have {post_id} in it".to_owned());
    }
    http_url(&text.replace("{post_id}", "1")).map(|_| text.to_owned())
}

/// A label: a name of Prometheus' data model, and any value.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    let letters = |(n, c): (usize, char)| {
        c == '_' || c.is_ascii_alphabetic() || (n > 0 && c.is_ascii_digit())
    };
    if name.is_empty() || value.is_empty() || !name.chars().enumerate().all(letters) {
        return Err("a name has letters, digits and underscores, a value is not empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        flags: NotificationFlags,
    }

    fn checked(flags: &[&str]) -> Result<Option<NotificationSpec>, String> {
        let flags = ["pounce"].iter().chain(flags);
        let only = Only::try_parse_from(flags).map_err(|error| error.to_string())?;
        only.flags.checked(Duration::from_secs(600), false).map_err(|error| error.to_string())
    }

    #[test]
    fn alertmanagers_are_named_by_url_and_labels_by_name() {
        assert_eq!(checked(&[]), Ok(None));
        let spec = checked(&[
            "--alertmanager=http://a:9093/,https://b/alerts",
            "--alertmanager-labels=fleet=eu,team=care",
        ]);
        let spec = spec.expect("good flags").expect("notifications");
        assert_eq!(spec.alertmanagers, ["http://a:9093", "https://b/alerts"]);
        assert_eq!(spec.template.labels["team"], "care");
        assert_eq!(spec.age_max, Duration::from_secs(25 * 60));
    }

    #[test]
    fn what_would_not_work_is_refused_by_name() {
        for (flags, fault) in [
            (&["--alertmanager=a:9093"][..], "not an http or https URL"),
            (&["--alertmanager=http://ann:secret@a"], "user name"),
            (&["--runbook-url=http://a/"], "--alertmanager"),
            (&["--alertmanager=http://a", "--post-url=http://a/"], "{post_id}"),
            (&["--alertmanager=http://a", "--alertmanager-labels=topic=x"], "none of"),
            (&["--alertmanager=http://a", "--alertmanager-labels=9x=x"], "a name has"),
            (&["--alertmanager=http://a", "--alertmanager-user=ann"], "password-file"),
        ] {
            let error = checked(flags).expect_err("must be refused");
            assert!(error.contains(fault), "{flags:?}: {error}");
        }
    }
}
