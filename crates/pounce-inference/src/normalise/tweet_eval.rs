//! `tweet-eval`: what the cards of the TweetEval benchmark's models (Barbieri et al., 2020,
//! arXiv:2010.12421), such as twitter-roberta-base-sentiment, do to a text before they score it.

/// Words between single spaces that begin with `@` become `@user`, those that begin with
/// `http` become `http`; a lone `@` and all other white space stay.
pub(super) fn normalise(text: &str) -> String {
    let word = |word| match word {
        "@" => word,
        _ if str::starts_with(word, '@') => "@user",
        _ if word.starts_with("http") => "http",
        _ => word,
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn words_that_begin_as_mentions_and_links_are_replaced_whole() {
        for (raw, normalised) in [
            ("@shop: late again!", "@user late again!"),
            ("see http://example.org/a?b=1, please", "see http please"),
            ("httpd is down", "http is down"),
            ("meet @ 5  pm", "meet @ 5  pm"),
            (".@shop www.example.org", ".@shop www.example.org"),
            ("one\n@shop", "one\n@shop"),
            ("", ""),
        ] {
            assert_eq!(normalise(raw), normalised);
        }
    }
}
