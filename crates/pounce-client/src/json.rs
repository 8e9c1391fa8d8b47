//! Posts, replies, alerts and cases as JSON: the form of the commands, the HTTP API, the dashboard
//! and the bridges.

mod alerts;
mod cases;
mod posts;
mod replies;
mod scalar;
mod time;

pub use self::alerts::show_alert;
pub use self::cases::show_case;
pub use self::posts::{Object, PostLine, fault, parse_post};
pub use self::replies::show_reply;
