//! Calls any RPC by its descriptor with encoded messages, for tests of the whole contract.

use anyhow::Result;
use bytes::{Buf, BufMut};
use prost_reflect::MethodDescriptor;
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

/// Connects to a service.
///
/// # Errors
/// If the connection fails.
pub async fn connect(url: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(url.to_owned())?.connect().await?)
}

/// The path of an RPC, such as `/backlot.auth.v1.AuthService/SignIn`.
#[must_use]
pub fn path_of(rpc: &MethodDescriptor) -> String {
    format!("/{}/{}", rpc.parent_service().full_name(), rpc.name())
}

/// The service of an RPC, such as `project-storage`.
#[must_use]
pub fn service_of(rpc: &MethodDescriptor) -> String {
    rpc.parent_service().package_name().split('.').nth(1).unwrap_or_default().replace('_', "-")
}

/// Calls an RPC and returns the first message of the answer.
///
/// # Errors
/// The status of the service.
pub async fn call(channel: Channel, rpc: &MethodDescriptor, message: Vec<u8>, headers: &[(&'static str, &str)]) -> Result<Vec<u8>, Status> {
    call_path(channel, &path_of(rpc), rpc.is_server_streaming(), message, headers).await
}

/// Like [`call`], with any path, which need not exist.
///
/// # Errors
/// The status of the service.
pub async fn call_path(
    channel: Channel,
    path: &str,
    streams: bool,
    message: Vec<u8>,
    headers: &[(&'static str, &str)],
) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().map_err(|_| Status::internal("header"))?);
    }
    let path = path.parse().map_err(|_| Status::internal("path"))?;
    if streams {
        let mut stream = client.server_streaming(request, path, Raw).await?.into_inner();
        return Ok(stream.message().await?.unwrap_or_default());
    }
    Ok(client.unary(request, path, Raw).await?.into_inner())
}

/// A codec that does not encode or decode messages.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
