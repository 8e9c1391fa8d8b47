//! The messages and services of `proto/pounce/v1` and `proto/inference`, generated at build time: their types, their
//! descriptor set, and the names of enum values and methods in JSON, logs and metrics.

#![allow(missing_docs, reason = "generated; the proto files hold the docs")]
#![allow(clippy::all, reason = "generated")]
#![allow(clippy::allow_attributes_without_reason, reason = "generated")]
#![allow(clippy::large_futures, unreachable_pub, reason = "generated")]

tonic::include_proto!("pounce.v1");

/// The Open Inference Protocol.
pub mod inference {
    tonic::include_proto!("inference");
}

include!(concat!(env!("OUT_DIR"), "/names.rs"));

/// A method of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Full name of its service, such as `pounce.v1.ScoringService`.
    pub service: &'static str,
    /// Its name.
    pub method: &'static str,
    /// `unary`, `client_stream`, `server_stream` or `bidi_stream`, as gRPC's metrics have it.
    pub kind: &'static str,
}

/// The descriptor set of all messages and services, for reflection.
pub const DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/pounce_descriptor.bin"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_interface_without_its_prefixes() {
        assert_eq!(Flag::LanguageUnknownToModel.name(), "language_unknown_to_model");
        assert_eq!(RejectionCode::InvalidUtf8.name(), "invalid_utf8");
        for flag in Flag::ALL {
            assert_eq!(format!("FLAG_{}", flag.name().to_ascii_uppercase()), flag.as_str_name());
        }
    }

    #[test]
    fn every_method_is_listed_with_its_kind() {
        let kind = |name: &str| METHODS.iter().find(|m| m.method == name).map(|m| m.kind);
        assert_eq!(kind("Score"), Some("unary"));
        assert_eq!(kind("ScoreStream"), Some("bidi_stream"));
        assert_eq!(kind("WatchAlerts"), Some("server_stream"));
    }
}
