//! Turns `proto/` into Rust: messages, services, and the descriptor set that
//! reflection serves. protox compiles protobuf in Rust, so no protoc is needed.
//! With the feature `torch`, binaries learn where libtorch is.

use std::error::Error;
use std::path::PathBuf;

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

const FILES: [&str; 2] =
    ["proto/pounce/v1/alert_service.proto", "proto/pounce/v1/scoring_service.proto"];

/// Messages whose strings are read as bytes: the protobuf decoder fails the
/// whole stream on a string that is not UTF-8, while a bad post must only cost
/// itself. The wire format of both types is the same.
const UNTRUSTED: [&str; 2] = ["Post", "Author"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let published = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("pounce_descriptor.bin"), prost::Message::encode_to_vec(&published))?;

    let lenient =
        FileDescriptorSet { file: published.file.into_iter().map(strings_as_bytes).collect() };
    tonic_prost_build::configure()
        .bytes(".pounce.v1")
        .boxed(".pounce.v1.ScoreStreamRequest.request.post")
        .compile_fds(lenient)?;

    // Set with the feature `torch` alone: the binary finds libtorch where it was linked.
    if let Some(libtorch) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.display());
    }
    Ok(())
}

fn strings_as_bytes(mut file: FileDescriptorProto) -> FileDescriptorProto {
    let untrusted = |message: &&mut DescriptorProto| UNTRUSTED.contains(&message.name());
    for message in file.message_type.iter_mut().filter(untrusted) {
        for field in &mut message.field {
            if field.r#type() == Type::String {
                field.set_type(Type::Bytes);
            }
        }
    }
    file
}
