//! A request's tensors and parameters become posts and thresholds. Pure.

use std::collections::HashMap;
use std::str::FromStr;

use bytes::Bytes;
use tonic::Status;

use super::fault::invalid;
use super::response::Output;
use pounce_proto::inference::infer_parameter::ParameterChoice;
use pounce_proto::inference::model_infer_request::InferInputTensor;
use pounce_proto::inference::{InferParameter, ModelInferRequest};
use pounce_proto::{Post, Thresholds};

/// Name of the tensor of texts; the others are optional.
const TEXT: &str = "text";
/// All tensors that are read; each is of BYTES and has an element for each text.
pub(super) const INPUTS: [&str; 4] = [TEXT, "id", "topic", "place"];

/// A request that was read.
pub(super) struct Parsed {
    pub(super) posts: Vec<Post>,
    pub(super) thresholds: Option<Thresholds>,
    pub(super) wanted: Vec<Output>,
}

/// Reads a request of 1 to `posts_max` texts; texts without an id are numbered within `run`.
pub(super) fn parse(
    request: ModelInferRequest,
    posts_max: usize,
    run: &str,
) -> Result<Parsed, Status> {
    let thresholds = thresholds(&request.parameters)?;
    let wanted = Output::wanted(request.outputs.iter().map(|output| output.name.as_str()))?;
    let raw = request.raw_input_contents;
    if !raw.is_empty() && raw.len() != request.inputs.len() {
        let (raw, inputs) = (raw.len(), request.inputs.len());
        let reason = format!("raw_input_contents has {raw} tensors, but inputs has {inputs}");
        return Err(invalid("raw_input_contents", reason));
    }
    let mut raw = raw.into_iter();
    let mut tensors: HashMap<&'static str, Vec<Bytes>> = HashMap::new();
    for input in request.inputs {
        let Some(name) = INPUTS.into_iter().find(|name| *name == input.name) else {
            let reason = format!("inputs must be of {}", INPUTS.join(", "));
            return Err(invalid("inputs", reason));
        };
        let elements = elements(name, input, raw.next(), posts_max)?;
        if tensors.insert(name, elements).is_some() {
            return Err(invalid(name, format!("{name} is there twice")));
        }
    }
    let texts = tensors.remove(TEXT).ok_or_else(|| invalid(TEXT, "the input text is missing"))?;
    if texts.is_empty() {
        return Err(invalid(TEXT, "text has no elements"));
    }
    let mut posts: Vec<Post> = (1..)
        .zip(texts)
        .map(|(number, text): (usize, Bytes)| Post {
            id: format!("{run}-{number}").into(),
            text,
            ..Post::default()
        })
        .collect();
    for (name, elements) in tensors {
        if elements.len() != posts.len() {
            let (count, texts) = (elements.len(), posts.len());
            let reason = format!("{name} has {count} elements, but text has {texts}");
            return Err(invalid(name, reason));
        }
        for (post, element) in posts.iter_mut().zip(elements) {
            match name {
                "id" => post.id = element,
                "topic" => post.topic = element,
                _ => post.place = element,
            }
        }
    }
    Ok(Parsed { posts, thresholds, wanted })
}

/// The elements of one tensor.
fn elements(
    name: &'static str,
    input: InferInputTensor,
    raw: Option<Bytes>,
    max: usize,
) -> Result<Vec<Bytes>, Status> {
    if input.datatype != "BYTES" {
        return Err(invalid(name, format!("{name} must be of the datatype BYTES")));
    }
    let (&[count] | &[count, 1]) = &input.shape[..] else {
        return Err(invalid(name, format!("{name} must have the shape [n] or [n, 1]")));
    };
    let count = usize::try_from(count).ok().filter(|count| *count <= max);
    let Some(count) = count else {
        return Err(invalid(name, format!("{name} may have up to {max} elements")));
    };
    let elements = match raw {
        Some(raw) => unpack(raw, count),
        None => Some(input.contents.unwrap_or_default().bytes_contents),
    };
    let elements = elements.filter(|elements| elements.len() == count);
    elements.ok_or_else(|| {
        invalid(name, format!("the contents of {name} are not the {count} elements of its shape"))
    })
}

