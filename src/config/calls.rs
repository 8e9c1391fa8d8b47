//! Limits of calls, streams and connections.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::error::{ConfigError, within};

/// Bytes of a post that are not its text: id, topic, place, author, and the wire's own.
const POST_BYTES_BESIDE_TEXT: usize = 2048;
/// Bytes that a text or a message may be told to have.
const MESSAGE_BYTES_MAX: usize = 1 << 28;
/// Posts that one call or stream may be told to have open.
const POSTS_MAX: usize = 1 << 16;
/// Streams that one connection may be told to have open.
const STREAMS_MAX: u32 = 1 << 16;
/// Connections that a process may be told to hold: more than it has descriptors.
const CONNECTIONS_MAX: usize = 1 << 20;
/// A year, in seconds.
const AGE_MAX: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, Args)]
#[command(next_help_heading = "Calls and streams")]
pub(super) struct CallFlags {
    /// Bytes of a post's text, at most
    #[arg(long, env = "POUNCE_TEXT_BYTES_MAX", default_value_t = 8192, value_name = "BYTES")]
    text_bytes_max: usize,
    /// Bytes of a gRPC message, at most
    #[arg(long, env = "POUNCE_MESSAGE_BYTES_MAX", default_value_t = 4 << 20, value_name = "BYTES")]
    message_bytes_max: usize,
    /// Posts of a ScoreBatch call, at most
    #[arg(long, env = "POUNCE_BATCH_POSTS_MAX", default_value_t = 256, value_name = "N")]
    batch_posts_max: usize,
    /// Posts of a stream that are not yet answered, at most
    #[arg(
        long,
        env = "POUNCE_STREAM_POSTS_IN_FLIGHT_MAX",
        default_value_t = 256,
        value_name = "N"
    )]
    stream_posts_in_flight_max: usize,
    /// Open streams of a connection, at most
    #[arg(long, env = "POUNCE_CONNECTION_STREAMS_MAX", default_value_t = 128, value_name = "N")]
    connection_streams_max: u32,
    /// Open gRPC connections, at most; further ones are closed at once
    #[arg(long, env = "POUNCE_CONNECTIONS_MAX", default_value_t = 1024, value_name = "N")]
    connections_max: usize,
    /// Open connections of the HTTP port, at most; further ones are closed at once
    #[arg(long, env = "POUNCE_HTTP_CONNECTIONS_MAX", default_value_t = 256, value_name = "N")]
    http_connections_max: usize,
    /// Age in seconds at which a stream is asked to move to another server; each stream gets 80 to
    /// 100 % of it; 0: never
    #[arg(long, env = "POUNCE_STREAM_AGE_MAX", default_value_t = 1800, value_name = "SECONDS")]
    stream_age_max: u64,
    /// Age in seconds at which a connection is asked to close once its calls have ended, so that clients
    /// resolve the service's name again and find new servers; 0: never
    #[arg(long, env = "POUNCE_CONNECTION_AGE_MAX", default_value_t = 1800, value_name = "SECONDS")]
    connection_age_max: u64,
    /// Offer gRPC reflection
    #[arg(
        long,
        env = "POUNCE_REFLECTION",
        default_value_t = true,
        action = ArgAction::Set,
        value_name = "BOOL"
    )]
    reflection: bool,
}

/// Checked limits of calls; what they mean is told at [`CallFlags`].
pub(super) struct CallLimits {
    pub(super) text_bytes_max: usize,
    pub(super) message_bytes_max: usize,
    pub(super) batch_posts_max: usize,
    pub(super) stream_posts_in_flight_max: usize,
    pub(super) connection_streams_max: u32,
    pub(super) connections_max: usize,
    pub(super) http_connections_max: usize,
    pub(super) stream_age_max: Option<Duration>,
    pub(super) connection_age_max: Option<Duration>,
    pub(super) reflection: bool,
}

impl CallFlags {
    /// Checks the limits; a batch must fit into a queue of `queue_posts_max` posts.
    pub(super) fn checked(self, queue_posts_max: usize) -> Result<CallLimits, ConfigError> {
        let largest_text = MESSAGE_BYTES_MAX - POST_BYTES_BESIDE_TEXT;
        let text_bytes_max = within("--text-bytes-max", self.text_bytes_max, 1, largest_text)?;
        let stream_age = age("--stream-age-max", self.stream_age_max)?;
        let connection_age = age("--connection-age-max", self.connection_age_max)?;
        Ok(CallLimits {
            text_bytes_max,
            message_bytes_max: within(
                "--message-bytes-max",
                self.message_bytes_max,
                text_bytes_max + POST_BYTES_BESIDE_TEXT,
                MESSAGE_BYTES_MAX,
            )?,
            batch_posts_max: within(
                "--batch-posts-max",
                self.batch_posts_max,
                1,
                POSTS_MAX.min(queue_posts_max),
            )?,
            stream_posts_in_flight_max: within(
                "--stream-posts-in-flight-max",
                self.stream_posts_in_flight_max,
                1,
                POSTS_MAX,
            )?,
            connection_streams_max: within(
                "--connection-streams-max",
                self.connection_streams_max,
                1,
                STREAMS_MAX,
            )?,
            connections_max: within("--connections-max", self.connections_max, 1, CONNECTIONS_MAX)?,
            http_connections_max: within(
                "--http-connections-max",
                self.http_connections_max,
                1,
                CONNECTIONS_MAX,
            )?,
            stream_age_max: stream_age,
            connection_age_max: connection_age,
            reflection: self.reflection,
        })
    }
}

/// An age in seconds; 0 is none.
fn age(flag: &'static str, seconds: u64) -> Result<Option<Duration>, ConfigError> {
    let seconds = within(flag, seconds, 0, AGE_MAX)?;
    Ok(Some(Duration::from_secs(seconds)).filter(|age| !age.is_zero()))
}
