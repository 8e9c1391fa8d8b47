//! DeBERTa v1, v2 and v3: disentangled attention (He et al., 2021, arXiv:2006.03654).
//!
//! Written on tch alone. rust-bert 0.23 bounds v1's relative distances by the number
//! of heads instead of by the length, and in v2 leaves out the offset of the distances
//! and the root in the scale: on the test's models its logits are up to 0.15 (v1) and
//! 2.5 (v2) from PyTorch's, against 2e-6 here.

use std::cell::OnceCell;

use serde::Deserialize;
use serde_json::Value;
use tch::nn::{self, ConvConfig, LayerNormConfig, LinearConfig};
use tch::{Kind, Tensor};

/// config.json, as far as it concerns the forward pass.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    vocab_size: i64,
    max_position_embeddings: i64,
    id2label: serde_json::Map<String, Value>,
    #[serde(default)]
    type_vocab_size: i64,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "yes")]
    position_biased_input: bool,
    #[serde(default)]
    embedding_size: Option<i64>,
    #[serde(default)]
    relative_attention: bool,
    #[serde(default = "unset")]
    max_relative_positions: i64,
    #[serde(default = "unset")]
    position_buckets: i64,
    /// `c2p|p2c` or a list of the two.
    #[serde(default)]
    pos_att_type: Value,
    #[serde(default)]
    share_att_key: bool,
    #[serde(default)]
    norm_rel_ebd: String,
    #[serde(default)]
    conv_kernel_size: i64,
    #[serde(default = "one")]
    conv_groups: i64,
    #[serde(default = "tanh")]
    conv_act: String,
    #[serde(default)]
    talking_head: bool,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "gelu")]
    pooler_hidden_act: String,
}

fn epsilon() -> f64 {
    1e-7
}

fn yes() -> bool {
    true
}

fn unset() -> i64 {
    -1
}

fn one() -> i64 {
    1
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn tanh() -> String {
    "tanh".to_owned()
}

impl Config {
    /// What is known to be needed and not there.
    pub(super) fn check(&self) -> Result<(), String> {
        for name in [&self.hidden_act, &self.conv_act, &self.pooler_hidden_act] {
            if activation(name).is_none() {
                return Err(format!(
                    "activation `{name}` is not known; known are gelu, relu, tanh"
                ));
            }
        }
        if self.talking_head {
            return Err("talking_head is not known".to_owned());
        }
        if self.relative_attention && self.span() < 1 {
            return Err("max_relative_positions must be above 0".to_owned());
        }
        Ok(())
    }

    fn attends(&self, kind: &str) -> bool {
        match &self.pos_att_type {
            Value::String(kinds) => kinds.to_lowercase().split('|').any(|other| other == kind),
            Value::Array(kinds) => kinds.iter().any(|other| other == kind),
            _ => false,
        }
    }

    fn max_distance(&self) -> i64 {
        let distance = self.max_relative_positions;
        if distance < 1 { self.max_position_embeddings } else { distance }
    }

    /// Rows of the table of distances to each side of 0.
    fn span(&self) -> i64 {
        if self.position_buckets > 0 { self.position_buckets } else { self.max_distance() }
    }

    fn norm(&self, path: nn::Path<'_>) -> nn::LayerNorm {
        let config = LayerNormConfig { eps: self.layer_norm_eps, ..LayerNormConfig::default() };
        nn::layer_norm(path, vec![self.hidden_size], config)
    }

    fn square(&self, path: nn::Path<'_>, bias: bool) -> nn::Linear {
        let config = LinearConfig { bias, ..LinearConfig::default() };
        nn::linear(path, self.hidden_size, self.hidden_size, config)
    }
}

type Activation = fn(&Tensor) -> Tensor;

fn activation(name: &str) -> Option<Activation> {
    match name {
        "gelu" => Some(|states| states.gelu("none")),
        "relu" => Some(Tensor::relu),
        "tanh" => Some(Tensor::tanh),
        _ => None,
    }
}

/// Which names the weights have, and a few steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    /// And 3, which differs in its weights alone.
    Two,
}

pub(super) struct Deberta {
    words: nn::Embedding,
    positions: Option<nn::Embedding>,
    types: Option<nn::Embedding>,
    projection: Option<nn::Linear>,
    norm: nn::LayerNorm,
    distances: Option<Distances>,
    layers: Vec<Layer>,
    convolution: Option<Convolution>,
    pooler: nn::Linear,
    pool: Activation,
    classifier: nn::Linear,
}

