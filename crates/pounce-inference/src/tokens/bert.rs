//! BERT's tokenizer in linear time: the same ids as the library's.
//!
//! The library also tracks the offset of every character, which is not used here and takes
//! most of its time, and it looks up every prefix of a word, which takes a long word's
//! length squared. Here a word's longest piece is found in one walk along it. Knows
//! tokenizers; nothing of limits or of special tokens around a text.

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{Model, ModelWrapper, Tokenizer};
// The library's own tables: another edition of Unicode would give other ids.
use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

/// A tokenizer that cleans, splits and looks words up as BERT's does.
pub(super) struct BertTokenizer {
    clean: bool,
    isolate_chinese: bool,
    strip_accents: bool,
    lowercase: bool,
    /// Tokens that are found before words are, such as `[MASK]`.
    added: Pieces,
    first: Pieces,
    following: Pieces,
    unknown: u32,
    word_chars_max: usize,
}

/// A vocabulary, or the part of it that may stand at one place.
struct Pieces {
    automaton: AhoCorasick,
    ids: Vec<u32>,
}

impl Pieces {
    fn new(pieces: Vec<(String, u32)>, start: StartKind) -> Option<Self> {
        let (texts, ids): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(start)
            .build(texts)
            .ok()?;
        Some(Self { automaton, ids })
    }

    /// The longest piece that `text` begins with: its id and its length in bytes.
    fn longest_prefix(&self, text: &str) -> Option<(u32, usize)> {
        let found = self.automaton.find(Input::new(text).anchored(Anchored::Yes))?;
        Some((*self.ids.get(found.pattern().as_usize())?, found.end()))
    }
}

impl BertTokenizer {
    /// `None` if `tokenizer` does not normalise, split and look up as BERT does.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let Some(NormalizerWrapper::BertNormalizer(bert)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let plain = |token: &tokenizers::AddedToken| {
            !(token.normalized || token.single_word || token.lstrip || token.rstrip)
        };
        if !added.values().all(plain) {
            return None;
        }
        let added = added.iter().map(|(&id, token)| (token.content.clone(), id)).collect();
        let mark = &model.continuing_subword_prefix;
        let (following, mut first): (Vec<_>, Vec<_>) =
            model.get_vocab().into_iter().partition(|(piece, _)| piece.starts_with(mark.as_str()));
        // Where a word begins, a piece with the mark stands for the mark itself.
        first.extend(following.iter().cloned());
        let following =
            following.into_iter().map(|(piece, id)| (piece[mark.len()..].to_owned(), id));
        let not_empty = |pieces: Vec<(String, u32)>| {
            pieces.into_iter().filter(|(piece, _)| !piece.is_empty()).collect()
        };
        let &BertNormalizer { clean_text, handle_chinese_chars, strip_accents, lowercase, .. } =
            bert;
        Some(Self {
            clean: clean_text,
            isolate_chinese: handle_chinese_chars,
            strip_accents: strip_accents.unwrap_or(lowercase),
            lowercase,
            added: Pieces::new(added, StartKind::Unanchored)?,
            first: Pieces::new(not_empty(first), StartKind::Anchored)?,
            following: Pieces::new(not_empty(following.collect()), StartKind::Anchored)?,
            unknown: model.token_to_id(&model.unk_token)?,
            word_chars_max: model.max_input_chars_per_word,
        })
    }

    /// Passes the id of each piece of `text` to `take`, in order.
    pub(super) fn for_each_id(&self, text: &str, mut take: impl FnMut(u32)) {
        let mut end = 0;
        for token in self.added.automaton.find_iter(text) {
            self.words_ids(&text[end..token.start()], &mut take);
            if let Some(&id) = self.added.ids.get(token.pattern().as_usize()) {
                take(id);
            }
            end = token.end();
        }
        self.words_ids(&text[end..], &mut take);
    }

    fn words_ids(&self, text: &str, take: &mut impl FnMut(u32)) {
        let mut pieces = Vec::new();
        for word in words(&self.normalised(text)) {
            pieces.clear();
            if self.push_pieces(word, &mut pieces).is_none() {
                take(self.unknown);
            } else {
                pieces.iter().copied().for_each(&mut *take);
            }
        }
    }

    /// `None` if the vocabulary does not cover `word`.
    fn push_pieces(&self, word: &str, pieces: &mut Vec<u32>) -> Option<()> {
        if word.len() > self.word_chars_max && word.chars().count() > self.word_chars_max {
            return None;
        }
        let (id, mut end) = self.first.longest_prefix(word)?;
        pieces.push(id);
        while end < word.len() {
            let (id, length) = self.following.longest_prefix(&word[end..])?;
            pieces.push(id);
            end += length;
        }
        Some(())
    }

    fn normalised(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        for char in text.chars() {
            match char {
                // Most characters of most texts need none of the questions below.
                ' '..='~' => clean.push(char),
                '\0' | '\u{fffd}' if self.clean => {}
                '\t' | '\n' | '\r' if self.clean => clean.push(' '),
                _ if self.clean && char.is_other() => {}
                _ if self.clean && char.is_whitespace() => clean.push(' '),
                _ if self.isolate_chinese && is_chinese(char) => clean.extend([' ', char, ' ']),
                _ => clean.push(char),
            }
        }
        if clean.is_ascii() {
            if self.lowercase {
                clean.make_ascii_lowercase();
            }
            return clean;
        }
        if self.strip_accents {
            clean = clean.nfd().filter(|char| !char.is_mark_nonspacing()).collect();
        }
        if self.lowercase {
            clean = clean.chars().flat_map(char::to_lowercase).collect();
        }
        clean
    }
}

