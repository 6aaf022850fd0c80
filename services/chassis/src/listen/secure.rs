//! The start of a connection on a listener that has a certificate: with or without TLS, as its first byte says.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
};

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::{Listener, connection::Connection, pace::PacedSocket};
use crate::tls::{HANDSHAKE, Tls};

/// A connection without or with TLS. The limits count the bytes on the network.
pub(super) type Socket = Either<PacedSocket, Box<TlsStream<PacedSocket>>>;

/// Prepares the socket of a new connection. `None` if the connection ends here.
pub(super) async fn secure<B>(listener: &Listener<B>, stream: TcpStream, connection: &Connection) -> Option<Socket> {
    let limits = &listener.limits;
    let Some(tls) = &listener.tls else { return Some(Either::Left(PacedSocket::new(stream, limits, connection.clone()))) };
    let start = async {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1) if first == [HANDSHAKE] => handshake(tls, PacedSocket::new(stream, limits, connection.clone()), connection).await,
            Ok(1) if tls.accepts_plain() => Some(Either::Left(PacedSocket::new(stream, limits, connection.clone()))),
            _ => None,
        }
    };
    tokio::time::timeout(limits.header, start).await.ok().flatten()
}

async fn handshake(tls: &Tls, socket: PacedSocket, connection: &Connection) -> Option<Socket> {
    let accepting = pin!(tls.accept(socket));
    match count_polls(accepting, connection).await {
        Ok((stream, peer)) => {
            // A connection is prepared once.
            let _ = connection.0.tls_peer.set(peer);
            Some(Either::Right(Box::new(stream)))
        }
        Err(error) => {
            connection.add_penalty();
            tracing::debug!(peer = %connection.peer(), "a TLS connection failed: {error}");
            None
        }
    }
}

/// Counts the polls of the connection's future.
pub(super) fn count_polls<F: Future>(mut serving: Pin<&mut F>, connection: &Connection) -> impl Future<Output = F::Output> {
    poll_fn(move |cx| {
        connection.0.traffic.polled();
        serving.as_mut().poll(cx)
    })
}
