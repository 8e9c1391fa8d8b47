//! Posts of one topic, each by an author of its own, a tenth of a second apart. No test has posts for
//! as long as the lateness, so that none is late however often it is sent or however long it waits.

#![allow(unreachable_pub, reason = "shared by test files")]

use pounce_proto::{Author, Post};

/// Event time of the first post, in milliseconds.
const START: i64 = 1_700_000_000_000;
/// Milliseconds between two.
pub const STEP: i64 = 100;

pub fn post(n: i64) -> Post {
    let at = START + STEP * n;
    let nanos = i32::try_from(at % 1000 * 1_000_000).expect("below a second");
    Post {
        id: n.to_string().into(),
        text: format!("order {n} arrived with half of it missing, never again").into(),
        topic: "acme".into(),
        author: Some(Author { id: format!("author {n}").into(), followers: 0 }),
        posted_at: Some(prost_types::Timestamp { seconds: at / 1000, nanos }),
        ..Post::default()
    }
}
