//! A file of tokens, as `pounce token` would write it.

#![allow(unreachable_pub, reason = "shared by test files")]

use std::path::PathBuf;

use pounce::auth::tokens::{self, NewToken, Scope, Tokens};
use pounce::lifecycle::reload::Reloaded;
use tempfile::TempDir;

pub struct TokenFile {
    folder: TempDir,
}

impl TokenFile {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// Adds somebody's token, which is the answer.
    pub fn add(&self, name: &str, scopes: &[Scope]) -> String {
        let made = NewToken::make(name, scopes, None).expect("a token");
        made.append_to(&self.path()).expect("appended");
        made.token
    }

    /// What a service reads of it.
    pub fn open(&self) -> Reloaded<Tokens> {
        tokens::open(self.path(), None).expect("good")
    }
}
