//! A mail server that takes every password, and keeps the mails.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use chassis::{
    task,
    testing::{self, eventually},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// The limit for a mail to arrive.
const MAILED_WITHIN: Duration = Duration::from_secs(60);

/// Clones share the mails.
#[derive(Clone, Default)]
pub(crate) struct MailServer(Arc<Mutex<Vec<String>>>);

impl MailServer {
    /// Listens on a free port. Returns the address.
    pub(crate) async fn listen(&self) -> Result<String> {
        let listener = testing::listener().await;
        let address = listener.local_addr()?;
        let server = self.clone();
        task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                // The client may leave.
                task::spawn(async move { drop(server.converse(stream).await) });
            }
        });
        Ok(address.to_string())
    }

    /// Waits for a mail to the address whose link has a token and this part. Returns the link.
    pub(crate) async fn link(&self, email: &str, part: &str) -> String {
        let to = format!("To: {email}");
        let link_of = |mail: &String| {
            let is_to = mail.lines().any(|line| line == to);
            let link = mail.lines().find(|line| line.starts_with("http") && line.contains("?token=") && line.contains(part));
            link.filter(|_| is_to).map(str::to_owned)
        };
        let find = || self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().find_map(link_of);
        eventually(MAILED_WITHIN, || async { find() }).await
    }

    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"220 sink\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let answer = match line.to_ascii_uppercase().split(' ').next().unwrap_or_default() {
                "EHLO" => "250-sink\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250 SMTPUTF8\r\n",
                "AUTH" => "235 welcome\r\n",
                "DATA" => {
                    writer.write_all(b"354 go on\r\n").await?;
                    let mut mail = String::new();
                    while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                        mail.extend([line.strip_prefix('.').unwrap_or(&line), "\n"]);
                    }
                    self.0.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                    "250 kept\r\n"
                }
                _ => "250 ok\r\n",
            };
            writer.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }
}
