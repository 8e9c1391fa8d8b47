//! Whether a text is in a language that the model does not know.
//!
//! A script that no known language is written in decides alone. Between languages of one
//! script a model of English decides where English is all that is known, and a language
//! detector elsewhere and for the rest. This file and its folder are the only place that
//! names the detector.

mod english;

use isolang::Language;
use whatlang::{Detector, Lang, Script};

use pounce_types::post::LanguageTag;

/// Letters of a foreign script that are a text and no decoration.
const SCRIPT_LETTERS_MIN: usize = 4;
/// Letters below which a detector's answer is worth nothing.
const LETTERS_MIN: usize = 24;
/// Detector confidence, 0 to 1, from which its answer is taken.
const CONFIDENCE_MIN: f64 = 0.9;
/// Log-odds of "not English" from which a text is foreign, and below which it is English.
/// `cargo run --example languages` prints what they make of a folder of posts.
const FOREIGN_LOG_ODDS: f32 = 0.75;
const ENGLISH_LOG_ODDS: f32 = -6.0;
/// Letters below which a text is taken to be a name or an exclamation.
const EVIDENCE_LETTERS_MIN: usize = 12;
/// Bytes of a text that are looked at, so that the time is bounded.
const SAMPLE_BYTES_MAX: usize = 2048;

/// Languages a model knows.
pub struct KnownLanguages {
    primary: Vec<String>,
    /// Those of them that the detector knows too.
    detectable: Vec<Lang>,
    english: bool,
}

impl KnownLanguages {
    /// From primary BCP 47 tags; an empty list knows every language.
    #[must_use]
    pub fn new(primary: &[String]) -> Self {
        let known = |lang: &Lang| {
            let short = iso_639_1(*lang);
            primary.iter().any(|tag| tag == lang.code() || Some(tag.as_str()) == short)
        };
        Self {
            primary: primary.to_vec(),
            detectable: Lang::all().iter().copied().filter(known).collect(),
            english: primary.iter().any(|tag| tag == "en"),
        }
    }

    /// True if the sender says so, or, where the sender does not, the text of
    /// normalised form `text` is most likely in another language.
    #[must_use]
    pub fn is_foreign(&self, text: &str, tagged: Option<&LanguageTag>) -> bool {
        if self.primary.is_empty() {
            return false;
        }
        // BCP 47 says "und" where nobody knows.
        if let Some(primary) = tagged.map(LanguageTag::primary).filter(|tag| tag != "und") {
            return !self.primary.contains(&primary);
        }
        let words = without_placeholders(&text[..text.floor_char_boundary(SAMPLE_BYTES_MAX)]);
        let letters = words.chars().filter(|c| c.is_alphabetic()).count();
        if !words.is_ascii() && letters >= SCRIPT_LETTERS_MIN {
            let script = whatlang::detect_script(&words).filter(|script| *script != Script::Latin);
            if script.is_some_and(|script| !self.reads(script)) {
                return true;
            }
        }
        if self.english {
            let evidence = english::weigh(&words);
            if evidence.log_odds < ENGLISH_LOG_ODDS {
                return false;
            }
            if self.primary.len() == 1
                && evidence.letters >= EVIDENCE_LETTERS_MIN
                && evidence.log_odds > FOREIGN_LOG_ODDS
            {
                return true;
            }
        }
        letters >= LETTERS_MIN && self.is_detected_as_foreign(&words)
    }

    /// Whether a known language is written in `script`. Japanese is written in three.
    fn reads(&self, script: Script) -> bool {
        let japanese = [Script::Mandarin, Script::Hiragana, Script::Katakana].contains(&script);
        self.detectable
            .iter()
            .any(|lang| script.langs().contains(lang) || (japanese && *lang == Lang::Jpn))
    }

    fn is_detected_as_foreign(&self, words: &str) -> bool {
        let Some(likeliest) = whatlang::detect(words) else { return false };
        if self.detectable.contains(&likeliest.lang()) {
            return false;
        }
        if likeliest.script() != Script::Latin {
            return likeliest.confidence() >= CONFIDENCE_MIN;
        }
        // The detector doubts between neighbours such as Spanish and Catalan;
        // what matters here is its doubt between the likeliest and those known.
        let candidates = [&self.detectable[..], &[likeliest.lang()]].concat();
        Detector::with_allowlist(candidates).detect(words).is_some_and(|info| {
            info.lang() == likeliest.lang() && info.confidence() >= CONFIDENCE_MIN
        })
    }
}