impl Deberta {
    /// Lays out the variables; [`Config::check`] has been passed.
    pub(super) fn new(root: &nn::Path<'_>, config: &Config, version: Version) -> Self {
        let width = config.hidden_size;
        let path = root / "deberta";
        let embeddings = &path / "embeddings";
        let embedded = config.embedding_size.unwrap_or(width);
        let table =
            |name, rows| nn::embedding(&embeddings / name, rows, embedded, Default::default());
        let no_bias = LinearConfig { bias: false, ..LinearConfig::default() };
        let encoder = path / "encoder";
        let layers = &encoder / "layer";
        let activated = |name: &str| activation(name).unwrap_or(Tensor::shallow_clone);
        let outputs = i64::try_from(config.id2label.len());
        let outputs = outputs.expect("a count of labels fits into 63 bits");
        Self {
            words: table("word_embeddings", config.vocab_size),
            positions: config
                .position_biased_input
                .then(|| table("position_embeddings", config.max_position_embeddings)),
            types: (config.type_vocab_size > 0)
                .then(|| table("token_type_embeddings", config.type_vocab_size)),
            projection: (embedded != width)
                .then(|| nn::linear(&embeddings / "embed_proj", embedded, width, no_bias)),
            norm: config.norm(&embeddings / "LayerNorm"),
            distances: config.relative_attention.then(|| Distances::new(&encoder, config, version)),
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(&(&layers / index), config, version))
                .collect(),
            convolution: (config.conv_kernel_size > 0 && version == Version::Two)
                .then(|| Convolution::new(&(&encoder / "conv"), config)),
            pooler: config.square(root / "pooler" / "dense", true),
            pool: activated(&config.pooler_hidden_act),
            classifier: nn::linear(root / "classifier", width, outputs, LinearConfig::default()),
        }
    }

    /// Logits (`rows x outputs`) of `rows x width` ids (Int64) and their mask (Bool, true = token).
    pub(super) fn forward(&self, ids: &Tensor, mask: &Tensor) -> Tensor {
        let embedded = self.embed(ids, mask);
        let padding = mask.logical_not();
        let keys = padding.unsqueeze(1).unsqueeze(1);
        let distances = self.distances.as_ref().map(|distances| distances.within(&embedded));
        let mut states = embedded.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            states = layer.forward(&states, &keys, distances.as_ref());
            if let (0, Some(convolution)) = (index, &self.convolution) {
                states = convolution.forward(&embedded, &states, &padding.unsqueeze(-1));
            }
        }
        (self.pool)(&states.select(1, 0).apply(&self.pooler)).apply(&self.classifier)
    }

    fn embed(&self, ids: &Tensor, mask: &Tensor) -> Tensor {
        let mut sum = ids.apply(&self.words);
        if let Some(positions) = &self.positions {
            sum += positions.ws.narrow(0, 0, ids.size()[1]);
        }
        if let Some(types) = &self.types {
            sum += types.ws.narrow(0, 0, 1);
        }
        if let Some(projection) = &self.projection {
            sum = sum.apply(projection);
        }
        let states = sum.apply(&self.norm);
        &states * mask.unsqueeze(-1).to_kind(states.kind())
    }
}

/// The table of relative distances, and where a pair of positions looks into it.
struct Distances {
    table: nn::Embedding,
    norm: Option<nn::LayerNorm>,
    span: i64,
    buckets: i64,
    max: i64,
}

/// The rows of the table that a batch needs, and each pair's row among them.
struct Pairs {
    /// First row of the table that is needed, and their number.
    rows: (i64, i64),
    /// `1 x 1 x width x width`: of query q and key k, the row of the distance q - k.
    forward: Tensor,
    /// Of key k and query q, the row of the distance k - q, as seen from the key.
    backward: Tensor,
    /// All of the table, normalised.
    table: Tensor,
}

impl Distances {
    fn new(encoder: &nn::Path<'_>, config: &Config, version: Version) -> Self {
        let span = config.span();
        let rows = 2 * span;
        let buckets = if version == Version::Two { config.position_buckets } else { 0 };
        let normed = version == Version::Two && config.norm_rel_ebd.contains("layer_norm");
        Self {
            table: nn::embedding(
                encoder / "rel_embeddings",
                rows,
                config.hidden_size,
                Default::default(),
            ),
            norm: normed.then(|| config.norm(encoder / "LayerNorm")),
            span,
            buckets,
            max: config.max_distance(),
        }
    }

    fn within(&self, states: &Tensor) -> Pairs {
        let width = states.size()[1];
        // A distance is never further from 0 than its number of tokens.
        let reach = width.min(self.span);
        let places = Tensor::arange(width, (Kind::Int64, states.device()));
        let distance = self.bucket(&(places.unsqueeze(-1) - places.unsqueeze(0)));
        let row =
            |distance: Tensor| (distance + reach).clamp(0, 2 * reach - 1).unsqueeze(0).unsqueeze(0);
        let table = match &self.norm {
            Some(norm) => self.table.ws.apply(norm),
            None => self.table.ws.shallow_clone(),
        };
        Pairs {
            rows: (self.span - reach, 2 * reach),
            forward: row(distance.shallow_clone()),
            backward: row(-distance),
            table,
        }
    }

