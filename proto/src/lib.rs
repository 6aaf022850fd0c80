//! The contract: the generated modules of `backlot.*.v1`, the error that all services exchange, typed ids, and the JSON form of an event.
//!
//! Read the `.proto` files first; they are the specification. Then [`error`], [`id`], [`event`], [`project_event`], [`path`], [`plan`], [`metadata`], [`parts`], [`layout`],
//! [`build_input`].

pub mod build_input;
pub mod codec;
pub mod error;
pub mod event;
pub mod id;
mod json;
pub mod layout;
pub mod metadata;
pub mod parts;
pub mod path;
pub mod plan;
pub mod project_event;
pub mod text;

/// Every file of the contract with its imports and comments, as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The paths of the methods that the contract marks as idempotent or without side effects, as `/backlot.auth.v1.AuthService/GetKeySet`.
pub const IDEMPOTENT_METHODS: &[&str] = include!(concat!(env!("OUT_DIR"), "/idempotent_methods.rs"));

/// The paths of the methods that the contract marks as without side effects.
pub const READ_ONLY_METHODS: &[&str] = include!(concat!(env!("OUT_DIR"), "/read_only_methods.rs"));

/// The paths of the methods whose request is a stream of messages.
pub const CLIENT_STREAMING_METHODS: &[&str] = include!(concat!(env!("OUT_DIR"), "/client_streaming_methods.rs"));

macro_rules! package {
    ($name:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $name, ".rs"));
        include!(concat!(env!("OUT_DIR"), "/", $name, ".serde.rs"));
    };
}

/// Generated code keeps its own style.
#[allow(clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::too_many_lines, unreachable_pub)]
mod generated {
    pub mod auth {
        package!("backlot.auth.v1");
    }
    pub mod agent_streaming {
        package!("backlot.agent_streaming.v1");
    }
    pub mod project_storage {
        package!("backlot.project_storage.v1");
    }
    pub mod rate_limit {
        package!("backlot.rate_limit.v1");
    }
    pub mod compile {
        package!("backlot.compile.v1");
    }
}

pub use generated::{agent_streaming, auth, compile, project_storage, rate_limit};
