//! The one message of a request, read whole before any work is done for it: who sends it slowly holds no slot, and who sends much
//! is stopped before it is in memory. A packed message is unpacked here, so that every bound holds for what it is in memory.

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

pub(super) use self::fields::Contract;
use self::pieces::Pieces;
use crate::share::Share;

/// The flag of compression and the length, before each message.
const PREFIX: usize = 5;
/// Messages up to here are not counted among those that are arriving, as bodies at the gateway are not.
const UNCOUNTED: usize = 16 * 1024;
/// How many bytes one byte of gzip can become.
const UNPACKED: usize = 1032;

/// Packed bytes that are unpacked before others have their turn.
const SLICE: usize = 256;
/// The turn to unpack.
static UNPACKING: Semaphore = Semaphore::const_new(1);

/// What a message may take.
pub(super) struct Bounds<'a> {
    /// Of the service that refuses.
    pub(super) service: &'a str,
    /// Bytes of the message, unpacked.
    pub(super) largest: usize,
    pub(super) until: Instant,
    /// Whether the caller is of the cluster. Its connection carries the calls of everybody and has one window, which a call that
    /// waits unread would fill: so nothing waits there.
    pub(super) of_cluster: bool,
    /// Whether the head says that the message may be packed. Other codings are refused by the library.
    pub(super) gzip: bool,
    /// What the request holds of the bytes that are arriving.
    pub(super) receiving: &'a mut Share,
}

/// Why there is no message.
#[derive(Debug)]
pub(super) enum Unread {
    /// The client has given it up; nobody waits for an answer.
    Broken,
    Refused(Fault),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

/// Reads the message. What is shorter than it says, or no message at all, is left to the library's words; what follows it is dropped.
pub(super) async fn whole(mut body: Body, bounds: &mut Bounds<'_>) -> Result<Whole, Unread> {
    let mut prefix = Vec::with_capacity(PREFIX);
    let mut part = Bytes::new();
    while prefix.len() < PREFIX {
        let Some(next) = bounds.next(&mut body).await? else { return Ok(Whole { prefix: prefix.into(), content: Pieces::new(0) }) };
        part = next;
        let of_prefix = part.split_to(part.len().min(PREFIX - prefix.len()));
        prefix.extend_from_slice(&of_prefix);
    }
    let announced = announced(&prefix);
    if announced > bounds.largest {
        return Err(bounds.too_large(&format!("the message has {announced} bytes")).into());
    }
    let packed = bounds.gzip && prefix[0] == 1;
    bounds.admit(announced, packed).await?;
    let pieces = Pieces::new(bounds.largest);
    let mut content = if packed { Content::Packed(Box::new(GzDecoder::new(pieces))) } else { Content::Plain(pieces) };
    let mut missing = announced;
    loop {
        part.truncate(missing);
        missing -= part.len();
        content.take(&part).await.map_err(|error| bounds.unpackable(&error))?;
        if missing == 0 {
            break;
        }
        match bounds.next(&mut body).await? {
            Some(next) => part = next,
            None if packed => return Err(bounds.unpackable(&io::ErrorKind::UnexpectedEof.into()).into()),
            None => break,
        }
    }
    let content = content.end().map_err(|error| bounds.unpackable(&error))?;
    if packed {
        // What it can be is more than what it is.
        bounds.receiving.shrink(bounds.receiving.amount().saturating_sub(content.len()));
        prefix = [&[0], &u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes()[..]].concat();
    }
    Ok(Whole { prefix: prefix.into(), content })
}

/// The length that the message says it has.
fn announced(prefix: &[u8]) -> usize {
    prefix[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
}

impl Bounds<'_> {
    /// The next bytes, or none if the body has ended.
    async fn next(&self, body: &mut Body) -> Result<Option<Bytes>, Unread> {
        loop {
            return match tokio::time::timeout_at(self.until, body.frame()).await {
                Err(_) => Err(self.too_slow().into()),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    Err(_) => continue,
                },
                Ok(Some(Err(_))) => Err(Unread::Broken),
                Ok(None) => Ok(None),
            };
        }
    }

