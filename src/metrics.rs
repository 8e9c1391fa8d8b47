//! The recorder of metrics: every part's buckets, descriptions and first zeros put together.
//! Names, units and call sites are each part's own.
//!
//! Never a label: post, author, or a topic outside the configured list.

use std::time::Duration;

use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{alerting, auth, cases, lifecycle, scoring, transport};
use pounce_types::clock::now;

/// How often histogram samples are folded into buckets between scrapes.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the recorder of the service. Histogram samples pile up until
/// [`PrometheusHandle::run_upkeep`] is called, which is due every [`UPKEEP`].
/// # Errors
/// If a recorder was installed before.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    // Without buckets the exporter would make summaries of them.
    let buckets = pounce_inference::metrics::BUCKETS
        .into_iter()
        .chain(scoring::metrics::BUCKETS)
        .chain(alerting::metrics::BUCKETS)
        .chain(alerting::replicated::metrics::BUCKETS)
        .chain(cases::metrics::BUCKETS);
    let handle = recorder(buckets)?;
    let started = Duration::from_millis(now().millis());
    // Series exist before anything happens, or `rate()` misses the first event.
    pounce_inference::metrics::register();
    scoring::metrics::register();
    alerting::metrics::register();
    auth::metrics::register();
    lifecycle::metrics::register();
    transport::metrics::register();
    crate::http_api::metrics::register();
    crate::traces::describe_metrics();
    describe_gauge!(
        "process_start_time_seconds",
        Unit::Seconds,
        "When the process started, in seconds since 1970"
    );
    gauge!("process_start_time_seconds").set(started.as_secs_f64());
    describe_gauge!("pounce_build_info", "1; the label tells the version");
    describe_gauge!("pounce_model_info", "1; the labels tell the model");
    describe_gauge!("pounce_engine_info", "1; the labels tell the engine and its kernel");
    Ok(handle)
}

/// Installs the recorder of `pounce bridge`, as [`install`] does.
/// # Errors
/// If a recorder was installed before.
pub fn install_bridge(version: &'static str) -> Result<PrometheusHandle, BuildError> {
    let handle = recorder(pounce_bridge::metrics::BUCKETS)?;
    pounce_bridge::metrics::register();
    transport::metrics::register_http();
    describe_gauge!("pounce_bridge_build_info", "1; the label tells the version");
    gauge!("pounce_bridge_build_info", "version" => version).set(1.0);
    Ok(handle)
}

fn recorder<'a>(
    buckets: impl IntoIterator<Item = (&'a str, &'a [f64])>,
) -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, bounds) in buckets {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)?;
    }
    builder.install_recorder()
}

/// The process serves this model.
pub fn serving(version: &'static str, model: &str, revision: &str) {
    gauge!("pounce_build_info", "version" => version).set(1.0);
    gauge!("pounce_model_info", "model" => model.to_owned(), "revision" => revision.to_owned())
        .set(1.0);
    scoring::metrics::model_known(model);
}

/// The process runs this engine, with this kernel if it chose one itself.
pub fn engine(name: &'static str, kernel: &'static str) {
    gauge!("pounce_engine_info", "engine" => name, "kernel" => kernel).set(1.0);
}
