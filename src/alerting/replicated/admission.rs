//! A post that arrived, until it is in the log or given up: every replica's watermark waits for it.

use std::time::Duration;

use super::outcome::Pending;
use super::writer::Writer;
use pounce_alerts::Observation;
use pounce_replication::{LoggedObservation, WriterTicket};
use pounce_types::post::{Timestamp, Topic};

/// A post that arrived and is not appended yet.
pub(crate) struct LogAdmission {
    writer: Writer,
    /// Taken out once the post is appended.
    ticket: Option<WriterTicket>,
}

impl LogAdmission {
    /// Registers a post of `topic` that arrived, until it is counted or this is dropped; `late` if
    /// it is so on this replica's board.
    pub(crate) fn of(writer: &Writer, topic: &Topic, at: Timestamp, late: bool) -> Self {
        Self { writer: writer.clone(), ticket: Some(writer.register(topic, at, late)) }
    }

    /// Has the post counted, which was scored; `advocate` is P(positive) if it was flagged as one,
    /// `respond_within` is set if it opens or joins a case.
    pub(crate) fn observe(
        mut self,
        observation: Observation,
        advocate: Option<f32>,
        respond_within: Option<Duration>,
    ) -> Pending {
        let Some(ticket) = self.ticket.take() else { return Pending::nobody() };
        self.writer.observe(&ticket, |oldest_in_flight| LoggedObservation {
            observation,
            oldest_in_flight,
            advocate,
            respond_within,
        })
    }
}

impl Drop for LogAdmission {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            self.writer.withdraw(ticket);
        }
    }
}