    /// Distances up to half the buckets as they are, longer ones on a logarithmic scale.
    fn bucket(&self, distance: &Tensor) -> Tensor {
        if self.buckets <= 0 {
            return distance.shallow_clone();
        }
        let middle = self.buckets / 2;
        let size = distance.abs();
        // In fp32 as in PyTorch, so that a bucket's edge is the same.
        let edge = Tensor::from(real(self.max - 1) / real(middle)).to_kind(Kind::Float).log();
        let steps = (size.clamp_min(middle) / middle).log() / edge.to_device(size.device());
        let far = (steps * (middle - 1)).ceil() + middle;
        let far = (far * distance.sign()).to_kind(Kind::Int64);
        distance.where_self(&size.le(middle), &far)
    }
}

struct Layer {
    attention: Attention,
    attention_out: nn::Linear,
    attention_norm: nn::LayerNorm,
    intermediate: nn::Linear,
    activate: Activation,
    output: nn::Linear,
    output_norm: nn::LayerNorm,
}

impl Layer {
    fn new(path: &nn::Path<'_>, config: &Config, version: Version) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let attention = path / "attention";
        let plain = LinearConfig::default();
        Self {
            attention: Attention::new(&(&attention / "self"), config, version),
            attention_out: config.square(&attention / "output" / "dense", true),
            attention_norm: config.norm(&attention / "output" / "LayerNorm"),
            intermediate: nn::linear(path / "intermediate" / "dense", width, inner, plain),
            activate: activation(&config.hidden_act).unwrap_or(Tensor::shallow_clone),
            output: nn::linear(path / "output" / "dense", inner, width, plain),
            output_norm: config.norm(path / "output" / "LayerNorm"),
        }
    }

    fn forward(&self, states: &Tensor, padding: &Tensor, pairs: Option<&Pairs>) -> Tensor {
        let attended = self.attention.forward(states, padding, pairs).apply(&self.attention_out);
        let states = (attended + states).apply(&self.attention_norm);
        let inner = (self.activate)(&states.apply(&self.intermediate));
        (inner.apply(&self.output) + states).apply(&self.output_norm)
    }
}

/// The projections of content to queries, keys and values.
enum Content {
    /// v1: one matrix, and biases for queries and values.
    Joint {
        matrix: nn::Linear,
        query_bias: Tensor,
        value_bias: Tensor,
    },
    Separate {
        query: nn::Linear,
        key: nn::Linear,
        value: nn::Linear,
    },
}

/// A projection of the table of distances. It depends on weights alone, so each
/// engine computes it once.
struct Distant {
    projection: nn::Linear,
    heads: OnceCell<Tensor>,
}

impl Distant {
    fn new(projection: nn::Linear) -> Self {
        Self { projection, heads: OnceCell::new() }
    }
}

struct Attention {
    content: Content,
    /// Keys and queries made of distances, where they are not content's own.
    distant_key: Option<Distant>,
    distant_query: Option<Distant>,
    heads: i64,
    scale: f64,
}

impl Attention {
    fn new(path: &nn::Path<'_>, config: &Config, version: Version) -> Self {
        let width = config.hidden_size;
        let relative = |kind| config.relative_attention && config.attends(kind);
        let (to_positions, from_positions) = (relative("c2p"), relative("p2c"));
        let square = |name: &str, bias| config.square(path / name, bias);
        let (content, key, query) = match version {
            Version::One => {
                let no_bias = LinearConfig { bias: false, ..LinearConfig::default() };
                let content = Content::Joint {
                    matrix: nn::linear(path / "in_proj", width, 3 * width, no_bias),
                    query_bias: path.var("q_bias", &[width], nn::Init::Const(0.0)),
                    value_bias: path.var("v_bias", &[width], nn::Init::Const(0.0)),
                };
                let key = to_positions.then(|| square("pos_proj", false));
                (content, key, from_positions.then(|| square("pos_q_proj", true)))
            }
            Version::Two => {
                let (query, key) = (square("query_proj", true), square("key_proj", true));
                // With share_att_key, distances go through content's own projections.
                let own = |name: &str, shared: &nn::Linear| match config.share_att_key {
                    true => same(shared),
                    false => square(name, true),
                };
                let distant_key = to_positions.then(|| own("pos_key_proj", &key));
                let distant_query = from_positions.then(|| own("pos_query_proj", &query));
                let value = square("value_proj", true);
                (Content::Separate { query, key, value }, distant_key, distant_query)
            }
        };
        let kinds = 1 + i32::from(config.attends("c2p")) + i32::from(config.attends("p2c"));
        let per_head = width / config.num_attention_heads;
        Self {
            content,
            distant_key: key.map(Distant::new),
            distant_query: query.map(Distant::new),
            heads: config.num_attention_heads,
            scale: (f64::from(kinds) * real(per_head)).sqrt(),
        }
    }

