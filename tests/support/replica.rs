//! Services that count through a log.

use pounce_replication::JetStreamLog;

use super::{IMPATIENCE, Service, Spec, counts};

/// A replica whose log answers.
pub async fn replica(log: JetStreamLog) -> Service {
    started(Spec { observations: Some(log), ..Spec::default() }).await
}

/// A replica whose log falls silent.
pub async fn impatient(log: JetStreamLog) -> Service {
    let observations = Some(log);
    started(Spec { observations, log_silence_max: IMPATIENCE, ..Spec::default() }).await
}

/// A replica that has read its log.
pub async fn started(spec: Spec) -> Service {
    let service = Service::start(spec).await;
    counts(&service).await;
    service
}
