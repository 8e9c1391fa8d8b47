//! From a post's text to what the model reads: normalise, detect the language, split.
//! Blocks for as long as that takes; knows nothing of who waits for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pounce_types::post::LanguageTag;

use crate::language::KnownLanguages;
use crate::model::Model;
use crate::scheduler::{Cached, Scheduler, TextKey};
use crate::tokens::Tokens;

/// A text that is ready for the queue.
pub(crate) struct Prepared {
    /// Identifies the normalised text.
    pub(crate) key: TextKey,
    /// Whether the model does not know its language.
    pub(crate) foreign: bool,
    pub(crate) rest: Rest,
}

/// What is left to do for a text.
pub(crate) enum Rest {
    /// Nothing: it was scored before.
    Cached(Cached),
    /// To run it through the model.
    Run(Tokens),
}

/// The text could not be prepared; the reason was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Prepares texts for one model.
pub(crate) struct TextStage {
    model: Arc<Model>,
    known: KnownLanguages,
    scheduler: Arc<Scheduler>,
}

impl TextStage {
    pub(crate) fn new(model: Arc<Model>, scheduler: Arc<Scheduler>) -> Self {
        Self { known: KnownLanguages::new(&model.languages), model, scheduler }
    }

    /// Prepares a text whose sender says that it is in `tagged`.
    pub(crate) fn prepare(
        &self,
        text: &str,
        tagged: Option<&LanguageTag>,
    ) -> Result<Prepared, Unreadable> {
        // A library that panics must cost this post alone, not its stream.
        let prepared = catch_unwind(AssertUnwindSafe(|| {
            let normalised = self.model.normalisation.apply(text);
            let key = TextKey::of(&normalised);
            let foreign = self.known.is_foreign(&normalised, tagged);
            if let Some(cached) = self.scheduler.cached(&key) {
                return Ok(Prepared { key, foreign, rest: Rest::Cached(cached) });
            }
            let tokens = self.model.tokenizer.encode(&normalised)?;
            Ok::<_, crate::tokens::TokenizerError>(Prepared {
                key,
                foreign,
                rest: Rest::Run(tokens),
            })
        }));
        let reason = match prepared {
            Ok(Ok(prepared)) => return Ok(prepared),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the tokenizer panicked".to_owned(),
        };
        tracing::error!(reason, bytes = text.len(), "a text can't be split into tokens");
        Err(Unreadable)
    }
}
