//! Reads the whole message of a unary request before its handler runs. A client that sends slowly holds no slot, and a message that is
//! too large is refused before it is in memory. Compressed messages are decompressed here, so that the limits apply to their size in
//! memory.

mod fields;
mod pieces;

use std::{
    convert::Infallible,
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use proto::error::{ErrorCode, Fault, FieldViolation};
use tokio::{sync::Semaphore, time::Instant};
use tonic::body::Body;

pub(super) use self::fields::Methods;
use self::pieces::Pieces;
use crate::share::Share;

/// The bytes before each message: the compression flag and the length.
const PREFIX: usize = 5;
/// Messages up to this size are not counted as bytes that are being received. The gateway has the same limit.
const UNCOUNTED: usize = 16 * 1024;
/// The most bytes that one byte of gzip can decompress to.
const MAX_GZIP_RATIO: usize = 1032;

/// Compressed bytes that are decompressed before other tasks run.
const GZIP_SLICE: usize = 256;
/// Allows one decompression at a time.
static DECOMPRESSION: Semaphore = Semaphore::const_new(1);

/// The limits of a message.
pub(super) struct Bounds<'a> {
    /// The service in the faults.
    pub(super) service: &'a str,
    /// The most bytes of the decompressed message.
    pub(super) largest: usize,
    /// When the message must have arrived.
    pub(super) until: Instant,
    /// Whether the caller is a service of the cluster. Its connection carries the calls of many clients with one flow control window, and
    /// an unread call could fill it. So such a call does not wait for its share.
    pub(super) of_cluster: bool,
    /// Whether `grpc-encoding` is gzip. tonic refuses other encodings.
    pub(super) gzip: bool,
    /// The request's share of the bytes that are being received.
    pub(super) receiving: &'a mut Share,
}

/// Why a message could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The client has reset the stream.
    Broken,
    Refused(Fault),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

/// Reads the message. tonic reports an uncompressed message that is missing or shorter than announced. Bytes after the message are
/// dropped.
pub(super) async fn read(mut body: Body, bounds: &mut Bounds<'_>) -> Result<Message, ReadError> {
    let mut prefix = Vec::with_capacity(PREFIX);
    let mut part = Bytes::new();
    while prefix.len() < PREFIX {
        let Some(next) = bounds.next(&mut body).await? else { return Ok(Message { prefix: prefix.into(), content: Pieces::new(0) }) };
        part = next;
        let of_prefix = part.split_to(part.len().min(PREFIX - prefix.len()));
        prefix.extend_from_slice(&of_prefix);
    }
    let announced = announced(&prefix);
    if announced > bounds.largest {
        return Err(bounds.too_large(&format!("the message has {announced} bytes")).into());
    }
    let compressed = bounds.gzip && prefix[0] == 1;
    bounds.take_share(announced, compressed).await?;
    let pieces = Pieces::new(bounds.largest);
    let mut content = if compressed { Content::Gzip(Box::new(GzDecoder::new(pieces))) } else { Content::Plain(pieces) };
    let mut missing = announced;
    loop {
        part.truncate(missing);
        missing -= part.len();
        content.push(&part).await.map_err(|error| bounds.invalid_gzip(&error))?;
        if missing == 0 {
            break;
        }
        match bounds.next(&mut body).await? {
            Some(next) => part = next,
            None if compressed => return Err(bounds.invalid_gzip(&io::ErrorKind::UnexpectedEof.into()).into()),
            None => break,
        }
    }
    let content = content.finish().map_err(|error| bounds.invalid_gzip(&error))?;
    if compressed {
        // The share was taken for the largest possible size.
        bounds.receiving.shrink(bounds.receiving.amount().saturating_sub(content.len()));
        prefix = [&[0], &u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes()[..]].concat();
    }
    Ok(Message { prefix: prefix.into(), content })
}

