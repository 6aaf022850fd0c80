//! A TCP proxy between two services that a test can shut or hold.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

const CHUNK: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Held,
    Shut,
}

/// The proxy. It lives as long as the runtime.
pub struct Gate {
    /// The URL of the service behind it.
    pub uri: String,
    state: watch::Sender<State>,
}

impl Gate {
    /// Opens a gate before a service.
    ///
    /// # Panics
    /// No port is free.
    pub async fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let uri = format!("http://{}", listener.local_addr().expect("address"));
        let state = watch::Sender::new(State::Open);
        crate::task::spawn(accept(listener, upstream, state.clone()));
        Self { uri, state }
    }

    /// Closes all connections and refuses new ones.
    pub fn shut(&self) {
        self.state.send_replace(State::Shut);
    }

    /// Forwards nothing more. Connections stay open, and nothing is lost.
    pub fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    /// Forwards what comes, and what was held.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, state: watch::Sender<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let mut shut = state.subscribe();
        if *shut.borrow_and_update() == State::Shut {
            continue;
        }
        crate::task::spawn(async move {
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let (there, back) = (shut.clone(), shut.clone());
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            let both = futures::future::join(forward(from_client, to_server, there), forward(from_server, to_client, back));
            tokio::select! {
                _ = both => {}
                _ = shut.wait_for(|state| *state == State::Shut) => {}
            }
        });
    }
}

/// Copies one direction of a connection to its end.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from.read(&mut buffer).await?;
        // The task that accepts owns the sender, so this cannot fail.
        let _ = state.wait_for(|state| *state != State::Held).await;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
