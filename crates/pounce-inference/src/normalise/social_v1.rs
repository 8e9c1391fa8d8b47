//! The scheme `social-v1`, step by step; each step reads what the one before left.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use unicode_normalization::IsNormalized;
use unicode_normalization::UnicodeNormalization;

/// Named HTML entities that posts really hold; others stay as they are.
const ENTITIES: [(&str, &str); 26] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", "\u{a0}"),
    ("hellip", "\u{2026}"),
    ("ndash", "\u{2013}"),
    ("mdash", "\u{2014}"),
    ("lsquo", "\u{2018}"),
    ("rsquo", "\u{2019}"),
    ("ldquo", "\u{201c}"),
    ("rdquo", "\u{201d}"),
    ("bull", "\u{2022}"),
    ("middot", "\u{b7}"),
    ("cent", "\u{a2}"),
    ("pound", "\u{a3}"),
    ("euro", "\u{20ac}"),
    ("yen", "\u{a5}"),
    ("copy", "\u{a9}"),
    ("reg", "\u{ae}"),
    ("trade", "\u{2122}"),
    ("deg", "\u{b0}"),
    ("times", "\u{d7}"),
    ("frac12", "\u{bd}"),
    ("hearts", "\u{2665}"),
];

/// How many times its bytes a text may grow by NFKC, and what any text may grow beyond.
const GROWTH_MAX: usize = 2;
const GROWTH_SPARE: usize = 512;

macro_rules! pattern {
    ($name:ident, $pattern:expr) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($pattern).expect("a constant pattern that tests compile"));
    };
}

pattern!(ESCAPE, r"\\u([0-9A-Fa-f]{4})");
pattern!(ENTITY, r"&(?:([A-Za-z][A-Za-z0-9]{1,7})|#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6}));");
pattern!(SINGLE_QUOTE, r"[\u{2018}\u{2019}\u{201b}\u{2bc}]");
pattern!(DOUBLE_QUOTE, r"[\u{201c}\u{201d}\u{201e}\u{201f}]");
pattern!(GENDER, r"\u{200d}[\u{2640}\u{2642}]");
pattern!(
    INVISIBLE,
    r"[\u{ad}\u{61c}\u{180e}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{2064}\u{2066}-\u{2069}\u{fe00}-\u{fe0f}\u{feff}\u{1f3fb}-\u{1f3ff}\u{e0000}-\u{e007f}]"
);
pattern!(CONTROL, r"[\u{0}-\u{1f}\u{7f}-\u{9f}]");
pattern!(EMOJI, r"[\u{2300}-\u{23ff}\u{2600}-\u{27bf}\u{2b00}-\u{2bff}\u{1f000}-\u{1faff}]");
// A link ends in no space and in no ASCII punctuation but `/` and `_`.
pattern!(
    LINK,
    r"(?i:https?):(?:[^\s]*[^\s!-.:-@\[-^`{-~])?|(?-u:\b)(?i:www)\.[^\s]*[^\s!-.:-@\[-^`{-~]|(?-u:\b)[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}/(?:[^\s]*[^\s!-.:-@\[-^`{-~])?"
);
pattern!(EMAIL, r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}");
pattern!(MENTION, r"@[A-Za-z0-9_]+");
pattern!(NUMBER, r"\+?\(?[0-9](?:[ ()-]{0,2}[0-9]){7,}");
pattern!(SPACE, r"\s+");

/// Returns the social-v1 form of `text`; it may be empty.
pub(super) fn normalise(text: &str) -> String {
    let text = ESCAPE.replace_all(text, |c: &Captures<'_>| scalar(&c[1], 16, &c[0]));
    let text = ENTITY.replace_all(&text, entity);
    // They change nothing in plain ASCII, which most posts are.
    let text = if text.is_ascii() { text } else { Cow::Owned(beyond_ascii(text)) };
    let text = CONTROL.replace_all(&text, " ");
    let text = EMOJI.replace_all(&text, " $0 ");
    let text = LINK.replace_all(&text, "http");
    let text = EMAIL.replace_all(&text, "EMAIL");
    let text = MENTION.replace_all(&text, "@user");
    let text = NUMBER.replace_all(&text, "NUMBER");
    SPACE.replace_all(&text, " ").trim_matches(' ').to_owned()
}

/// The steps for characters beyond ASCII, up to those that leave something in their place.
fn beyond_ascii(text: Cow<'_, str>) -> String {
    let text = match unicode_normalization::is_nfkc_quick(text.chars()) {
        IsNormalized::Yes => text,
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(bounded_nfkc(&text)),
    };
    let text = SINGLE_QUOTE.replace_all(&text, "'");
    let text = DOUBLE_QUOTE.replace_all(&text, "\"");
    let text = GENDER.replace_all(&text, "");
    INVISIBLE.replace_all(&text, "").into_owned()
}

/// NFKC of `text`, cut off at [`GROWTH_MAX`] of its bytes. Real texts stay far below: it is
/// reached by a text of little but rare ligatures, of which U+FDFA alone becomes 18 characters.
fn bounded_nfkc(text: &str) -> String {
    let bytes_max = GROWTH_SPARE + GROWTH_MAX * text.len();
    let mut bounded = String::with_capacity(text.len());
    for char in text.nfkc() {
        if bounded.len() + char.len_utf8() > bytes_max {
            break;
        }
        bounded.push(char);
    }
    bounded
}

fn entity(captures: &Captures<'_>) -> String {
    let whole = &captures[0];
    if let Some(name) = captures.get(1) {
        let known = ENTITIES.iter().find(|(known, _)| *known == name.as_str());
        return known.map_or(whole, |(_, text)| text).to_owned();
    }
    match (captures.get(2), captures.get(3)) {
        (Some(decimal), _) => scalar(decimal.as_str(), 10, whole),
        (_, Some(hexadecimal)) => scalar(hexadecimal.as_str(), 16, whole),
        _ => whole.to_owned(),
    }
}

/// The character of a code point, or `otherwise` for 0, surrogates and numbers past U+10FFFF.
fn scalar(digits: &str, radix: u32, otherwise: &str) -> String {
    let code = u32::from_str_radix(digits, radix).ok().filter(|&code| code != 0);
    code.and_then(char::from_u32).map_or_else(|| otherwise.to_owned(), String::from)
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[derive(serde::Deserialize)]
    struct Case {
        raw: String,
        normalised: String,
    }

    #[test]
    fn a_text_of_ligatures_grows_no_further_than_the_bound() {
        let few = "\u{fdfa}".repeat(10);
        assert_eq!(normalise(&few).chars().count(), 180, "18 characters each");
        let many = "\u{fdfa}".repeat(2000);
        let bytes = normalise(&many).len();
        assert!((6000..=2 * many.len() + 512).contains(&bytes), "{bytes} of {}", many.len());
    }

    #[test]
    fn every_case_shared_with_training_holds() {
        let cases = include_str!("../../../../tests/data/normalisation.jsonl");
        for line in cases.lines() {
            let case: Case = serde_json::from_str(line).expect("a case");
            assert_eq!(normalise(&case.raw), case.normalised, "of {:?}", case.raw);
        }
    }
}
