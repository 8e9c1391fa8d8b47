//! gRPC's framing: a flag byte, four bytes of length, the message; over and over, cut into DATA
//! frames anywhere.
//!
//! Knows where messages begin and end; nothing of what is in them.

/// Bytes before each message.
const HEADER: usize = 5;

/// What comes next in a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A message of so many bytes begins.
    Begin(usize),
    /// The next bytes of the message.
    Payload(&'a [u8]),
    /// The message is whole.
    End,
}

/// How far a body has been read.
#[derive(Debug, Default)]
pub(super) struct Framing {
    header: [u8; HEADER],
    header_length: usize,
    /// Bytes of the message that are still to come, if its header is whole.
    left: Option<usize>,
}

impl Framing {
    /// The first piece of `data`, which then begins after it; `None` once nothing is left.
    pub(super) fn next<'a>(&mut self, data: &mut &'a [u8]) -> Option<Piece<'a>> {
        match self.left {
            Some(0) => {
                self.left = None;
                Some(Piece::End)
            }
            _ if data.is_empty() => None,
            Some(left) => {
                let (payload, rest) = data.split_at(data.len().min(left));
                *data = rest;
                self.left = Some(left - payload.len());
                Some(Piece::Payload(payload))
            }
            None => {
                let missing = HEADER - self.header_length;
                let (start, rest) = data.split_at(data.len().min(missing));
                *data = rest;
                let filled = self.header_length + start.len();
                self.header[self.header_length..filled].copy_from_slice(start);
                self.header_length = filled % HEADER;
                if filled < HEADER {
                    return None;
                }
                let [_flag, a, b, c, d] = self.header;
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d]));
                let length = length.unwrap_or(usize::MAX);
                self.left = Some(length);
                Some(Piece::Begin(length))
            }
        }
    }

    /// Whether a message, or its header, has begun and is not whole.
    pub(super) fn is_inside(&self) -> bool {
        self.header_length > 0 || self.left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_however_they_are_cut_into_frames() {
        let message = |length: u8| {
            let mut bytes = vec![0, 0, 0, 0, length];
            bytes.resize(bytes.len() + usize::from(length), length);
            bytes
        };
        let bytes = [message(3), message(0), message(200), message(1)].concat();
        for size in 1..=bytes.len() {
            let (mut framing, mut seen, mut whole) = (Framing::default(), Vec::new(), 0);
            for mut data in bytes.chunks(size) {
                while let Some(piece) = framing.next(&mut data) {
                    match piece {
                        Piece::Begin(length) => seen.push((length, 0)),
                        Piece::Payload(payload) => {
                            seen.last_mut().expect("a message has begun").1 += payload.len();
                        }
                        Piece::End => whole += 1,
                    }
                }
            }
            assert_eq!(seen, [(3, 3), (0, 0), (200, 200), (1, 1)], "in pieces of {size}");
            assert_eq!((whole, framing.is_inside()), (4, false), "in pieces of {size}");
        }
    }

    #[test]
    fn half_a_header_and_half_a_message_are_inside() {
        let mut framing = Framing::default();
        for (bytes, inside) in [(&[0, 0][..], true), (&[0, 0, 2, 7], true), (&[7], false)] {
            let mut data = bytes;
            while framing.next(&mut data).is_some() {}
            assert_eq!(framing.is_inside(), inside);
        }
    }
}
