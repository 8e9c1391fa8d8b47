//! Text becomes token ids, with the Hugging Face tokenizer of the model's folder.
//!
//! The only file that names the `tokenizers` crate.

use std::path::Path;

use tokenizers::{Tokenizer, TruncationParams};

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
}

impl TextTokenizer {
    /// Loads a `tokenizer.json`.
    /// # Errors
    /// [`TokenizerError::Load`] if it is missing, damaged, or needs more special
    /// tokens than `tokens_max`.
    pub fn load(file: &Path, tokens_max: usize) -> Result<Self, TokenizerError> {
        let tokenizer = Tokenizer::from_file(file).map_err(|e| TokenizerError::Load {
            file: file.display().to_string(),
            reason: e.to_string(),
        })?;
        Self::new(tokenizer, tokens_max)
            .map_err(|reason| TokenizerError::Load { file: file.display().to_string(), reason })
    }

    /// Wraps a tokenizer that was made in another way than from a file.
    fn new(mut tokenizer: Tokenizer, tokens_max: usize) -> Result<Self, String> {
        let truncation = TruncationParams { max_length: tokens_max, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| e.to_string())?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer })
    }

    /// Splits `text`; what is over the limit is cut off its end.
    /// # Errors
    /// [`TokenizerError::Encode`]; never for a text that the vocabulary covers.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let fault = || TokenizerError::Encode { bytes: text.len() };
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|_| fault())?;
        let ids: Result<Vec<i32>, _> =
            encoding.get_ids().iter().map(|&id| i32::try_from(id)).collect();
        let special = |mask: &[u32]| mask.iter().filter(|&&flag| flag == 1).count();
        let cut_off: usize = encoding
            .get_overflowing()
            .iter()
            .map(|part| part.len() - special(part.get_special_tokens_mask()))
            .sum();
        let ids = ids.map_err(|_| fault())?;
        Ok(Tokens { total: ids.len() + cut_off, ids })
    }
}
