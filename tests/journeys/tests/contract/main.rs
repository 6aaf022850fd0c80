//! The contract, tested against a cluster: every route and RPC refuses invalid input, every RPC refuses callers that its table
//! does not name, and gRPC tools read the contract by reflection.

mod api_keys;
mod bad_input;
mod bad_input_grpc;
mod callers;
mod grpc_tools;
