//! Keys and signed claims for a NATS server that asks for credentials, as `nsc` would make them.

#![allow(unreachable_pub, reason = "shared by test files")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// Who runs a server: signs accounts, which sign their users.
pub struct Operator {
    operator: KeyPair,
    /// Of the server itself.
    system: KeyPair,
    account: KeyPair,
}

impl Operator {
    pub fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
        }
    }

    /// A configuration with JetStream for one account.
    pub fn config(&self) -> String {
        let claims = json!({
            "type": "operator",
            "version": 2,
            "system_account": self.system.public_key(),
        });
        let operator = signed(&self.operator, &self.operator, claims);
        let account = |account: &KeyPair, storage: i64| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": storage,
                "disk_storage": storage, "streams": storage, "consumer": storage,
            });
            let claims = json!({ "type": "account", "version": 2, "limits": limits });
            let name = account.public_key();
            format!("  {name}: {}\n", signed(&self.operator, account, claims))
        };
        format!(
            "operator: {operator}\nresolver: MEMORY\nresolver_preload: {{\n{}{}}}\n",
            account(&self.system, 0),
            account(&self.account, -1)
        )
    }

    /// The file that a user of the account shows.
    pub fn credentials(&self) -> String {
        let user = KeyPair::new_user();
        let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let claims = signed(&self.account, &user, claims);
        let seed = user.seed().expect("a new key");
        format!(
            "-----BEGIN NATS USER JWT-----\n{claims}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A JSON Web Token (RFC 7519) with NATS's claims of a `subject`.
fn signed(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": subject.public_key(),
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": "test",
        "nats": nats,
    });
    let content = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.sign(content.as_bytes()).expect("a key with its seed");
    format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature))
}
