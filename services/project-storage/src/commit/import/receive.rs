//! Receiving an archive: its bytes go to a thread that reads it, and the contents of its files go to the store.

use std::{
    io::{self, Read},
    time::Duration,
};

use chassis::fault_time;
use futures::{StreamExt as _, stream::BoxStream};
use prost::bytes::{Buf as _, Bytes};
use ring::digest::{Context as Digest, SHA256};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval_at},
};

use super::{Progress, Source};
use crate::{
    archive::{
        error::{ArchiveError, Stopped},
        read::{Contents, Limits, Piece, Sink, read},
    },
    blocking,
    commit::blobs::BlobWriter,
    error::Error,
    git::FileRef,
};

/// Messages that wait for the reader.
const WAITING_MESSAGES: usize = 2;
/// Contents that wait for the store.
const WAITING_CONTENTS: usize = 1;
/// How often a lease is renewed while nothing is written, because entries are skipped or arrive slowly.
const RENEWAL: Duration = Duration::from_secs(30);

/// An archive that was read to its end.
pub(super) struct Received {
    pub(super) contents: Contents,
    /// The files by their index.
    pub(super) files: Vec<FileRef>,
    /// SHA-256 of the archive.
    pub(super) digest: Vec<u8>,
    pub(super) bytes: u64,
}

/// A part of the input.
enum Part {
    Data(Bytes),
    /// The client has sent everything. Without it the input was stopped.
    End,
}

/// Reads an archive to its end, and stores the contents of its files; without `blobs` nothing is stored, and there are no files.
pub(super) async fn receive(blobs: Option<&mut BlobWriter<'_>>, limits: Limits, source: Source) -> Result<Received, Error> {
    let Source { messages, progress } = source;
    progress.send_replace(Some(Progress::default()));
    let (input, parts) = mpsc::channel(WAITING_MESSAGES);
    let (contents, stored) = mpsc::channel(WAITING_CONTENTS);
    let input_end = Input { parts, part: Bytes::new(), is_ended: false };
    // Each of the three ends when another one has failed, because its channel is closed then.
    let (read, sent, written) = tokio::join!(
        blocking::on_thread(move || read_archive(input_end, contents, limits)),
        send(messages, input, &progress),
        write(blobs, stored, &progress),
    );
    let (files, sent) = (written?, sent?);
    let contents = read?;
    let (digest, bytes) = sent.ok_or(ArchiveError::Stopped)?;
    Ok(Received { contents, files, digest, bytes })
}

/// Passes the archive on to the reader. Returns its SHA-256 and its bytes, or `None` if the reader has stopped before the end.
async fn send(
    mut messages: BoxStream<'static, Result<Bytes, Error>>,
    input: mpsc::Sender<Part>,
    progress: &watch::Sender<Option<Progress>>,
) -> Result<Option<(Vec<u8>, u64)>, Error> {
    let (mut digest, mut bytes) = (Digest::new(&SHA256), 0);
    while let Some(message) = messages.next().await {
        let message = message?;
        digest.update(&message);
        bytes += message.len() as u64;
        if input.send(Part::Data(message)).await.is_err() {
            return Ok(None);
        }
        progress.send_modify(|progress| progress.get_or_insert_default().received_bytes = bytes);
    }
    let is_read = input.send(Part::End).await.is_ok();
    Ok(is_read.then(|| (digest.finish().as_ref().to_vec(), bytes)))
}

/// Stores contents in order.
async fn write(
    mut blobs: Option<&mut BlobWriter<'_>>,
    mut contents: mpsc::Receiver<Bytes>,
    progress: &watch::Sender<Option<Progress>>,
) -> Result<Vec<FileRef>, Error> {
    let (mut files, mut count) = (Vec::new(), 0_u32);
    let period = fault_time::shortened("write-lease-renewal", RENEWAL);
    let mut renewal = interval_at(Instant::now() + period, period);
    loop {
        let content = tokio::select! {
            content = contents.recv() => content,
            _ = renewal.tick() => {
                if let Some(blobs) = &blobs {
                    blobs.renew().await?;
                }
                continue;
            }
        };
        let Some(content) = content else { return Ok(files) };
        if let Some(blobs) = &mut blobs {
            let mut blob = blobs.blob(u32::try_from(content.len()).unwrap_or(u32::MAX));
            blob.push(content).await?;
            files.push(blob.finish().await?);
        }
        count += 1;
        progress.send_modify(|progress| progress.get_or_insert_default().files = count);
    }
}

/// Reads the archive on a thread of its own.
fn read_archive(input: Input, contents: mpsc::Sender<Bytes>, limits: Limits) -> Result<Contents, ArchiveError> {
    let mut present = Vec::new();
    let sink: &mut Sink<'_> = &mut |piece: Piece<'_>| match piece {
        Piece::Data(bytes) => {
            present.extend_from_slice(bytes);
            Ok(())
        }
        Piece::End => contents.blocking_send(std::mem::take(&mut present).into()).map_err(|_| Stopped),
    };
    read(input, limits, sink)
}

/// The archive as the thread reads it.
struct Input {
    parts: mpsc::Receiver<Part>,
    part: Bytes,
    is_ended: bool,
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && !self.is_ended {
            match self.parts.blocking_recv() {
                Some(Part::Data(part)) => self.part = part,
                Some(Part::End) => self.is_ended = true,
                None => return Err(io::Error::other(Stopped)),
            }
        }
        let count = self.part.len().min(out.len());
        self.part.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}
