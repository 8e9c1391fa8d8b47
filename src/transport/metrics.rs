//! Names and help of the metrics of connections and calls. Call sites say what happened.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// A port of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Grpc,
    Http,
}

impl Port {
    fn open(self) -> metrics::Gauge {
        match self {
            Self::Grpc => gauge!("pounce_connections_open"),
            Self::Http => gauge!("pounce_http_connections_open"),
        }
    }

    fn refused(self, refusal: ConnectionRefusal) -> metrics::Counter {
        let reason = refusal.name();
        match self {
            Self::Grpc => counter!("pounce_connections_refused_total", "reason" => reason),
            Self::Http => counter!("pounce_http_connections_refused_total", "reason" => reason),
        }
    }
}

/// Why a connection was closed before it said anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionRefusal {
    /// As many as may be were open.
    Limit,
    /// The TLS handshake failed: a stranger, or a client without a good certificate.
    Handshake,
    /// Nothing came in time.
    Silent,
}

impl ConnectionRefusal {
    const ALL: [Self; 3] = [Self::Limit, Self::Handshake, Self::Silent];

    fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Handshake => "handshake",
            Self::Silent => "silent",
        }
    }
}

/// Why a request message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageRefusal {
    /// Larger than its method's limit.
    TooLarge,
    /// A batch of more posts than its limit.
    TooManyPosts,
    /// It did not arrive in time.
    Slow,
    /// There was no room for it in time beside other unfinished messages.
    NoRoom,
}

impl MessageRefusal {
    const ALL: [Self; 4] = [Self::TooLarge, Self::TooManyPosts, Self::Slow, Self::NoRoom];

    fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::TooManyPosts => "too_many_posts",
            Self::Slow => "slow",
            Self::NoRoom => "no_room",
        }
    }
}

/// Describes every metric and makes every series exist that is known from the start.
pub(crate) fn register() {
    describe_counter!("grpc_server_started_total", "gRPC calls started");
    describe_counter!("grpc_server_handled_total", "gRPC calls ended, by status code");
    describe_counter!("grpc_server_msg_received_total", "gRPC messages received");
    describe_counter!("grpc_server_msg_sent_total", "gRPC messages sent");
    describe_counter!("pounce_connections_refused_total", "Connections closed before a call");
    describe_gauge!("pounce_connections_open", "Open gRPC connections");
    describe_gauge!(
        "pounce_tls_certificate_expiry_timestamp_seconds",
        "When the certificate of both ports expires, in seconds since 1970"
    );
    describe_counter!("pounce_messages_refused_total", "Request messages refused while arriving");

    for refusal in ConnectionRefusal::ALL {
        Port::Grpc.refused(refusal).absolute(0);
    }
    for refusal in MessageRefusal::ALL {
        counter!("pounce_messages_refused_total", "reason" => refusal.name()).absolute(0);
    }
    Port::Grpc.open().set(0.0);
    register_http();
}

/// As [`register`], of the HTTP port alone.
pub(crate) fn register_http() {
    describe_counter!(
        "pounce_http_connections_refused_total",
        "Connections of the HTTP port closed before a request"
    );
    describe_gauge!("pounce_http_connections_open", "Open connections of the HTTP port");
    for refusal in ConnectionRefusal::ALL {
        Port::Http.refused(refusal).absolute(0);
    }
    Port::Http.open().set(0.0);
}

/// A connection was opened or closed.
pub(crate) fn connection_open(port: Port, open: bool) {
    port.open().increment(if open { 1.0 } else { -1.0 });
}

/// A connection was closed before it said anything.
pub(crate) fn connection_refused(port: Port, refusal: ConnectionRefusal) {
    port.refused(refusal).increment(1);
}

/// A certificate is in use that expires at `until`, in seconds since 1970.
#[allow(clippy::cast_precision_loss, reason = "seconds of any year fit into 53 bits")]
pub(crate) fn certificate_in_use(until: i64) {
    gauge!("pounce_tls_certificate_expiry_timestamp_seconds").set(until as f64);
}

/// A request message was not taken.
pub(crate) fn message_refused(refusal: MessageRefusal) {
    counter!("pounce_messages_refused_total", "reason" => refusal.name()).increment(1);
}

/// A gRPC method exists, whose calls may end with any of `codes`.
pub(crate) fn grpc_known(
    service: &'static str,
    method: &'static str,
    kind: &'static str,
    codes: &[&'static str],
) {
    grpc_started_counter(service, method, kind).absolute(0);
    for name in ["grpc_server_msg_received_total", "grpc_server_msg_sent_total"] {
        counter!(name, "grpc_service" => service, "grpc_method" => method).absolute(0);
    }
    for code in codes {
        grpc_handled_counter(service, method, kind, code).absolute(0);
    }
}

fn grpc_started_counter(
    service: &'static str,
    method: &'static str,
    kind: &'static str,
) -> metrics::Counter {
    let labels = [("grpc_type", kind), ("grpc_service", service), ("grpc_method", method)];
    counter!("grpc_server_started_total", &labels)
}

fn grpc_handled_counter(
    service: &'static str,
    method: &'static str,
    kind: &'static str,
    code: &'static str,
) -> metrics::Counter {
    let labels = [
        ("grpc_type", kind),
        ("grpc_service", service),
        ("grpc_method", method),
        ("grpc_code", code),
    ];
    counter!("grpc_server_handled_total", &labels)
}

/// A gRPC call began.
pub(crate) fn grpc_started(service: &'static str, method: &'static str, kind: &'static str) {
    grpc_started_counter(service, method, kind).increment(1);
}

/// A gRPC call ended.
pub(crate) fn grpc_handled(
    service: &'static str,
    method: &'static str,
    kind: &'static str,
    code: &'static str,
) {
    grpc_handled_counter(service, method, kind, code).increment(1);
}

/// gRPC messages came in.
pub(crate) fn grpc_received(service: &'static str, method: &'static str, messages: u64) {
    let labels = [("grpc_service", service), ("grpc_method", method)];
    counter!("grpc_server_msg_received_total", &labels).increment(messages);
}

/// gRPC messages went out.
pub(crate) fn grpc_sent(service: &'static str, method: &'static str, messages: u64) {
    let labels = [("grpc_service", service), ("grpc_method", method)];
    counter!("grpc_server_msg_sent_total", &labels).increment(messages);
}
