//! JSON values of one type or another, read as they come: what is neither is refused at its first byte,
//! where serde's untagged enums would first keep all of it.

use std::fmt;

use jiff::Timestamp;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// The id of a post.
pub(crate) enum Id {
    Text(String),
    Number(u64),
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Id;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a whole number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id::Text(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id::Number(number))
            }
        }

        json.deserialize_any(Read)
    }
}

/// A time.
#[derive(Debug)]
pub(crate) enum Moment {
    /// Since 1970.
    Seconds(i64),
    /// Also what is too large for an integer, which the range check of the time refuses.
    Fraction(f64),
    Rfc3339(Timestamp),
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Moment;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("RFC 3339 or seconds")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                text.parse().map(Moment::Rfc3339).map_err(|_| E::custom("no RFC 3339"))
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Moment, E> {
                Ok(Moment::Seconds(seconds))
            }

            #[allow(clippy::cast_precision_loss, reason = "far out of range anyway")]
            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Moment, E> {
                let whole = i64::try_from(seconds).map(Moment::Seconds);
                Ok(whole.unwrap_or(Moment::Fraction(seconds as f64)))
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Moment, E> {
                Ok(Moment::Fraction(seconds))
            }
        }

        json.deserialize_any(Read)
    }
}

impl Moment {
    pub(super) fn into_timestamp(self) -> prost_types::Timestamp {
        match self {
            Self::Seconds(seconds) => prost_types::Timestamp { seconds, nanos: 0 },
            Self::Fraction(seconds) => from_fraction(seconds),
            Self::Rfc3339(at) => {
                prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
            }
        }
    }
}

/// Seconds since 1970 to the microsecond: a float of today has no finer digits.
#[allow(clippy::cast_possible_truncation, reason = "a float that is too large becomes the limit")]
fn from_fraction(seconds: f64) -> prost_types::Timestamp {
    let micros = (seconds * 1e6).round() as i64;
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000);
    let nanos = nanos.expect("fewer than a second's");
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}
