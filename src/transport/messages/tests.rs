use std::collections::VecDeque;

use futures::FutureExt;
use futures::future::poll_fn;
use pounce_proto::inference::model_infer_request::InferInputTensor;
use pounce_proto::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use pounce_proto::{Post, ScoreBatchRequest};
use prost::Message;
use tokio::time::Instant;
use tonic::Code;

use super::*;

const BATCH: &str = BATCH_METHODS[0].path;
const LIMITS: MessageLimits =
    MessageLimits { batch_bytes_max: 4 << 20, batch_posts_max: 3, post_bytes_max: 64 << 10 };
const STREAM: &str = "/pounce.v1.ScoringService/ScoreStream";

/// A body that sends these frames and then nothing more.
struct Frames(VecDeque<Bytes>);

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.pop_front().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
    }
}

fn body(layer: &BoundMessages, path: &str, frames: impl IntoIterator<Item = Bytes>) -> BoundedBody {
    body_of("somebody", layer, path, frames)
}

fn body_of(
    caller: &str,
    layer: &BoundMessages,
    path: &str,
    frames: impl IntoIterator<Item = Bytes>,
) -> BoundedBody {
    let frames = Frames(frames.into_iter().collect());
    layer.body(path, &CallerKey::Token(caller.to_owned()), Body::new(frames))
}

fn header(length: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(length).expect("small").to_be_bytes());
    bytes
}

/// `sent` bytes of a message of `length`, in frames of 16 KiB.
fn part_of(length: usize, sent: usize) -> Vec<Bytes> {
    let mut bytes = header(length);
    bytes.resize(bytes.len() + sent, 0);
    bytes.chunks(16 << 10).map(Bytes::copy_from_slice).collect()
}

async fn frame(body: &mut BoundedBody) -> Result<Bytes, Status> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
    frame.expect("no end").map(|frame| frame.into_data().expect("no trailers"))
}

/// Reads until nothing comes at once; the bytes that came.
fn read_on(body: &mut BoundedBody) -> usize {
    // Unconstrained: tokio's own budget would make a semaphore that has room look busy.
    let next = || tokio::task::unconstrained(frame(body)).now_or_never();
    std::iter::from_fn(next).map(|data| data.expect("good").len()).sum()
}

#[tokio::test]
async fn a_message_has_its_methods_size_limit() {
    let layer = BoundMessages::new(LIMITS);
    let large = LIMITS.post_bytes_max + 1;
    let refusal = frame(&mut body(&layer, STREAM, part_of(large, 0))).await.expect_err("too large");
    assert_eq!(refusal.code(), Code::OutOfRange);
    assert!(refusal.message().contains("65537") && refusal.message().contains("65536"));
    assert!(frame(&mut body(&layer, BATCH, part_of(large, 0))).await.is_ok());
    let large = LIMITS.batch_bytes_max + 1;
    assert!(frame(&mut body(&layer, BATCH, part_of(large, 0))).await.is_err());
}

#[tokio::test]
async fn a_batch_of_too_many_posts_is_refused_before_it_is_decoded() {
    let layer = BoundMessages::new(LIMITS);
    for (posts, good) in [(3, true), (4, false)] {
        let posts = vec![Post::default(); posts];
        let message = ScoreBatchRequest { posts, ..Default::default() }.encode_to_vec();
        let bytes = [header(message.len()), message].concat();
        let refused = frame(&mut body(&layer, BATCH, [bytes.into()])).await;
        assert_eq!(refused.map_err(|refusal| refusal.code()).is_ok(), good);
    }
}

