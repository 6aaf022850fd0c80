//! The contract, tested against a cluster: every route and RPC refuses invalid input, and gRPC tools read the contract by reflection.

mod bad_input;
mod bad_input_grpc;
mod grpc_tools;
