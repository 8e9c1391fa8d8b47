//! Cuts plain ASCII texts into words as BERT does, for the library's model of pieces.
//!
//! The library itself keeps for every character where it came from, which nobody here
//! asks for and which takes most of its time. Knows tokenizers; nothing of limits or
//! special tokens around a text.

use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{Model, Result, Tokenizer};

/// What there is to know of a BERT-like tokenizer to cut texts in its place.
pub(super) struct AsciiWords {
    lowercase: bool,
    /// Tokens that are found before words are, such as `[MASK]`.
    special: Vec<String>,
}

impl AsciiWords {
    /// `None` if `tokenizer` does not normalise and split as BERT does.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let Some(NormalizerWrapper::BertNormalizer(bert)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        if added.values().any(|token| token.normalized) {
            return None;
        }
        let special = added.values().map(|token| token.content.clone()).collect();
        Some(Self { lowercase: bert.lowercase, special })
    }

    /// Ids of the pieces of `text`, or `None` if it holds anything but printable ASCII,
    /// or a special token.
    pub(super) fn ids(&self, tokenizer: &Tokenizer, text: &str) -> Option<Result<Vec<u32>>> {
        let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
            && !self.special.iter().any(|token| text.contains(token));
        plain.then(|| {
            let lower = self.lowercase.then(|| text.to_ascii_lowercase());
            let model = tokenizer.get_model();
            let mut ids = Vec::with_capacity(text.len() / 2);
            for word in words(lower.as_deref().unwrap_or(text)) {
                ids.extend(model.tokenize(word)?.iter().map(|token| token.id));
            }
            Ok(ids)
        })
    }
}

/// Runs of letters and digits, and each punctuation mark by itself.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').flat_map(|mut rest| {
        std::iter::from_fn(move || {
            let end = match rest.find(|c: char| c.is_ascii_punctuation()) {
                Some(0) => 1,
                Some(mark) => mark,
                None => rest.len(),
            };
            let (word, after) = rest.split_at(end);
            rest = after;
            (!word.is_empty()).then_some(word)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn tokenizer() -> Tokenizer {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/tokenizer.json");
        Tokenizer::from_file(file).expect("the default model's")
    }

    /// A tokenizer of three words; `normalized` is an added token's.
    fn small(normalizer: &str, pre_tokenizer: &str, normalized: bool) -> Tokenizer {
        let json = format!(
            r#"{{
                "version": "1.0", "truncation": null, "padding": null,
                "added_tokens": [{{
                    "id": 4, "content": "[MASK]", "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": {normalized}, "special": true
                }}],
                "normalizer": {{"type": "{normalizer}", "lowercase": false, "strip_accents": null,
                    "clean_text": true, "handle_chinese_chars": true}},
                "pre_tokenizer": {{"type": "{pre_tokenizer}"}},
                "post_processor": null, "decoder": null,
                "model": {{"type": "WordPiece", "unk_token": "[UNK]", "max_input_chars_per_word": 9,
                    "continuing_subword_prefix": "{}",
                    "vocab": {{"[UNK]": 0, "late": 1, "Late": 2, "!": 3, "[MASK]": 4}}}}
            }}"#,
            "##"
        );
        Tokenizer::from_bytes(json).expect("a tokenizer")
    }

    #[test]
    fn case_is_kept_where_the_tokenizer_keeps_it() {
        let cased = small("BertNormalizer", "BertPreTokenizer", false);
        let words = AsciiWords::of(&cased).expect("a BERT tokenizer");
        let ids = words.ids(&cased, "Late late! LATE").expect("plain").expect("pieces");
        assert_eq!(ids, [2, 1, 3, 0]);
    }

    #[test]
    fn other_tokenizers_are_left_to_the_library() {
        for (normalizer, pre_tokenizer, normalized) in [
            ("NFC", "BertPreTokenizer", false),
            ("BertNormalizer", "WhitespaceSplit", false),
            ("BertNormalizer", "BertPreTokenizer", true),
        ] {
            let other = small(normalizer, pre_tokenizer, normalized);
            assert!(AsciiWords::of(&other).is_none(), "{normalizer} {pre_tokenizer} {normalized}");
        }
    }

    #[test]
    fn what_is_not_plain_ascii_is_left_to_the_library() {
        let tokenizer = tokenizer();
        let words = AsciiWords::of(&tokenizer).expect("a BERT tokenizer");
        for text in ["caf\u{e9}", "late \u{1f621}", "a\tb", "a\u{7f}", "the [MASK] is down"] {
            assert!(words.ids(&tokenizer, text).is_none(), "{text:?}");
        }
        assert!(words.ids(&tokenizer, "Late again, @user!").is_some());
        assert_eq!(words.ids(&tokenizer, "").expect("plain").expect("no pieces"), [0; 0]);
    }
}
