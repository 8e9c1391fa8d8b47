//! How far a text in Latin letters is from English: a linear model over the hashed character
//! n-grams of its words, trained by `training/language.py` on posts in English and in seven
//! other languages, Hindi in Latin letters among them.

/// A signed byte a bucket: the log-odds of "not English", in steps of 1 / [`STEPS`].
static WEIGHTS: &[u8; BUCKETS] = include_bytes!("english.weights");

const BUCKETS: usize = 1 << 16;
const STEPS: f32 = 32.0;
/// Letters that are looked at: enough for any doubt, and a bound of the time.
const LETTERS_MAX: usize = 400;
/// Longest n-gram, in characters.
const GRAM_MAX: usize = 4;

/// What was found of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Evidence {
    /// Log-odds that the text is not English.
    pub(super) log_odds: f32,
    /// Letters that were looked at.
    pub(super) letters: usize,
}

/// Weighs the words of `text`, which are separated by whatever is no letter.
pub(super) fn weigh(text: &str) -> Evidence {
    let mut sum = 0_i32;
    let mut letters = 0;
    let mut word = Vec::new();
    'text: for char in text.chars().chain([' ']) {
        // Most characters, without the tables of Unicode.
        if char.is_ascii_alphabetic() {
            word.push(char.to_ascii_lowercase());
            continue;
        }
        for char in char.to_lowercase() {
            if char.is_alphabetic() {
                word.push(char);
                continue;
            }
            if word.is_empty() {
                continue;
            }
            letters += word.len();
            if letters > LETTERS_MAX {
                letters -= word.len();
                break 'text;
            }
            sum += weigh_word(&word);
            word.clear();
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "below 2^24: 400 letters of at most 4 x 127")]
    let log_odds = sum as f32 / STEPS;
    Evidence { log_odds, letters }
}

fn weigh_word(word: &[char]) -> i32 {
    let mut sum = 0;
    let char_at = |at: usize| match at {
        0 => Some(' '),
        at if at == word.len() + 1 => Some(' '),
        at => word.get(at - 1).copied(),
    };
    for start in 0..word.len() + 2 {
        let mut hash = Fnv::new();
        for end in start..start + GRAM_MAX {
            let Some(char) = char_at(end) else { break };
            hash.push(char);
            sum += hash.weight();
        }
    }
    let mut whole = Fnv::new();
    ['\n'].iter().chain(word).for_each(|&char| whole.push(char));
    sum + whole.weight()
}

/// The hash FNV-1a of 32 bits, over UTF-8.
struct Fnv(u32);

impl Fnv {
    fn new() -> Self {
        Self(0x811c_9dc5)
    }

    fn push(&mut self, char: char) {
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn weight(&self) -> i32 {
        let bucket = (self.0 ^ (self.0 >> 16)) as usize % BUCKETS;
        i32::from(WEIGHTS[bucket].cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_and_other_languages_are_told_apart() {
        for text in [
            "the router is down again and nobody answers",
            "lol nah fam ur wifi is dead AGAIN smh",
            "I’m on hold and it’s been an hour",
        ] {
            assert!(weigh(text).log_odds < 0.0, "{text}: {:?}", weigh(text));
        }
        for text in [
            "ich warte seit einer stunde in der warteschleife",
            "llevo una hora esperando y nadie me contesta",
            "yaar ye network kab theek hoga, bahut kharab hai",
        ] {
            assert!(weigh(text).log_odds > 0.0, "{text}: {:?}", weigh(text));
        }
    }

    #[test]
    fn a_long_text_is_weighed_by_its_beginning() {
        let text = "how long is this going to take? ".repeat(1000);
        assert!(weigh(&text).letters <= LETTERS_MAX);
        assert_eq!(weigh(&"x".repeat(1000)).letters, 0, "a word longer than all that is read");
        assert_eq!(weigh("12:30 - 14%"), Evidence { log_odds: 0.0, letters: 0 });
    }
}
