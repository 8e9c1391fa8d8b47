//! Apache Kafka as a source and as a sink, through librdkafka.

mod settings;
pub mod sink;
pub mod source;
