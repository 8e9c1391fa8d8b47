//! Turns `proto/` into Rust: messages, services, the descriptor set that reflection serves, and
//! the names of enum values and methods that JSON, logs and metrics use. protox compiles protobuf
//! in Rust, so no protoc is needed.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// The interface is the workspace's, at its top.
const ROOT: &str = "../../proto";
const PACKAGE: &str = "pounce.v1";
const FILES: [&str; 4] = [
    "pounce/v1/alert_service.proto",
    "pounce/v1/care_service.proto",
    "pounce/v1/scoring_service.proto",
    "inference/open_inference.proto",
];
/// Packages whose services are ours to serve.
const SERVED: [&str; 2] = [PACKAGE, "inference"];

/// Messages whose strings are read as bytes: the protobuf decoder fails the
/// whole stream on a string that is not UTF-8, while a bad post must only cost
/// itself. The wire format of both types is the same.
const UNTRUSTED: [&str; 2] = ["Post", "Author"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let published = protox::compile(FILES, [ROOT])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("pounce_descriptor.bin"), prost::Message::encode_to_vec(&published))?;
    let ours = || published.file.iter().filter(|file| file.package() == PACKAGE);
    let mut names = String::new();
    for declared in ours().flat_map(|file| &file.enum_type) {
        write_enum_names(&mut names, declared)?;
    }
    let served = published.file.iter().filter(|file| SERVED.contains(&file.package()));
    write_methods(&mut names, served)?;
    std::fs::write(out.join("names.rs"), names)?;

    let lenient =
        FileDescriptorSet { file: published.file.into_iter().map(strings_as_bytes).collect() };
    // Without the transport: a client needs no server's, nor the other way round.
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".pounce.v1")
        .bytes(".inference")
        .boxed(".pounce.v1.ScoreStreamRequest.request.post")
        .compile_fds(lenient)?;
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

/// Writes `ALL` and `name()` of one enum. The value 0, UNSPECIFIED, is in no list.
fn write_enum_names(out: &mut String, declared: &EnumDescriptorProto) -> std::fmt::Result {
    let name = declared.name();
    let prefix = screaming_snake(name) + "_";
    let values: Vec<(String, String)> = declared
        .value
        .iter()
        .map(|value| value.name().trim_start_matches(&prefix))
        .map(|short| (upper_camel(short), short.to_ascii_lowercase()))
        .collect();
    writeln!(out, "impl {name} {{")?;
    writeln!(out, "    /// Every value but the unspecified one, in the order of their numbers.")?;
    writeln!(out, "    pub const ALL: [Self; {}] = [", values.len() - 1)?;
    for (variant, _) in values.iter().skip(1) {
        writeln!(out, "        Self::{variant},")?;
    }
    writeln!(out, "    ];")?;
    writeln!(out, "    /// Name in JSON, logs and metrics.")?;
    writeln!(out, "    #[must_use]\n    pub const fn name(self) -> &'static str {{")?;
    writeln!(out, "        match self {{")?;
    for (variant, short) in &values {
        writeln!(out, "            Self::{variant} => {short:?},")?;
    }
    writeln!(out, "        }}\n    }}\n}}")
}

/// Writes `METHODS`: every method of every service of ours.
fn write_methods<'a>(
    out: &mut String,
    files: impl Iterator<Item = &'a FileDescriptorProto>,
) -> std::fmt::Result {
    writeln!(out, "/// Every method that is served.\npub const METHODS: &[Method] = &[")?;
    let services =
        files.flat_map(|file| file.service.iter().map(|service| (file.package(), service)));
    for (package, service) in services {
        for method in &service.method {
            let kind = match (method.client_streaming(), method.server_streaming()) {
                (false, false) => "unary",
                (true, false) => "client_stream",
                (false, true) => "server_stream",
                (true, true) => "bidi_stream",
            };
            let (service, method) = (service.name(), method.name());
            writeln!(
                out,
                "    Method {{ service: \"{package}.{service}\", method: {method:?}, kind: {kind:?} }},"
            )?;
        }
    }
    writeln!(out, "];")
}

fn screaming_snake(camel: &str) -> String {
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}

fn upper_camel(snake: &str) -> String {
    snake.split('_').fold(String::new(), |mut camel, word| {
        let (first, rest) = word.split_at(1);
        camel.push_str(first);
        camel.push_str(&rest.to_ascii_lowercase());
        camel
    })
}
