//! The baselines of the stream path, in their own process: a proxy that copies the bytes of a model server's answer. `/pipe` does nothing
//! else. `/log` delivers a piece after PostgreSQL has committed it, with all streams of a batch in one statement. `/turn` also commits
//! before it calls the model server, as often as a turn has to.

use std::{convert::Infallible, io::Write as _, pin::Pin, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use chassis::task;
use futures::{StreamExt as _, stream};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use uuid::Uuid;

/// What a turn writes down, one after the other, before the model is called: its row, its beginning at project-storage, that it
/// was accepted, who drives it, and that it has its project's slot.
const STEPS: i32 = 5;
/// Pieces that wait for the next statement.
const QUEUE: usize = 10_000;

type Body = UnsyncBoxBody<Bytes, Failure>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A piece of a stream on its way to the database.
struct Piece {
    stream: Uuid,
    seq: i32,
    bytes: Bytes,
    committed: oneshot::Sender<()>,
}

struct Shared {
    upstream: Uri,
    client: Client<HttpConnector, Incoming>,
    pool: PgPool,
    log: mpsc::Sender<Piece>,
}

/// Prints its address and serves until it is killed.
pub(crate) async fn serve(upstream: &str, database: &str) -> Result<ExitCode> {
    let pool = PgPool::connect(database).await.context("the floor's database")?;
    sqlx::query("CREATE TABLE IF NOT EXISTS events (stream uuid, seq integer, payload bytea NOT NULL, PRIMARY KEY (stream, seq))")
        .execute(&pool)
        .await?;
    let (log, pieces) = mpsc::channel(QUEUE);
    task::spawn(write(pool.clone(), pieces));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let shared = Arc::new(Shared { upstream: format!("{upstream}/v1/messages").parse()?, client, pool, log });

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "ready: http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let shared = Arc::clone(&shared);
        task::spawn(async move {
            let service = service_fn(move |request| relay(Arc::clone(&shared), request));
            // An error is a client that has left.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn relay(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let logged = matches!(request.uri().path(), "/log" | "/turn");
    if request.uri().path() == "/turn" {
        begin(&shared.pool).await?;
    }
    let (mut head, body) = request.into_parts();
    head.uri.clone_from(&shared.upstream);
    head.headers.remove(http::header::HOST);
    let response = shared.client.request(Request::from_parts(head, body)).await?;
    let log = logged.then(|| shared.log.clone());
    Ok(response.map(|body| match log {
        Some(log) => committed(body, log).boxed_unsync(),
        None => body.map_err(Failure::from).boxed_unsync(),
    }))
}

async fn begin(pool: &PgPool) -> Result<(), sqlx::Error> {
    let turn = Uuid::now_v7();
    for step in 0..STEPS {
        let step = sqlx::query("INSERT INTO events (stream, seq, payload) VALUES ($1, $2, '')").bind(turn).bind(step);
        step.execute(pool).await?;
    }
    Ok(())
}

type Pieces = Pin<Box<dyn futures::Stream<Item = Result<Frame<Bytes>, Failure>> + Send>>;

/// The same body, each piece after its commit.
fn committed(body: Incoming, log: mpsc::Sender<Piece>) -> StreamBody<Pieces> {
    let stream = Uuid::now_v7();
    let pieces = stream::unfold((BodyStream::new(body), log, 0), move |(mut body, log, seq)| async move {
        let frame = body.next().await?;
        let delivered = async {
            let frame = frame?;
            if let Some(bytes) = frame.data_ref() {
                let (committed, done) = oneshot::channel();
                log.send(Piece { stream, seq, bytes: bytes.clone(), committed }).await?;
                done.await?;
            }
            Ok(frame)
        };
        let frame = delivered.await;
        Some((frame, (body, log, seq + 1)))
    });
    StreamBody::new(Box::pin(pieces))
}

/// One statement at a time with everything that has gathered since the last.
async fn write(pool: PgPool, mut pieces: mpsc::Receiver<Piece>) -> Result<Infallible> {
    let mut batch: Vec<Piece> = Vec::new();
    while pieces.recv_many(&mut batch, QUEUE).await > 0 {
        let streams: Vec<Uuid> = batch.iter().map(|piece| piece.stream).collect();
        let seqs: Vec<i32> = batch.iter().map(|piece| piece.seq).collect();
        let payloads: Vec<&[u8]> = batch.iter().map(|piece| piece.bytes.as_ref()).collect();
        // Whoever waits for a piece that was not committed sees its sender dropped.
        sqlx::query("INSERT INTO events (stream, seq, payload) SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bytea[])")
            .bind(streams)
            .bind(seqs)
            .bind(payloads)
            .execute(&pool)
            .await?;
        batch.drain(..).for_each(|piece| {
            // A viewer that has left waits no more.
            let _ = piece.committed.send(());
        });
    }
    anyhow::bail!("nobody writes any more")
}
