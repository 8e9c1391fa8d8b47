//! Pounce scores a stream of short posts with a transformer classifier and
//! tells who is unhappy while something can still be done about it.
//!
//! The map is ARCHITECTURE.md.

pub mod alerting;
pub mod app;
mod arrival;
pub mod auth;
mod background;
mod care;
pub mod cases;
mod change_feed;
pub mod config;
pub mod dashboard;
mod ending;
mod http_api;
pub mod lifecycle;
pub mod metrics;
pub mod notifications;
mod open_inference;
pub mod parts;
pub mod recent;
mod requests;
pub mod scoring;
pub mod server;
pub mod telemetry;
pub mod traces;
pub mod transport;
mod wire;
