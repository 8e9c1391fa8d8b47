//! Who may call what: bearer tokens, known by their hashes alone.
//!
//! A line a token, `NAME sha256:HEX SCOPE[,SCOPE] [posts-per-second=N]`; `#`
//! begins a comment. The file holds nothing that lets anybody in: a token is
//! 256 random bits, so that a fast hash is as good as a slow one.

use std::fmt::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::auth::bucket::Bucket;
use crate::lifecycle::reload::{FileError, Reloaded};

/// Tokens of one file: each call compares with all of them.
const TOKENS_MAX: usize = 1024;
/// Bytes of a token's name.
const NAME_BYTES_MAX: usize = 64;
/// Begins every token that we make, so that scanners for secrets find it.
const PREFIX: &str = "pounce_";

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Send posts.
    Score,
    /// See alerts and topics.
    AlertsRead,
    /// Acknowledge alerts.
    AlertsWrite,
    /// See cases.
    CasesRead,
    /// Claim, release and close cases.
    CasesWrite,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Score, Self::AlertsRead, Self::AlertsWrite, Self::CasesRead, Self::CasesWrite];

    /// As in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::AlertsRead => "alerts:read",
            Self::AlertsWrite => "alerts:write",
            Self::CasesRead => "cases:read",
            Self::CasesWrite => "cases:write",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is no scope; known are {known}")
        })
    }
}

/// SHA-256 of a token.
#[derive(Clone, Copy)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64)?;
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    fn show(&self) -> String {
        format!("sha256:{}", hex(&self.0))
    }

    fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// One token of the file.
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) hash: TokenHash,
    scopes: Vec<Scope>,
    pub(crate) posts_per_second_max: Option<NonZeroU32>,
    /// Outlives a reload, or each would be a full bucket.
    pub(crate) bucket: Option<Arc<Mutex<Bucket>>>,
}

impl Token {
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// The tokens of a file.
pub struct Tokens {
    tokens: Vec<Arc<Token>>,
}

/// Reads a file of tokens; those without a limit of their own have
/// `posts_per_second_max`.
/// # Errors
/// [`FileError`] naming the file and its line; it holds no hash and no token.
pub fn open(
    file: PathBuf,
    posts_per_second_max: Option<NonZeroU32>,
) -> Result<Reloaded<Tokens>, FileError> {
    Reloaded::open("tokens", vec![file.clone()], move |contents, before| {
        Tokens::parse(&contents[0], posts_per_second_max, before)
            .map_err(|reason| FileError::new(&file, reason))
    })
}

impl Tokens {
    fn parse(
        content: &[u8],
        posts_per_second_max: Option<NonZeroU32>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "is not UTF-8".to_owned())?;
        let mut tokens: Vec<Arc<Token>> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let fault = |reason: String| format!("line {number}: {reason}");
            let mut token = parse_line(line, posts_per_second_max).map_err(fault)?;
            if tokens.iter().any(|t| t.name == token.name || t.hash.same(&token.hash)) {
                return Err(fault("a second token of the same name or hash".to_owned()));
            }
            token.bucket = token.posts_per_second_max.map(|rate| {
                let kept = before
                    .and_then(|before| before.find(&token.hash))
                    .filter(|before| before.posts_per_second_max == token.posts_per_second_max);
                let kept = kept.and_then(|before| before.bucket.clone());
                kept.unwrap_or_else(|| Arc::new(Mutex::new(Bucket::new(rate, Instant::now()))))
            });
            tokens.push(Arc::new(token));
        }
        match tokens.len() {
            // Most likely a file caught in the middle of being written.
            0 => Err("holds no token".to_owned()),
            1..=TOKENS_MAX => Ok(Self { tokens }),
            more => Err(format!("holds {more} tokens, more than {TOKENS_MAX}")),
        }
    }

    /// The token with this hash. Compares with all, each in constant time.
    pub(crate) fn find(&self, hash: &TokenHash) -> Option<&Arc<Token>> {
        let mut found = None;
        for token in &self.tokens {
            if token.hash.same(hash) {
                found = Some(token);
            }
        }
        found
    }
}

fn parse_line(line: &str, posts_per_second_max: Option<NonZeroU32>) -> Result<Token, String> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(hash), Some(scopes)) = (words.next(), words.next(), words.next()) else {
        return Err("is not `NAME sha256:HEX SCOPE[,SCOPE] [posts-per-second=N]`".to_owned());
    };
    let name = parse_name(name)?;
    let hash = TokenHash::parse(hash)
        .ok_or_else(|| "the second word is not `sha256:` and 64 hexadecimal digits".to_owned())?;
    let scopes: Result<Vec<Scope>, String> = scopes.split(',').map(str::parse).collect();
    let mut token = Token { name, hash, scopes: scopes?, posts_per_second_max, bucket: None };
    for option in words {
        let rate = option.strip_prefix("posts-per-second=").and_then(|rate| rate.parse().ok());
        token.posts_per_second_max = Some(rate.ok_or_else(|| {
            "words after the scopes must be `posts-per-second=N`, N from 1".to_owned()
        })?);
    }
    Ok(token)
}

fn parse_name(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name.to_owned());
    }
    Err(format!("a name has 1 to {NAME_BYTES_MAX} letters, digits, dashes, dots or underscores"))
}

