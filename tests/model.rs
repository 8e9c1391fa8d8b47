//! The models of `model/`: which engine runs them, what they say, and that they say so
//! whoever is in the batch.

#![cfg(feature = "embedded")]

use std::path::Path;

use pounce_inference::engine::{Engine, Kernel, Precision, TokenBatch};
use pounce_inference::model::{EngineKind, Model, ModelError, ModelSpec};
use pounce_types::score::{Probabilities, Sentiment};
use serde::Deserialize;

/// A made-up post and what PyTorch says of it with the weights in fp32.
#[derive(Deserialize)]
struct Golden {
    text: String,
    negative: f32,
    neutral: f32,
    positive: f32,
    /// Of models that have an output for it.
    discontent: Option<f32>,
}

impl Golden {
    fn probabilities(&self) -> Probabilities {
        let sentiment = Probabilities::of_sentiment(self.negative, self.neutral, self.positive);
        Probabilities { discontent: self.discontent.unwrap_or(self.negative), ..sentiment }
    }
}

const FOLDERS: [&str; 2] = ["model", "model/small"];

fn golden(model: &Model) -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden_scores");
    let file = folder.join(format!("{}.jsonl", model.name));
    let lines = std::fs::read_to_string(file).expect("golden scores of the model's name");
    lines.lines().map(|line| serde_json::from_str(line).expect("a golden score")).collect()
}

fn models() -> impl Iterator<Item = Model> {
    FOLDERS.into_iter().map(|folder| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        Model::open(&folder, &ModelSpec::default()).expect("a model")
    })
}

fn tokens(model: &Model, text: &str) -> Vec<i32> {
    model.tokenizer.encode(&model.normalisation.apply(text)).expect("a text").ids
}

fn scores(model: &Model, engine: &mut dyn Engine, rows: &[&[i32]]) -> Vec<Probabilities> {
    let batch = TokenBatch::new(rows.iter().copied(), model.padding_id);
    let logits = engine.logits(&batch).expect("logits");
    let rows = logits.chunks(model.labels.outputs());
    rows.map(|row| model.labels.probabilities(row).expect("finite")).collect()
}

#[test]
fn a_score_does_not_depend_on_batch_mates() {
    models().for_each(|model| check_batch_mates(&model));
}

fn check_batch_mates(model: &Model) {
    let mut engine = model.engine.build().expect("an engine");
    let texts: Vec<Vec<i32>> =
        golden(model).iter().take(200).map(|post| tokens(model, &post.text)).collect();
    assert_eq!(texts.len(), 200);
    let alone: Vec<Probabilities> =
        texts.iter().map(|ids| scores(model, engine.as_mut(), &[ids])[0]).collect();
    // A step that shares no factor with 200 mixes short and long posts.
    let order: Vec<usize> = (0..200).map(|n| n * 37 % 200).collect();
    for batch in order.chunks(16) {
        let rows: Vec<&[i32]> = batch.iter().map(|n| texts[*n].as_slice()).collect();
        for (n, among) in batch.iter().zip(scores(model, engine.as_mut(), &rows)) {
            let alone = alone[*n];
            for (a, b) in [
                (alone.negative, among.negative),
                (alone.neutral, among.neutral),
                (alone.positive, among.positive),
                (alone.discontent, among.discontent),
            ] {
                assert!((a - b).abs() < 1e-4, "post {n}: {alone:?} alone, {among:?} among others");
            }
        }
    }
}

#[test]
fn int8_says_what_fp32_says() {
    models().for_each(|model| check_int8(&model));
}

fn check_int8(model: &Model) {
    let mut engine = model.engine.build().expect("an engine");
    let posts = golden(model);
    let (mut same, mut near) = (0, 0);
    for post in &posts {
        let ids = tokens(model, &post.text);
        let got = scores(model, engine.as_mut(), &[&ids])[0];
        let wanted = post.probabilities();
        same += usize::from(model.labels.sentiment(&got) == model.labels.sentiment(&wanted));
        let apart = [got.negative - wanted.negative, got.discontent - wanted.discontent];
        near += usize::from(apart.iter().all(|by| by.abs() < 0.1));
    }
    // Of probabilities between the classes a few move further.
    assert!(near * 200 >= posts.len() * 199, "{near} of {} are within 0.1", posts.len());
    assert!(same * 100 >= posts.len() * 99, "{same} of {} labels agree", posts.len());
}

#[test]
fn the_rare_class_weighs_more_when_a_label_is_chosen() {
    for labels in models().map(|model| model.labels) {
        let of = |class| labels.weights().of(class);
        assert!(of(Sentiment::Negative) > of(Sentiment::Neutral));
        assert!(of(Sentiment::Negative) > of(Sentiment::Positive));
        let torn = Probabilities::of_sentiment(0.42, 0.5, 0.08);
        assert_eq!(labels.sentiment(&torn), Sentiment::Negative);
    }
}

