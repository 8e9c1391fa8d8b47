//! The settings of librdkafka that source and sink share.

use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};

use crate::access::{Access, ConnectError};
use crate::address::{Address, AddressError};

/// How a user shows a password.
pub(super) const SASL: [(&str, &str); 3] =
    [("plain", "PLAIN"), ("scram-sha-256", "SCRAM-SHA-256"), ("scram-sha-512", "SCRAM-SHA-512")];

/// The mechanism that the address names.
pub(super) fn sasl(address: &Address) -> Result<&'static str, AddressError> {
    address.choice("sasl", SASL, "plain, scram-sha-256 or scram-sha-512")
}

/// Servers, TLS and credentials.
pub(super) fn client(
    address: &Address,
    access: &Access,
    sasl: &str,
) -> Result<ClientConfig, ConnectError> {
    let settings = |fault: &str| ConnectError::Settings(fault.to_owned());
    if access.credentials.is_some() {
        return Err(settings("a .creds file is for NATS"));
    }
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address.servers.join(",")).set("client.id", "pounce-bridge");
    if !address.tls {
        if access.user.is_some() || access.ca.is_some() || access.identity.is_some() {
            return Err(settings("a user or certificates need TLS: kafka+tls://"));
        }
        return Ok(config);
    }
    // Where the system keeps its authorities differs between distributions.
    let ca = access.ca.as_deref().unwrap_or(Path::new("probe"));
    config.set("security.protocol", "ssl").set("ssl.ca.location", ca.to_string_lossy());
    if let Some((cert, key)) = &access.identity {
        config.set("ssl.certificate.location", cert.to_string_lossy());
        config.set("ssl.key.location", key.to_string_lossy());
    }
    if let Some((user, password_file)) = &access.user {
        let password = password(password_file)?;
        config.set("security.protocol", "sasl_ssl").set("sasl.mechanism", sasl);
        config.set("sasl.username", user).set("sasl.password", password);
    }
    Ok(config)
}

/// A client of librdkafka, or what is wrong with its settings.
pub(super) fn made<T>(client: KafkaResult<T>) -> Result<T, ConnectError> {
    client.map_err(|error: KafkaError| ConnectError::Settings(error.to_string()))
}

/// The password that a file holds. Read before anything runs.
fn password(file: &Path) -> Result<String, ConnectError> {
    let password = std::fs::read_to_string(file);
    Ok(password.map_err(|error| ConnectError::file(file, &error))?.trim().to_owned())
}
