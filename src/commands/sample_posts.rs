//! Made-up posts with the lengths of real ones, all different, the same every time.

use pounce_proto::Post;

const OPENINGS: [&str; 8] = [
    "so",
    "honestly",
    "hey @acme",
    "update:",
    "not sure who needs to hear this but",
    "third time this month that",
    "just saying,",
    "can somebody at @acme tell me why",
];
const SUBJECTS: [&str; 10] = [
    "the new app",
    "my order",
    "the checkout line at the corner store",
    "your support chat",
    "the internet in our building",
    "the delivery window",
    "that invoice",
    "the loyalty card",
    "my replacement router",
    "the fruit section",
];
const VERDICTS: [&str; 10] = [
    "works like a charm",
    "is late again and nobody picks up the phone",
    "was charged twice and I still wait for an answer",
    "is okay I guess",
    "made my day, thank you so much",
    "has been down since this morning, what a joke",
    "looks the same as last year",
    "arrived with half of it missing",
    "opens at nine on Sundays",
    "got fixed within the hour, impressed",
];
const ENDINGS: [&str; 6] = [
    "",
    "#fail",
    "anyone else?",
    "\u{1f602}",
    "I have been a customer for years and this is where I start to look around for somebody else",
    "more at https://example.com/thread",
];

/// `count` posts; the n-th is the same whenever and wherever it is made.
pub(crate) fn posts(count: usize) -> Vec<Post> {
    (0..count).map(post).collect()
}

/// The n-th post.
pub(crate) fn post(n: usize) -> Post {
    Post { id: n.to_string().into(), text: text(n).into(), ..Post::default() }
}

fn text(n: usize) -> String {
    // Steps that share no factor with the lists walk through all combinations.
    let pick =
        |list: &'static [&'static str], step: usize| list[(n * step + n / list.len()) % list.len()];
    let sentences = 1 + (n * 7 + n / 5) % 3;
    let mut text = pick(&OPENINGS, 3).to_owned();
    for sentence in 0..sentences {
        let m = n + sentence * 31;
        let (subject, verdict) = (SUBJECTS[(m * 3) % 10], VERDICTS[(m * 7 + m / 10) % 10]);
        text.push_str(&format!(" {subject} {verdict}."));
    }
    format!("{text} {} (case {n})", pick(&ENDINGS, 5))
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_are_different() {
        let texts: std::collections::HashSet<_> =
            super::posts(5000).into_iter().map(|post| post.text).collect();
        assert_eq!(texts.len(), 5000);
    }
}
