#![allow(clippy::disallowed_methods, reason = "a build script reads cargo's variables")]

//! Compiles the contract: one descriptor set for reflection, the drift test and OpenAPI; messages and services by prost and
//! tonic; ProtoJSON by pbjson. No `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: &[&str] = &[
    "backlot/auth/v1/auth_service.proto",
    "backlot/agent_streaming/v1/agent_streaming_service.proto",
    "backlot/project_storage/v1/project_storage_service.proto",
    "backlot/rate_limit/v1/rate_limit_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=backlot");
    println!("cargo:rerun-if-changed=google");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let descriptors = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &descriptors)?;

    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .compile_fds(compiler.file_descriptor_set())?;
    pbjson_build::Builder::new().register_descriptors(&descriptors)?.build(&[".backlot"])?;
    Ok(())
}