/// The length in the prefix of the message.
fn announced(prefix: &[u8]) -> usize {
    prefix[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
}

impl Bounds<'_> {
    /// The next bytes, or `None` at the end of the body.
    async fn next(&self, body: &mut Body) -> Result<Option<Bytes>, ReadError> {
        loop {
            return match tokio::time::timeout_at(self.until, body.frame()).await {
                Err(_) => Err(self.too_slow().into()),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    Err(_) => continue,
                },
                Ok(Some(Err(_))) => Err(ReadError::Broken),
                Ok(None) => Ok(None),
            };
        }
    }

    /// Takes the share for the largest size that the message can have, before the rest of it is read. It is taken at once, because requests
    /// that hold a part of what they need and wait for more can deadlock.
    async fn take_share(&mut self, announced: usize, compressed: bool) -> Result<(), ReadError> {
        let most = if compressed { announced.saturating_mul(MAX_GZIP_RATIO).min(self.largest) } else { announced };
        if most <= UNCOUNTED {
            return Ok(());
        }
        let taken = if self.of_cluster {
            self.receiving.try_grow(most)
        } else {
            let started = Instant::now();
            let taken = self.receiving.grow(most, self.until).await;
            // The client could not send during this wait, so it does not count.
            self.until += started.elapsed();
            taken
        };
        taken.map_err(|exhausted| exhausted.fault(self.service, "bytes that are arriving").into())
    }

    fn too_slow(&self) -> Fault {
        if self.of_cluster {
            // The caller already has the whole message, so the delay is within the cluster.
            return Fault::new(self.service, ErrorCode::Unavailable, "OVERLOADED", "the message did not arrive in time; try again");
        }
        Fault::new(self.service, ErrorCode::Timeout, "BODY_TIMEOUT", "the message did not arrive in time")
    }

    fn too_large(&self, what: &str) -> Fault {
        let text = format!("{what}; the limit is {} bytes", self.largest);
        let fault = Fault::new(self.service, ErrorCode::RateLimited, "MESSAGE_TOO_LARGE", text);
        fault.with("limit", self.largest.to_string())
    }

    fn invalid_gzip(&self, error: &io::Error) -> Fault {
        if error.kind() == io::ErrorKind::FileTooLarge {
            return self.too_large("the decompressed message is larger");
        }
        let text = format!("the message is not valid gzip: {error}");
        let violations = vec![FieldViolation { field: String::new(), description: text.clone() }];
        Fault { violations, ..Fault::new(self.service, ErrorCode::InvalidArgument, "INVALID_FIELD", text) }
    }
}

/// The content of a message that is being received.
enum Content {
    Plain(Pieces),
    Gzip(Box<GzDecoder<Pieces>>),
}