#[tokio::test]
async fn what_a_tensor_holds_is_counted_before_it_is_decoded() {
    let layer = BoundMessages::new(LIMITS);
    let tensor = |elements: usize, parameters: usize| InferInputTensor {
        contents: Some(InferTensorContents {
            bytes_contents: vec![Bytes::new(); elements],
            ..InferTensorContents::default()
        }),
        parameters: (0..parameters).map(|n| (n.to_string(), InferParameter::default())).collect(),
        ..InferInputTensor::default()
    };
    let whole = [tensor(3, 0), tensor(3, 0), tensor(3, 0), tensor(3, 0)];
    for (inputs, refused) in [
        (whole.to_vec(), None),
        ([&whole[..], &[tensor(1, 0)]].concat(), Some("inputs.contents.bytes_contents")),
        (vec![tensor(13, 0)], Some("inputs.contents.bytes_contents")),
        (vec![tensor(1, 64)], None),
        (vec![tensor(1, 40), tensor(1, 25)], Some("inputs.parameters")),
    ] {
        let message = ModelInferRequest { inputs, ..Default::default() }.encode_to_vec();
        let bytes = [header(message.len()), message].concat();
        for path in [BATCH_METHODS[1].path, BATCH_METHODS[2].path] {
            let frames = [Bytes::copy_from_slice(&bytes)];
            let status = frame(&mut body(&layer, path, frames)).await.err();
            let named = status.as_ref().and_then(|status| status.message().split(' ').next());
            assert_eq!(named, refused);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unfinished_messages_of_a_caller_leave_room_for_others_and_small_ones_need_none() {
    let layer = BoundMessages::new(LIMITS);
    let whole = LIMITS.batch_bytes_max;
    let unfinished = |caller| body_of(caller, &layer, BATCH, part_of(whole, whole - 1));
    let mut senders: Vec<_> = (0..40).map(|_| unfinished("greedy")).collect();
    let taken: usize = senders.iter_mut().map(read_on).sum();
    let free = senders.len() * (UNFINISHED_BYTES_FREE + HEADER_ROOM);
    assert!(((20 << 20)..=(24 << 20) + free).contains(&taken), "24 MiB of 32: {taken}");

    let post = part_of(15 << 10, (15 << 10) - 1);
    assert!(read_on(&mut body(&layer, STREAM, post)) > 14 << 10, "a post needs no share");

    let mut other = unfinished("another");
    let arrived = read_on(&mut other);
    assert_eq!(arrived, header(0).len() + whole - 1, "another caller's comes at once");
    drop(other);

    let starved = senders.last_mut().expect("some");
    let refusal = frame(starved).await.expect_err("no room in time");
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    let mut next = unfinished("greedy");
    let before = read_on(&mut next);
    assert!(before < whole - 1, "no room while its others hold it");
    drop(senders);
    assert_eq!(before + read_on(&mut next), header(0).len() + whole - 1);
    drop(next);
    assert_eq!(layer.room.steps_held(), 0);
}

/// Bytes that may be read beyond what is accounted: a header and one frame.
const HEADER_ROOM: usize = 16 << 10;

#[tokio::test(start_paused = true)]
async fn half_a_message_is_waited_for_and_a_silent_stream_for_ever() {
    let layer = BoundMessages::new(LIMITS);
    for half in [vec![0_u8, 0], vec![0, 0, 0, 0, 9, 1, 2]] {
        let mut body = body(&layer, STREAM, [Bytes::from(half)]);
        assert!(frame(&mut body).await.is_ok());
        let began = Instant::now();
        let refusal = frame(&mut body).await.expect_err("too slow");
        assert_eq!((refusal.code(), began.elapsed()), (Code::DeadlineExceeded, ARRIVAL_MAX));
    }
    let mut silent = body(&layer, STREAM, [Bytes::from(vec![0, 0, 0, 0, 0])]);
    assert!(frame(&mut silent).await.is_ok());
    assert!(tokio::time::timeout(ARRIVAL_MAX * 100, frame(&mut silent)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nobody_reads_is_not_the_senders() {
    let layer = BoundMessages::new(LIMITS);
    let mut body = body(&layer, STREAM, [Bytes::from(vec![0, 0, 0]), Bytes::from(vec![0, 1])]);
    assert!(frame(&mut body).await.is_ok());
    tokio::time::advance(ARRIVAL_MAX * 2).await;
    assert!(frame(&mut body).await.is_ok(), "it was there all the time");
    let began = Instant::now();
    assert!(frame(&mut body).await.is_err());
    assert_eq!(began.elapsed(), ARRIVAL_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_one_message_must_begin_and_end_in_time() {
    let layer = BoundMessages::new(LIMITS);
    for frames in [vec![], part_of(3, 3)] {
        // A stream may be silent between messages.
        let mut stream = body(&layer, STREAM, frames.clone());
        read_on(&mut stream);
        let silent = tokio::time::timeout(ARRIVAL_MAX * 10, frame(&mut stream)).await;
        assert!(silent.is_err(), "still open");
        let mut single = body(&layer.single(), STREAM, frames);
        read_on(&mut single);
        let began = Instant::now();
        let status = frame(&mut single).await.expect_err("too late");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(began.elapsed().as_secs(), ARRIVAL_MAX.as_secs());
    }
}
