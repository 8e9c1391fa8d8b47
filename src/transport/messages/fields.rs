//! Counts how often a field stands in a protobuf message, without decoding it.
//!
//! An empty post takes two bytes on the wire and a hundred times as many once decoded: a batch
//! must be counted first. A field within another is named by its path of numbers.

/// Longest varint.
const VARINT_BYTES_MAX: u32 = 10;

/// Counts one field of a message that comes in pieces.
#[derive(Debug)]
pub(super) struct FieldCount {
    /// Numbers of the fields around it, outermost first, and of the field.
    path: &'static [u64],
    count: usize,
    state: State,
    /// Bytes of the message so far.
    at: u64,
    /// Where the fields end that it is within, outermost first; fewer than the path has numbers.
    ends: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Within the varint that holds a field's number and type.
    Tag(Varint),
    /// Within the varint that is a field's value.
    Value(Varint),
    /// Within the varint that is a field's length.
    Length(Varint),
    /// The same, of a field that the path leads into.
    Inner(Varint),
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
    /// Counts the field of this path.
    pub(super) fn new(path: &'static [u64]) -> Self {
        let state = State::Tag(Varint::default());
        Self { path, count: 0, state, at: 0, ends: Vec::new() }
    }

    /// A new message begins.
    pub(super) fn begin(&mut self) {
        *self = Self::new(self.path);
    }

    /// Follows the next bytes of the message; how often the field has come so far.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> usize {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Skip(left) = self.state {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                bytes = &bytes[taken..];
                self.at += taken as u64;
                self.state = after(left - taken as u64);
            } else {
                bytes = rest;
                self.at += 1;
                self.state = self.step(byte);
            }
            self.leave();
        }
        self.count
    }

    fn step(&mut self, byte: u8) -> State {
        let (State::Tag(mut varint)
        | State::Value(mut varint)
        | State::Length(mut varint)
        | State::Inner(mut varint)) = self.state
        else {
            return self.state;
        };
        let whole = varint.push(byte);
        match self.state {
            _ if !whole && varint.bytes >= VARINT_BYTES_MAX => State::Lost,
            State::Tag(_) if !whole => State::Tag(varint),
            State::Value(_) if !whole => State::Value(varint),
            State::Length(_) if !whole => State::Length(varint),
            State::Inner(_) if !whole => State::Inner(varint),
            State::Tag(_) => self.tagged(varint.value),
            State::Length(_) => after(varint.value),
            State::Inner(_) => {
                self.ends.push(self.at.saturating_add(varint.value));
                State::Tag(Varint::default())
            }
            State::Value(_) | State::Skip(_) | State::Lost => State::Tag(Varint::default()),
        }
    }

    /// What follows the number and type of a field.
    fn tagged(&mut self, tag: u64) -> State {
        let depth = self.ends.len();
        let on_path = self.path[depth] == tag >> 3;
        let is_last = depth + 1 == self.path.len();
        self.count += usize::from(on_path && is_last);
        match tag & 7 {
            0 => State::Value(Varint::default()),
            1 => State::Skip(8),
            2 if on_path && !is_last => State::Inner(Varint::default()),
            2 => State::Length(Varint::default()),
            // A group's fields follow as if they were the message's own.
            3 | 4 => State::Tag(Varint::default()),
            5 => State::Skip(4),
            _ => State::Lost,
        }
    }

    /// Leaves the fields that end here; what goes on past the end of one is no protobuf.
    fn leave(&mut self) {
        while let Some(&end) = self.ends.last()
            && self.at >= end
        {
            let between = matches!(self.state, State::Tag(Varint { bytes: 0, .. }));
            if self.at > end || !between {
                self.state = State::Lost;
                return;
            }
            self.ends.pop();
        }
    }
}

fn after(left: u64) -> State {
    if left == 0 { State::Tag(Varint::default()) } else { State::Skip(left) }
}

#[cfg(test)]
mod tests {
    use pounce_proto::inference::model_infer_request::InferInputTensor;
    use pounce_proto::inference::{InferTensorContents, ModelInferRequest};
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
            let mut count = FieldCount::new(&[1]);
            let counts: Vec<_> = bytes.chunks(size).map(|piece| count.count(piece)).collect();
            prop_assert_eq!(counts.last().copied().unwrap_or(0), texts.len());
        }

        #[test]
        fn elements_of_tensors_are_counted_however_the_message_is_cut(
            tensors in prop::collection::vec(prop::collection::vec(".{0,9}", 0..20), 0..5),
            size in 1_usize..64,
        ) {
            let inputs = tensors.iter().map(|elements| InferInputTensor {
                name: "text".into(),
                shape: vec![1 << 40],
                contents: Some(InferTensorContents {
                    bytes_contents: elements.iter().cloned().map(Into::into).collect(),
                    ..InferTensorContents::default()
                }),
                ..InferInputTensor::default()
            });
            let request = ModelInferRequest {
                model_name: "social".into(),
                inputs: inputs.collect(),
                raw_input_contents: vec![tensors.len().to_string().into()],
                ..ModelInferRequest::default()
            };
            let bytes = request.encode_to_vec();
            let mut count = FieldCount::new(&[5, 5, 8]);
            let counts: Vec<_> = bytes.chunks(size).map(|piece| count.count(piece)).collect();
            let elements = tensors.iter().map(Vec::len).sum::<usize>();
            prop_assert_eq!(counts.last().copied().unwrap_or(0), elements);
            prop_assert!(count.ends.is_empty() && matches!(count.state, State::Tag(_)));
        }

        #[test]
        fn anything_is_followed_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            for path in [&[1][..], &[1, 2], &[5, 5, 8]] {
                let mut count = FieldCount::new(path);
                prop_assert!(count.count(&bytes) <= bytes.len());
            }

        }
    }
}
