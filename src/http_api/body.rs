//! Request bodies that are read whole: bounded in bytes and time, and over all requests.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;
use crate::arrival::ARRIVAL_MAX;
use crate::auth::caller_key::CallerKey;
use crate::auth::unfinished::UnfinishedBytes;
use crate::lifecycle::calls::OpenCall;
use pounce_proto::Limits;

/// Bytes that each body may have without a share of the room for all.
const UNFINISHED_BYTES_FREE: usize = 16 << 10;

/// What bodies may hold.
pub(super) struct BodyLimits {
    /// Bytes of a body.
    pub(super) bytes_max: usize,
    /// Bytes of a line of a stream.
    pub(super) line_bytes_max: usize,
    /// Posts of a body.
    pub(super) posts_max: usize,
    room: UnfinishedBytes,
}

impl BodyLimits {
    /// As those of gRPC messages.
    pub(super) fn new(limits: &Limits) -> Self {
        let of = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            bytes_max: of(limits.message_bytes_max),
            line_bytes_max: of(limits.post_message_bytes_max),
            posts_max: of(limits.batch_posts_max),
            room: UnfinishedBytes::new(of(limits.message_bytes_max)),
        }
    }

    /// Reads a body of `caller` to its end.
    pub(super) async fn read(
        &self,
        caller: &CallerKey,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Vec<u8>, Problem> {
        let told = headers.get(header::CONTENT_LENGTH).and_then(|told| told.to_str().ok());
        if let Some(bytes) = told.and_then(|told| told.parse::<usize>().ok()) {
            self.check_size(bytes)?;
        }
        let until = Instant::now() + ARRIVAL_MAX;
        let (mut read, mut share) = (Vec::new(), self.room.share(caller));
        let mut frames = body.into_data_stream();
        loop {
            let frame = timeout_at(until, frames.next()).await.map_err(|_| too_slow())?;
            let Some(frame) = frame else { return Ok(read) };
            let frame: Bytes = frame.map_err(|_| Problem::invalid("", "the body was cut off"))?;
            self.check_size(read.len() + frame.len())?;
            read.extend_from_slice(&frame);
            let due = read.len().saturating_sub(UNFINISHED_BYTES_FREE);
            if let Some(missing) = share.missing(due) {
                share.add(timeout_at(until, missing).await.map_err(|_| no_room())?);
            }
        }
    }

    fn check_size(&self, bytes: usize) -> Result<(), Problem> {
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let detail = format!("the body has more bytes than the limit of {}", self.bytes_max);
        Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "out_of_range", detail))
    }
}

/// The answer to what did not arrive in time.
fn too_slow() -> Problem {
    let detail = format!("the body took longer than {} s to arrive", ARRIVAL_MAX.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "deadline_exceeded", detail)
}

fn no_room() -> Problem {
    let detail = "too many large requests are arriving at the server; try again later";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", detail)
}

/// A response body that counts as an open call until it was sent.
pub(super) fn holding(body: Body, open: OpenCall) -> Body {
    Body::new(Held { body, _open: open })
}

struct Held {
    body: Body,
    _open: OpenCall,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
