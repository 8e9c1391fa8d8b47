//! What the requests of several services have in common: limits of fields, who acts, where a watch
//! goes on, pages of lists. Knows nothing of alerts and cases.

pub(crate) mod page_token;

use pounce_replication::ChangePosition;
use pounce_types::post::{Fault, NAME_BYTES_MAX};
use tonic::Status;

use crate::auth::caller::Caller;

/// Bytes of a note.
pub(crate) const NOTE_BYTES_MAX: usize = 1024;

/// `INVALID_ARGUMENT`, by the field's name and what is wrong with it.
pub(crate) fn invalid(field: &str, fault: &Fault) -> Status {
    Status::invalid_argument(format!("{field} {fault}"))
}

/// # Errors
/// `INVALID_ARGUMENT` if `value` has more than `max` bytes.
pub(crate) fn at_most(field: &str, value: &str, max: usize) -> Result<(), Status> {
    match value.len() {
        bytes if bytes > max => Err(invalid(field, &Fault::TooLong { bytes, max })),
        _ => Ok(()),
    }
}

/// Who acts, as they say themselves.
/// # Errors
/// `INVALID_ARGUMENT` if the name is empty or too long.
pub(crate) fn check_by(by: &str) -> Result<(), Status> {
    if by.trim().is_empty() {
        return Err(invalid("by", &Fault::Missing));
    }
    at_most("by", by, NAME_BYTES_MAX)
}

/// Who acts: the holder of the token, or, where no tokens are asked for, who they say they are.
/// # Errors
/// `INVALID_ARGUMENT` if that is somebody else, or nobody.
pub(crate) fn acting(caller: &Caller, by: String) -> Result<String, Status> {
    match caller.token_name() {
        Some(name) if by.is_empty() || by == name => Ok(name.to_owned()),
        Some(name) => Err(Status::invalid_argument(format!(
            "by must be empty or the name of your token, {name}"
        ))),
        None => check_by(&by).map(|()| by),
    }
}

/// The last change that a watcher has seen; none where it begins.
/// # Errors
/// `INVALID_ARGUMENT` if it is no position of a change.
pub(crate) fn resume_after(field: &str) -> Result<Option<ChangePosition>, Status> {
    if field.is_empty() {
        return Ok(None);
    }
    let range = "the position of a change";
    field.parse().map(Some).map_err(|_| invalid("resume_after", &Fault::OutOfRange { range }))
}

/// The size of a page: as asked for, at most `max`, and that where none is.
/// # Errors
/// `INVALID_ARGUMENT` if it is below zero.
pub(crate) fn page_size(asked: i32, max: usize) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Ok(0) => Ok(max),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(invalid("page_size", &Fault::OutOfRange { range: "0 or more" })),
    }
}
