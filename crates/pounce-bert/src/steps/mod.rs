//! The steps between two products, each one pass over its rows: what the product's sums mean, the
//! step itself, and the rounding for the next product.

pub(crate) mod activate;
pub(crate) mod attention;
pub(crate) mod embed;
pub(crate) mod normalise;
