//! Text becomes token ids, with the Hugging Face tokenizer of the model's folder.
//!
//! This file and its folder are the only place that names the `tokenizers` crate.

mod bert;
mod hub;

use std::path::Path;

use tokenizers::{Encoding, Token, Tokenizer};

use self::bert::BertTokenizer;

/// A text as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, special tokens included; at most the model's limit.
    pub ids: Vec<i32>,
    /// Tokens the whole text has, special tokens included.
    pub total: usize,
}

impl Tokens {
    /// Whether the end of the text was cut off.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.total > self.ids.len()
    }
}

/// Why a text or a tokenizer file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file can't be read.
    #[error("{file}: {reason}")]
    Load {
        /// The tokenizer's file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The text can't be split, or an id does not fit the model.
    #[error("the tokenizer failed on a text of {bytes} bytes")]
    Encode {
        /// Size of the text.
        bytes: usize,
    },
}

/// Splits texts into at most `tokens_max` tokens.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// In the library's place, where it is a BERT tokenizer.
    bert: Option<BertTokenizer>,
    /// Special tokens before and after a text.
    frame: [Vec<u32>; 2],
    /// Tokens of a text, special ones left out.
    content_max: usize,
}

impl TextTokenizer {
    /// Opens a folder's tokenizer: its tokenizer.json or, where it has none, the
    /// vocabulary files that a `model_type` has on the hub.
    /// # Errors
    /// As [`TextTokenizer::load`].
    pub fn open(folder: &Path, model_type: &str, limit: usize) -> Result<Self, TokenizerError> {
        let file = folder.join("tokenizer.json");
        if file.is_file() {
            return Self::load(&file, limit);
        }
        let fault =
            |file: &Path, reason| TokenizerError::Load { file: file.display().to_string(), reason };
        let tokenizer = hub::build(folder, model_type).map_err(|(file, e)| fault(&file, e))?;
        Self::new(tokenizer, limit).map_err(|reason| fault(folder, reason))
    }

    /// Loads a `tokenizer.json`.
    /// # Errors
    /// [`TokenizerError::Load`] if it is missing, damaged, or needs more special
    /// tokens than `tokens_max`.
    pub fn load(file: &Path, tokens_max: usize) -> Result<Self, TokenizerError> {
        let fault = |reason| TokenizerError::Load { file: file.display().to_string(), reason };
        let tokenizer = Tokenizer::from_file(file).map_err(|e| fault(e.to_string()))?;
        Self::new(tokenizer, tokens_max).map_err(fault)
    }

    /// Wraps a tokenizer that was made in another way than from a file.
    fn new(mut tokenizer: Tokenizer, tokens_max: usize) -> Result<Self, String> {
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        tokenizer.with_padding(None);
        let frame = frame(&tokenizer)?;
        let special = frame.iter().map(Vec::len).sum::<usize>();
        match tokens_max.checked_sub(special) {
            Some(content_max @ 1..) => {
                Ok(Self { bert: BertTokenizer::of(&tokenizer), tokenizer, frame, content_max })
            }
            _ => Err(format!("{special} special tokens leave no room within {tokens_max}")),
        }
    }

    /// Splits `text`; what is over the limit is cut off its end.
    /// # Errors
    /// [`TokenizerError::Encode`]; never for a text that the vocabulary covers.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let fault = || TokenizerError::Encode { bytes: text.len() };
        let (mut content, mut total) = (Vec::new(), 0);
        let mut take = |id| {
            if total < self.content_max {
                content.push(id);
            }
            total += 1;
        };
        match &self.bert {
            Some(bert) => bert.for_each_id(text, take),
            None => {
                let whole = self.tokenizer.encode_fast(text, false).map_err(|_| fault())?;
                whole.get_ids().iter().copied().for_each(&mut take);
            }
        }
        let [before, after] = &self.frame;
        let ids = before.iter().chain(&content).chain(after).map(|&id| i32::try_from(id));
        Ok(Tokens {
            ids: ids.collect::<Result<_, _>>().map_err(|_| fault())?,
            total: before.len() + total + after.len(),
        })
    }
}

/// The special tokens that `tokenizer` sets before and after a text.
fn frame(tokenizer: &Tokenizer) -> Result<[Vec<u32>; 2], String> {
    const TEXT: u32 = u32::MAX;
    let text = Encoding::from_tokens(vec![Token::new(TEXT, String::new(), (0, 0))], 0);
    let framed = tokenizer.post_process(text, None, true).map_err(|e| e.to_string())?;
    let parts: Vec<_> = framed.get_ids().split(|&id| id == TEXT).map(<[u32]>::to_vec).collect();
    parts.try_into().map_err(|_| "special tokens must stand around one text".into())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn default(tokens_max: usize) -> TextTokenizer {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/tokenizer.json");
        TextTokenizer::load(&file, tokens_max).expect("the default model's tokenizer")
    }

    static WHOLE: LazyLock<TextTokenizer> = LazyLock::new(|| default(usize::MAX));

    fn tiny(tokens_max: usize) -> TextTokenizer {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tiny_tokenizer.json");
        TextTokenizer::load(&file, tokens_max).expect("the fixture")
    }

    #[test]
    fn what_is_over_the_limit_is_cut_off_and_counted() {
        let tokens = tiny(4).encode("good bad good bad good bad").expect("words");
        assert_eq!((tokens.ids.len(), tokens.total), (4, 6));
        assert!(tokens.truncated());
        let tokens = tiny(6).encode("good bad good bad good bad").expect("words");
        assert_eq!((tokens.ids.len(), tokens.total), (6, 6));
        assert!(!tokens.truncated());
    }

    #[test]
    fn a_long_text_is_counted_whole() {
        let tokens = tiny(64).encode(&"good ".repeat(1000)).expect("words");
        assert_eq!((tokens.ids.len(), tokens.total), (64, 1000));
    }

    #[test]
    fn a_text_that_is_cut_off_keeps_its_special_tokens() {
        let cut = default(5);
        for text in ["late again, and late again", "late again, and l\u{e4}te again \u{1f621}"] {
            let whole = WHOLE.encode(text).expect("encodes");
            let (first, last) = (whole.ids[0], whole.ids[whole.total - 1]);
            let tokens = cut.encode(text).expect("encodes");
            let expected = [&whole.ids[..4], &[last]].concat();
            assert_eq!(tokens, Tokens { ids: expected, total: whole.total });
            assert_eq!([first, last], [101, 102], "[CLS] and [SEP]");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_those_of_the_library(
            text in "([a-zA-Z]{1,12}|[ -~]{0,20}|[!-/]|don't|@user|[a-z]{95,105}| {1,3}|\\[SEP\\]|\\[sep\\]|\\PC{0,2}|\t|\\p{L}{0,4}|\\p{M}|\\p{C}|\\p{Z}|\\p{P}|[\u{4e00}-\u{4e20}]|[\u{0}-\u{2ff}]{0,5}|[\u{ac00}-\u{d7a3}]|[\u{1f300}-\u{1faff}]){0,12}"
        ) {
            let whole = WHOLE.tokenizer.encode_fast(text.as_str(), true).expect("encodes");
            let ids = whole.get_ids().iter().map(|&id| i32::try_from(id).expect("small"));
            let expected = ids.collect::<Vec<_>>();
            let tokens = WHOLE.encode(&text).expect("encodes");
            prop_assert_eq!(tokens, Tokens { total: expected.len(), ids: expected });
        }
    }
}