/// A new token and its line for the file.
pub struct NewToken {
    /// The secret: for its owner alone.
    pub token: String,
    /// What the file needs to know.
    pub line: String,
}

impl NewToken {
    /// Makes a token of 256 random bits.
    /// # Errors
    /// One line, if the name is of no use or the system has no randomness.
    pub fn make(
        name: &str,
        scopes: &[Scope],
        posts_per_second_max: Option<NonZeroU32>,
    ) -> Result<Self, String> {
        let name = parse_name(name)?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| error.to_string())?;
        let token = format!("{PREFIX}{}", hex(&secret));
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        let hash = TokenHash::of(token.as_bytes()).show();
        let mut line = format!("{name} {hash} {}", scopes.join(","));
        if let Some(rate) = posts_per_second_max {
            line += &format!(" posts-per-second={rate}");
        }
        Ok(Self { token, line })
    }

    /// Appends the line to a file of tokens, which is made if it is not there.
    /// # Errors
    /// [`FileError`] if the file would not be valid with it; it is then left as it was.
    pub fn append_to(&self, file: &Path) -> Result<(), FileError> {
        let fault = |error: std::io::Error| FileError::new(file, error);
        let mut content = match std::fs::read_to_string(file) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(fault(error)),
        };
        if !content.is_empty() && !content.ends_with('\n') {
            content.push('\n');
        }
        content += &self.line;
        content.push('\n');
        Tokens::parse(content.as_bytes(), None, None)
            .map_err(|reason| FileError::new(file, reason))?;
        std::fs::write(file, content).map_err(fault)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tokens, String> {
        Tokens::parse(text.as_bytes(), NonZeroU32::new(7), None)
    }

    fn line(name: &str) -> (TokenHash, String) {
        let made = NewToken::make(name, &[Scope::Score], None).expect("made");
        (TokenHash::of(made.token.as_bytes()), made.line)
    }

    #[test]
    fn the_hash_is_what_sha256sum_prints() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of(b"abc").show(), abc);
    }

    #[test]
    fn a_token_is_found_by_its_hash_with_its_scopes_and_limits() {
        let ((shop, shop_line), (board, board_line)) = (line("shop"), line("board"));
        let board_line = board_line.replace(" score", " alerts:read,alerts:write");
        let text = format!("# people\n\n{shop_line} # the shop\n{board_line} posts-per-second=3\n");
        let tokens = parse(&text).expect("good");
        let found = tokens.find(&shop).expect("known");
        assert_eq!((found.name.as_str(), found.posts_per_second_max), ("shop", NonZeroU32::new(7)));
        assert_eq!(Scope::ALL.map(|scope| found.may(scope)), [true, false, false, false, false]);
        let found = tokens.find(&board).expect("known");
        assert_eq!(
            (found.name.as_str(), found.posts_per_second_max),
            ("board", NonZeroU32::new(3))
        );
        assert_eq!(Scope::ALL.map(|scope| found.may(scope)), [false, true, true, false, false]);
        assert!(tokens.find(&TokenHash::of(b"pounce_guess")).is_none());
    }

    #[test]
    fn each_fault_names_its_line_and_repeats_no_hash() {
        let (_, good) = line("shop");
        let hash = good.split(' ').nth(1).expect("the hash").to_owned();
        for (bad, says) in [
            ("shop".to_owned(), "is not `NAME"),
            ("shop sha256:12 score".to_owned(), "64 hexadecimal digits"),
            (format!("shop {hash} scores"), "`scores` is no scope"),
            (format!("shop {hash} score posts-per-second=0"), "posts-per-second=N"),
            (format!("sh/op {hash} score"), "a name has"),
            (format!("other {hash} score"), "same name or hash"),
            (line("shop").1, "same name or hash"),
        ] {
            let known = if says.contains("same") { good.as_str() } else { "" };
            let Err(error) = parse(&format!("{known}\n{bad}\n")) else { panic!("{bad}") };
            assert!(error.starts_with("line 2: ") && error.contains(says), "{error}");
            assert!(!error.contains(&hash[10..20]), "{error}");
        }
        let Err(error) = parse("# nobody\n") else { panic!("must fail") };
        assert_eq!(error, "holds no token");
    }

    #[test]
    fn a_reload_keeps_what_a_token_has_used_up() {
        let (hash, text) = line("shop");
        let before = parse(&text).expect("good");
        let after = Tokens::parse(text.as_bytes(), NonZeroU32::new(7), Some(&before));
        let after = after.expect("good");
        let bucket = |tokens: &Tokens| tokens.find(&hash).and_then(|token| token.bucket.clone());
        let (before, after) = (bucket(&before).expect("limited"), bucket(&after).expect("limited"));
        assert!(Arc::ptr_eq(&before, &after));
    }

    #[test]
    fn a_new_token_is_appended_and_a_second_of_its_name_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tokens");
        let make = |name: &str| NewToken::make(name, &[Scope::Score], None).expect("made");
        make("shop").append_to(&file).expect("appended");
        make("board").append_to(&file).expect("appended");
        let before = std::fs::read_to_string(&file).expect("readable");
        assert_eq!(before.lines().count(), 2);
        assert!(make("shop").append_to(&file).is_err());
        assert_eq!(std::fs::read_to_string(&file).expect("readable"), before);
    }
}