/// The ranges that BERT's tokenizer calls Chinese: CJK ideographs, not kana or Hangul.
fn is_chinese(char: char) -> bool {
    matches!(
        char,
        '\u{4e00}'..='\u{9fff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b73f}'
            | '\u{2b740}'..='\u{2b81f}'
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{f900}'..='\u{faff}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}

fn is_punctuation(char: char) -> bool {
    char.is_ascii_punctuation() || (!char.is_ascii() && char.is_punctuation())
}

/// Runs of other characters, and each punctuation mark by itself.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(char::is_whitespace).flat_map(|mut rest| {
        std::iter::from_fn(move || {
            let mut marks = rest.char_indices().filter(|(_, char)| is_punctuation(*char));
            let end = match marks.next() {
                Some((0, mark)) => mark.len_utf8(),
                Some((start, _)) => start,
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
    use super::*;

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
                    "continuing_subword_prefix": "{mark}",
                    "vocab": {{"[UNK]": 0, "late": 1, "Late": 2, "!": 3, "[MASK]": 4, "l": 5,
                        "{mark}late": 6, "{mark}ate": 7, "{mark}ly": 8}}}}
            }}"#,
            mark = "##"
        );
        Tokenizer::from_bytes(json).expect("a tokenizer")
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let bert = BertTokenizer::of(tokenizer).expect("a BERT tokenizer");
        bert.for_each_id(text, |id| ids.push(id));
        let library = tokenizer.encode_fast(text, false).expect("encodes");
        assert_eq!(ids, library.get_ids(), "{text:?}");
        ids
    }

    #[test]
    fn case_is_kept_where_the_tokenizer_keeps_it() {
        let cased = small("BertNormalizer", "BertPreTokenizer", false);
        assert_eq!(ids(&cased, "Late late! LATE"), [2, 1, 3, 0]);
    }

    #[test]
    fn pieces_are_the_longest_that_fit_and_words_are_whole_or_unknown() {
        let cased = small("BertNormalizer", "BertPreTokenizer", false);
        assert_eq!(ids(&cased, "latelate lately latex llate"), [1, 6, 1, 8, 0, 5, 6]);
        assert_eq!(ids(&cased, "latelately latelatelate"), [0, 0], "over nine characters");
    }

    #[test]
    fn added_tokens_are_found_anywhere() {
        let cased = small("BertNormalizer", "BertPreTokenizer", false);
        assert_eq!(ids(&cased, "[MASK]late[MASK][MASK] late!"), [4, 1, 4, 4, 1, 3]);
    }

    #[test]
    fn other_tokenizers_are_left_to_the_library() {
        for (normalizer, pre_tokenizer, normalized) in [
            ("NFC", "BertPreTokenizer", false),
            ("BertNormalizer", "WhitespaceSplit", false),
            ("BertNormalizer", "BertPreTokenizer", true),
        ] {
            let other = small(normalizer, pre_tokenizer, normalized);
            assert!(
                BertTokenizer::of(&other).is_none(),
                "{normalizer} {pre_tokenizer} {normalized}"
            );
        }
    }
}