/// Splits raw contents: each element is behind its length, four bytes, little-endian.
fn unpack(mut raw: Bytes, count: usize) -> Option<Vec<Bytes>> {
    let mut elements = Vec::with_capacity(count);
    while !raw.is_empty() && elements.len() < count {
        let length = u32::from_le_bytes(raw.get(..4)?.try_into().ok()?);
        let length = usize::try_from(length).ok()?;
        let _ = raw.split_to(4);
        if raw.len() < length {
            return None;
        }
        elements.push(raw.split_to(length));
    }
    raw.is_empty().then_some(elements)
}

/// Thresholds among the parameters of a request.
pub(super) fn thresholds(
    parameters: &HashMap<String, InferParameter>,
) -> Result<Option<Thresholds>, Status> {
    let thresholds = Thresholds {
        discontent_low: number(parameters, "discontent_low")?,
        discontent_medium: number(parameters, "discontent_medium")?,
        discontent_high: number(parameters, "discontent_high")?,
        advocate: number(parameters, "advocate")?,
        influential_followers: number(parameters, "influential_followers")?,
    };
    Ok((thresholds != Thresholds::default()).then_some(thresholds))
}

/// The number of a parameter, which some clients can only send as a text.
fn number<T: FromStr>(
    parameters: &HashMap<String, InferParameter>,
    name: &'static str,
) -> Result<Option<T>, Status> {
    let Some(parameter) = parameters.get(name) else { return Ok(None) };
    let text = match &parameter.parameter_choice {
        Some(ParameterChoice::DoubleParam(number)) => number.to_string(),
        Some(ParameterChoice::Int64Param(number)) => number.to_string(),
        Some(ParameterChoice::Uint64Param(number)) => number.to_string(),
        Some(ParameterChoice::StringParam(text)) => text.clone(),
        Some(ParameterChoice::BoolParam(_)) | None => String::new(),
    };
    let number = text.parse().map_err(|_| invalid(name, format!("{name} must be a number")));
    number.map(Some)
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;
    use pounce_proto::inference::InferTensorContents;
    use pounce_proto::inference::model_infer_request::InferRequestedOutputTensor;

    fn tensor(name: &str, shape: &[i64]) -> InferInputTensor {
        let (name, shape) = (name.to_owned(), shape.to_vec());
        InferInputTensor { name, datatype: "BYTES".to_owned(), shape, ..Default::default() }
    }

    fn raw(elements: &[&str]) -> Bytes {
        let pack = |element: &&str| {
            let length = u32::try_from(element.len()).expect("short");
            [&length.to_le_bytes(), element.as_bytes()].concat()
        };
        elements.iter().flat_map(pack).collect::<Vec<u8>>().into()
    }

    fn read(request: ModelInferRequest) -> Result<Parsed, (String, String)> {
        parse(request, 3, "run").map_err(|status| {
            let details = status.get_error_details();
            let violation = details.bad_request().and_then(|bad| bad.field_violations.first());
            let field = violation.map(|violation| violation.field.clone()).unwrap_or_default();
            (field, status.message().to_owned())
        })
    }

    #[test]
    fn texts_come_raw_or_typed_with_ids_or_without() {
        let request = ModelInferRequest {
            inputs: vec![tensor("text", &[2]), tensor("topic", &[2, 1])],
            raw_input_contents: vec![raw(&["late", ""]), raw(&["acme", "acme"])],
            ..Default::default()
        };
        let posts = read(request).expect("good").posts;
        assert_eq!((&posts[0].id[..], &posts[0].text[..]), (&b"run-1"[..], &b"late"[..]));
        assert_eq!((&posts[1].id[..], &posts[1].topic[..]), (&b"run-2"[..], &b"acme"[..]));

        let typed = |texts: &[&'static str]| {
            let bytes_contents = texts.iter().map(|text| Bytes::from_static(text.as_bytes()));
            let bytes_contents = bytes_contents.collect();
            Some(InferTensorContents { bytes_contents, ..Default::default() })
        };
        let request = ModelInferRequest {
            inputs: vec![
                InferInputTensor { contents: typed(&["a"]), ..tensor("id", &[1]) },
                InferInputTensor { contents: typed(&["late"]), ..tensor("text", &[1]) },
            ],
            ..Default::default()
        };
        let posts = read(request).expect("good").posts;
        assert_eq!((&posts[0].id[..], &posts[0].text[..]), (&b"a"[..], &b"late"[..]));
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told_by_its_field() {
        let with = |inputs: Vec<InferInputTensor>, raw_input_contents: Vec<Bytes>| {
            ModelInferRequest { inputs, raw_input_contents, ..Default::default() }
        };
        let fp32 = InferInputTensor { datatype: "FP32".to_owned(), ..tensor("text", &[1]) };
        let one = raw(&["late"]);
        for (request, field, says) in [
            (with(vec![], vec![]), "text", "missing"),
            (with(vec![tensor("image", &[1])], vec![one.clone()]), "inputs", "must be of text"),
            (with(vec![fp32], vec![one.clone()]), "text", "BYTES"),
            (with(vec![tensor("text", &[1, 2])], vec![one.clone()]), "text", "shape"),
            (with(vec![tensor("text", &[4])], vec![one.clone()]), "text", "up to 3"),
            (with(vec![tensor("text", &[-1])], vec![one.clone()]), "text", "up to 3"),
            (with(vec![tensor("text", &[0])], vec![Bytes::new()]), "text", "no elements"),
            (with(vec![tensor("text", &[2])], vec![one.clone()]), "text", "not the 2 elements"),
            (with(vec![tensor("text", &[1])], vec![one.slice(..6)]), "text", "not the 1 elements"),
            (with(vec![tensor("text", &[1])], vec![]), "text", "not the 1 elements"),
            (
                with(vec![tensor("text", &[1])], vec![one.clone(), one.clone()]),
                "raw_input_contents",
                "2 tensors",
            ),
            (
                with(
                    vec![tensor("text", &[1]), tensor("text", &[1])],
                    vec![one.clone(), one.clone()],
                ),
                "text",
                "twice",
            ),
            (
                with(
                    vec![tensor("text", &[1]), tensor("id", &[2])],
                    vec![one.clone(), raw(&["a", "b"])],
                ),
                "id",
                "2 elements",
            ),
        ] {
            let Err((at, reason)) = read(request) else { panic!("{says}") };
            assert_eq!(at, field, "{reason}");
            assert!(reason.contains(says), "{reason}");
        }
        let output = InferRequestedOutputTensor { name: "logits".to_owned(), ..Default::default() };
        let request = ModelInferRequest { outputs: vec![output], ..Default::default() };
        assert_eq!(read(request).err().map(|(field, _)| field).as_deref(), Some("outputs"));
    }

    #[test]
    fn thresholds_are_parameters_of_any_kind_of_number() {
        let parameter = |choice| InferParameter { parameter_choice: Some(choice) };
        let mut parameters = HashMap::from([
            ("discontent_low".to_owned(), parameter(ParameterChoice::DoubleParam(0.25))),
            ("advocate".to_owned(), parameter(ParameterChoice::StringParam("0.5".to_owned()))),
            ("influential_followers".to_owned(), parameter(ParameterChoice::Int64Param(7))),
            ("sequence_id".to_owned(), parameter(ParameterChoice::Int64Param(1))),
        ]);
        let read = thresholds(&parameters).expect("good").expect("some");
        assert_eq!((read.discontent_low, read.advocate), (Some(0.25), Some(0.5)));
        assert_eq!((read.influential_followers, read.discontent_high), (Some(7), None));
        parameters.insert("advocate".to_owned(), parameter(ParameterChoice::BoolParam(true)));
        assert!(thresholds(&parameters).is_err());
    }
}
