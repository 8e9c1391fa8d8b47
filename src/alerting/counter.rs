//! Where posts are counted, and alerts and cases taken: in this process alone, or through a log that
//! all replicas of a fleet read.

use crate::alerting::advocates::{Advocate, Advocates};
use crate::alerting::monitor::{Admission, AlertMonitor};
use crate::alerting::replicated::admission::LogAdmission;
use crate::alerting::replicated::error::{AcknowledgeError, CaseActionError, CloseAlertError};
use crate::alerting::replicated::outcome::Pending;
use crate::alerting::replicated::writer::Writer;
use crate::cases::monitor::CaseMonitor;
use pounce_alerts::{Acknowledged, CloseAction, ClosedAlert, Observation};
use pounce_cases::{Acted, CaseAction};
use pounce_replication::Outcome;
use pounce_types::post::{Timestamp, Topic};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Counter {
    monitor: AlertMonitor,
    cases: CaseMonitor,
    advocates: Advocates,
    /// None: in this process alone.
    log: Option<Writer>,
}

/// What came of counting a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    /// Too far behind the watermark to be counted.
    pub(crate) late: bool,
    /// Its topic and id were seen before.
    pub(crate) duplicate: bool,
    /// The log does not answer: it will be counted later.
    pub(crate) not_yet: bool,
}

impl Counter {
    pub(crate) fn new(
        monitor: AlertMonitor,
        cases: CaseMonitor,
        advocates: Advocates,
        log: Option<Writer>,
    ) -> Self {
        Self { monitor, cases, advocates, log }
    }

    /// Whether topics and alerts are up to date.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.log.as_ref().is_none_or(Writer::is_caught_up)
    }

    /// What is to be told of the log beside its health; empty without one.
    #[must_use]
    pub fn standing(&self) -> String {
        self.log.as_ref().map(Writer::standing).unwrap_or_default()
    }

    /// Registers a post of `topic` that arrived: the topic's watermark waits for it until it is
    /// counted, or the admission is dropped.
    pub(crate) fn admit(&self, topic: &Topic, at: Timestamp) -> PostAdmission {
        PostAdmission(match &self.log {
            None => AdmissionKind::Here(self.monitor.admit(topic, at)),
            Some(log) => {
                let late = self.monitor.is_late(topic, at);
                AdmissionKind::Log(LogAdmission::of(log, topic, at, late))
            }
        })
    }

    /// Counts a post that was scored. `admission` is none for a post that counts for no topic.
    /// `advocate` is what to tell if the post was flagged as one and is no duplicate.
    pub(crate) fn count(
        &self,
        counted: Option<(PostAdmission, Observation)>,
        advocate: Option<Advocate>,
    ) -> Counting {
        match (counted, &self.log) {
            (Some((PostAdmission(AdmissionKind::Here(admission)), observation)), _) => {
                let observed = admission.observe(&observation, |observed| {
                    if !observed.duplicate {
                        self.cases.observe(&observation);
                    }
                });
                if let Some(advocate) = advocate.filter(|_| !observed.duplicate) {
                    self.advocates.tell(advocate);
                }
                let (late, duplicate) = (observed.late, observed.duplicate);
                Counting::Done(Counted { late, duplicate, not_yet: false })
            }
            (Some((PostAdmission(AdmissionKind::Log(admission)), observation)), _) => {
                let probability = advocate.map(|advocate| advocate.probability);
                let respond_within = self.cases.respond_within(&observation);
                Counting::Pending(admission.observe(observation, probability, respond_within))
            }
            (None, log) => {
                match (advocate, log) {
                    (Some(advocate), None) => self.advocates.tell(advocate),
                    (Some(advocate), Some(log)) => log.tell(advocate),
                    (None, _) => {}
                }
                Counting::Done(Counted::default())
            }
        }
    }

    /// Notes who took an alert.
    pub(crate) async fn acknowledge(
        &self,
        id: &str,
        by: &str,
        note: &str,
    ) -> Result<Acknowledged, AcknowledgeError> {
        match &self.log {
            None => Ok(self.monitor.acknowledge(id, by, note)?),
            Some(log) => log.acknowledge(id, by, note).await,
        }
    }

    /// Closes an alert.
    pub(crate) async fn close_alert(
        &self,
        action: CloseAction,
    ) -> Result<ClosedAlert, CloseAlertError> {
        match &self.log {
            None => Ok(self.monitor.close(&action)?),
            Some(log) => log.close_alert(action).await,
        }
    }

    /// Does what somebody wants done with a case.
    pub(crate) async fn act_on_case(&self, action: CaseAction) -> Result<Acted, CaseActionError> {
        match &self.log {
            None => Ok(self.cases.act(&action)?),
            Some(log) => log.act_on_case(action).await,
        }
    }
}

/// A post that arrived and is not counted yet.
pub(crate) struct PostAdmission(AdmissionKind);

enum AdmissionKind {
    Here(Admission),
    Log(LogAdmission),
}

/// A post that is being counted.
pub(crate) enum Counting {
    Done(Counted),
    Pending(Pending),
}

impl Counting {
    /// What came of it. Dropping the future changes nothing: the post is counted all the same.
    pub(crate) async fn counted(self) -> Counted {
        match self {
            Self::Done(counted) => counted,
            Self::Pending(pending) => match pending.outcome().await {
                Ok(Outcome::Observed { late, duplicate }) => {
                    Counted { late, duplicate, not_yet: false }
                }
                _ => Counted { not_yet: true, ..Counted::default() },
            },
        }
    }
}
