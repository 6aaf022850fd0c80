//! Reading the content of a file part by part.

use std::ops::Range;

use prost::bytes::Bytes;
use uuid::Uuid;

use crate::{
    error::Error,
    git::{Corruption, FileRef, Oid, chunks_of},
    model::{limits::CHUNK_BYTES, media::HEAD_BYTES, project::StoreId},
    read::objects::Objects,
    store::pending,
};

/// The content of a file, or a range of it. Of a large file only one part is in memory.
pub(crate) struct BlobReader {
    store: StoreId,
    oid: Oid,
    source: Source,
}

enum Source {
    Whole(Option<Bytes>),
    /// The bytes of the chunks that are left.
    Chunks {
        id: Uuid,
        left: Range<usize>,
    },
}

impl BlobReader {
    /// Opens the bytes `range` of a file. It must be within the file.
    ///
    /// # Errors
    /// [`Error::Corruption`] if the store does not have the file.
    pub(crate) async fn open(objects: &Objects, store: StoreId, file: FileRef, range: Range<u32>) -> Result<Self, Error> {
        let range = range.start as usize..range.end as usize;
        let source = match Self::chunks(objects, store, file).await? {
            Some(id) => Source::Chunks { id, left: range },
            None => {
                let content = objects.contents(store, &[file]).await?.remove(&file.oid).ok_or(Corruption::Missing(file.oid))?;
                Source::Whole(content.get(range.clone()).filter(|part| !part.is_empty()).map(|_| content.slice(range)))
            }
        };
        Ok(Self { store, oid: file.oid, source })
    }

    /// The id of the chunks of a large file.
    async fn chunks(objects: &Objects, store: StoreId, file: FileRef) -> Result<Option<Uuid>, Error> {
        if file.size as usize <= CHUNK_BYTES {
            return Ok(None);
        }
        let (tag, data) = pending::chunked(&objects.pool, store, file.oid).await?.ok_or(Corruption::Missing(file.oid))?;
        Ok(chunks_of(tag, &data))
    }

    /// The beginning of a file, at most one chunk.
    ///
    /// # Errors
    /// As [`BlobReader::open`].
    pub(crate) async fn head(objects: &Objects, store: StoreId, file: FileRef) -> Result<Bytes, Error> {
        let end = file.size.min(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
        let mut reader = Self::open(objects, store, file, 0..end).await?;
        Ok(reader.next(objects).await?.unwrap_or_default())
    }

    /// The next part; `None` after the last one.
    ///
    /// # Errors
    /// [`Error::Corruption`] if a part is missing.
    pub(crate) async fn next(&mut self, objects: &Objects) -> Result<Option<Bytes>, Error> {
        match &mut self.source {
            Source::Whole(content) => {
                let Some(mut rest) = content.take() else { return Ok(None) };
                let part = rest.split_to(rest.len().min(CHUNK_BYTES));
                *content = Some(rest).filter(|rest| !rest.is_empty());
                Ok(Some(part))
            }
            Source::Chunks { left, .. } if left.start >= left.end => Ok(None),
            Source::Chunks { id, left } => {
                let n = left.start / CHUNK_BYTES;
                let number = i32::try_from(n).unwrap_or(i32::MAX);
                let chunk = pending::chunks(&objects.pool, self.store, *id, number, 1).await?.pop();
                let part = left.start - n * CHUNK_BYTES..CHUNK_BYTES.min(left.end - n * CHUNK_BYTES);
                let chunk = Bytes::from(chunk.ok_or(Corruption::Missing(self.oid))?);
                if part.end > chunk.len() {
                    return Err(Corruption::Encoding(self.oid).into());
                }
                left.start += part.len();
                Ok(Some(chunk.slice(part)))
            }
        }
    }
}

/// The bytes of a file from an offset, at most `length`.
///
/// # Errors
/// [`Error::Field`] for an offset after the end of the file.
pub(crate) fn range(file: FileRef, offset: u64, length: Option<u64>) -> Result<Range<u32>, Error> {
    let offset = u32::try_from(offset).ok().filter(|offset| *offset <= file.size).ok_or_else(|| Error::Field {
        field: "offset".to_owned(),
        problem: format!("must be at most {}, the size of the file", file.size),
    })?;
    let left = file.size - offset;
    let length = length.map_or(left, |length| u32::try_from(length).unwrap_or(u32::MAX).min(left));
    Ok(offset..offset + length)
}
