//! What a stream of posts brings, whichever protocol it comes by.

use crate::auth::caller::Asks;
use pounce_proto::score_stream_request::Request;
use pounce_proto::{Rejection, ScoreStreamRequest};

/// One item of a stream.
pub(crate) enum StreamInput {
    /// A message of `ScoreStream`.
    Request(ScoreStreamRequest),
    /// A post that its reader could not turn into a message. It takes its place among the posts.
    Unreadable(Rejection),
}

impl StreamInput {
    /// What it asks of its caller's token.
    pub(crate) fn asks(&self) -> Asks {
        let Self::Request(request) = self else { return Asks::Score };
        match &request.request {
            Some(Request::Post(_)) => Asks::Score,
            Some(Request::Options(options)) if options.alerts => Asks::Alerts,
            Some(Request::Options(_)) | None => Asks::Nothing,
        }
    }
}
