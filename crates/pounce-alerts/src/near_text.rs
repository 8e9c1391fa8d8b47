//! What copies of a text have in common. Knows texts only.

use unicode_segmentation::UnicodeSegmentation;

/// A shorter text says nothing of copying: many people write "internet down".
const WORDS_MIN: usize = 6;
/// What follows adds nothing to the identity of a text.
const WORDS_MAX: usize = 64;

/// The words of a text in lower case, without retweet prefix, mentions, links and punctuation;
/// none if there are too few.
pub(super) fn normalised(text: &str) -> Option<String> {
    let mut normalised = String::with_capacity(text.len().min(512));
    let tokens = text.split_whitespace().map(without_opening_punctuation);
    let spoken = tokens.filter(|token| !is_mention(token) && !is_link(token));
    let words = spoken.skip_while(|token| is_retweet(token)).flat_map(str::unicode_words);
    let mut count = 0;
    for word in words.take(WORDS_MAX) {
        let letters = word.chars().filter(|c| c.is_alphanumeric());
        normalised.extend(letters.flat_map(char::to_lowercase));
        normalised.push(' ');
        count += 1;
    }
    (count >= WORDS_MIN).then_some(normalised)
}

fn without_opening_punctuation(token: &str) -> &str {
    token.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '@' && c != '＠')
}

fn is_retweet(token: &str) -> bool {
    token.trim_end_matches(':').eq_ignore_ascii_case("rt")
}

fn is_mention(token: &str) -> bool {
    token.starts_with(['@', '＠'])
}

/// With a scheme, `www.`, or a host before a slash.
fn is_link(token: &str) -> bool {
    token.contains("://")
        || token.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("www."))
        || token.split_once('/').is_some_and(|(host, _)| host.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(normalised(text).as_deref().map(str::trim_end), expected, "{text}");
    }

    #[test]
    fn copies_differ_in_nothing_that_is_left() {
        let said = Some("the app ate my ticket and dont tell me it didnt");
        for text in [
            "The app ate my ticket, and don't tell me it didn't!",
            "RT @ann: the app ate my ticket and don’t tell me it didn’t",
            "rt: @ann @acme The APP ate my ticket… and DON'T tell me it didn't",
            ".@acme the app  ate my\n\nticket and don't tell me it didn't https://t.co/AbC #",
            "“The app ate my ticket, and don't tell me it didn't” bit.ly/xyz (www.acme.example)",
            "RT RT @a RT @b: the app ate my ticket and don't tell me it didn't 😡😡",
        ] {
            check(text, said);
        }
    }

    #[test]
    fn what_says_something_else_is_no_copy() {
        check("the app ate my ticket again today", Some("the app ate my ticket again today"));
        check("the app ate my ticket, 3/4 times", Some("the app ate my ticket 3 4 times"));
        check("#delays all over the place today", Some("delays all over the place today"));
        check(
            "mail me at ann@acme.example now please",
            Some("mail me at ann acmeexample now please"),
        );
    }

    #[test]
    fn short_texts_have_no_copies() {
        check("internet down", None);
        check("@a @b @c @d @e internet down https://a.example", None);
        check("one two three four five", None);
        check("", None);
    }

    #[test]
    fn only_the_first_words_of_a_long_text_count() {
        let long = "word ".repeat(WORDS_MAX);
        assert_eq!(normalised(&format!("{long} one end")), normalised(&format!("{long} another")));
    }

    #[test]
    fn texts_without_spaces_have_words() {
        check("数据网络今天又断了", Some("数 据 网 络 今 天 又 断 了"));
    }
}
