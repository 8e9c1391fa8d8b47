//! The scheme `social-v2`: what `social-v1` leaves, with the mentions in front and the links at the
//! end of a post become one each, and without a retweet's mark, quotes round the whole post and a
//! full stop.

use std::sync::LazyLock;

use regex::Regex;

use super::social_v1;

macro_rules! pattern {
    ($name:ident, $pattern:expr) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($pattern).expect("a constant pattern that tests compile"));
    };
}

pattern!(FRONT, r"^(?:(?:RT )?[.]?@user[:,]? )+");
pattern!(BACK, r"(?: http[.]?)+$");
pattern!(QUOTED, r#"^"([^"]*[^" ][^"]*)"[.]?$"#);
pattern!(MENTIONS, r"@user(?: @user)+");
pattern!(FULL_STOP, r"([^ .]) ?[.]$");

/// Returns the social-v2 form of `text`; it is empty only where that of social-v1 is.
pub(super) fn normalise(text: &str) -> String {
    let text = social_v1::normalise(text);
    let text = FRONT.replace(&text, "@user ");
    let text = BACK.replace(&text, " http");
    let text = QUOTED.replace(&text, "$1");
    let text = FRONT.replace(text.trim_matches(' '), "@user ");
    let text = MENTIONS.replace_all(&text, "@user");
    FULL_STOP.replace(&text, "$1").into_owned()
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
    fn every_case_shared_with_training_holds() {
        let cases = include_str!("../../../../tests/data/normalisation_v2.jsonl");
        for line in cases.lines() {
            let case: Case = serde_json::from_str(line).expect("a case");
            assert_eq!(normalise(&case.raw), case.normalised, "of {:?}", case.raw);
        }
    }
}
