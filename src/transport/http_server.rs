//! The connections of the HTTP port, served: HTTP/1.1 with time limits, until the server stops.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use futures::{Stream, StreamExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tonic::transport::server::Connected;
use tower::ServiceExt;

use super::incoming::Connection;
use crate::auth::encrypted::Encrypted;
use crate::lifecycle::drain::{Drain, Phase};

/// Time that the head of a request has to arrive, from the end of the one before.
const HEAD_ARRIVAL_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request's head, and of what is read ahead of a body.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Serves `connections` until the server stops; requests that are open then are answered first.
pub(crate) async fn serve<S>(connections: S, router: Router, mut drain: Drain)
where
    S: Stream<Item = Connection> + Send,
{
    let mut connections = pin!(connections);
    let mut open = JoinSet::new();
    let end = drain.clone();
    loop {
        tokio::select! {
            () = drain.reached(Phase::Stopping) => break,
            Some(connection) = connections.next() => {
                open.spawn(serve_one(connection, router.clone(), end.clone()));
            }
            // A panic of a handler has ended its connection alone; the hook has told where.
            Some(_) = open.join_next() => {}
        }
    }
    while open.join_next().await.is_some() {}
}

async fn serve_one(connection: Connection, router: Router, mut drain: Drain) {
    let (peer, encrypted) = (connection.connect_info(), Encrypted(connection.is_encrypted()));
    let closing = drain.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(encrypted);
        let (answered, drain) = (router.clone().oneshot(request), closing.clone());
        async move {
            let mut response = answered.await?;
            // The caller's next request is for another server.
            if drain.phase() >= Phase::Draining {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_ARRIVAL_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    let mut served = pin!(http.serve_connection(TokioIo::new(connection), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = drain.reached(Phase::Stopping) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection failed");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::*;
    use crate::lifecycle::drain;
    use crate::transport::incoming::http_connections;

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_in_time_ends_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let addr = listener.local_addr().expect("bound");
        let (end, drain) = drain::channel();
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        let served = tokio::spawn(serve(http_connections(listener, None, 8), router, drain));
        let whole = "GET / HTTP/1.1\r\nhost: pounce\r\n\r\n";
        for said in ["", "GET / HTTP/1.1\r\nhost:", whole] {
            let mut client = TcpStream::connect(addr).await.expect("it listens");
            client.write_all(said.as_bytes()).await.expect("sent");
            let began = Instant::now();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("closed in good order");
            assert!(began.elapsed() >= HEAD_ARRIVAL_MAX, "{said:?}: {:?}", began.elapsed());
            assert_eq!(answer.ends_with("here"), said == whole, "{answer}");
        }
        let mut open = TcpStream::connect(addr).await.expect("it listens");
        open.write_all(whole.as_bytes()).await.expect("sent");
        while open.read_u8().await.expect("an answer") != b'h' {}
        end.advance(Phase::Stopping);
        served.await.expect("no panic");
        let rest = open.read_to_end(&mut Vec::new()).await;
        assert!(rest.is_ok(), "closed in good order at the end: {rest:?}");
    }
}
