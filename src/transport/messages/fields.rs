//! Counts how often a field stands at the top of a protobuf message, without decoding it.
//!
//! An empty post takes two bytes on the wire and a hundred times as many once decoded: a batch
//! must be counted first.

/// Longest varint.
const VARINT_BYTES_MAX: u32 = 10;

/// Counts one field of a message that comes in pieces.
#[derive(Debug)]
pub(super) struct FieldCount {
    number: u64,
    count: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Within the varint that holds a field's number and type.
    Tag(Varint),
    /// Within the varint that is a field's value.
    Value(Varint),
    /// Within the varint that is a field's length.
    Length(Varint),
    /// Within a field's value, so many bytes before its end.
    Skip(u64),
    /// This is no protobuf: the decoder will say so.
    Lost,
}

#[derive(Debug, Clone, Copy, Default)]
struct Varint {
    value: u64,
    bytes: u32,
}

impl Varint {
    /// Takes the next byte; true if it was the last one.
    fn push(&mut self, byte: u8) -> bool {
        self.value |= u64::from(byte & 0x7f).checked_shl(7 * self.bytes).unwrap_or(0);
        self.bytes += 1;
        byte < 0x80
    }
}

impl FieldCount {
    /// Counts the field of this number.
    pub(super) fn new(number: u64) -> Self {
        Self { number, count: 0, state: State::Tag(Varint::default()) }
    }

    /// A new message begins.
    pub(super) fn begin(&mut self) {
        *self = Self::new(self.number);
    }

    /// Follows the next bytes of the message; how often the field has come so far.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> usize {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Skip(left) = self.state {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                bytes = &bytes[taken..];
                self.state = after(left - taken as u64);
                continue;
            }
            bytes = rest;
            self.state = self.step(byte);
        }
        self.count
    }

    fn step(&mut self, byte: u8) -> State {
        let (State::Tag(mut varint) | State::Value(mut varint) | State::Length(mut varint)) =
            self.state
        else {
            return self.state;
        };
        let whole = varint.push(byte);
        match self.state {
            _ if !whole && varint.bytes >= VARINT_BYTES_MAX => State::Lost,
            State::Tag(_) if !whole => State::Tag(varint),
            State::Value(_) if !whole => State::Value(varint),
            State::Length(_) if !whole => State::Length(varint),
            State::Tag(_) => {
                self.count += usize::from(varint.value >> 3 == self.number);
                match varint.value & 7 {
                    0 => State::Value(Varint::default()),
                    1 => State::Skip(8),
                    2 => State::Length(Varint::default()),
                    // A group's fields follow as if they were the message's own.
                    3 | 4 => State::Tag(Varint::default()),
                    5 => State::Skip(4),
                    _ => State::Lost,
                }
            }
            State::Length(_) => after(varint.value),
            State::Value(_) | State::Skip(_) | State::Lost => State::Tag(Varint::default()),
        }
    }
}

fn after(left: u64) -> State {
    if left == 0 { State::Tag(Varint::default()) } else { State::Skip(left) }
}

#[cfg(test)]
mod tests {
    use pounce_proto::{Post, ScoreBatchRequest, Thresholds};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    proptest! {
        #[test]
        fn posts_are_counted_however_the_message_is_cut(
            texts in prop::collection::vec(".{0,200}", 0..20),
            thresholds in any::<bool>(),
            size in 1_usize..64,
        ) {
            let posts = texts.iter().map(|text| Post {
                text: text.clone().into(),
                author: Some(pounce_proto::Author { followers: 1 << 40, ..Default::default() }),
                ..Post::default()
            });
            let thresholds = thresholds.then(|| Thresholds {
                discontent_low: Some(0.5),
                influential_followers: Some(300),
                ..Thresholds::default()
            });
            let bytes = ScoreBatchRequest { posts: posts.collect(), thresholds, history: false }.encode_to_vec();
            let mut count = FieldCount::new(1);
            let counts: Vec<_> = bytes.chunks(size).map(|piece| count.count(piece)).collect();
            prop_assert_eq!(counts.last().copied().unwrap_or(0), texts.len());
        }

        #[test]
        fn anything_is_followed_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut count = FieldCount::new(1);
            prop_assert!(count.count(&bytes) <= bytes.len());
        }
    }
}
