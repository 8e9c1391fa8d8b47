//! Connections of the gRPC port: accepted, counted, bounded, and with TLS
//! unwrapped, before the transport sees them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::metrics::{self, ConnectionRefusal};
use super::peers::{ConnectionPermit, Peers};
use crate::transport::tls::Tls;

/// Time that a client has from connecting to the end of HTTP/2's preface: a
/// silent socket must not hold a permit.
const OPENING_MAX: Duration = Duration::from_secs(10);
/// Bytes of HTTP/2's preface.
const PREFACE: usize = 24;
/// Pause after the system refused a socket, most often for want of
/// descriptors: asking again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The connections of `listener`, through TLS where given. At most
/// `connections_max` are open or shaking hands at a time, and no peer has more than are still free;
/// others are closed at once. Dropping the stream closes the listener.
pub fn connections(
    listener: TcpListener,
    tls: Option<Tls>,
    connections_max: usize,
) -> impl Stream<Item = Result<Connection, Infallible>> + Send {
    let peers = Peers::new(connections_max);
    async_stream::stream! {
        let mut handshakes = JoinSet::new();
        loop {
            let socket = tokio::select! {
                socket = accept(&listener) => socket,
                Some(done) = handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        yield Ok(connection);
                    }
                    continue;
                }
            };
            let Some(permit) = socket.peer_addr().ok().and_then(|peer| peers.admit(peer.ip())) else {
                metrics::connection_refused(ConnectionRefusal::Limit);
                continue;
            };
            let opening = Opening::new(Instant::now() + OPENING_MAX);
            match &tls {
                None => yield Ok(Connection::new(Io::Plain(socket), opening, permit)),
                Some(tls) => {
                    let acceptor = TlsAcceptor::from(Arc::clone(&tls.now().server));
                    handshakes.spawn(handshake(acceptor, socket, opening, permit));
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

async fn handshake(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    opening: Opening,
    permit: ConnectionPermit,
) -> Option<Connection> {
    let peer = socket.peer_addr().ok();
    match tokio::time::timeout_at(opening.until, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => Some(Connection::new(Io::Tls(Box::new(stream)), opening, permit)),
        Ok(Err(error)) => {
            metrics::connection_refused(ConnectionRefusal::Handshake);
            tracing::debug!(peer = peer.map(tracing::field::display), %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            metrics::connection_refused(ConnectionRefusal::Silent);
            None
        }
    }
}

/// One open connection; holds its permit until it is dropped.
pub struct Connection {
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
    until: Instant,
    alarm: Pin<Box<Sleep>>,
    /// Bytes still to come.
    left: usize,
}

impl Opening {
    fn new(until: Instant) -> Self {
        Self { until, alarm: Box::pin(tokio::time::sleep_until(until)), left: PREFACE }
    }
}

impl Connection {
    fn new(io: Io, opening: Opening, permit: ConnectionPermit) -> Self {
        metrics::connection_open(true);
        let socket = match &io {
            Io::Plain(socket) => socket,
            Io::Tls(stream) => stream.get_ref().0,
        };
        let addresses = [socket.local_addr().ok(), socket.peer_addr().ok()];
        Self { io, opening: Some(opening), addresses, _permit: permit }
    }

    /// Ends the opening once the preface is there, and the connection if it is not in time.
    fn poll_opening(&mut self, context: &mut Context<'_>, read: usize) -> io::Result<()> {
        let Some(opening) = &mut self.opening else { return Ok(()) };
        opening.left = opening.left.saturating_sub(read);
        if opening.left == 0 {
            self.opening = None;
        } else if opening.alarm.as_mut().poll(context).is_ready() {
            metrics::connection_refused(ConnectionRefusal::Silent);
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::connection_open(false);
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
        this.poll_opening(context, buffer.filled().len() - before)?;
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
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A client that writes `said`, and the server's end of its connection.
    async fn opened(said: &[u8]) -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let addr = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(addr).await.expect("it listens");
        client.write_all(said).await.expect("sent");
        let mut connections = Box::pin(connections(listener, None, 1));
        let Some(Ok(connection)) = connections.next().await else { panic!("a connection") };
        (client, connection)
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
