#![allow(clippy::disallowed_methods, reason = "a build script reads cargo's variables")]

//! Compiles the contract: one descriptor set for reflection, the drift test and OpenAPI; messages and services by prost and
//! tonic; ProtoJSON by pbjson. No `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost_types::{FileDescriptorSet, MethodOptions, method_options::IdempotencyLevel};

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
    fs::write(out.join("repeatable.rs"), format!("&{:?}", repeatable(&compiler.file_descriptor_set())))?;
    fs::write(out.join("descriptors.bin"), &descriptors)?;

    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .codec_path("crate::codec::Codec")
        .compile_fds(compiler.file_descriptor_set())?;
    pbjson_build::Builder::new().register_descriptors(&descriptors)?.build(&[".backlot"])?;
    Ok(())
}

/// The paths of the methods whose repeat does nothing more.
fn repeatable(files: &FileDescriptorSet) -> Vec<String> {
    let mut paths = Vec::new();
    for file in &files.file {
        for service in &file.service {
            let marked = service.method.iter().filter(|method| {
                let level = method.options.as_ref().map(MethodOptions::idempotency_level);
                matches!(level, Some(IdempotencyLevel::Idempotent | IdempotencyLevel::NoSideEffects))
            });
            paths.extend(marked.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    paths
}
