//! Tiny random classifiers of every architecture against PyTorch's logits of them in 32-bit floats.
//!
//! `training/torch_fixtures.py` makes them. Vectors of 16 numbers in 8 bits are coarse: the rounding rule
//! alone, simulated in 64-bit floats, moves DistilBERT's logits by 0.028 on average and 0.121 at most.
//! The bound is wide here, and narrow against the same arithmetic in plain loops (`reference.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pounce_bert::{Forward, InputError, OpenError, Weights};
use pounce_kernels::Kernel;
use serde::Deserialize;

/// A made-up post's token ids, and PyTorch's logits.
#[derive(Deserialize)]
struct Golden {
    ids: Vec<i32>,
    logits: Vec<f32>,
}

fn folder(architecture: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torch").join(architecture)
}

fn golden(architecture: &str) -> Vec<Golden> {
    let file = folder(architecture).join("golden.jsonl");
    let lines = std::fs::read_to_string(file).expect("golden logits");
    lines.lines().map(|line| serde_json::from_str(line).expect("a golden row")).collect()
}

fn open(architecture: &str, kernel: Kernel) -> Forward {
    let weights = Weights::open(&folder(architecture), kernel);
    Forward::new(Arc::new(weights.unwrap_or_else(|error| panic!("{architecture}: {error}"))))
}

#[test]
fn every_architecture_of_the_family_says_what_pytorch_says() {
    for architecture in ["bert", "electra", "distilbert", "xlm-roberta"] {
        let mut forward = open(architecture, Kernel::best());
        let (mut sum, mut count, mut largest) = (0.0, 0.0, 0_f32);
        for post in golden(architecture) {
            let logits = forward.run(&post.ids, &[post.ids.len()]).expect("logits");
            assert_eq!(logits.len(), post.logits.len());
            for (a, b) in logits.iter().zip(&post.logits) {
                (sum, count) = (sum + (a - b).abs(), count + 1.0);
                largest = largest.max((a - b).abs());
            }
        }
        assert!(sum / count < 0.03, "{architecture}: {} on average", sum / count);
        assert!(largest < 0.13, "{architecture}: {largest}");
    }
}

