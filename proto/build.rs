#![allow(clippy::disallowed_methods, reason = "a build script reads cargo's variables")]

//! Compiles the contract: one descriptor set for reflection, the drift test and OpenAPI; messages and services by prost and
//! tonic; ProtoJSON by pbjson. No `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto, MethodOptions, method_options::IdempotencyLevel,
};
use protox::prost_reflect::{FieldDescriptor, MessageDescriptor, Value};

const FILES: &[&str] = &[
    "backlot/auth/v1/admin.proto",
    "backlot/auth/v1/auth_service.proto",
    "backlot/agent_streaming/v1/agent_streaming_service.proto",
    "backlot/project_storage/v1/project_storage_service.proto",
    "backlot/rate_limit/v1/rate_limit_service.proto",
    "backlot/compile/v1/compile_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=backlot");
    println!("cargo:rerun-if-changed=google");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let descriptors = compiler.encode_file_descriptor_set();
    let (files, pool) = (compiler.file_descriptor_set(), compiler.descriptor_pool());
    let read_only = methods(&files, |method| level(method) == Some(IdempotencyLevel::NoSideEffects));
    let idempotent =
        methods(&files, |method| matches!(level(method), Some(IdempotencyLevel::Idempotent | IdempotencyLevel::NoSideEffects)));
    fs::write(out.join("idempotent_methods.rs"), idempotent)?;
    fs::write(out.join("read_only_methods.rs"), read_only)?;
    fs::write(out.join("client_streaming_methods.rs"), methods(&files, MethodDescriptorProto::client_streaming))?;
    fs::write(out.join("descriptors.bin"), &descriptors)?;

    tonic_prost_build::configure()
        .bytes(".")
        // In the order of the keys, so that equal messages have equal bytes.
        .btree_map(".")
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .codec_path("crate::codec::Codec")
        .compile_fds(compiler.file_descriptor_set())?;
    pbjson_build::Builder::new().register_descriptors(&descriptors)?.btree_map(["."]).build(&[".backlot"])?;
    for file in &compiler.file_descriptor_set().file {
        let path = out.join(format!("{}.serde.rs", file.package()));
        if file.package().starts_with("backlot.") {
            let messages = pool.all_messages().filter(|message| message.package_name() == file.package());
            let code = with_defaults(with_nulls(&fs::read_to_string(&path)?), messages);
            let code = with_choices(code, &file.message_type)?.replace("::pbjson::private::NumberDeserialize", "crate::json::Number");
            fs::write(path, code)?;
        }
    }
    Ok(())
}

/// ProtoJSON reads `null` as the field left out; pbjson does so for messages and one-ofs only.
fn with_nulls(code: &str) -> String {
    const PLAIN: &str = "Some(map_.next_value()?)";
    const WRAPPED: &str = "Some(map_.next_value::<::pbjson::private::";
    const NAMED: &str = "Some(map_.next_value::<";
    const MAP: &str = "map_.next_value::<std::collections::BTreeMap<_, _>>()?";
    let mut lines = Vec::new();
    for line in code.lines() {
        let changed = if line.contains(PLAIN) {
            line.replace(PLAIN, "Some(map_.next_value::<::std::option::Option<_>>()?.unwrap_or_default())")
        } else if line.contains(WRAPPED) {
            let line = line.replace(WRAPPED, "Some(map_.next_value::<::std::option::Option<::pbjson::private::");
            line.replace("<_>>()?.0)", "<_>>>()?.map(|x| x.0).unwrap_or_default())")
        } else if line.contains(MAP) {
            line.replace(MAP, "map_.next_value::<::std::option::Option<std::collections::BTreeMap<_, _>>>()?.unwrap_or_default()")
        } else if line.contains(NAMED) && line.contains(">()? as i32)") {
            let line = line.replace(NAMED, "Some(map_.next_value::<::std::option::Option<");
            line.replace(">()? as i32)", ">>()?.map_or(0, |x| x as i32))")
        } else {
            line.to_owned()
        };
        lines.push(changed);
    }
    lines.join("\n")
}

/// A list, and a field that the contract marks as required, is written when it is empty or zero, too, so that a client can read it without
/// asking whether it is there.
fn with_defaults(code: String, messages: impl Iterator<Item = MessageDescriptor>) -> String {
    let mut parts: Vec<String> = code.split("\nimpl").map(str::to_owned).collect();
    for message in messages {
        let head = format!(" serde::Serialize for {} {{", message.name());
        let Some(part) = parts.iter_mut().find(|part| part.starts_with(&head)) else { continue };
        for field in message.fields().filter(|field| field.is_list() || is_required(field)) {
            let name = field.name();
            for condition in [format!("!self.{name}.is_empty()"), format!("self.{name} != 0"), format!("self.{name}")] {
                *part = part.replace(&format!("if {condition} {{"), "{");
            }
        }
    }
    parts.join("\nimpl")
}

/// Whether the contract marks a field as required.
fn is_required(field: &FieldDescriptor) -> bool {
    let Some(behavior) = field.parent_pool().get_extension_by_name("google.api.field_behavior") else { return false };
    let options = field.options();
    let Value::List(list) = &*options.get_extension(&behavior) else { return false };
    list.iter().any(|value| matches!(value, Value::EnumNumber(2)))
}

/// A second member of a one-of is refused with the names of both; pbjson takes it for the same field again.
fn with_choices(code: String, messages: &[DescriptorProto]) -> Result<String, String> {
    let mut parts: Vec<String> = code.split("\nimpl").map(str::to_owned).collect();
    for message in messages {
        let head = format!("<'de> serde::Deserialize<'de> for {} {{", message.name());
        let Some(part) = parts.iter_mut().find(|part| part.starts_with(&head)) else { continue };
        for (index, choice) in message.oneof_decl.iter().enumerate() {
            let is_member = |field: &&FieldDescriptorProto| {
                field.oneof_index.and_then(|at| usize::try_from(at).ok()) == Some(index) && !field.proto3_optional()
            };
            let members: Vec<&str> = message.field.iter().filter(is_member).map(FieldDescriptorProto::json_name).collect();
            let (value, given) = (format!("let mut {}__ = None;", choice.name()), format!("{}_given__", choice.name()));
            for member in &members {
                let plain = format!("return Err(serde::de::Error::duplicate_field(\"{member}\"));");
                let place = part.split_once(&plain).and_then(|(before, after)| Some((before, after.split_once('}')?)));
                let (before, (close, rest)) = place.ok_or_else(|| format!("pbjson reads {}.{member} in a new way", message.name()))?;
                let refusal = format!("return Err(crate::json::second({given}, \"{member}\", &{members:?}));");
                *part = format!("{before}{refusal}{close}}}\n{given} = \"{member}\";{rest}");
            }
            if !members.is_empty() {
                *part = part.replace(&value, &format!("{value}\nlet mut {given} = \"\";"));
            }
        }
    }
    Ok(parts.join("\nimpl"))
}

/// The mark of a method.
fn level(method: &MethodDescriptorProto) -> Option<IdempotencyLevel> {
    method.options.as_ref().map(MethodOptions::idempotency_level)
}

/// The paths of the methods for which the condition holds, as a list of Rust.
fn methods(files: &FileDescriptorSet, is_listed: impl Fn(&MethodDescriptorProto) -> bool) -> String {
    let mut paths = Vec::new();
    for file in &files.file {
        for service in &file.service {
            let listed = service.method.iter().filter(|method| is_listed(method));
            paths.extend(listed.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    format!("&{paths:?}")
}
