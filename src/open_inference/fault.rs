//! Why a request is not answered with tensors.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::scoring::wire::status_code;
use pounce_proto::Rejection;

/// INVALID_ARGUMENT that names the field.
pub(super) fn invalid(field: &str, reason: impl Into<String>) -> Status {
    let reason = reason.into();
    let details = ErrorDetails::with_bad_request_violation(field, reason.clone());
    Status::with_error_details(Code::InvalidArgument, reason, details)
}

/// Whether a request of this name and version is for `model`.
pub(super) fn check_model(model: (&str, &str), name: &str, version: &str) -> Result<(), Status> {
    if name != model.0 {
        return Err(Status::not_found(format!("no such model; this server has {}", model.0)));
    }
    if !version.is_empty() && version != model.1 {
        return Err(Status::not_found(format!("no such version; this server has {}", model.1)));
    }
    Ok(())
}

/// One bad text fails its request: tensors have no place for a rejection.
pub(super) fn refused(rejection: &Rejection) -> Status {
    let reason = rejection.reason.clone();
    match status_code(rejection.code()) {
        Code::InvalidArgument => {
            let field = &rejection.field;
            let element = rejection.sequence.saturating_sub(1);
            let field = format!("{field}[{element}]");
            invalid(&field, format!("{field}: {reason}"))
        }
        code => Status::new(code, reason),
    }
}
