//! The default model in its two forms: the embedded engine's scores of model.onnx
//! against libtorch's of model.safetensors.

use std::path::Path;

use pounce_inference::engine::{Precision, TokenBatch};
use pounce_inference::model::{EngineKind, Model, ModelSpec};
use pounce_types::score::Probabilities;

/// Largest difference of a probability that 8-bit weights and activations may make.
const TOLERANCE: f32 = 0.1;

const POSTS: [&str; 16] = [
    "Three weeks without my parcel and nobody answers the phone. Never again!",
    "the new update broke everything, I want my money back",
    "Waited an hour, the food was cold and the waiter was rude",
    "@shop your app has eaten my order twice today, fix it",
    "Worst support I have ever had the misfortune to deal with 😡",
    "Thank you so much, it arrived a day early and works like a charm!",
    "Best coffee in town, I love this place ❤️",
    "Shout-out to the staff at the airport pipeline, you saved our holiday",
    "So happy with my new headset, the sound is amazing",
    "Great job on the redesign, it is so much faster now",
    "The shop opens at nine on Saturday",
    "Is the parking lot at the station free on Sundays?",
    "Flight 212 leaves from gate B4 http://example.com/gates",
    "They have moved the office from the second to the third floor",
    "Will there be a livestream of the keynote tomorrow?",
    "ok",
];

fn scores(engine: EngineKind, precision: Option<Precision>) -> Vec<Probabilities> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("model");
    let spec = ModelSpec { engine: Some(engine), precision, ..ModelSpec::default() };
    let model = Model::open(&folder, &spec).unwrap_or_else(|e| panic!("{e}"));
    let mut engine = model.engine.build().expect("an engine");
    let score = |text: &&str| {
        let tokens = model.tokenizer.encode(&model.normalisation.apply(text)).expect("tokens");
        let batch = TokenBatch::new([&tokens.ids[..]], model.padding_id);
        let logits = engine.logits(&batch).expect("logits");
        model.labels.probabilities(&logits).expect("finite")
    };
    POSTS.iter().map(score).collect()
}

fn check(a: &[Probabilities], b: &[Probabilities], tolerance: f32) {
    for ((a, b), text) in a.iter().zip(b).zip(POSTS) {
        let apart = [
            a.negative - b.negative,
            a.neutral - b.neutral,
            a.positive - b.positive,
            a.discontent - b.discontent,
        ];
        let apart = apart.into_iter().map(f32::abs).fold(0.0, f32::max);
        assert!(apart <= tolerance, "{apart} between {a:?} and {b:?} of {text:?}");
    }
}

#[test]
fn both_engines_score_the_default_model_alike() {
    let reference = scores(EngineKind::Torch, Some(Precision::Fp32));
    check(&reference, &scores(EngineKind::Embedded, None), TOLERANCE);
}

#[test]
fn bf16_scores_the_default_model_like_fp32() {
    let reference = scores(EngineKind::Torch, Some(Precision::Fp32));
    check(&reference, &scores(EngineKind::Torch, Some(Precision::Bf16)), TOLERANCE / 2.0);
}
