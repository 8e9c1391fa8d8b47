//! Page tokens: where a list goes on, and of which list. Callers can't read anything from them.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

/// The token of the page of `list` that begins after `position`.
pub(crate) fn encode(list: &impl Hash, position: &impl Serialize) -> String {
    // Numbers and strings: this can't fail.
    let content = serde_json::to_vec(&(identity(list), position)).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(content)
}

/// The position that a token of `list` holds; none for the first page, whose token is empty.
/// # Errors
/// `INVALID_ARGUMENT` if this is no token, or one of another list.
pub(crate) fn decode<P: DeserializeOwned>(
    list: &impl Hash,
    token: &str,
) -> Result<Option<P>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let content = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let held = content.and_then(|content| serde_json::from_slice::<(u64, P)>(&content).ok());
    match held {
        Some((of, position)) if of == identity(list) => Ok(Some(position)),
        Some(_) => Err(Status::invalid_argument("page_token is of a list with other fields")),
        None => Err(Status::invalid_argument("page_token is none that this call returned")),
    }
}

/// The same in every process of a version, so that another replica can go on.
fn identity(list: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    list.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_on_with_its_own_list_alone() {
        let token = encode(&("kite", true), &(7, "seven"));
        let position = decode::<(u32, String)>(&("kite", true), &token);
        assert_eq!(position.expect("its own"), Some((7, "seven".to_owned())));
        for (list, token) in [(("kite", false), token.as_str()), (("kite", true), "nonsense")] {
            let refused = decode::<(u32, String)>(&list, token).expect_err("not its own");
            assert!(refused.message().starts_with("page_token is "), "{refused}");
        }
        assert_eq!(decode::<u32>(&"kite", "").expect("the first page"), None);
    }
}
