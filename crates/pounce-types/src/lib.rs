//! Values that every part of Pounce speaks of: posts as they were checked at the boundary, what a
//! model says of a text, and what people say of what was flagged. Knows nothing of the wire, the
//! model or the alerts.

pub mod clock;
pub mod closing;
mod fault;
mod name;
pub mod post;
pub mod score;
