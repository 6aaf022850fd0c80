//! The addresses on which roles listen.

use std::net::SocketAddr;

use chassis::config::Env;

use crate::role::Role;

pub const LISTEN: &str = "BACKLOT_LISTEN";
pub const PREVIEW_LISTEN: &str = "BACKLOT_PREVIEW_LISTEN";
pub const METRICS_LISTEN: &str = "BACKLOT_METRICS_LISTEN";
pub const GRPC_LISTEN: &str = "BACKLOT_GRPC_LISTEN";

/// The address of the gateway's main listener, read in the same way as the gateway reads it.
pub fn gateway_address(env: &mut Env) -> SocketAddr {
    env.get(LISTEN, "127.0.0.1:8080", "address of the HTTP listener; port 0 picks a free port")
}

/// The address of a service that runs in its own process.
pub fn grpc_address(env: &mut Env, role: Role) -> SocketAddr {
    env.get(GRPC_LISTEN, role.default_grpc_listen(), "address of the gRPC listener")
}
