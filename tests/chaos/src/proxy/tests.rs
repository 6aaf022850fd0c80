use sqlx::{Connection as _, Executor as _, PgConnection};

use super::*;

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            task::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn say(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

#[tokio::test]
async fn a_link_skips_dead_targets_and_cuts_and_stalls() {
    let dead: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let link = Link::open("test", vec![Target::Tcp(dead), Target::Tcp(echo().await)]).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        say(&mut stream).await.unwrap();
        streams.push(stream);
    }
    assert_eq!(link.cut(), 3);
    for stream in &mut streams {
        assert!(say(stream).await.is_err());
    }
    let mut stream = TcpStream::connect(link.address()).await.unwrap();
    say(&mut stream).await.unwrap();
    let stalled = link.stall(Duration::from_millis(200));
    let started = tokio::time::Instant::now();
    let (said, ()) = tokio::join!(say(&mut stream), stalled);
    said.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200));
}

/// A server that sends one byte to each connection.
async fn server(name: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&[name]).await;
        }
    });
    address
}

#[tokio::test]
async fn a_link_prefers_a_target_that_accepts() {
    let dead: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let (first, second) = (server(1).await, server(2).await);
    let link = Link::open("test", [dead, first, second].map(Target::Tcp).to_vec()).await.unwrap();
    let reached = async || TcpStream::connect(link.address()).await.unwrap().read_u8().await.unwrap();
    link.prefer(Some(second));
    assert_eq!([reached().await, reached().await, reached().await], [2, 2, 2]);
    link.prefer(Some(dead));
    assert_eq!([reached().await, reached().await], [1, 1]);
    link.heal();
    let mut all = [reached().await, reached().await, reached().await];
    all.sort_unstable();
    assert_eq!(all, [1, 1, 2], "in turn, and the next one in place of the dead one");
}

/// The server executes the statement, and the client gets no answer.
#[tokio::test]
async fn the_answer_to_a_commit_or_a_statement_is_dropped() {
    let url = url::Url::parse(&chassis::testing::database_url("postgres").await).unwrap();
    let folder = url.query_pairs().find(|(key, _)| key == "host").unwrap().1.into_owned();
    let link = Link::open("test", vec![Target::Unix(PathBuf::from(folder).join(".s.PGSQL.5432"))]).await.unwrap();
    let through = format!("postgres://app@{}/postgres?sslmode=disable", link.address());
    let mut client = PgConnection::connect(&through).await.unwrap();
    client.execute("CREATE TABLE numbers (id integer)").await.unwrap();

    link.drop_answer("COMMIT");
    let mut transaction = client.begin().await.unwrap();
    sqlx::query("INSERT INTO numbers VALUES ($1)").bind(1).execute(&mut *transaction).await.unwrap();
    assert!(transaction.commit().await.is_err());

    let mut client = PgConnection::connect(&through).await.unwrap();
    link.drop_answer("INSERT INTO numbers");
    assert!(sqlx::query("INSERT INTO numbers VALUES ($1)").bind(2).execute(&mut client).await.is_err());

    let mut client = PgConnection::connect(&through).await.unwrap();
    let ids: Vec<i32> = sqlx::query_scalar("SELECT id FROM numbers ORDER BY id").fetch_all(&mut client).await.unwrap();
    assert_eq!((ids, link.dropped_answers()), (vec![1, 2], 2));
}
