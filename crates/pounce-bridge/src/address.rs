//! Where a broker is: `SCHEME://HOST:PORT,../NAME?PARAMETER=VALUE&..`, read into its parts.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// The kind of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// NATS JetStream.
    Nats,
    /// Apache Kafka, or what speaks its protocol.
    Kafka,
}

/// The form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, in the fields of `pounce score`.
    Json,
    /// A `pounce.v1` message.
    Protobuf,
}

/// Why an address can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It does not have the form of one.
    #[error(
        "an address has the form nats://HOST:4222/STREAM or kafka://HOST:9092/TOPIC, with nats+tls or kafka+tls for TLS: {0}"
    )]
    Form(&'static str),
    /// A password in it would be shown by every list of processes.
    #[error("a user is not named in the address: use the flags for credentials")]
    User,
    /// A parameter that this broker does not have.
    #[error("unknown parameter `{name}`; there are {known}")]
    Unknown {
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A parameter's value.
    #[error("parameter `{name}` must be {expected}")]
    Value {
        /// Its name.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
}

/// A broker's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its kind.
    pub broker: Broker,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// `HOST:PORT`, at least one.
    pub servers: Vec<String>,
    /// The stream of NATS, the topic of Kafka.
    pub name: String,
    parameters: BTreeMap<String, String>,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let form = AddressError::Form;
        let (scheme, rest) = text.split_once("://").ok_or(form("the scheme is missing"))?;
        let (broker, tls) = match scheme {
            "nats" => (Broker::Nats, false),
            "nats+tls" => (Broker::Nats, true),
            "kafka" => (Broker::Kafka, false),
            "kafka+tls" => (Broker::Kafka, true),
            _ => return Err(form("the scheme is unknown")),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, name) = path.split_once('/').unwrap_or((path, ""));
        if authority.contains('@') {
            return Err(AddressError::User);
        }
        let servers: Vec<_> = authority.split(',').map(str::to_owned).collect();
        if servers.iter().any(|server| !is_host_and_port(server)) {
            return Err(form("a server is not HOST:PORT"));
        }
        let name = percent_decode_str(name).decode_utf8();
        let name = name.map_err(|_| form("the name is not UTF-8"))?.into_owned();
        if name.is_empty() || name.contains('/') {
            return Err(form("the name of the stream or topic is missing, or has a `/`"));
        }
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self { broker, tls, servers, name, parameters })
    }
}

fn is_host_and_port(server: &str) -> bool {
    let parts = server.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl Address {
    /// Checks that it has no other parameters.
    /// # Errors
    /// [`AddressError::Unknown`].
    pub fn only(&self, known: &[&str]) -> Result<(), AddressError> {
        match self.parameters.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                Err(AddressError::Unknown { name: name.clone(), known: known.join(", ") })
            }
        }
    }

    /// A parameter; an empty one is none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// One of several values; the first if there is no such parameter.
    /// # Errors
    /// [`AddressError::Value`].
    pub fn choice<T: Copy, const N: usize>(
        &self,
        name: &'static str,
        values: [(&'static str, T); N],
        expected: &'static str,
    ) -> Result<T, AddressError> {
        let Some(given) = self.parameter(name) else { return Ok(values[0].1) };
        let value = values.iter().find(|(value, _)| *value == given);
        value.map(|(_, value)| *value).ok_or(AddressError::Value { name, expected })
    }

    /// A number within a range, if there is such a parameter.
    /// # Errors
    /// [`AddressError::Value`].
    pub fn number(
        &self,
        name: &'static str,
        range: RangeInclusive<u32>,
        expected: &'static str,
    ) -> Result<Option<u32>, AddressError> {
        let Some(given) = self.parameter(name) else { return Ok(None) };
        let number = given.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or(AddressError::Value { name, expected })
    }

    /// The form of its messages.
    /// # Errors
    /// [`AddressError::Value`].
    pub fn format(&self) -> Result<Format, AddressError> {
        let values = [("json", Format::Json), ("protobuf", Format::Protobuf)];
        self.choice("format", values, "json or protobuf")
    }

    /// Whether a reader that has read nothing yet begins with the oldest message; else with those
    /// that come after it.
    /// # Errors
    /// [`AddressError::Value`].
    pub fn from_oldest(&self) -> Result<bool, AddressError> {
        self.choice("start", [("oldest", true), ("newest", false)], "oldest or newest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let text = "nats+tls://a:4222,[::1]:4223/POSTS?subject=posts.%3E&format=protobuf";
        let address: Address = text.parse().expect("an address");
        assert_eq!((address.broker, address.tls), (Broker::Nats, true));
        assert_eq!(address.servers, ["a:4222", "[::1]:4223"]);
        assert_eq!((&address.name[..], address.parameter("subject")), ("POSTS", Some("posts.>")));
        assert_eq!(address.format(), Ok(Format::Protobuf));
        assert_eq!(address.from_oldest(), Ok(true));
        assert!(address.only(&["subject", "format"]).is_ok());
        let error = address.only(&["subject"]).expect_err("format");
        assert_eq!(error.to_string(), "unknown parameter `format`; there are subject");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, says) in [
            ("localhost:4222/POSTS", "scheme is missing"),
            ("http://a:1/POSTS", "scheme is unknown"),
            ("kafka://a/posts", "HOST:PORT"),
            ("kafka://a:9092,/posts", "HOST:PORT"),
            ("kafka://a:9092", "name of the stream or topic"),
            ("nats://me:secret@a:4222/POSTS", "credentials"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let address: Address = "kafka://a:9092/posts?format=xml".parse().expect("its form is good");
        assert!(address.format().is_err());
        let address: Address = "kafka://a:9092/posts?session=5".parse().expect("its form is good");
        assert_eq!(address.number("session", 1..=6, "1 to 6"), Ok(Some(5)));
        assert_eq!(address.number("other", 1..=6, "1 to 6"), Ok(None));
        assert!(address.number("session", 6..=300, "6 to 300").is_err());
    }
}
