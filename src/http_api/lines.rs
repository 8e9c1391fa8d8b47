//! JSON lines in both directions: a post a line in, a reply a line out, as a `ScoreStream`.
//!
//! A line is read when the stream asks for it, which it does while fewer posts are unanswered
//! than may be: what comes faster stays with its sender.

use std::convert::Infallible;
use std::future::poll_fn;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::Status;

use super::problem::Problem;
use crate::arrival::{ARRIVAL_MAX, Arrival};
use crate::scoring::input::StreamInput;
use pounce_client::Reply;
use pounce_client::json::{parse_post, show_reply};
use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply as WireReply;
use pounce_proto::{Rejection, RejectionCode, ScoreStreamRequest, ScoreStreamResponse};

/// Content type of lines of JSON.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// Longest time that a connection is kept for a sender that has not heard yet that nothing more
/// is read: closing it at once would take the last replies from them.
const LINGER: Duration = Duration::from_secs(5);

/// Reads lines of a body; gives the rest of the body back when it is dropped.
struct Lines {
    body: Option<BodyDataStream>,
    rest: Option<oneshot::Sender<BodyDataStream>>,
    /// What was read and not dropped yet.
    buffer: Vec<u8>,
    /// Where in the buffer the next line begins.
    start: usize,
    /// Up to where the buffer was looked through.
    seen: usize,
    bytes_max: usize,
    /// The line is too long: its bytes are dropped up to its end.
    skipping: bool,
    /// How long the line has been waited for.
    arrival: Arrival,
}

/// A line without its end, or one that was too long.
type Line = Result<Vec<u8>, ()>;

impl Lines {
    fn new(body: Body, rest: Option<oneshot::Sender<BodyDataStream>>, bytes_max: usize) -> Self {
        Self {
            body: Some(body.into_data_stream()),
            rest,
            buffer: Vec::new(),
            start: 0,
            seen: 0,
            bytes_max,
            skipping: false,
            arrival: Arrival::default(),
        }
    }

    /// The next line that is not empty; none at the end of the body.
    async fn next(&mut self) -> Option<Result<Line, Status>> {
        loop {
            if let Some(line) = self.whole() {
                return Some(Ok(line));
            }
            let inside = self.skipping || !self.buffer.is_empty();
            let (body, arrival) = (self.body.as_mut()?, &mut self.arrival);
            let came = poll_fn(|context| {
                arrival.poll(context, |context| (body.poll_next_unpin(context), inside))
            });
            let Ok(frame) = came.await else {
                let seconds = ARRIVAL_MAX.as_secs();
                let late = format!("a line took longer than {seconds} s to arrive");
                return Some(Err(Status::deadline_exceeded(late)));
            };
            match frame {
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame),
                Some(Err(_)) => {
                    return Some(Err(Status::invalid_argument("the body was cut off")));
                }
                None => {
                    self.body = None;
                    // The last line needs no end.
                    self.buffer.push(b'\n');
                }
            }
        }
    }

    /// The next whole line of the buffer that is not empty, if there is one. Else the buffer begins
    /// with what there is of the next line: it moves once a read, however many lines that brought.
    fn whole(&mut self) -> Option<Line> {
        while let Some(length) = self.buffer[self.seen..].iter().position(|byte| *byte == b'\n') {
            let end = self.seen + length;
            let line = &self.buffer[self.start..end];
            self.start = end + 1;
            self.seen = self.start;
            self.arrival.begin();
            if std::mem::take(&mut self.skipping) || line.len() > self.bytes_max {
                return Some(Err(()));
            }
            if !line.trim_ascii().is_empty() {
                return Some(Ok(line.to_vec()));
            }
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.len() > self.bytes_max {
            self.skipping = true;
        }
        if self.skipping {
            self.buffer.clear();
        }
        self.seen = self.buffer.len();
        None
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let (Some(body), Some(rest)) = (self.body.take(), self.rest.take()) {
            // Nobody waits for it if the whole request is gone.
            let _ = rest.send(body);
        }
    }
}

/// The posts of a body, and where the rest of it is given back. Posts without an id are numbered
/// within `run`.
pub(super) fn posts(
    body: Body,
    line_bytes_max: usize,
    run: String,
) -> (
    impl Stream<Item = Result<StreamInput, Status>> + Send + Unpin + 'static,
    oneshot::Receiver<BodyDataStream>,
) {
    let (sender, rest) = oneshot::channel();
    let mut lines = Lines::new(body, Some(sender), line_bytes_max);
    let posts = async_stream::stream! {
        let mut number = 0;
        while let Some(line) = lines.next().await {
            number += 1;
            let post = match line {
                Ok(Ok(line)) => parse_post(&line, &run, number),
                Ok(Err(())) => Err(too_long(line_bytes_max, &run, number)),
                Err(status) => {
                    yield Err(status);
                    return;
                }
            };
            yield Ok(match post {
                Ok(post) => StreamInput::Request(ScoreStreamRequest {
                    request: Some(Request::Post(Box::new(post))),
                }),
                Err(rejection) => StreamInput::Unreadable(rejection),
            });
        }
    };
    (Box::pin(posts), rest)
}

