//! Locks and atomics of the parts where threads meet: the standard library's, or, for
//! `make interleavings`, those of shuttle, which decides who runs when.

#[cfg(not(feature = "interleavings"))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize},
};

#[cfg(feature = "interleavings")]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize},
};
