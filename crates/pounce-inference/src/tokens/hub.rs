//! Builds a tokenizer out of a hub folder without tokenizer.json, as transformers does:
//! from vocab.txt, from vocab.json and merges.txt, or from a SentencePiece model.

use std::path::{Path, PathBuf};

use prost::Message;
use serde::Deserialize;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{
    BertNormalizer, Lowercase, NFKD, NormalizerWrapper, Precompiled, Replace, Sequence, Strip,
    StripAccents,
};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, ModelWrapper, SplitDelimiterBehavior, Tokenizer};

/// What can go wrong, with the file at fault.
pub(super) type Fault = (PathBuf, String);

/// tokenizer_config.json, as far as it changes how text is split.
#[derive(Debug, Default, Deserialize)]
struct Settings {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    #[serde(default)]
    keep_accents: bool,
    #[serde(default)]
    split_by_punct: bool,
    #[serde(default)]
    add_prefix_space: bool,
}

/// The special tokens of a family of tokenizers.
struct Special {
    first: &'static str,
    last: &'static str,
    others: [&'static str; 3],
}

const BERT: Special =
    Special { first: "[CLS]", last: "[SEP]", others: ["[PAD]", "[UNK]", "[MASK]"] };
const ALBERT: Special =
    Special { first: "[CLS]", last: "[SEP]", others: ["<pad>", "<unk>", "[MASK]"] };
const ROBERTA: Special =
    Special { first: "<s>", last: "</s>", others: ["<pad>", "<unk>", "<mask>"] };

/// Builds the tokenizer of `model_type` from what the folder holds.
/// # Errors
/// The file at fault and why; without any vocabulary, the tokenizer.json that is missing.
pub(super) fn build(folder: &Path, model_type: &str) -> Result<Tokenizer, Fault> {
    let settings = Settings::read(&folder.join("tokenizer_config.json"))?;
    let there = |name: &str| Some(folder.join(name)).filter(|file| file.is_file());
    if let Some(vocab) = there("vocab.txt") {
        return word_piece(&vocab, &settings).map_err(|e| (vocab, e.to_string()));
    }
    if let (Some(vocab), Some(merges)) = (there("vocab.json"), there("merges.txt")) {
        let special = if model_type == "deberta" { BERT } else { ROBERTA };
        return byte_level(&vocab, &merges, &special, &settings)
            .map_err(|e| (vocab, e.to_string()));
    }
    let pieces = ["sentencepiece.bpe.model", "spiece.model", "spm.model", "sentencepiece.model"];
    if let Some(file) = pieces.into_iter().find_map(there) {
        return sentence_piece(&file, model_type, &settings).map_err(|e| (file, e.to_string()));
    }
    let reason = "it is missing, and so are vocab.txt, vocab.json with merges.txt, and a \
                  SentencePiece model to build it from";
    Err((folder.join("tokenizer.json"), reason.to_owned()))
}

impl Settings {
    fn read(file: &Path) -> Result<Self, Fault> {
        if !file.is_file() {
            return Ok(Self::default());
        }
        let json = std::fs::read(file).map_err(|e| (file.to_owned(), e.to_string()))?;
        serde_json::from_slice(&json).map_err(|e| (file.to_owned(), e.to_string()))
    }
}

/// BERT, DistilBERT, ELECTRA, MobileBERT.
fn word_piece(vocab: &Path, settings: &Settings) -> tokenizers::Result<Tokenizer> {
    let model = WordPiece::from_file(&vocab.to_string_lossy()).unk_token("[UNK]".to_owned());
    let mut tokenizer = Tokenizer::new(model.build()?);
    tokenizer.with_normalizer(Some(BertNormalizer::new(
        true,
        settings.tokenize_chinese_chars.unwrap_or(true),
        settings.strip_accents,
        settings.do_lower_case.unwrap_or(true),
    )))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    finish(tokenizer, &BERT)
}

/// RoBERTa, DeBERTa v1.
fn byte_level(
    vocab: &Path,
    merges: &Path,
    special: &Special,
    settings: &Settings,
) -> tokenizers::Result<Tokenizer> {
    let model = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy()).build()?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(settings.add_prefix_space, true, true)));
    finish(tokenizer, special)
}

/// A SentencePiece model file (sentencepiece_model.proto), as far as Unigram needs it.
#[derive(Message)]
struct PieceModel {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

#[derive(Message)]
struct Piece {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(float, tag = "2")]
    score: f32,
}

#[derive(Message)]
struct TrainerSpec {
    /// 1 = Unigram, the default of the format; 2 = BPE.
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(uint32, tag = "40")]
    unk_id: u32,
}

#[derive(Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", tag = "2")]
    charsmap: Vec<u8>,
}