#[test]
fn complaints_without_a_sentiment_word_are_heard() {
    models().for_each(|model| check_complaints(&model));
}

fn check_complaints(model: &Model) {
    let mut engine = model.engine.build().expect("an engine");
    let mut sentiment = |text: &str| {
        let ids = tokens(model, text);
        model.labels.sentiment(&scores(model, engine.as_mut(), &[&ids])[0])
    };
    assert_eq!(sentiment("been on hold 47 minutes"), Sentiment::Negative);
    assert_eq!(sentiment("half the items are missing again"), Sentiment::Negative);
    assert_eq!(sentiment("love the new app, works like a charm"), Sentiment::Positive);
    assert_eq!(sentiment("what time do you open on sundays?"), Sentiment::Neutral);
}

#[test]
fn the_bert_engine_runs_them_and_the_model_says_why() {
    for model in models() {
        assert_eq!(model.engine.name(), "bert", "{}", model.engine_reason);
        assert_eq!(model.engine.kernel(), Some(Kernel::best().name()));
        assert!(!model.engine.pads());
        assert!(model.engine_reason.contains("BERT family"), "{}", model.engine_reason);
    }
}

fn open(folder: &str, spec: &ModelSpec) -> Result<Model, ModelError> {
    Model::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), spec)
}

fn apart(a: &Probabilities, b: &Probabilities) -> f32 {
    let apart = [a.negative - b.negative, a.neutral - b.neutral, a.positive - b.positive];
    apart.into_iter().map(f32::abs).fold(0.0, f32::max)
}

#[test]
fn the_bert_and_the_embedded_engine_agree() {
    for folder in FOLDERS {
        let of = |engine| {
            let spec = ModelSpec { engine: Some(engine), ..ModelSpec::default() };
            let model = open(folder, &spec).expect("a model");
            let mut engine = model.engine.build().expect("an engine");
            let posts = golden(&model);
            let score =
                |post: &Golden| scores(&model, engine.as_mut(), &[&tokens(&model, &post.text)])[0];
            let scores: Vec<Probabilities> = posts.iter().map(score).collect();
            let labels: Vec<Sentiment> = scores.iter().map(|s| model.labels.sentiment(s)).collect();
            (scores, labels)
        };
        let (bert, bert_labels) = of(EngineKind::Bert);
        let (embedded, embedded_labels) = of(EngineKind::Embedded);
        let same = bert_labels.iter().zip(&embedded_labels).filter(|(a, b)| a == b).count();
        assert!(same * 200 >= bert.len() * 199, "{folder}: {same} of {} agree", bert.len());
        for (a, b) in bert.iter().zip(&embedded) {
            assert!(apart(a, b) < 0.05, "{folder}: {a:?} and {b:?}");
        }
    }
}

#[test]
fn every_kernel_gives_the_same_scores() {
    let of = |kernel: Kernel| -> Vec<Probabilities> {
        let kernel = Some(kernel.name().to_owned());
        let model = open("model", &ModelSpec { kernel, ..ModelSpec::default() }).expect("a model");
        let mut engine = model.engine.build().expect("an engine");
        let posts = golden(&model);
        let score =
            |post: &Golden| scores(&model, engine.as_mut(), &[&tokens(&model, &post.text)])[0];
        posts.iter().take(20).map(score).collect()
    };
    let fastest = of(Kernel::best());
    for kernel in Kernel::available() {
        assert_eq!(of(kernel), fastest, "{kernel}");
    }
}

#[test]
fn settings_of_another_engine_are_refused() {
    let bert = ModelSpec { engine: Some(EngineKind::Bert), ..ModelSpec::default() };
    let precise = ModelSpec { precision: Some(Precision::Fp32), ..bert.clone() };
    assert!(matches!(open("model", &precise).err(), Some(ModelError::TorchOnly(..))));
    let unknown = ModelSpec { kernel: Some("mmx".to_owned()), ..bert };
    assert!(matches!(open("model", &unknown).err(), Some(ModelError::Kernel(_))));
    let embedded = ModelSpec {
        engine: Some(EngineKind::Embedded),
        kernel: Some("portable".to_owned()),
        ..ModelSpec::default()
    };
    assert!(matches!(open("model", &embedded).err(), Some(ModelError::BertOnly(..))));
}

#[test]
fn a_model_of_another_architecture_is_not_for_the_bert_engine() {
    let labels = Some(["negative", "neutral", "positive"].map(str::to_owned).to_vec());
    let spec = ModelSpec { engine: Some(EngineKind::Bert), labels, ..ModelSpec::default() };
    let error = open("tests/data/torch/albert", &spec).err().expect("refused").to_string();
    assert!(error.contains("model_type is `albert`"), "{error}");
}
