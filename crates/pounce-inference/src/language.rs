//! Whether a text is confidently in a language that the model does not know.
//!
//! The only file that names the language detector.

use whatlang::{Detector, Lang, Script};

use super::english;
use pounce_types::post::LanguageTag;

/// Letters below which a detector's word is worth nothing.
const LETTERS_MIN: usize = 24;
/// Detector confidence, 0 to 1, from which its word is taken.
const CONFIDENCE_MIN: f64 = 0.9;

/// Languages a model knows.
pub(super) struct KnownLanguages {
    primary: Vec<String>,
    /// Those of them that the detector knows too.
    detectable: Vec<Lang>,
    english: bool,
}

impl KnownLanguages {
    /// From primary BCP 47 tags; an empty list knows every language.
    pub(super) fn new(primary: &[String]) -> Self {
        let detectable = Lang::all().iter().copied().filter(|lang| {
            // whatlang speaks ISO 639-3, BCP 47 the shortest code there is.
            primary.iter().any(|tag| tag == lang.code() || Some(tag.as_str()) == iso_639_1(*lang))
        });
        Self {
            primary: primary.to_vec(),
            detectable: detectable.collect(),
            english: primary.iter().any(|tag| tag == "en"),
        }
    }

    /// True if the sender says so, or, where the sender does not, the text of
    /// normalised form `text` is confidently in another language.
    pub(super) fn is_foreign(&self, text: &str, tagged: Option<&LanguageTag>) -> bool {
        if self.primary.is_empty() {
            return false;
        }
        // BCP 47 says "und" where nobody knows.
        if let Some(primary) = tagged.map(LanguageTag::primary).filter(|tag| tag != "und") {
            return !self.primary.contains(&primary);
        }
        let words = without_placeholders(text);
        if self.english && english::is_plain(&words) {
            return false;
        }
        if words.chars().filter(|c| c.is_alphabetic()).count() < LETTERS_MIN {
            return false;
        }
        let Some(likeliest) = whatlang::detect(&words) else { return false };
        if self.detectable.contains(&likeliest.lang()) {
            return false;
        }
        if likeliest.script() != Script::Latin {
            return likeliest.confidence() >= CONFIDENCE_MIN;
        }
        // The detector doubts between neighbours such as Spanish and Catalan;
        // what matters here is its doubt between the likeliest and those known.
        let candidates = [&self.detectable[..], &[likeliest.lang()]].concat();
        Detector::with_allowlist(candidates).detect(&words).is_some_and(|info| {
            info.lang() == likeliest.lang() && info.confidence() >= CONFIDENCE_MIN
        })
    }
}

/// Drops mentions, links and tags: they have no language.
fn without_placeholders(text: &str) -> String {
    let words = text.split(' ').filter(|word| {
        !(word.starts_with(['@', '#']) || ["http", "EMAIL", "NUMBER"].contains(word))
    });
    words.collect::<Vec<_>>().join(" ")
}

fn iso_639_1(lang: Lang) -> Option<&'static str> {
    Some(match lang {
        Lang::Eng => "en",
        Lang::Spa => "es",
        Lang::Por => "pt",
        Lang::Fra => "fr",
        Lang::Deu => "de",
        Lang::Ita => "it",
        Lang::Nld => "nl",
        Lang::Pol => "pl",
        Lang::Rus => "ru",
        Lang::Ukr => "uk",
        Lang::Ara => "ar",
        Lang::Heb => "he",
        Lang::Hin => "hi",
        Lang::Ben => "bn",
        Lang::Tur => "tr",
        Lang::Vie => "vi",
        Lang::Ind => "id",
        Lang::Cmn => "zh",
        Lang::Jpn => "ja",
        Lang::Kor => "ko",
        Lang::Tha => "th",
        Lang::Swe => "sv",
        Lang::Dan => "da",
        Lang::Nob => "nb",
        Lang::Fin => "fi",
        Lang::Ces => "cs",
        Lang::Ron => "ro",
        Lang::Ell => "el",
        Lang::Hun => "hu",
        Lang::Bul => "bg",
        _ => return None,
    })
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
