//! Certificates for 127.0.0.1, and an authority that vouches for them.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use pounce_client::Access;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Vouches for certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate with the name of its issuer for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for 127.0.0.1, and its key.
    pub fn issue(&self) -> (String, String) {
        self.issue_until(4000)
    }

    /// One that expires with the first day of `year`.
    pub fn issue_until(&self, year: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    pub fn trusted(&self) -> Access {
        Access { ca: Some(self.pem.clone().into()), ..Access::default() }
    }

    pub fn trusted_as(&self, client: &Self) -> Access {
        let (cert, key) = client.issue();
        Access { identity: Some((cert.into(), key.into())), ..self.trusted() }
    }
}
