//! Random models of random shapes against the paper's equations in plain loops.
//!
//! The reference computes in 64-bit floats, and rounds weights and activations to 8 bits by the same
//! rule. Rounding a number that lies between two steps may go either way; the bound allows for that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pounce_bert::{Forward, Weights};
use pounce_kernels::Kernel;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

#[derive(Debug, Clone)]
struct Shape {
    heads: usize,
    head: usize,
    intermediate: usize,
    layers: usize,
    outputs: usize,
    activation: &'static str,
    posts: Vec<usize>,
    seed: u64,
}

const VOCABULARY: usize = 40;
const POSITIONS: usize = 80;

impl Shape {
    fn hidden(&self) -> usize {
        4 * self.heads * self.head
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let activation = prop_oneof![Just("gelu"), Just("gelu_new"), Just("relu")];
    let posts = prop::collection::vec(1..POSITIONS, 1..6);
    // Three in four heads are of no whole number of lanes.
    (1_usize..4, 1_usize..12, 1_usize..20, 1_usize..3, 1_usize..6, activation, posts, any::<u64>())
        .prop_map(|(heads, head, intermediate, layers, outputs, activation, posts, seed)| Shape {
            heads,
            head,
            intermediate: 4 * intermediate,
            layers,
            outputs,
            activation,
            posts,
            seed,
        })
}

/// A model's tensors by name: numbers, and columns of a matrix.
type Tensors = BTreeMap<String, (Vec<f32>, Vec<usize>)>;

fn tensors(shape: &Shape) -> Tensors {
    let mut random = StdRng::seed_from_u64(shape.seed);
    let mut all = Tensors::new();
    let mut add = |name: &str, size: &[usize], around: f32, spread: f32| {
        let numbers = (0..size.iter().product())
            .map(|_| around + random.random_range(-spread..spread))
            .collect();
        all.insert(name.to_owned(), (numbers, size.to_vec()));
    };
    let (hidden, inner) = (shape.hidden(), shape.intermediate);
    for (name, rows) in [("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)] {
        add(&format!("bert.embeddings.{name}_embeddings.weight"), &[rows, hidden], 0.0, 1.0);
    }
    let mut norms = vec!["bert.embeddings.LayerNorm".to_owned()];
    let mut linears = vec![("bert.pooler.dense".to_owned(), hidden, hidden)];
    linears.push(("classifier".to_owned(), shape.outputs, hidden));
    for layer in 0..shape.layers {
        let at = |name: &str| format!("bert.encoder.layer.{layer}.{name}");
        for name in ["query", "key", "value"] {
            linears.push((at(&format!("attention.self.{name}")), hidden, hidden));
        }
        linears.push((at("attention.output.dense"), hidden, hidden));
        linears.push((at("intermediate.dense"), inner, hidden));
        linears.push((at("output.dense"), hidden, inner));
        norms.extend([at("attention.output.LayerNorm"), at("output.LayerNorm")]);
    }
    for (name, outputs, inputs) in linears {
        let spread = (inputs as f32).sqrt().recip();
        add(&format!("{name}.weight"), &[outputs, inputs], 0.0, spread);
        add(&format!("{name}.bias"), &[outputs], 0.0, 0.1);
    }
    for name in norms {
        add(&format!("{name}.weight"), &[hidden], 1.0, 0.2);
        add(&format!("{name}.bias"), &[hidden], 0.0, 0.2);
    }
    all
}

fn write(shape: &Shape, tensors: &Tensors, folder: &Path) {
    let config = serde_json::json!({
        "model_type": "bert",
        "hidden_size": shape.hidden(),
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate,
        "hidden_act": shape.activation,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("written");
    let bytes: Vec<(&String, Vec<u8>, Vec<usize>)> = tensors
        .iter()
        .map(|(name, (numbers, size))| {
            (name, numbers.iter().flat_map(|number| number.to_le_bytes()).collect(), size.clone())
        })
        .collect();
    let views = bytes.iter().map(|(name, bytes, size)| {
        (*name, TensorView::new(Dtype::F32, size.clone(), bytes).expect("a tensor"))
    });
    let file = folder.join("model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("written");
}

/// The equations, one post at a time, every token in every layer.
struct Reference<'a> {
    shape: &'a Shape,
    tensors: &'a Tensors,
}

type Rows = Vec<Vec<f64>>;

impl Reference<'_> {
    fn numbers(&self, name: &str) -> &[f32] {
        &self.tensors[name].0
    }

    fn logits(&self, ids: &[i32]) -> Vec<f64> {
        let mut x: Rows = ids
            .iter()
            .enumerate()
            .map(|(at, &id)| {
                let row = |name: &str, row: usize| {
                    let table = self.numbers(&format!("bert.embeddings.{name}_embeddings.weight"));
                    table[row * self.shape.hidden()..][..self.shape.hidden()].to_vec()
                };
                let word = row("word", usize::try_from(id).expect("an id"));
                let others = row("position", at).into_iter().zip(row("token_type", 0));
                word.into_iter()
                    .zip(others)
                    .map(|(a, (b, c))| f64::from(a) + f64::from(b) + f64::from(c))
                    .collect()
            })
            .collect();
        self.normalise("bert.embeddings.LayerNorm", &mut x);
        for layer in 0..self.shape.layers {
            let at = |name: &str| format!("bert.encoder.layer.{layer}.{name}");
            let attended = self.attend(
                &self.linear(&at("attention.self.query"), &x),
                &self.linear(&at("attention.self.key"), &x),
                &self.linear(&at("attention.self.value"), &x),
            );
            add(&mut x, &self.linear(&at("attention.output.dense"), &attended));
            self.normalise(&at("attention.output.LayerNorm"), &mut x);
            let mut inner = self.linear(&at("intermediate.dense"), &x);
            inner.iter_mut().flatten().for_each(|x| *x = self.activation(*x));
            add(&mut x, &self.linear(&at("output.dense"), &inner));
            self.normalise(&at("output.LayerNorm"), &mut x);
        }
        let mut pooled = self.linear("bert.pooler.dense", &x[..1]);
        pooled[0].iter_mut().for_each(|x| *x = x.tanh());
        self.linear("classifier", &pooled).remove(0)
    }

    /// x W + b, both factors rounded to 127 steps each way.
    fn linear(&self, name: &str, x: &[Vec<f64>]) -> Rows {
        let round = |row: &[f64]| -> (Vec<f64>, f64) {
            let scale = row.iter().fold(1e-9, |max: f64, x| max.max(x.abs())) / 127.0;
            (row.iter().map(|x| (x / scale).round_ties_even()).collect(), scale)
        };
        let inputs = x[0].len();
        let weights: Vec<(Vec<f64>, f64)> = self
            .numbers(&format!("{name}.weight"))
            .chunks(inputs)
            .map(|row| round(&row.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>()))
            .collect();
        let bias = self.numbers(&format!("{name}.bias"));
        let one = |row: &Vec<f64>| {
            let (x, x_scale) = round(row);
            let outputs = weights.iter().zip(bias).map(|((weights, scale), &bias)| {
                let sum: f64 = x.iter().zip(weights).map(|(x, weight)| x * weight).sum();
                sum * scale * x_scale + f64::from(bias)
            });
            outputs.collect()
        };
        x.iter().map(one).collect()
    }

    fn normalise(&self, name: &str, x: &mut Rows) {
        let (weight, bias) =
            (self.numbers(&format!("{name}.weight")), self.numbers(&format!("{name}.bias")));
        for row in x {
            let count = row.len() as f64;
            let mean = row.iter().sum::<f64>() / count;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            for ((x, &weight), &bias) in row.iter_mut().zip(weight).zip(bias) {
                *x = (*x - mean) / (variance + 1e-12).sqrt() * f64::from(weight) + f64::from(bias);
            }
        }
    }

    fn attend(&self, queries: &Rows, keys: &Rows, values: &Rows) -> Rows {
        let width = self.shape.hidden() / self.shape.heads;
        let mut out = vec![vec![0.0; self.shape.hidden()]; queries.len()];
        for head in 0..self.shape.heads {
            let columns = head * width..(head + 1) * width;
            for (query, out) in queries.iter().zip(&mut out) {
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let scores = keys.iter().map(|key| {
                    dot(&query[columns.clone()], &key[columns.clone()]) / (width as f64).sqrt()
                });
                let weights: Vec<f64> = scores.map(f64::exp).collect();
                let sum: f64 = weights.iter().sum();
                for (weight, value) in weights.iter().zip(values) {
                    for column in columns.clone() {
                        out[column] += weight / sum * value[column];
                    }
                }
            }
        }
        out
    }

    fn activation(&self, x: f64) -> f64 {
        let tanh = |x: f64| {
            0.5 * x
                * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        };
        match self.shape.activation {
            "relu" => x.max(0.0),
            // Of `gelu` the approximation is within 1e-3, far below a step of 8 bits.
            _ => tanh(x),
        }
    }
}

fn add(x: &mut Rows, y: &Rows) {
    x.iter_mut().flatten().zip(y.iter().flatten()).for_each(|(x, y)| *x += y);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_shape_says_what_the_equations_say(shape in shape()) {
        let tensors = tensors(&shape);
        let folder = tempfile::tempdir().expect("a folder");
        write(&shape, &tensors, folder.path());
        let mut random = StdRng::seed_from_u64(!shape.seed);
        let count = shape.posts.iter().sum();
        let vocabulary = i32::try_from(VOCABULARY).expect("small");
        let ids: Vec<i32> = (0..count).map(|_| random.random_range(0..vocabulary)).collect();

        let reference = Reference { shape: &shape, tensors: &tensors };
        let mut rest = ids.as_slice();
        let mut expected = Vec::new();
        for &length in &shape.posts {
            let (post, others) = rest.split_at(length);
            expected.extend(reference.logits(post));
            rest = others;
        }
        let mut first: Option<Vec<f32>> = None;
        for kernel in Kernel::available() {
            let weights = Arc::new(Weights::open(folder.path(), kernel).expect("weights"));
            let mut forward = Forward::new(weights);
            let logits = forward.run(&ids, &shape.posts).expect("logits").to_vec();
            for (a, b) in logits.iter().zip(&expected) {
                prop_assert!((f64::from(*a) - b).abs() < 0.05, "{} {} {}", kernel, a, b);
            }
            let first = first.get_or_insert_with(|| logits.clone());
            prop_assert_eq!(first, &logits, "{}", kernel);
            let mut rest = ids.as_slice();
            let mut alone = Vec::new();
            for &length in &shape.posts {
                let (post, others) = rest.split_at(length);
                alone.extend_from_slice(forward.run(post, &[length]).expect("logits"));
                rest = others;
            }
            prop_assert_eq!(&alone, &logits, "{} alone", kernel);
        }
    }
}