    /// Takes all that the message can be at once: whoever held a part and waited for more could wait for others who do the same.
    /// Until then no more than its first part is read.
    async fn admit(&mut self, announced: usize, packed: bool) -> Result<(), Unread> {
        let most = if packed { announced.saturating_mul(UNPACKED).min(self.largest) } else { announced };
        if most <= UNCOUNTED {
            return Ok(());
        }
        let taken = if self.of_cluster {
            self.receiving.try_grow(most)
        } else {
            let began = Instant::now();
            let taken = self.receiving.grow(most, self.until).await;
            // It could not arrive in that time.
            self.until += began.elapsed();
            taken
        };
        taken.map_err(|exhausted| exhausted.fault(self.service, "bytes that are arriving").into())
    }

    fn too_slow(&self) -> Fault {
        if self.of_cluster {
            // The client's bytes are all at the caller, so that it is not the client who is too slow.
            return Fault::new(self.service, ErrorCode::Unavailable, "OVERLOADED", "the message did not arrive in time; try again");
        }
        Fault::new(self.service, ErrorCode::Timeout, "BODY_TIMEOUT", "the message did not arrive in time")
    }

    fn too_large(&self, what: &str) -> Fault {
        let text = format!("{what}; the limit is {} bytes", self.largest);
        let fault = Fault::new(self.service, ErrorCode::RateLimited, "MESSAGE_TOO_LARGE", text);
        fault.with("limit", self.largest.to_string())
    }

    fn unpackable(&self, error: &io::Error) -> Fault {
        if error.kind() == io::ErrorKind::FileTooLarge {
            return self.too_large("the message is larger when it is unpacked");
        }
        let text = format!("the message is not gzip: {error}");
        let violations = vec![FieldViolation { field: String::new(), description: text.clone() }];
        Fault { violations, ..Fault::new(self.service, ErrorCode::InvalidArgument, "INVALID_FIELD", text) }
    }
}

/// The bytes of a message as they come.
enum Content {
    Plain(Pieces),
    Packed(Box<GzDecoder<Pieces>>),
}

impl Content {
    /// One message is unpacked at a time, and others run in between: a kilobyte may become a megabyte.
    async fn take(&mut self, part: &[u8]) -> io::Result<()> {
        if let Self::Plain(_) = self {
            return self.push(part);
        }
        // It is never closed.
        let _turn = UNPACKING.acquire().await;
        for slice in part.chunks(SLICE) {
            self.push(slice)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn push(&mut self, mut part: &[u8]) -> io::Result<()> {
        let unpacking = match self {
            Self::Plain(pieces) => return pieces.write_all(part),
            Self::Packed(unpacking) => unpacking,
        };
        while !part.is_empty() {
            match unpacking.write(part)? {
                // It has ended. What follows is ignored, as the library does.
                0 => return Ok(()),
                taken => part = &part[taken..],
            }
        }
        Ok(())
    }

    fn end(self) -> io::Result<Pieces> {
        match self {
            Self::Plain(pieces) => Ok(pieces),
            Self::Packed(unpacking) => unpacking.finish(),
        }
    }
}

/// A message that has arrived, and is plain.
pub(super) struct Whole {
    prefix: Bytes,
    content: Pieces,
}

impl Whole {
    /// The first field that is one too many for that RPC.
    pub(super) fn first_beyond(&self, most: usize, contract: &Contract, path: &str) -> Option<String> {
        contract.first_beyond(most, path, self.content.clone())
    }

    pub(super) fn into_body(self) -> Body {
        Body::new(self)
    }
}

impl HttpBody for Whole {
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
        /// What a handler would get, and how much is held then.
        async fn read(&self, parts: Vec<Vec<u8>>, ends: bool) -> Result<(Vec<u8>, usize), String> {
            let mut receiving = self.shares.try_take(&Holder::default(), 0).expect("nothing");
            let until = Instant::now() + Duration::from_millis(50);
            let (largest, of_cluster) = (self.largest, self.of_cluster);
            let mut bounds = Bounds { service: "auth", largest, until, of_cluster, gzip: true, receiving: &mut receiving };
            let read = whole(body(parts, ends), &mut bounds).await.map_err(|unread| match unread {
                Unread::Refused(fault) => fault.reason,
                Unread::Broken => "broken".to_owned(),
            })?;
            let bytes = read.into_body().collect().await.expect("parts").to_bytes().to_vec();
            Ok((bytes, receiving.amount()))
        }
    }

    /// Of a share of 100,000 bytes, up to 70,000 in a message.
    async fn read(parts: Vec<Vec<u8>>, ends: bool) -> Result<(Vec<u8>, usize), String> {
        Row { shares: Shares::new(100_000, ALL), largest: 70_000, of_cluster: false }.read(parts, ends).await
    }

    fn framed(flag: u8, length: usize, content: &[u8]) -> Vec<u8> {
        [&[flag], &u32::try_from(length).unwrap().to_be_bytes()[..], content].concat()
    }

    fn message(length: usize, sent: usize) -> Vec<u8> {
        framed(0, length, &vec![7; sent])
    }

    fn packed(content: &[u8]) -> Vec<u8> {
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
            // Another message behind it is none of a request's.
            (vec![message(10, 10), message(20, 20)], true, Ok(15)),
            (vec![[message(10, 10), message(20, 20)].concat()], true, Ok(15)),
        ];
        for (at, (parts, ends, outcome)) in rows.into_iter().enumerate() {
            let bytes = read(parts, ends).await.map(|(bytes, _)| bytes.len());
            assert_eq!(bytes, outcome.map_err(str::to_owned), "row {at}");
        }
    }

