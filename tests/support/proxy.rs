//! A network that does what a test asks: it delays, cuts into single bytes, falls silent, breaks.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// As they come.
    Good,
    /// One by one, each a packet of its own.
    Bytewise,
    /// Each packet late by so much.
    Late(Duration),
    /// Connections stay open and carry nothing.
    Silent,
    /// After so many bytes in one direction, a connection is reset.
    ResetAfter(usize),
    /// After so many bytes to the server, the client's half is closed; replies still come.
    HalfClosedAfter(usize),
    /// Every connection is reset, new ones too.
    Down,
}

/// Passes connections on to a server.
pub struct Proxy {
    addr: SocketAddr,
    network: watch::Sender<Network>,
}

impl Proxy {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let addr = listener.local_addr().expect("bound");
        let (network, now) = watch::channel(Network::Good);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, now.clone()));
            }
        });
        Self { addr, network }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the network, for connections that are open too.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// A connection broke: its other direction must not go on.
struct Broken;

async fn pass(client: TcpStream, server: SocketAddr, network: watch::Receiver<Network>) {
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    for socket in [&client, &upstream] {
        socket.set_nodelay(true).expect("an open socket");
    }
    let ((client_reads, client_writes), (server_reads, server_writes)) =
        (client.into_split(), upstream.into_split());
    let to_server = copy(client_reads, server_writes, network.clone(), Direction::ToServer);
    let to_client = copy(server_reads, client_writes, network.clone(), Direction::ToClient);
    let mut watched = network;
    tokio::select! {
        // One half may close before the other.
        _ = async { tokio::try_join!(to_server, to_client) } => {}
        _ = watched.wait_for(|&network| network == Network::Down) => {}
    }
}

/// Copies one direction until it ends.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    direction: Direction,
) -> Result<(), Broken> {
    let mut buffer = vec![0; 16 << 10];
    let mut copied = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        copied += read;
        let _ = network.wait_for(|&network| network != Network::Silent).await;
        let now = *network.borrow();
        let sent = match now {
            Network::Bytewise => bytewise(&mut to, &buffer[..read]).await,
            Network::Late(delay) => {
                tokio::time::sleep(delay).await;
                to.write_all(&buffer[..read]).await
            }
            Network::HalfClosedAfter(limit)
                if direction == Direction::ToServer && copied > limit =>
            {
                break;
            }
            Network::ResetAfter(limit) if copied > limit => {
                // Closed like this, a socket sends a reset in place of the rest.
                let _ = from.as_ref().set_zero_linger();
                let _ = to.as_ref().set_zero_linger();
                return Err(Broken);
            }
            _ => to.write_all(&buffer[..read]).await,
        };
        if sent.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    Ok(())
}

async fn bytewise(to: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        to.write_all(std::slice::from_ref(byte)).await?;
        to.flush().await?;
    }
    Ok(())
}