/// Drops mentions, links and tags: they have no language.
fn without_placeholders(text: &str) -> String {
    let words = text.split(' ').filter(|word| {
        !(word.starts_with(['@', '#']) || ["http", "EMAIL", "NUMBER", "RT"].contains(word))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The two letters that BCP 47 prefers to the detector's three, where there are any.
fn iso_639_1(lang: Lang) -> Option<&'static str> {
    match lang {
        // The detector names them by what is spoken, BCP 47 by the macrolanguage.
        Lang::Cmn => Some("zh"),
        Lang::Pes => Some("fa"),
        _ => Language::from_639_3(lang.code())?.to_639_1(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(text: &str) -> bool {
        KnownLanguages::new(&["en".to_owned()]).is_foreign(text, None)
    }

    #[test]
    fn another_language_is_noticed() {
        assert!(foreign("het internet ligt er alweer uit en niemand neemt de telefoon op"));
        assert!(foreign("ich warte seit einer stunde in der warteschleife und niemand hebt ab"));
        assert!(foreign(
            "llevo una hora esperando en el teléfono y nadie me contesta, qué vergüenza"
        ));
        assert!(foreign(
            "サポートに電話しても一時間ずっと待たされていて誰も出てくれません、本当に困っています"
        ));
    }

    #[test]
    fn a_script_that_no_known_language_has_is_foreign_at_any_length() {
        for text in [
            "Интернет опять не работает",
            "интернет поново не ради",
            "الخدمة سيئة",
            "सेवा बहुत खराब है",
            "服务很差啊",
            "ネットが遅い",
            "인터넷이 또 안 돼요",
            "@user RT #fail η εφαρμογή δεν ανοίγει http",
        ] {
            assert!(foreign(text), "{text}");
        }
        assert!(!foreign("the café in Zürich is closed again"));
        assert!(
            !foreign(
                "there is no wifi again in the whole building \u{af}\u{5c}_(\u{30c4})_/\u{af}"
            ),
            "a shrug"
        );
        let russian = KnownLanguages::new(&["ru".to_owned()]);
        assert!(!russian.is_foreign("Интернет опять не работает", None));
        let japanese = KnownLanguages::new(&["ja".to_owned()]);
        assert!(!japanese.is_foreign("通信障害発生中", None), "Han alone");
    }

    #[test]
    fn hindi_in_latin_letters_is_noticed() {
        assert!(foreign("bhai ye network kab theek hoga, bahut kharab service hai yaar"));
        assert!(!foreign("my bhai in Delhi says the network is fine, so why is mine down?"));
    }

    #[test]
    fn other_languages_are_known_by_their_two_letters() {
        for (lang, tag) in [
            (Lang::Eng, "en"),
            (Lang::Cmn, "zh"),
            (Lang::Pes, "fa"),
            (Lang::Urd, "ur"),
            (Lang::Nob, "nb"),
            (Lang::Tam, "ta"),
            (Lang::Heb, "he"),
            (Lang::Est, "et"),
        ] {
            assert_eq!(iso_639_1(lang), Some(tag));
        }
    }

    #[test]
    fn english_slang_and_short_texts_are_let_through() {
        assert!(!foreign("lol nah fam ur wifi is dead AGAIN smh"));
        assert!(!foreign("been on hold for 47 minutes and counting, is anybody there at all"));
        assert!(!foreign("danke"));
        assert!(!foreign("okay then, I'd paid via Mandiri and it doesn't make me premium member"));
        assert!(!foreign("@user @user http #fail #fail #fail"));
    }

    #[test]
    fn the_senders_word_counts_more_than_the_detectors() {
        let english = KnownLanguages::new(&["en".to_owned()]);
        let tag = |tag: &str| LanguageTag::parse(tag.as_bytes()).expect("a tag");
        assert!(english.is_foreign("ok", Some(&tag("de"))));
        assert!(!english.is_foreign("na gut", Some(&tag("en-GB"))));
        assert!(!KnownLanguages::new(&[]).is_foreign("na gut", Some(&tag("de"))));
    }

    #[test]
    fn an_undetermined_language_is_detected() {
        let english = KnownLanguages::new(&["en".to_owned()]);
        let tag = LanguageTag::parse(b"und").expect("a tag");
        let dutch = "het internet ligt er alweer uit en niemand neemt de telefoon op";
        assert!(english.is_foreign(dutch, Some(&tag)));
        assert!(!english.is_foreign("is the app down for anybody else today?", Some(&tag)));
    }
}
