//! Connections of both ports: accepted, counted, bounded, and with TLS unwrapped, before the
//! transport sees them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, coop};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::metrics::{self, ConnectionRefusal, Port};
use super::peers::{ConnectionPermit, Peers};
use crate::transport::tls::Tls;

/// Time that a client has from connecting to the end of HTTP/2's preface: a
/// silent socket must not hold a permit.
const OPENING_MAX: Duration = Duration::from_secs(10);
/// Bytes of HTTP/2's preface.
const PREFACE: usize = 24;
/// Bytes that a connection reads for one unit of its task's budget. A turn of a task has 128 units (as
/// tokio has it), so that others wait for 16 KiB at most: a thousand empty frames, each of which may ask
/// for an answer. A read alone would cost one unit however much it brings, and a turn last until 128
/// full buffers are read.
const BYTES_A_UNIT: usize = 128;
/// Pause after the system refused a socket, most often for want of
/// descriptors: asking again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// First byte of a TLS connection: the content type of a handshake (RFC 8446, section 5.1). No
/// method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 22;

/// The connections of the gRPC port, through TLS where given. At most `connections_max` are open or
/// shaking hands at a time, and no peer has more than are still free; others are closed at once.
/// Dropping the stream closes the listener.
pub(crate) fn grpc_connections(
    listener: TcpListener,
    tls: Option<Tls>,
    connections_max: usize,
) -> impl Stream<Item = Result<Connection, Infallible>> + Send {
    connections(Port::Grpc, listener, tls, connections_max).map(Ok)
}

/// The connections of the HTTP port, bounded likewise. With TLS, those whose first byte begins it
/// go through it, and others are in clear: probes and scrapes know no certificate.
pub(crate) fn http_connections(
    listener: TcpListener,
    tls: Option<Tls>,
    connections_max: usize,
) -> impl Stream<Item = Connection> + Send {
    connections(Port::Http, listener, tls, connections_max)
}

fn connections(
    port: Port,
    listener: TcpListener,
    tls: Option<Tls>,
    connections_max: usize,
) -> impl Stream<Item = Connection> + Send {
    let peers = Peers::new(connections_max);
    async_stream::stream! {
        let mut handshakes = JoinSet::new();
        loop {
            let socket = tokio::select! {
                socket = accept(&listener) => socket,
                Some(done) = handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        yield connection;
                    }
                    continue;
                }
            };
            let Some(permit) = socket.peer_addr().ok().and_then(|peer| peers.admit(peer.ip())) else {
                metrics::connection_refused(port, ConnectionRefusal::Limit);
                continue;
            };
            let new = New { port, socket, permit, until: Instant::now() + OPENING_MAX };
            let Some(tls) = &tls else {
                yield new.in_clear();
                continue;
            };
            let tls = tls.now();
            match port {
                Port::Grpc => {
                    handshakes.spawn(new.handshake(TlsAcceptor::from(Arc::clone(&tls.grpc))));
                }
                Port::Http => {
                    handshakes.spawn(new.by_first_byte(TlsAcceptor::from(Arc::clone(&tls.http))));
                }
            }
        }
    }
}

