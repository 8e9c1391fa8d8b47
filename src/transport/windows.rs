//! HTTP/2 flow control windows: how many unread bytes the server takes in.

/// Unread bytes of one stream that h2 takes in before the sender must wait: a few dozen posts, so
/// that backpressure reaches a writer soon and unread bytes of many streams stay few.
pub(super) const STREAM_WINDOW: u32 = 24 * 1024;
/// A client may send so much before it has heard of that window (RFC 9113, 6.9.2).
const DEFAULT_WINDOW: u32 = 65_535;
// h2 0.4.20 gives read bytes back once they are half of what is left of the window: before that, up
// to a third of the default one is read and not given back. When the window then shrinks to ours, h2
// does not look again: if nothing were left, both sides would wait for each other.
const _: () = assert!(STREAM_WINDOW > DEFAULT_WINDOW / 3);
/// Smallest DATA frame of an honest client: the header of a message, and a post of an id and a
/// word.
const FRAME_BYTES_MIN: u32 = 16;
/// What h2 charges an unread DATA frame that is smaller than so many bytes: the difference.
const FRAME_CHARGE: u32 = 256;
/// Unread bytes of one connection, at least.
const CONNECTION_WINDOW_MIN: u32 = 4 * 1024 * 1024;

/// Unread bytes of one connection. h2 0.4.20 charges unread small frames against half of this
/// window, and ends the connection with GOAWAY when it is spent: it must be enough for every
/// stream with its window full of the smallest frames. What is really unread is bounded by the
/// streams' own windows.
pub(super) fn connection_window(streams_max: u32) -> u32 {
    let charged = STREAM_WINDOW / FRAME_BYTES_MIN * (FRAME_CHARGE - FRAME_BYTES_MIN);
    let window = charged.saturating_mul(streams_max).saturating_mul(2);
    // The largest that HTTP/2 knows.
    window.clamp(CONNECTION_WINDOW_MIN, i32::MAX.cast_unsigned())
}
