//! Room that is used again and again.

use std::ops::{Deref, DerefMut};

/// Numbers that are written before they are read: what stands there from an earlier use is not cleared.
/// Never gives room back, so that nothing is allocated once it was as large.
#[derive(Debug, Default)]
pub(crate) struct Buffer<T> {
    room: Vec<T>,
    len: usize,
}

impl<T: Copy + Default> Buffer<T> {
    /// Makes it `len` long. Those that it has stay as they are; what is in others is nobody's.
    pub(crate) fn resize(&mut self, len: usize) {
        if self.room.len() < len {
            self.room.resize(len, T::default());
        }
        self.len = len;
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.room[..self.len]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_has_stays_and_nothing_is_cleared() {
        let mut buffer = Buffer::default();
        buffer.resize(3);
        buffer.copy_from_slice(&[1, 2, 3]);
        buffer.resize(1);
        assert_eq!(*buffer, [1]);
        buffer.resize(4);
        assert_eq!(buffer[..3], [1, 2, 3]);
    }
}
