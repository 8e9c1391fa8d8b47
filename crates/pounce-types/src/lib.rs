//! Values that every part of Pounce speaks of: posts as they were checked at the boundary, and
//! what a model says of a text. Knows nothing of the wire, the model or the alerts.

pub mod clock;
mod fault;
mod name;
pub mod post;
pub mod score;