    /// `padding` is `rows x 1 x 1 x width`, true where a key is none.
    fn forward(&self, states: &Tensor, padding: &Tensor, pairs: Option<&Pairs>) -> Tensor {
        let (query, key, value) = self.content(states);
        let query = query / self.scale;
        let mut scores = query.matmul(&key.transpose(-1, -2));
        if let Some(pairs) = pairs {
            let size = scores.size();
            let looked_up = |content: &Tensor, distant: &Distant, rows: &Tensor| {
                let distances = self.distant(distant, pairs);
                let scores = content.matmul(&distances.transpose(-1, -2));
                scores.gather(-1, &rows.expand(&size, true), false)
            };
            if let Some(distant) = &self.distant_key {
                scores += looked_up(&query, distant, &pairs.forward);
            }
            if let Some(distant) = &self.distant_query {
                let from_keys = looked_up(&(&key / self.scale), distant, &pairs.backward);
                scores += from_keys.transpose(-1, -2);
            }
        }
        let weights = scores.masked_fill(padding, f64::NEG_INFINITY).softmax(-1, scores.kind());
        let context = weights.matmul(&value).transpose(1, 2).contiguous();
        context.view_as(states)
    }

    /// Queries, keys and values, each `rows x heads x width x hidden / heads`.
    fn content(&self, states: &Tensor) -> (Tensor, Tensor, Tensor) {
        match &self.content {
            Content::Joint { matrix, query_bias, value_bias } => {
                let joint = self.split(&states.apply(matrix));
                let [query, key, value] = [0, 1, 2].map(|part| {
                    let width = joint.size()[3] / 3;
                    joint.narrow(-1, part * width, width)
                });
                let bias = |bias: &Tensor| self.split(&bias.view([1, 1, -1]));
                (query + bias(query_bias), key, value + bias(value_bias))
            }
            Content::Separate { query, key, value } => (
                self.split(&states.apply(query)),
                self.split(&states.apply(key)),
                self.split(&states.apply(value)),
            ),
        }
    }

    /// The projected rows that a batch needs, `1 x heads x rows x hidden / heads`.
    fn distant(&self, distant: &Distant, pairs: &Pairs) -> Tensor {
        let all = distant.heads.get_or_init(|| {
            self.split(&pairs.table.unsqueeze(0).apply(&distant.projection)).contiguous()
        });
        let (first, number) = pairs.rows;
        all.narrow(2, first, number)
    }

    fn split(&self, states: &Tensor) -> Tensor {
        let size = states.size();
        states.view([size[0], size[1], self.heads, -1]).transpose(1, 2)
    }
}

/// v2's convolution over the embeddings, beside the first layer.
struct Convolution {
    filter: nn::Conv1D,
    activate: Activation,
    norm: nn::LayerNorm,
}

impl Convolution {
    fn new(path: &nn::Path<'_>, config: &Config) -> Self {
        let kernel = config.conv_kernel_size;
        let settings = ConvConfig {
            padding: (kernel - 1) / 2,
            groups: config.conv_groups,
            ..ConvConfig::default()
        };
        let width = config.hidden_size;
        Self {
            filter: nn::conv1d(path / "conv", width, width, kernel, settings),
            activate: activation(&config.conv_act).unwrap_or(Tensor::shallow_clone),
            norm: config.norm(path / "LayerNorm"),
        }
    }

    fn forward(&self, embedded: &Tensor, states: &Tensor, padding: &Tensor) -> Tensor {
        let filtered = embedded.transpose(1, 2).apply(&self.filter).transpose(1, 2);
        let filtered = (self.activate)(&filtered.masked_fill(padding, 0.0));
        (filtered + states).apply(&self.norm).masked_fill(padding, 0.0)
    }
}

/// A size, which config.json keeps far below 2^31.
fn real(size: i64) -> f64 {
    f64::from(i32::try_from(size).unwrap_or(i32::MAX))
}

/// A second reference to a layer's variables.
fn same(layer: &nn::Linear) -> nn::Linear {
    nn::Linear { ws: layer.ws.shallow_clone(), bs: layer.bs.as_ref().map(Tensor::shallow_clone) }
}
