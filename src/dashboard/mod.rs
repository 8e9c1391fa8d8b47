//! The live dashboard in the browser, for people without Grafana: what fires and why, the topics,
//! the latest flagged posts, and how the service fares.
//!
//! One static page, its style and its scripts, all part of the binary; data by
//! JSON and by server-sent events. Where tokens are asked for, data needs
//! `alerts:read`, acknowledging and closing alerts `alerts:write`, cases `cases:read` and acting on them
//! `cases:write`; where not, the page is read-only.

mod assets;
mod live;
mod page;
pub(crate) mod router;
mod view;
