//! The written contract against a cluster: every route and RPC of the descriptors refuses bad input, and tools of operators read the
//! contract by reflection.

mod bad_input;
mod bad_input_grpc;
mod grpc_tools;