fn too_long(max: usize, run: &str, number: u64) -> Rejection {
    Rejection {
        post_id: format!("{run}-{number}"),
        code: RejectionCode::TooLong.into(),
        field: format!("line {number}"),
        reason: format!("the line has more bytes than the limit of {max}"),
        ..Rejection::default()
    }
}

/// Replies as lines. After the last one, what still comes of the request is read and dropped for a
/// while.
pub(super) fn replies<S>(replies: S, rest: oneshot::Receiver<BodyDataStream>) -> Response
where
    S: Stream<Item = Result<ScoreStreamResponse, Status>> + Send + 'static,
{
    let lines = async_stream::stream! {
        let mut replies = Box::pin(replies);
        while let Some(reply) = replies.next().await {
            if let Some(line) = line(reply) {
                yield Ok::<_, Infallible>(Bytes::from(line + "\n"));
            }
        }
        drop(replies);
        if let Ok(mut body) = rest.await {
            let _ = timeout(LINGER, async { while body.next().await.is_some() {} }).await;
        }
    };
    let headers = [
        (header::CONTENT_TYPE, NDJSON),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies must not wait for the end of the stream.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (StatusCode::OK, headers, Body::from_stream(lines)).into_response()
}

fn line(reply: Result<ScoreStreamResponse, Status>) -> Option<String> {
    let reply = match reply {
        Ok(response) => response.reply?,
        Err(status) => return Some(json!({ "error": Problem::from(status) }).to_string()),
    };
    Some(match reply {
        WireReply::Event(event) => show_reply(&Reply::Event(Box::new(event))),
        WireReply::Rejection(rejection) => show_reply(&Reply::Rejection(Box::new(rejection))),
        WireReply::Drain(drain) => {
            json!({ "drain": { "accepted_through": drain.accepted_through } }).to_string()
        }
        WireReply::Summary(summary) => json!({
            "summary": {
                "received": summary.received,
                "scored": summary.scored,
                "rejected": summary.rejected,
                "flagged": summary.flagged,
            }
        })
        .to_string(),
        // A stream without options asks for none.
        WireReply::AlertChange(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a body that comes in pieces of `size` bytes.
    async fn read(text: &str, size: usize, bytes_max: usize) -> Vec<Line> {
        let pieces: Vec<_> = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
        let body = Body::from_stream(futures::stream::iter(
            pieces.into_iter().map(|piece| Ok::<_, Infallible>(Bytes::from(piece))),
        ));
        let mut lines = Lines::new(body, None, bytes_max);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line.expect("no problem"));
            assert!(lines.buffer.len() <= bytes_max + text.len());
        }
        all
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_are_cut_and_a_long_one_costs_itself() {
        let text = "one\r\n\n  \ntwo\na line that is far too long\nthree";
        for size in 1..=text.len() {
            let lines = read(text, size, 12).await;
            let good = |line: &str| Ok(line.as_bytes().to_vec());
            assert_eq!(lines, [good("one\r"), good("two"), Err(()), good("three")], "{size}");
        }
    }

    #[tokio::test]
    async fn what_a_read_brought_stays_where_it_is_until_all_its_lines_are_taken() {
        let text = "\n".repeat(1_000) + "{}\n" + &"\n".repeat(1_000) + "{}\nhalf";
        let mut lines = Lines::new(Body::from(text.clone()), None, 100);
        for _ in 0..2 {
            assert_eq!(
                lines.next().await.expect("a line").expect("no problem"),
                Ok(b"{}".to_vec())
            );
            assert_eq!(lines.buffer.len(), text.len(), "nothing was moved");
        }
        assert_eq!(lines.next().await.expect("a line").expect("no problem"), Ok(b"half".to_vec()));
        assert!(lines.buffer.len() < 10, "only the rest was kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_does_not_end_in_time_ends_the_stream_and_a_pause_between_lines_does_not() {
        let body = async_stream::stream! {
            yield Ok::<_, Infallible>(Bytes::from_static(b"one\n"));
            tokio::time::sleep(ARRIVAL_MAX * 10).await;
            yield Ok(Bytes::from_static(b"two\nhalf"));
            tokio::time::sleep(ARRIVAL_MAX * 10).await;
        };
        let (mut posts, _rest) = posts(Body::from_stream(body), 100, "run".to_owned());
        for _ in 0..2 {
            assert!(matches!(posts.next().await, Some(Ok(StreamInput::Unreadable(_)))));
        }
        let Some(Err(status)) = posts.next().await else { panic!("it is late") };
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert!(posts.next().await.is_none());
    }
}