impl Content {
    /// Adds bytes. Only one message is decompressed at a time, in slices, because a kilobyte may decompress to a megabyte.
    async fn push(&mut self, part: &[u8]) -> io::Result<()> {
        if let Self::Plain(_) = self {
            return self.write(part);
        }
        // The semaphore is never closed.
        let _permit = DECOMPRESSION.acquire().await;
        for slice in part.chunks(GZIP_SLICE) {
            self.write(slice)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn write(&mut self, mut part: &[u8]) -> io::Result<()> {
        let decoder = match self {
            Self::Plain(pieces) => return pieces.write_all(part),
            Self::Gzip(decoder) => decoder,
        };
        while !part.is_empty() {
            match decoder.write(part)? {
                // The gzip stream has ended. Like tonic, ignore what follows.
                0 => return Ok(()),
                written => part = &part[written..],
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<Pieces> {
        match self {
            Self::Plain(pieces) => Ok(pieces),
            Self::Gzip(decoder) => decoder.finish(),
        }
    }
}

/// A received and decompressed message.
pub(super) struct Message {
    prefix: Bytes,
    content: Pieces,
}

impl Message {
    /// The path of the first field beyond `most` fields, see [`Methods::first_excess_field`].
    pub(super) fn first_excess_field(&self, most: usize, methods: &Methods, path: &str) -> Option<String> {
        methods.first_excess_field(most, path, self.content.clone())
    }

    pub(super) fn into_body(self) -> Body {
        Body::new(self)
    }
}

impl HttpBody for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = if self.prefix.is_empty() { self.content.take_first() } else { Some(std::mem::take(&mut self.prefix)) };
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_empty() && self.content.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.prefix.len() + self.content.len()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::{StreamExt as _, stream};
    use http_body_util::StreamBody;

    use super::*;
    use crate::share::{Holder, Percent, Shares};

    const ALL: Percent = Percent { connection: 100, address: 100, person: 100 };

    fn body(parts: Vec<Vec<u8>>, ends: bool) -> Body {
        let parts = stream::iter(parts.into_iter().map(|part| Ok::<_, Infallible>(Frame::data(part.into()))));
        if ends { Body::new(StreamBody::new(parts)) } else { Body::new(StreamBody::new(parts.chain(stream::pending()))) }
    }

    struct Row {
        shares: Arc<Shares>,
        largest: usize,
        of_cluster: bool,
    }

    impl Row {
        /// The bytes that a handler would get, and the size of the share.
        async fn read(&self, parts: Vec<Vec<u8>>, ends: bool) -> Result<(Vec<u8>, usize), String> {
            let mut receiving = self.shares.try_take(&Holder::default(), 0).expect("nothing");
            let until = Instant::now() + Duration::from_millis(50);
            let (largest, of_cluster) = (self.largest, self.of_cluster);
            let mut bounds = Bounds { service: "auth", largest, until, of_cluster, gzip: true, receiving: &mut receiving };
            let message = super::read(body(parts, ends), &mut bounds).await.map_err(|error| match error {
                ReadError::Refused(fault) => fault.reason,
                ReadError::Broken => "broken".to_owned(),
            })?;
            let bytes = message.into_body().collect().await.expect("parts").to_bytes().to_vec();
            Ok((bytes, receiving.amount()))
        }
    }

    /// Reads a message of up to 70,000 bytes with a total of 100,000 bytes.
    async fn read(parts: Vec<Vec<u8>>, ends: bool) -> Result<(Vec<u8>, usize), String> {
        Row { shares: Shares::new(100_000, ALL), largest: 70_000, of_cluster: false }.read(parts, ends).await
    }

    fn framed(flag: u8, length: usize, content: &[u8]) -> Vec<u8> {
        [&[flag], &u32::try_from(length).unwrap().to_be_bytes()[..], content].concat()
    }

    fn message(length: usize, sent: usize) -> Vec<u8> {
        framed(0, length, &vec![7; sent])
    }

    fn compressed(content: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    }

    fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
        bytes.iter().map(|byte| vec![*byte]).collect()
    }

    #[tokio::test]
    async fn a_message_is_whole_or_refused() {
        let rows = [
            (vec![message(0, 0)], false, Ok(5)),
            (vec![message(10, 10)], false, Ok(15)),
            (pieces(&message(10, 10)), false, Ok(15)),
            (vec![message(70_000, 70_000)], false, Ok(70_005)),
            (pieces(&message(70_000, 70_000)), false, Ok(70_005)),
            (vec![message(70_001, 0)], false, Err("MESSAGE_TOO_LARGE")),
            (vec![message(usize::try_from(u32::MAX).unwrap(), 0)], false, Err("MESSAGE_TOO_LARGE")),
            (vec![message(10, 9)], false, Err("BODY_TIMEOUT")),
            (vec![], false, Err("BODY_TIMEOUT")),
            (vec![message(10, 9)], true, Ok(14)),
            (vec![], true, Ok(0)),
            // A second message is ignored.
            (vec![message(10, 10), message(20, 20)], true, Ok(15)),
            (vec![[message(10, 10), message(20, 20)].concat()], true, Ok(15)),
        ];
        for (at, (parts, ends, outcome)) in rows.into_iter().enumerate() {
            let bytes = read(parts, ends).await.map(|(bytes, _)| bytes.len());
            assert_eq!(bytes, outcome.map_err(str::to_owned), "row {at}");
        }
    }

    #[tokio::test]
    async fn the_limits_apply_to_the_decompressed_size() {
        let whole = compressed(&[7; 70_000]);
        let of = |gzip: &[u8]| framed(1, gzip.len(), gzip);
        let rows = [
            (vec![of(&compressed(b""))], Ok((message(0, 0), 0))),
            (vec![of(&whole)], Ok((message(70_000, 70_000), 70_000))),
            (pieces(&of(&whole)), Ok((message(70_000, 70_000), 70_000))),
            // A second gzip stream is ignored.
            (vec![of(&[&whole[..], &whole].concat())], Ok((message(70_000, 70_000), 70_000))),
            (vec![of(&compressed(&[7; 70_001]))], Err("MESSAGE_TOO_LARGE")),
            (vec![of(&compressed(&vec![7; 100_000_000]))], Err("MESSAGE_TOO_LARGE")),
            (vec![of(b"not gzip")], Err("INVALID_FIELD")),
            (vec![of(&whole[..whole.len() - 1])], Err("INVALID_FIELD")),
            (vec![framed(1, whole.len() + 1, &whole)], Err("INVALID_FIELD")),
        ];
        for (at, (parts, outcome)) in rows.into_iter().enumerate() {
            assert_eq!(read(parts, true).await, outcome.map_err(str::to_owned), "row {at}");
        }
    }

    #[tokio::test]
    async fn a_message_waits_for_its_share_unless_the_cluster_sent_it() {
        let shares = Shares::new(100_000, ALL);
        let large = || vec![message(60_000, 0), vec![7; 30_000], vec![7; 30_000]];
        let [waits, refuses] = [false, true].map(|of_cluster| Row { shares: Arc::clone(&shares), largest: 70_000, of_cluster });
        let held = shares.try_take(&Holder::default(), 50_000).unwrap();
        assert_eq!(refuses.read(large(), true).await.unwrap_err(), "OVERLOADED");
        assert_eq!(waits.read(large(), true).await.unwrap_err(), "OVERLOADED");
        let (read, ()) = tokio::join!(waits.read(large(), true), async { drop(held) });
        assert_eq!(read.unwrap().1, 60_000);
        // A slow message from the cluster is not the client's fault.
        assert_eq!(refuses.read(vec![message(10, 9)], false).await.unwrap_err(), "OVERLOADED");
        // Small messages need no share.
        let _held = shares.try_take(&Holder::default(), 100_000).unwrap();
        assert_eq!(refuses.read(vec![message(16_384, 10_000), vec![7; 6_384]], true).await.unwrap().1, 0);
    }
}
