//! Mails through a mail server, which the test starts.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{task, testing};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    harness::{Cluster, PASSWORD},
    mailbox::{Mail, Mailbox},
};

const LIMIT: Duration = Duration::from_secs(60);

/// A mail server that keeps what it gets. It answers the end of a mail with the next one of `answers`, or accepts it.
struct MailServer {
    url: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    answers: Mutex<Vec<&'static str>>,
    attempts: Mutex<usize>,
    /// Sender, recipient and text.
    mails: Mutex<Vec<(String, String, String)>>,
}

impl MailServer {
    /// The answers are given in this order, from the last one to the first one.
    async fn start(answers: &[&'static str]) -> Self {
        let listener = testing::listener().await;
        let url = format!("smtp://{}", listener.local_addr().expect("address"));
        let seen = Arc::new(Seen { answers: Mutex::new(answers.to_vec()), ..Seen::default() });
        task::spawn(serve(listener, Arc::clone(&seen)));
        Self { url, seen }
    }

    fn settings(&self) -> [(&str, &str); 3] {
        [("BACKLOT_SMTP_URL", &self.url), ("BACKLOT_MAIL_FROM", "Backlot <no-reply@apps.example>"), ("BACKLOT_SIGNUP", "open")]
    }

    async fn mails(&self, count: usize) -> Vec<(String, String, String)> {
        testing::eventually(LIMIT, || async { Some(self.seen.mails.lock().expect("mails").clone()).filter(|all| all.len() >= count) }).await
    }

    fn attempts(&self) -> usize {
        *self.seen.attempts.lock().expect("attempts")
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        task::spawn(async move {
            let _ = converse(stream, &seen).await;
        });
    }
}

async fn converse(stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 sink\r\n").await?;
    let (mut from, mut to) = (String::new(), String::new());
    while let Some(line) = lines.next_line().await? {
        let verb = line.to_ascii_uppercase();
        if verb.starts_with("EHLO") {
            writer.write_all(b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n").await?;
        } else if verb.starts_with("MAIL FROM:") {
            from = line;
            writer.write_all(b"250 ok\r\n").await?;
        } else if verb.starts_with("RCPT TO:") {
            to = line;
            writer.write_all(b"250 ok\r\n").await?;
        } else if verb == "DATA" {
            writer.write_all(b"354 go on\r\n").await?;
            let mut text = String::new();
            while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                text.push_str(line.strip_prefix('.').unwrap_or(&line));
                text.push('\n');
            }
            *seen.attempts.lock().expect("attempts") += 1;
            let answer = seen.answers.lock().expect("answers").pop();
            if answer.is_none() {
                seen.mails.lock().expect("mails").push((from.clone(), to.clone(), text));
            }
            writer.write_all(format!("{}\r\n", answer.unwrap_or("250 ok")).as_bytes()).await?;
        } else {
            writer.write_all(b"250 ok\r\n").await?;
        }
    }
    Ok(())
}

async fn in_queue(cluster: &Cluster) -> i64 {
    let select = sqlx::query_scalar("select count(*) from mail_queue where due_at is not null");
    select.fetch_one(&cluster.database.pool).await.expect("count")
}

#[tokio::test]
async fn a_mail_reaches_the_server_with_its_envelope() {
    let (cluster, mailbox, server) = (Cluster::start().await, Mailbox::new(), MailServer::start(&[]).await);
    let gateway = mailbox.auth(&cluster, &server.settings()).await.gateway();
    for email in ["ada@example.org", "müller@bücher.example"] {
        gateway.sign_up(email, PASSWORD).await.expect("account");
        gateway.request_reset(email).await.expect("accepted");
    }
    let mut mails = server.mails(2).await;
    mails.sort_by_key(|(_, to, _)| to.clone());
    let (from, to, text) = &mails[0];
    assert!(from.starts_with("MAIL FROM:<no-reply@apps.example>") && to == "RCPT TO:<ada@example.org>", "{from} {to}");
    assert!(text.contains("From: \"Backlot\" <no-reply@apps.example>\n") && text.contains("To: ada@example.org\n"), "{text}");
    gateway.confirm_reset(&Mail::parse(text.clone()).token(), "another horse battery staple").await.expect("the link works");
    let (from, to, _) = &mails[1];
    assert!(from.starts_with("MAIL FROM:<no-reply@apps.example>") && to == "RCPT TO:<müller@xn--bcher-kva.example>", "{from} {to}");
    assert!(mailbox.all().is_empty(), "with a mail server there is no outbox");
}

#[tokio::test]
async fn a_mail_is_tried_again_if_the_server_asks_for_it() {
    let (cluster, mailbox, server) = (Cluster::start().await, Mailbox::new(), MailServer::start(&["451 later"]).await);
    let gateway = mailbox.auth(&cluster, &server.settings()).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    gateway.request_reset("ada@example.org").await.expect("accepted");
    testing::eventually(LIMIT, || async { (server.attempts() == 1).then_some(()) }).await;
    // The pause is in the database, so the test need not wait for it.
    let skip = "update mail_queue set due_at = now() where due_at between now() + interval '1 second' and now() + interval '1 minute'";
    testing::eventually(LIMIT, || async {
        let skipped = sqlx::query(skip).execute(&cluster.database.pool).await.expect("skipped").rows_affected();
        (skipped == 1).then_some(())
    })
    .await;
    let mails = server.mails(1).await;
    assert_eq!((mails.len(), server.attempts()), (1, 2));
    gateway.confirm_reset(&Mail::parse(mails[0].2.clone()).token(), "another horse battery staple").await.expect("the link works");
}

#[tokio::test]
async fn a_mail_that_the_server_refuses_is_dropped() {
    let (cluster, mailbox, server) = (Cluster::start().await, Mailbox::new(), MailServer::start(&["550 no such user"]).await);
    let gateway = mailbox.auth(&cluster, &server.settings()).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    gateway.request_reset("ada@example.org").await.expect("the answer is the same");
    testing::eventually(LIMIT, || async { (in_queue(&cluster).await == 0).then_some(()) }).await;
    assert_eq!((server.attempts(), server.seen.mails.lock().expect("mails").len()), (1, 0));
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_delays_no_request() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let settings = [("BACKLOT_SMTP_URL", "smtp://127.0.0.1:1"), ("BACKLOT_MAIL_FROM", "no-reply@apps.example")];
    let gateway = mailbox.auth(&cluster, &settings).await.gateway();
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("mode verify is the default with a mail server");
    testing::eventually(LIMIT, || async {
        let tried: i64 = sqlx::query_scalar("select count(*) from mail_queue where attempts = 1 and due_at > now()")
            .fetch_one(&cluster.database.pool)
            .await
            .expect("count");
        (tried == 1).then_some(())
    })
    .await;
    assert_eq!(in_queue(&cluster).await, 1, "the mail is kept for another attempt");
}
