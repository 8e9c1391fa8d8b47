//! Text becomes token ids, with the Hugging Face tokenizer of the model's folder.
//!
//! This file and its folder are the only place that names the `tokenizers` crate.

mod hub;

use std::path::Path;

use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};

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
    /// Tokens of a text, special ones left out.
    content_max: usize,
    /// Special tokens around it.
    special: usize,
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
        let special = tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(false));
        match tokens_max.checked_sub(special) {
            Some(content_max @ 1..) => Ok(Self { tokenizer, content_max, special }),
            _ => Err(format!("{special} special tokens leave no room within {tokens_max}")),
        }
    }

    /// Splits `text`; what is over the limit is cut off its end.
    /// # Errors
    /// [`TokenizerError::Encode`]; never for a text that the vocabulary covers.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let fault = || TokenizerError::Encode { bytes: text.len() };
        // In two steps, since the tokenizer's own truncation does not tell how
        // much it cut off.
        let mut content = self.tokenizer.encode_fast(text, false).map_err(|_| fault())?;
        let total = content.len() + self.special;
        content.truncate(self.content_max, 0, TruncationDirection::Right);
        let whole = self.tokenizer.post_process(content, None, true).map_err(|_| fault())?;
        let ids: Result<Vec<i32>, _> =
            whole.get_ids().iter().map(|&id| i32::try_from(id)).collect();
        Ok(Tokens { ids: ids.map_err(|_| fault())?, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny(tokens_max: usize) -> TextTokenizer {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny_tokenizer.json");
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
}