/// The next socket; waits on while the system has none to give. Safe to drop.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // Replies are small and must not wait for company. A socket
                // that refuses is about to fail anyway.
                let _ = socket.set_nodelay(true);
                return socket;
            }
            Err(error) if went_away(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn went_away(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A socket that was let in.
struct New {
    port: Port,
    socket: TcpStream,
    permit: ConnectionPermit,
    /// When it must have said something.
    until: Instant,
}

impl New {
    fn in_clear(self) -> Connection {
        Connection::new(self.port, Io::Plain(self.socket), self.until, self.permit)
    }

    async fn handshake(self, acceptor: TlsAcceptor) -> Option<Connection> {
        let Self { port, socket, permit, until } = self;
        let peer = socket.peer_addr().ok();
        match tokio::time::timeout_at(until, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Some(Connection::new(port, Io::Tls(Box::new(stream)), until, permit)),
            Ok(Err(error)) => {
                metrics::connection_refused(port, ConnectionRefusal::Handshake);
                tracing::debug!(
                    peer = peer.map(tracing::field::display), %error, "TLS handshake failed"
                );
                None
            }
            Err(_) => {
                metrics::connection_refused(port, ConnectionRefusal::Silent);
                None
            }
        }
    }

    /// With TLS or in clear, as its first byte says.
    async fn by_first_byte(self, acceptor: TlsAcceptor) -> Option<Connection> {
        let mut first = [0];
        match tokio::time::timeout_at(self.until, self.socket.peek(&mut first)).await {
            Ok(Ok(1..)) if first == [TLS_HANDSHAKE] => self.handshake(acceptor).await,
            Ok(Ok(1..)) => Some(self.in_clear()),
            // It went away.
            Ok(_) => None,
            Err(_) => {
                metrics::connection_refused(self.port, ConnectionRefusal::Silent);
                None
            }
        }
    }
}

/// One open connection; holds its permit until it is dropped.
pub(crate) struct Connection {
    port: Port,
    io: Io,
    /// `None` once the preface was read.
    opening: Option<Opening>,
    addresses: [Option<SocketAddr>; 2],
    _permit: ConnectionPermit,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What a connection may take to say something.
struct Opening {
    alarm: Pin<Box<Sleep>>,
    /// Bytes still to come.
    left: usize,
}

impl Opening {
    fn new(until: Instant) -> Self {
        Self { alarm: Box::pin(tokio::time::sleep_until(until)), left: PREFACE }
    }
}

impl Connection {
    fn new(port: Port, io: Io, until: Instant, permit: ConnectionPermit) -> Self {
        metrics::connection_open(port, true);
        let socket = match &io {
            Io::Plain(socket) => socket,
            Io::Tls(stream) => stream.get_ref().0,
        };
        let addresses = [socket.local_addr().ok(), socket.peer_addr().ok()];
        // HTTP's server has a time limit of its own for each request.
        let opening = (port == Port::Grpc).then(|| Opening::new(until));
        Self { port, io, opening, addresses, _permit: permit }
    }

    /// Whether it goes through TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// Ends the opening once the preface is there, and the connection if it is not in time.
    fn poll_opening(&mut self, context: &mut Context<'_>, read: usize) -> io::Result<()> {
        let Some(opening) = &mut self.opening else { return Ok(()) };
        opening.left = opening.left.saturating_sub(read);
        if opening.left == 0 {
            self.opening = None;
        } else if opening.alarm.as_mut().poll(context).is_ready() {
            metrics::connection_refused(self.port, ConnectionRefusal::Silent);
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

/// Takes what `read` bytes cost from the budget of the task that is running, in tokio's sense: a task
/// without budget finds nothing ready until all others have had their turn.
fn pay(context: &mut Context<'_>, read: usize) {
    for _ in 0..read / BYTES_A_UNIT {
        match coop::poll_proceed(context) {
            Poll::Ready(unit) => unit.made_progress(),
            Poll::Pending => return,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::connection_open(self.port, false);
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        let [local_addr, remote_addr] = self.addresses;
        TcpConnectInfo { local_addr, remote_addr }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = match &mut this.io {
            Io::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let read = buffer.filled().len() - before;
        pay(context, read);
        this.poll_opening(context, read)?;
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(socket) => socket.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(socket) => Pin::new(socket).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A client that writes `said`, and the server's end of its connection.
    async fn opened(said: &[u8]) -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let addr = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(addr).await.expect("it listens");
        client.write_all(said).await.expect("sent");
        let mut connections = Box::pin(grpc_connections(listener, None, 1));
        let Some(Ok(connection)) = connections.next().await else { panic!("a connection") };
        (client, connection)
    }

    #[tokio::test]
    async fn whoever_sends_much_is_read_in_turns_with_others() {
        const TURN: usize = 16 << 10;
        let said = vec![0; 20 * TURN];
        let (mut client, mut connection) = opened(&said[..TURN]).await;
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(1..) = connection.read(&mut buffer).await.inspect(|&bytes| {
                counted.fetch_add(bytes, Ordering::Relaxed);
            }) {}
        });
        client.write_all(&said[TURN..]).await.expect("sent");
        drop(client);
        let (mut before, mut longest) = (0, 0);
        while !reading.is_finished() {
            tokio::task::yield_now().await;
            let now = read.load(Ordering::Relaxed);
            longest = longest.max(now - before);
            before = now;
        }
        assert_eq!(before, said.len());
        assert!((1..=TURN).contains(&longest), "{longest} bytes in one turn");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_say_its_preface_in_time_is_closed() {
        for said in [&b""[..], &b"PRI * HTTP/2.0"[..]] {
            let (_client, mut connection) = opened(said).await;
            let began = Instant::now();
            let error = connection.read_to_end(&mut Vec::new()).await.expect_err("too late");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(began.elapsed().as_secs(), OPENING_MAX.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_said_its_preface_may_be_silent() {
        let (client, mut connection) = opened(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        connection.read_exact(&mut [0; PREFACE]).await.expect("the preface");
        let silent = tokio::time::timeout(OPENING_MAX * 10, connection.read_u8()).await;
        assert!(silent.is_err(), "still open");
        drop(client);
        assert!(connection.read_u8().await.is_err());
    }
}
