//! Ids for posts that come without one.

use tonic::Status;

/// A random prefix for the ids of one request or stream: a post whose id was seen before is a
/// duplicate.
/// # Errors
/// INTERNAL if the system has no randomness.
pub(crate) fn run_id() -> Result<String, Status> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| Status::internal("the system has no randomness"))?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
