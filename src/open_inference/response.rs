//! Events become the tensors of a response. Pure.

use bytes::{BufMut, Bytes, BytesMut};
use tonic::Status;

use super::fault::invalid;
use pounce_proto::inference::ModelInferResponse;
use pounce_proto::inference::model_infer_response::InferOutputTensor;
use pounce_proto::inference::model_metadata_response::TensorMetadata;
use pounce_proto::{ScoredEvent, Severity};

/// A tensor that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// P(negative), P(neutral), P(positive): `n x 3`, FP32.
    Probabilities,
    /// Name of the class: `n`, BYTES.
    Label,
    /// P(discontent): `n`, FP32.
    Discontent,
    /// `low`, `medium` or `high`, or empty without discontent: `n`, BYTES.
    Severity,
}

impl Output {
    pub(super) const ALL: [Self; 4] =
        [Self::Probabilities, Self::Label, Self::Discontent, Self::Severity];

    fn name(self) -> &'static str {
        match self {
            Self::Probabilities => "probabilities",
            Self::Label => "label",
            Self::Discontent => "discontent",
            Self::Severity => "severity",
        }
    }

    fn datatype(self) -> &'static str {
        match self {
            Self::Probabilities | Self::Discontent => "FP32",
            Self::Label | Self::Severity => "BYTES",
        }
    }

    fn shape(self, texts: i64) -> Vec<i64> {
        match self {
            Self::Probabilities => vec![texts, 3],
            _ => vec![texts],
        }
    }

    /// What a model's metadata tell of it.
    pub(super) fn metadata(self) -> TensorMetadata {
        TensorMetadata {
            name: self.name().to_owned(),
            datatype: self.datatype().to_owned(),
            shape: self.shape(-1),
        }
    }

    /// The outputs of these names; all if there are none.
    pub(super) fn wanted<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<Self>, Status> {
        let mut wanted = Vec::new();
        for name in names {
            let Some(output) = Self::ALL.into_iter().find(|output| output.name() == name) else {
                let known = Self::ALL.map(Self::name).join(", ");
                return Err(invalid("outputs", format!("outputs must be of {known}")));
            };
            if !wanted.contains(&output) {
                wanted.push(output);
            }
        }
        Ok(if wanted.is_empty() { Self::ALL.to_vec() } else { wanted })
    }

    /// Raw contents: elements one after the other.
    fn contents(self, events: &[ScoredEvent]) -> Bytes {
        let mut raw = BytesMut::new();
        for event in events {
            match self {
                Self::Probabilities => {
                    let of = event.probabilities.unwrap_or_default();
                    for probability in [of.negative, of.neutral, of.positive] {
                        put_fp32(&mut raw, probability);
                    }
                }
                Self::Label => put_text(&mut raw, event.sentiment().name()),
                Self::Discontent => put_fp32(&mut raw, event.discontent),
                Self::Severity => put_text(
                    &mut raw,
                    match event.severity() {
                        Severity::Unspecified => "",
                        severity => severity.name(),
                    },
                ),
            }
        }
        raw.freeze()
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the model computes in 32 bits")]
fn put_fp32(raw: &mut BytesMut, number: f64) {
    raw.put_f32_le(number as f32);
}

fn put_text(raw: &mut BytesMut, text: &str) {
    raw.put_u32_le(u32::try_from(text.len()).unwrap_or(u32::MAX));
    raw.put_slice(text.as_bytes());
}

/// The response with `wanted` of these events, to the request of this id.
pub(super) fn response(
    model: (&str, &str),
    id: String,
    wanted: &[Output],
    events: &[ScoredEvent],
) -> ModelInferResponse {
    let texts = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let tensor = |output: &Output| InferOutputTensor {
        name: output.name().to_owned(),
        datatype: output.datatype().to_owned(),
        shape: output.shape(texts),
        ..InferOutputTensor::default()
    };
    ModelInferResponse {
        model_name: model.0.to_owned(),
        model_version: model.1.to_owned(),
        id,
        outputs: wanted.iter().map(tensor).collect(),
        raw_output_contents: wanted.iter().map(|output| output.contents(events)).collect(),
        ..ModelInferResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_proto::{Probabilities, Sentiment};

    #[test]
    fn tensors_have_an_element_for_each_text() {
        let event = ScoredEvent {
            probabilities: Some(Probabilities { negative: 0.75, neutral: 0.25, positive: 0.0 }),
            sentiment: Sentiment::Negative.into(),
            discontent: 0.5,
            severity: Severity::High.into(),
            ..ScoredEvent::default()
        };
        let wanted = Output::wanted(std::iter::empty()).expect("all");
        let answer = response(("m", "r"), "7".to_owned(), &wanted, &[event.clone(), event]);
        let shapes: Vec<_> = answer.outputs.iter().map(|output| &output.shape[..]).collect();
        assert_eq!(shapes, [&[2, 3][..], &[2], &[2], &[2]]);
        let raw = &answer.raw_output_contents;
        assert_eq!(raw[0][..8], [0.75_f32.to_le_bytes(), 0.25_f32.to_le_bytes()].concat());
        assert_eq!(&raw[1][..12], b"\x08\0\0\0negative");
        assert_eq!((raw[2].len(), &raw[3][..8]), (8, &b"\x04\0\0\0high"[..]));
        assert_eq!(Output::wanted(["label", "label"].into_iter()).ok(), Some(vec![Output::Label]));
    }
}
