//! `pounce rules`: the SHARE rule as rules of Prometheus, for replicas that share no log.
//!
//! Each number comes from the alert settings. The recording rules sum the counters of all replicas,
//! which needs no memory in them.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pounce_alerts::{Settings, Share};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The flags of `pounce rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesFlags {
    /// TOML file with the rules by which posts become alerts on topics; rules of single topics are
    /// left out [default: the rules in docs/alerts.md]
    #[arg(long, env = "POUNCE_ALERTS", value_name = "FILE")]
    alerts: Option<PathBuf>,
}

/// Writes a rule file to stdout.
#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn run(flags: &RulesFlags) -> Outcome<ExitCode> {
    let settings = match &flags.alerts {
        None => Settings::default(),
        Some(file) => {
            let named = |error: &dyn std::error::Error| format!("{}: {error}", file.display());
            let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
            Settings::parse(&text).map_err(|error| named(&error))?
        }
    };
    let share = &settings.base().share;
    if !share.enabled {
        return Err("the SHARE rule is switched off in these settings".into());
    }
    println!("groups:");
    print!("{}", group(share));
    Ok(ExitCode::SUCCESS)
}

/// The rules of one group.
fn group(share: &Share) -> String {
    let mut out = String::from("  - name: pounce.topics\n    interval: 1m\n    rules:\n");
    for (what, counter) in
        [("posts", "pounce_topic_posts_total"), ("discontent", "pounce_topic_discontent_total")]
    {
        for &minutes in &share.windows_minutes {
            out += &increase(what, counter, minutes);
        }
    }
    out += &statistics(share);
    out += &alert(share);
    out
}

