//! The baselines of the stream path, in their own process: a proxy that copies the bytes of the model server's answer. `/pipe` only copies.
//! `/log` commits each chunk to PostgreSQL before it delivers it, with the chunks of all streams in one statement. `/turn` also commits
//! before it calls the model server, as often as a turn does.

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

/// The number of sequential commits of a turn before the model is called: its row, its start at project-storage, `turn.accepted`, the claim,
/// and `turn.started`.
const STEPS: i32 = 5;
/// The most chunks that wait for the next statement.
const QUEUE: usize = 10_000;

type Body = UnsyncBoxBody<Bytes, Failure>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A chunk of a stream that is to be committed.
struct Chunk {
    stream: Uuid,
    seq: i32,
    bytes: Bytes,
    committed: oneshot::Sender<()>,
}

struct Shared {
    upstream: Uri,
    client: Client<HttpConnector, Incoming>,
    pool: PgPool,
    log: mpsc::Sender<Chunk>,
}

/// Prints the address and serves until the process is killed.
pub(crate) async fn serve(upstream: &str, database: &str) -> Result<ExitCode> {
    let pool = PgPool::connect(database).await.context("the database of the baselines")?;
    sqlx::query("CREATE TABLE IF NOT EXISTS events (stream uuid, seq integer, payload bytea NOT NULL, PRIMARY KEY (stream, seq))")
        .execute(&pool)
        .await?;
    let (log, chunks) = mpsc::channel(QUEUE);
    task::spawn(write(pool.clone(), chunks));
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
            // An error means that the client has disconnected.
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

type Chunks = Pin<Box<dyn futures::Stream<Item = Result<Frame<Bytes>, Failure>> + Send>>;

/// Wraps a body so that each chunk is delivered after its commit.
fn committed(body: Incoming, log: mpsc::Sender<Chunk>) -> StreamBody<Chunks> {
    let stream = Uuid::now_v7();
    let chunks = stream::unfold((BodyStream::new(body), log, 0), move |(mut body, log, seq)| async move {
        let frame = body.next().await?;
        let delivered = async {
            let frame = frame?;
            if let Some(bytes) = frame.data_ref() {
                let (committed, done) = oneshot::channel();
                log.send(Chunk { stream, seq, bytes: bytes.clone(), committed }).await?;
                done.await?;
            }
            Ok(frame)
        };
        let frame = delivered.await;
        Some((frame, (body, log, seq + 1)))
    });
    StreamBody::new(Box::pin(chunks))
}

/// Commits all waiting chunks in one statement, then the next ones.
async fn write(pool: PgPool, mut chunks: mpsc::Receiver<Chunk>) -> Result<Infallible> {
    let mut batch: Vec<Chunk> = Vec::new();
    while chunks.recv_many(&mut batch, QUEUE).await > 0 {
        let streams: Vec<Uuid> = batch.iter().map(|chunk| chunk.stream).collect();
        let seqs: Vec<i32> = batch.iter().map(|chunk| chunk.seq).collect();
        let payloads: Vec<&[u8]> = batch.iter().map(|chunk| chunk.bytes.as_ref()).collect();
        // If the commit fails, the senders are dropped, which fails the streams.
        sqlx::query("INSERT INTO events (stream, seq, payload) SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bytea[])")
            .bind(streams)
            .bind(seqs)
            .bind(payloads)
            .execute(&pool)
            .await?;
        batch.drain(..).for_each(|chunk| {
            // An error means that the viewer has disconnected.
            let _ = chunk.committed.send(());
        });
    }
    anyhow::bail!("all streams have ended")
}