    #[tokio::test]
    async fn a_packed_message_is_bounded_by_what_it_becomes() {
        let whole = packed(&[7; 70_000]);
        let of = |gzip: &[u8]| framed(1, gzip.len(), gzip);
        let rows = [
            (vec![of(&packed(b""))], Ok((message(0, 0), 0))),
            (vec![of(&whole)], Ok((message(70_000, 70_000), 70_000))),
            (pieces(&of(&whole)), Ok((message(70_000, 70_000), 70_000))),
            // What follows it is ignored, another one included.
            (vec![of(&[&whole[..], &whole].concat())], Ok((message(70_000, 70_000), 70_000))),
            (vec![of(&packed(&[7; 70_001]))], Err("MESSAGE_TOO_LARGE")),
            (vec![of(&packed(&vec![7; 100_000_000]))], Err("MESSAGE_TOO_LARGE")),
            (vec![of(b"no gzip at all")], Err("INVALID_FIELD")),
            (vec![of(&whole[..whole.len() - 1])], Err("INVALID_FIELD")),
            (vec![framed(1, whole.len() + 1, &whole)], Err("INVALID_FIELD")),
        ];
        for (at, (parts, outcome)) in rows.into_iter().enumerate() {
            assert_eq!(read(parts, true).await, outcome.map_err(str::to_owned), "row {at}");
        }
    }

    #[tokio::test]
    async fn a_message_waits_for_its_share_unless_it_is_of_the_cluster() {
        let shares = Shares::new(100_000, ALL);
        let large = || vec![message(60_000, 0), vec![7; 30_000], vec![7; 30_000]];
        let [waits, refuses] = [false, true].map(|of_cluster| Row { shares: Arc::clone(&shares), largest: 70_000, of_cluster });
        let held = shares.try_take(&Holder::default(), 50_000).unwrap();
        assert_eq!(refuses.read(large(), true).await.unwrap_err(), "OVERLOADED");
        assert_eq!(waits.read(large(), true).await.unwrap_err(), "OVERLOADED");
        let (read, ()) = tokio::join!(waits.read(large(), true), async { drop(held) });
        assert_eq!(read.unwrap().1, 60_000);
        // Whoever sends it for others is not told that it was too slow.
        assert_eq!(refuses.read(vec![message(10, 9)], false).await.unwrap_err(), "OVERLOADED");
        // Small ones need no share.
        let _held = shares.try_take(&Holder::default(), 100_000).unwrap();
        assert_eq!(refuses.read(vec![message(16_384, 10_000), vec![7; 6_384]], true).await.unwrap().1, 0);
    }
}
