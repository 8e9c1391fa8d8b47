//! The torch engine against PyTorch: tiny random classifiers of each architecture,
//! as the hub has them, with the logits that transformers gives them
//! (`training/torch_fixtures.py`).

use std::path::{Path, PathBuf};

use pounce_inference::engine::{Device, Engine, EngineError, Precision, TokenBatch};
use pounce_inference::model::{EngineKind, Model, ModelSpec};
use pounce_inference::normalise::Normalisation;
use tch::Tensor;

/// Largest difference from PyTorch's logits in fp32.
const TOLERANCE: f32 = 1e-4;

#[derive(serde::Deserialize)]
struct Golden {
    text: String,
    ids: Vec<i32>,
    logits: Vec<f32>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torch").join(name)
}

fn spec() -> ModelSpec {
    let precision = Some(Precision::Fp32);
    ModelSpec { engine: Some(EngineKind::Torch), precision, ..ModelSpec::default() }
}

fn open(name: &str) -> Model {
    Model::open(&fixture(name), &spec()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn golden(name: &str) -> Vec<Golden> {
    let lines = std::fs::read_to_string(fixture(name).join("golden.jsonl")).expect("golden.jsonl");
    lines.lines().map(|line| serde_json::from_str(line).expect("a golden post")).collect()
}

fn logits(engine: &mut dyn Engine, rows: &[&[i32]], padding_id: i32) -> Vec<f32> {
    engine.logits(&TokenBatch::new(rows.iter().copied(), padding_id)).expect("logits")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A model reads each raw post as transformers does, gives PyTorch's logits, and gives
/// the same ones when the post is padded to the longest legal post.
fn check(name: &str) {
    check_model(name, &open(name));
}

#[allow(clippy::print_stdout, reason = "the figures of docs/engines.md")]
fn check_model(name: &str, model: &Model) {
    let posts = golden(name);
    let mut largest = 0.0_f32;
    let mut engine = model.engine.build().expect("an engine");
    let longest = posts.last().expect("posts");
    assert_eq!(longest.ids.len(), model.tokens_max, "{name}: the longest legal post");
    for post in &posts {
        let tokens = model.tokenizer.encode(&model.normalisation.apply(&post.text));
        let tokens = tokens.expect("tokens");
        assert_eq!(tokens.ids, post.ids, "{name}: tokens of {:?}", post.text);
        let alone = logits(engine.as_mut(), &[&post.ids], model.padding_id);
        let apart = largest_difference(&alone, &post.logits);
        assert!(apart <= TOLERANCE, "{name}: {apart} from PyTorch for {:?}", post.text);
        largest = largest.max(apart);
        let rows = [&post.ids[..], &longest.ids[..]];
        let together = logits(engine.as_mut(), &rows, model.padding_id);
        let apart = largest_difference(&alone, &together[..alone.len()]);
        assert!(apart <= TOLERANCE, "{name}: {apart} by company for {:?}", post.text);
    }
    println!("{name}: {largest:.1e} from PyTorch at most");
    let spread = largest_difference(&posts[0].logits, &longest.logits);
    assert!(spread > 100.0 * TOLERANCE, "{name}: logits that hardly differ prove nothing");
}

#[test]
fn bert_gives_the_logits_of_pytorch() {
    check("bert");
}

#[test]
fn distilbert_gives_the_logits_of_pytorch_from_fp16_weights() {
    check("distilbert");
}

#[test]
fn roberta_gives_the_logits_of_pytorch_from_a_pickle_up_to_512_tokens() {
    check("roberta");
}

#[test]
fn xlm_roberta_gives_the_logits_of_pytorch_from_bf16_weights() {
    check("xlm-roberta");
}

#[test]
fn albert_gives_the_logits_of_pytorch() {
    check("albert");
}

#[test]
fn mobilebert_gives_the_logits_of_pytorch() {
    check("mobilebert");
}

#[test]
fn deberta_v1_gives_the_logits_of_pytorch() {
    check("deberta");
}

#[test]
fn deberta_v2_and_v3_give_the_logits_of_pytorch() {
    check("deberta-v2");
    check("deberta-v2-conv");
}

#[test]
fn electra_gives_the_logits_of_pytorch_once_its_labels_are_named() {
    let refused = Model::open(&fixture("electra"), &spec()).err().expect("LABEL_0 has no meaning");
    let words = refused.to_string();
    assert!(words.contains("LABEL_0") && words.contains("--labels"), "{words}");
    let named = ["negative", "neutral", "positive"].map(str::to_owned).to_vec();
    let spec = ModelSpec { labels: Some(named), ..spec() };
    check_model("electra", &Model::open(&fixture("electra"), &spec).expect("named labels"));
}

#[test]
fn two_classes_and_star_ratings_become_the_three_classes() {
    let [two, stars] = ["distilbert", "bert"].map(open);
    let p = two.labels.probabilities(&golden("distilbert")[0].logits).expect("finite");
    assert_eq!(p.neutral, 0.0);
    assert!((p.negative + p.positive - 1.0).abs() < 1e-6);
    let p = stars.labels.probabilities(&[0.0; 5]).expect("finite");
    assert!((p.negative - 0.4).abs() < 1e-6 && (p.positive - 0.4).abs() < 1e-6);
}

#[test]
fn texts_are_prepared_as_the_flag_says_or_else_the_configuration() {
    let folder = copy("bert");
    let scheme = |folder: &Path, flag| {
        let spec = ModelSpec { normalisation: flag, ..spec() };
        Model::open(folder, &spec).expect("a model").normalisation
    };
    assert_eq!(scheme(folder.path(), None), Normalisation::None);
    let flag = Some(Normalisation::TweetEval);
    assert_eq!(scheme(folder.path(), flag), Normalisation::TweetEval);
    let section = |name: &str| serde_json::json!({ "normalisation": name });
    edit_config(folder.path(), |c| drop(c.insert("pounce".into(), section("social-v1"))));
    assert_eq!(scheme(folder.path(), None), Normalisation::SocialV1);
    assert_eq!(scheme(folder.path(), Some(Normalisation::None)), Normalisation::None);
    edit_config(folder.path(), |c| drop(c.insert("pounce".into(), section("social"))));
    check_refused(
        folder.path(),
        &spec(),
        &["pounce.normalisation", "social-v1, social-v2, tweet-eval"],
    );
}

/// A copy of a fixture, to be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(fixture(name)).expect("a fixture") {
        let file = entry.expect("a file");
        std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("a copy");
    }
    folder
}

fn edit_config(folder: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let file = folder.join("config.json");
    let json = std::fs::read(&file).expect("config.json");
    let mut config = serde_json::from_slice(&json).expect("an object");
    edit(&mut config);
    std::fs::write(&file, serde_json::to_vec(&config).expect("JSON")).expect("written");
}

/// Rewrites a fixture's weights.
fn edit_weights(folder: &Path, edit: impl FnOnce(&mut Vec<(String, Tensor)>)) {
    let file = folder.join("model.safetensors");
    let mut weights = Tensor::read_safetensors(&file).expect("weights");
    edit(&mut weights);
    Tensor::write_safetensors(&weights, &file).expect("written");
}

/// The folder can't be opened; the reason is one line that names all of `words`.
fn check_refused(folder: &Path, spec: &ModelSpec, words: &[&str]) {
    let reason = Model::open(folder, spec).err().expect("a reason").to_string();
    assert!(words.iter().all(|word| reason.contains(word)), "{reason:?} lacks one of {words:?}");
    assert_eq!(reason.lines().count(), 1, "{reason:?}");
}

#[test]
fn damaged_weights_are_refused_in_one_line() {
    let folder = copy("bert");
    let file = folder.path().join("model.safetensors");
    let weights = std::fs::read(&file).expect("weights");
    for damaged in [&weights[..weights.len() / 2], &[][..], &b"not weights at all"[..]] {
        std::fs::write(&file, damaged).expect("written");
        check_refused(folder.path(), &spec(), &["model.safetensors"]);
    }
    std::fs::remove_file(&file).expect("removed");
    check_refused(folder.path(), &spec(), &["model.safetensors", "missing"]);
    std::fs::write(folder.path().join("pytorch_model.bin"), "not a pickle").expect("written");
    check_refused(folder.path(), &spec(), &["pytorch_model.bin"]);
}

#[test]
fn weights_that_do_not_fit_the_configuration_are_refused() {
    let folder = copy("bert");
    edit_config(folder.path(), |config| drop(config.insert("vocab_size".into(), 7.into())));
    check_refused(folder.path(), &spec(), &["word_embeddings", "vocab_size 7"]);

    let folder = copy("bert");
    edit_config(folder.path(), |config| drop(config.insert("num_hidden_layers".into(), 3.into())));
    check_refused(folder.path(), &spec(), &["bert.encoder.layer.2", "model.safetensors"]);

    let folder = copy("bert");
    edit_weights(folder.path(), |weights| weights.retain(|(name, _)| name != "classifier.bias"));
    check_refused(folder.path(), &spec(), &["classifier.bias", "is it a classifier?"]);
}

#[test]
fn a_vocabulary_of_another_kind_of_tokenizer_is_refused() {
    let folder = copy("bert");
    let file = folder.path().join("vocab.txt");
    let vocabulary = std::fs::read_to_string(&file).expect("vocab.txt");
    std::fs::write(&file, vocabulary.replace("[CLS]", "<s>")).expect("written");
    check_refused(folder.path(), &spec(), &["vocab.txt", "no token [CLS]"]);
}

#[test]
fn configurations_of_no_use_are_refused() {
    for (key, value, words) in [
        ("num_attention_heads", 5.into(), ["hidden_size", "num_attention_heads"]),
        ("num_hidden_layers", 0.into(), ["num_hidden_layers", "above 0"]),
        ("intermediate_size", 1_i64.rotate_right(2).into(), ["libtorch can't build", "overflow"]),
        ("hidden_act", "quick".into(), ["config.json", "quick"]),
        ("model_type", "gpt2".into(), ["gpt2", "xlm-roberta"]),
        ("problem_type", "regression".into(), ["config.json", "regression"]),
        ("position_embedding_type", "relative_key".into(), ["position_embedding_type", "relative"]),
    ] {
        let folder = copy("bert");
        edit_config(folder.path(), |config| drop(config.insert(key.into(), value)));
        check_refused(folder.path(), &spec(), &words);
    }
}

#[test]
fn names_that_tensorflow_gave_are_read() {
    let folder = copy("bert");
    edit_weights(folder.path(), |weights| {
        for (name, _) in weights.iter_mut().filter(|(name, _)| name.contains("LayerNorm")) {
            *name = name.replace(".weight", ".gamma").replace(".bias", ".beta");
        }
    });
    check_model("bert", &Model::open(folder.path(), &spec()).expect("a model"));
}

#[test]
fn weights_in_libtorchs_own_form_are_read() {
    let folder = copy("bert");
    let file = folder.path().join("model.safetensors");
    let weights = Tensor::read_safetensors(&file).expect("weights");
    Tensor::save_multi(&weights, folder.path().join("rust_model.ot")).expect("written");
    std::fs::remove_file(file).expect("removed");
    check_model("bert", &Model::open(folder.path(), &spec()).expect("a model"));
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let spec = ModelSpec { device: Device::Cuda(99), ..spec() };
    check_refused(&fixture("bert"), &spec, &["cuda:99", "not available"]);
}

#[test]
fn batches_that_the_model_cannot_read_are_errors_and_leave_the_engine_of_use() {
    let model = open("bert");
    let mut engine = model.engine.build().expect("an engine");
    let long = vec![5; model.tokens_max + 1];
    for rows in [vec![], vec![&[][..]], vec![&long[..]], vec![&[2, 9999, 3][..]], vec![&[-1][..]]] {
        let result = engine.logits(&TokenBatch::new(rows, model.padding_id));
        assert!(matches!(result, Err(EngineError::Run(_))), "{result:?}");
    }
    let post = &golden("bert")[0];
    let again = logits(engine.as_mut(), &[&post.ids], model.padding_id);
    assert!(largest_difference(&again, &post.logits) <= TOLERANCE);
}

#[test]
fn engines_on_many_threads_share_weights_and_agree() {
    let model = open("roberta");
    let posts = golden("roberta");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut engine = model.engine.build().expect("an engine");
                for post in posts.iter().cycle().take(40) {
                    let logits = logits(engine.as_mut(), &[&post.ids], model.padding_id);
                    assert!(largest_difference(&logits, &post.logits) <= TOLERANCE);
                }
            });
        }
    });
}

#[test]
fn bf16_stays_near_fp32_for_every_architecture() {
    let names = ["bert", "distilbert", "roberta", "xlm-roberta", "albert", "mobilebert"];
    for name in names.into_iter().chain(["deberta", "deberta-v2", "deberta-v2-conv"]) {
        let spec = ModelSpec { precision: Some(Precision::Bf16), ..spec() };
        let model = Model::open(&fixture(name), &spec).expect("a model");
        let mut engine = model.engine.build().expect("an engine");
        for post in golden(name) {
            let logits = logits(engine.as_mut(), &[&post.ids], model.padding_id);
            let [half, full] = [&logits, &post.logits].map(|l| model.labels.probabilities(l));
            let [half, full] = [half, full].map(|p| p.expect("finite"));
            let apart = (half.negative - full.negative).abs();
            assert!(apart < 0.05, "{name}: P(negative) {apart} from fp32 for {:?}", post.text);
        }
    }
}