#[test]
fn a_post_has_the_same_logits_in_any_company_on_every_kernel() {
    for architecture in ["bert", "electra", "distilbert", "xlm-roberta"] {
        let posts = golden(architecture);
        let alone: Vec<f32> = posts
            .iter()
            .flat_map(|post| {
                let mut forward = open(architecture, Kernel::best());
                forward.run(&post.ids, &[post.ids.len()]).expect("logits").to_vec()
            })
            .collect();
        for kernel in Kernel::available() {
            let mut forward = open(architecture, kernel);
            for at_once in [1, 2, 3, posts.len()] {
                let logits: Vec<f32> = posts
                    .chunks(at_once)
                    .flat_map(|posts| {
                        let ids: Vec<i32> =
                            posts.iter().flat_map(|post| post.ids.clone()).collect();
                        let lengths: Vec<usize> = posts.iter().map(|post| post.ids.len()).collect();
                        forward.run(&ids, &lengths).expect("logits").to_vec()
                    })
                    .collect();
                assert_eq!(
                    bits(&logits),
                    bits(&alone),
                    "{architecture}, {kernel}, {at_once} at once"
                );
            }
        }
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn posts_that_can_t_be_read_are_refused_and_the_next_ones_are_read() {
    let mut forward = open("bert", Kernel::best());
    let before = forward.run(&[2, 7, 3], &[3]).expect("logits").to_vec();
    assert_eq!(forward.run(&[], &[]), Ok(&[][..]));
    assert_eq!(forward.run(&[], &[0]), Err(InputError::Tokens { post: 0, tokens: 0, max: 64 }));
    let long = vec![2; 65];
    assert_eq!(forward.run(&long, &[65]), Err(InputError::Tokens { post: 0, tokens: 65, max: 64 }));
    assert_eq!(forward.run(&[2, 3], &[1]), Err(InputError::Lengths { ids: 2, lengths: 1 }));
    let unknown = InputError::Id { at: 1, id: 260, vocabulary: 260 };
    assert_eq!(forward.run(&[2, 260], &[2]), Err(unknown));
    let unknown = InputError::Id { at: 0, id: -1, vocabulary: 260 };
    assert_eq!(forward.run(&[-1, 3], &[2]), Err(unknown));
    assert_eq!(forward.run(&[2, 7, 3], &[3]), Ok(&before[..]));
    assert_eq!(forward.run(&[7; 64], &[64]).map(<[f32]>::len), Ok(5));
}

#[test]
fn models_of_other_architectures_are_for_another_engine() {
    for architecture in ["albert", "deberta", "deberta-v2", "mobilebert"] {
        let error = Weights::open(&folder(architecture), Kernel::best()).expect_err("not BERT");
        assert!(matches!(error, OpenError::Unsupported(_)), "{error}");
        assert!(error.to_string().contains(architecture), "{error}");
        assert!(!pounce_bert::supports(&folder(architecture)));
    }
    assert!(pounce_bert::supports(&folder("bert")));
}

/// Opens the BERT fixture with changed files.
fn altered(change: impl Fn(&mut serde_json::Value, &mut Vec<u8>)) -> Result<Weights, OpenError> {
    let from = folder("bert");
    let config = std::fs::read(from.join("config.json")).expect("a config");
    let mut config = serde_json::from_slice(&config).expect("JSON");
    let mut tensors = std::fs::read(from.join("model.safetensors")).expect("weights");
    change(&mut config, &mut tensors);
    let to = tempfile::tempdir().expect("a folder");
    std::fs::write(to.path().join("config.json"), config.to_string()).expect("written");
    std::fs::write(to.path().join("model.safetensors"), tensors).expect("written");
    Weights::open(to.path(), Kernel::best())
}

#[test]
fn what_is_not_computed_is_refused_with_the_setting() {
    for (setting, value, message) in [
        ("hidden_act", "swish".into(), "hidden_act is `swish`"),
        ("position_embedding_type", "relative_key".into(), "position_embedding_type"),
        ("is_decoder", true.into(), "is_decoder"),
        ("num_hidden_layers", 0.into(), "num_hidden_layers"),
        ("num_attention_heads", 3.into(), "3 attention heads"),
        ("num_attention_heads", 0.into(), "0 attention heads"),
        ("hidden_size", 18.into(), "hidden_size is 18"),
        ("intermediate_size", 0.into(), "intermediate_size is 0"),
        ("num_hidden_layers", 3.into(), "no tensor `bert.encoder.layer.2."),
    ] {
        let error = altered(|config, _| config[setting] = serde_json::Value::clone(&value));
        let error = error.expect_err("refused");
        assert!(matches!(error, OpenError::Unsupported(_)), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let cut = |_: &mut serde_json::Value, tensors: &mut Vec<u8>| tensors.truncate(30_000);
    let header = |_: &mut serde_json::Value, tensors: &mut Vec<u8>| tensors[12] = 0xff;
    let length = |_: &mut serde_json::Value, tensors: &mut Vec<u8>| tensors[..8].fill(0xff);
    let empty = |_: &mut serde_json::Value, tensors: &mut Vec<u8>| tensors.clear();
    let not_finite = |_: &mut serde_json::Value, tensors: &mut Vec<u8>| {
        let end = tensors.len();
        tensors[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    let shape = |config: &mut serde_json::Value, _: &mut Vec<u8>| config["hidden_size"] = 32.into();
    let changes: [&dyn Fn(&mut serde_json::Value, &mut Vec<u8>); 6] =
        [&cut, &header, &length, &empty, &not_finite, &shape];
    for change in changes {
        let error = altered(change).expect_err("damaged");
        assert!(matches!(error, OpenError::File { .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
    let none =
        Weights::open(Path::new("no such folder"), Kernel::best()).expect_err("nothing there");
    assert!(none.to_string().contains("config.json"), "{none}");
}
