//! What people do with cases, from words that were sent to an action of somebody who is known.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::alerting::counter::Counter;
use crate::alerting::replicated::error::CaseActionError;
use crate::auth::caller::Caller;
use crate::cases::monitor::CaseMonitor;
use crate::requests::{NOTE_BYTES_MAX, acting, at_most, invalid};
use crate::wire::rfc3339;
use pounce_cases::{ActionKind, Case, CaseAction, CaseError, CaseId, Outcome};
use pounce_types::post::Fault;

/// Domain of the reasons in error details.
const DOMAIN: &str = "pounce.v1.CareService";

/// Does things with cases for callers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) cases: CaseMonitor,
    pub(crate) counter: Counter,
}

/// What somebody wants done.
pub(crate) enum CaseCommand {
    Claim,
    Release,
    Close { outcome: Outcome, note: String },
}

impl Actor {
    /// Does what `caller` wants done; `by` is what they call themselves. Dropping the future
    /// changes nothing: it is done all the same.
    pub(crate) async fn act(
        &self,
        caller: &Caller,
        id: &str,
        by: String,
        command: CaseCommand,
    ) -> Result<Case, Status> {
        self.check_on()?;
        let id: CaseId = id
            .parse()
            .map_err(|_| invalid("id", &Fault::OutOfRange { range: "32 hexadecimal digits" }))?;
        let by = acting(caller, by)?;
        let kind = match command {
            CaseCommand::Claim => ActionKind::Claim { lease: self.cases.spec().lease },
            CaseCommand::Release => ActionKind::Release,
            CaseCommand::Close { outcome, note } => {
                at_most("note", &note, NOTE_BYTES_MAX)?;
                ActionKind::Close { outcome, note }
            }
        };
        let acted = self.counter.act_on_case(CaseAction { id, by, kind }).await;
        acted.map(|acted| acted.case).map_err(|error| refused(&error))
    }

    /// `UNIMPLEMENTED` while there are no cases.
    pub(crate) fn check_on(&self) -> Result<(), Status> {
        if self.cases.spec().is_on() {
            return Ok(());
        }
        Err(Status::unimplemented("this server keeps no cases: it was started without --cases"))
    }
}

fn refused(error: &CaseActionError) -> Status {
    let CaseActionError::Case(case_error) = error else {
        return Status::unavailable(error.to_string());
    };
    let (reason, known, message) = match case_error {
        CaseError::Unknown => return Status::not_found(error.to_string()),
        CaseError::Claimed { by, lease_until } => {
            let until = rfc3339(*lease_until);
            let message = format!("{case_error} until {until}");
            ("CLAIMED", [("by", by.clone()), ("lease_until", until)], message)
        }
        CaseError::Closed { by, outcome } => {
            let known = [("by", by.clone()), ("outcome", outcome.name().to_owned())];
            ("CLOSED", known, case_error.to_string())
        }
    };
    let known: HashMap<String, String> =
        known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let details = ErrorDetails::with_error_info(reason, DOMAIN, known);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}
