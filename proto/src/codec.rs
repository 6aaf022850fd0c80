//! The codec of tonic-prost with smaller initial buffers.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::ProstCodec;

/// The initial capacity of a buffer in bytes. A buffer grows when it must and lives as long as its call. With tonic's default of 8 KiB
/// an open stream of small events would hold 16 KiB, half at its writer and half at its reader.
const INITIAL_CAPACITY: usize = 1024;
/// The bytes after which the encoder yields a buffer: tonic's default.
const YIELD_THRESHOLD: usize = 32 * 1024;

/// The codec of every method.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as tonic::codec::Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as tonic::codec::Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(INITIAL_CAPACITY, YIELD_THRESHOLD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(INITIAL_CAPACITY, YIELD_THRESHOLD))
    }
}