/// Posts of a window over all replicas. `increase` does not see what a process counted before its
/// first scrape: of one that started within the window, the counter itself is the increase.
fn increase(what: &str, counter: &str, minutes: u32) -> String {
    let window = duration(minutes);
    format!(
        "      - record: namespace_topic:pounce_{what}:increase
        labels: {{window: {window}}}
        expr: |-
          sum by (namespace, topic) (
            (
              {counter} > increase({counter}[{window}])
              or {counter} unless increase({counter}[{window}])
            )
            and on (namespace, pod, instance) time() - process_start_time_seconds{{job=\"pounce\"}} < {minutes} * 60
            or increase({counter}[{window}])
          )
"
    )
}

/// The share, its lower bound, what is usual, and the threshold (docs/alerts.md).
fn statistics(share: &Share) -> String {
    let Share { z, threshold_min, threshold_rise, threshold_ratio, .. } = share;
    let Share { prior_posts, prior_negatives, calm_posts_min, .. } = share;
    let (day, gap) = (duration(share.baseline_minutes), duration(share.baseline_gap_minutes));
    let shortest = duration(share.windows_minutes[0]);
    // As people write it: 1.5 - 1 is no number of theirs in binary.
    let rise_ratio = (threshold_ratio - 1.0).max(0.0) * 1e6;
    let rise_ratio = rise_ratio.round() / 1e6;
    let past = |counter: &str| {
        format!(
            "(
              sum by (namespace, topic) (increase({counter}[{day}] offset {gap}))
              or 0 * sum without (window) (namespace_topic:pounce_posts:increase{{window=\"{shortest}\"}})
            )"
        )
    };
    let (negatives, posts) =
        (past("pounce_topic_discontent_total"), past("pounce_topic_posts_total"));
    format!(
        "
      - record: namespace_topic:pounce_discontent:share
        expr: namespace_topic:pounce_discontent:increase / (namespace_topic:pounce_posts:increase > 0)

      # Wilson's lower bound at z = {z}.
      - record: namespace_topic:pounce_discontent:bound
        expr: |-
          (
            namespace_topic:pounce_discontent:share
            + {z} ^ 2 / 2 / namespace_topic:pounce_posts:increase
            - {z} * sqrt(
                namespace_topic:pounce_discontent:share * (1 - namespace_topic:pounce_discontent:share)
                  / namespace_topic:pounce_posts:increase
                + {z} ^ 2 / 4 / namespace_topic:pounce_posts:increase ^ 2
              )
          ) / (1 + {z} ^ 2 / namespace_topic:pounce_posts:increase)

      # What is usual: the {day} that ended {gap} ago, with {prior_negatives} discontent ones of {prior_posts} posts
      # as a prior. A topic without a past has the prior alone.
      - record: namespace_topic:pounce_discontent:baseline
        expr: |-
          (
            {negatives} + {prior_negatives}
          ) / (
            {posts} + {prior_posts}
          )

      # max({threshold_min}, baseline + {threshold_rise}, {threshold_ratio} baseline)
      - record: namespace_topic:pounce_discontent:threshold
        expr: |-
          clamp_min(
            namespace_topic:pounce_discontent:baseline
            + clamp_min({rise_ratio} * namespace_topic:pounce_discontent:baseline, {threshold_rise}),
            {threshold_min}
          )

      # Half-way back to usual, as far as so many posts can tell.
      - record: namespace_topic:pounce_discontent:calm
        expr: |-
          namespace_topic:pounce_discontent:share
            <= on (namespace, topic) group_left ()
              (namespace_topic:pounce_discontent:baseline + namespace_topic:pounce_discontent:threshold) / 2
          and namespace_topic:pounce_posts:increase >= {calm_posts_min}
"
    )
}

/// Any window may fire, unless a shorter one is calm: the longer one then only remembers.
fn alert(share: &Share) -> String {
    let windows: Vec<String> = share.windows_minutes.iter().copied().map(duration).collect();
    let mut fires = String::new();
    for (at, window) in windows.iter().enumerate() {
        if at > 0 {
            fires += "            or\n";
        }
        // Writing to a String can't fail.
        let _ = writeln!(
            fires,
            "            namespace_topic:pounce_discontent:bound{{window=\"{window}\"}}
              > on (namespace, topic) group_left () namespace_topic:pounce_discontent:threshold
            and namespace_topic:pounce_posts:increase{{window=\"{window}\"}} >= {}",
            share.posts_min
        );
        if at > 0 {
            let shorter = windows[..at].join("|");
            let _ = writeln!(
                fires,
                "            unless on (namespace, topic) \
                 namespace_topic:pounce_discontent:calm{{window=~\"{shorter}\"}}"
            );
        }
    }
    let (z, calm) = (share.z, duration(share.calm_minutes));
    format!(
        "
      # Any window may fire, unless a shorter one is calm: the longer one then only
      # remembers.
      - alert: PounceDiscontentHigh
        expr: |-
          max by (namespace, topic) (
{fires}          )
        keep_firing_for: {calm}
        labels:
          severity: warning
          audience: care
        annotations:
          summary: >-
            The share of discontent posts about {{{{ $labels.topic }}}} is significantly above its baseline.
          description: >-
            The share of discontent posts about {{{{ $labels.topic }}}} is at least {{{{ $value |
            humanizePercentage }}}} (Wilson's lower bound, z = {z}){{{{ with printf
            \"namespace_topic:pounce_discontent:threshold{{namespace=%q,topic=%q}}\" $labels.namespace
            $labels.topic | query }}}}, above the threshold of {{{{ . | first | value | humanizePercentage }}}}
            derived from its baseline{{{{ end }}}}.
          runbook_url: docs/runbook.md#pouncediscontenthigh
"
    )
}

/// Minutes as Prometheus writes them.
fn duration(minutes: u32) -> String {
    if minutes.is_multiple_of(60) { format!("{}h", minutes / 60) } else { format!("{minutes}m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_manifests_are_those_of_the_default_settings() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/k8s/components/monitoring/rules.yaml");
        let manifests = std::fs::read_to_string(file).expect("the rules are there");
        let rules: String = group(&Share::default())
            .lines()
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
            .collect();
        assert!(manifests.contains(&rules), "put the group of `pounce rules` into {file}");
    }

    #[test]
    fn settings_change_the_numbers() {
        let settings = "[share]\nwindows_minutes = [10, 120]\nz = 3.5\nthreshold_ratio = 2.25";
        let settings = Settings::parse(settings).expect("good settings");
        let rules = group(&settings.base().share);
        for part in ["[10m]", "[2h]", "3.5 ^ 2 / 4", "clamp_min(1.25 *", "window=~\"10m\""] {
            assert!(rules.contains(part), "{part} is not in\n{rules}");
        }
        assert!(!rules.contains("15m") && !rules.contains("2.65"), "{rules}");
    }
}