/// XLM-RoBERTa, ALBERT, DeBERTa v2 and v3.
fn sentence_piece(
    file: &Path,
    model_type: &str,
    settings: &Settings,
) -> tokenizers::Result<Tokenizer> {
    let model = PieceModel::decode(std::fs::read(file)?.as_slice())?;
    let trainer = model.trainer.as_ref();
    if trainer.and_then(|trainer| trainer.model_type).unwrap_or(1) != 1 {
        return Err("it is no Unigram model; save the tokenizer as tokenizer.json".into());
    }
    let unknown = usize::try_from(trainer.map_or(0, |trainer| trainer.unk_id))?;
    let charsmap = charsmap(model.normalizer)?;
    let pieces = model.pieces.into_iter().map(|piece| (piece.text, f64::from(piece.score)));
    let (vocabulary, unknown, special): (Vec<_>, _, _) = match model_type {
        "albert" => (pieces.map(without_numbers).collect(), unknown, ALBERT),
        "deberta-v2" => (pieces.collect(), unknown, BERT),
        _ => {
            // fairseq's order of the special tokens, ahead of all but SentencePiece's own three.
            let first = ["<s>", "<pad>", "</s>", "<unk>"].map(|token| (token.to_owned(), 0.0));
            let mask = ("<mask>".to_owned(), 0.0);
            (first.into_iter().chain(pieces.skip(3)).chain([mask]).collect(), 3, ROBERTA)
        }
    };
    let model: ModelWrapper = Unigram::from(vocabulary, Some(unknown), false)?.into();
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(Sequence::new(normalizers(model_type, settings, charsmap)?)))?;
    let metaspace = Metaspace::new('\u{2581}', PrependScheme::Always, true);
    let mut steps: Vec<PreTokenizerWrapper> = vec![metaspace.into()];
    if settings.split_by_punct {
        steps.insert(0, Punctuation::new(SplitDelimiterBehavior::Isolated).into());
    }
    let steps = tokenizers::pre_tokenizers::sequence::Sequence::new(steps);
    tokenizer.with_pre_tokenizer(Some(steps));
    finish(tokenizer, &special)
}

fn charsmap(spec: Option<NormalizerSpec>) -> tokenizers::Result<Option<Precompiled>> {
    match spec.map(|spec| spec.charsmap).filter(|charsmap| !charsmap.is_empty()) {
        Some(charsmap) => Ok(Some(Precompiled::from(&charsmap)?)),
        None => Ok(None),
    }
}

fn normalizers(
    model_type: &str,
    settings: &Settings,
    charsmap: Option<Precompiled>,
) -> tokenizers::Result<Vec<NormalizerWrapper>> {
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    let albert = model_type == "albert";
    if albert {
        steps.push(Replace::new("``", "\"")?.into());
        steps.push(Replace::new("''", "\"")?.into());
        if !settings.keep_accents {
            steps.push(NFKD.into());
            steps.push(StripAccents.into());
        }
    }
    if settings.do_lower_case.unwrap_or(albert) {
        steps.push(Lowercase.into());
    }
    steps.extend(charsmap.map(NormalizerWrapper::from));
    let spaces = tokenizers::normalizers::replace::ReplacePattern::Regex(r"\s+".to_owned());
    steps.push(Replace::new(spaces, " ")?.into());
    steps.push(Strip::new(true, true).into());
    Ok(steps)
}

/// ALBERT's pieces that join a digit and a comma are all but never taken.
fn without_numbers((piece, score): (String, f64)) -> (String, f64) {
    let mut end = piece.chars().rev();
    let joined = end.next() == Some(',') && end.next().is_some_and(char::is_numeric);
    (piece, if joined { score - 100.0 } else { score })
}

/// Frames every text with its special tokens and keeps them whole in a text.
fn finish(mut tokenizer: Tokenizer, special: &Special) -> tokenizers::Result<Tokenizer> {
    // Before any is added: a token that the vocabulary lacks would get an id that the
    // model has no embedding for.
    let id = |name: &str| {
        let id = tokenizer.token_to_id(name).ok_or(format!("it has no token {name}"));
        id.map(|id| (name.to_owned(), id))
    };
    let frame = TemplateProcessing::builder()
        .try_single(format!("{} $A {}", special.first, special.last))?
        .special_tokens(vec![id(special.first)?, id(special.last)?])
        .build()?;
    let names = [special.first, special.last].into_iter().chain(special.others);
    let known = names.filter(|name| tokenizer.token_to_id(name).is_some());
    let known: Vec<_> = known.map(|name| AddedToken::from(name, true)).collect();
    tokenizer.add_special_tokens(known)?;
    tokenizer.with_post_processor(Some(frame));
    Ok(tokenizer)
}
