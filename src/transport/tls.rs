//! TLS for both ports: the certificate, its key, and whom to let in.
//!
//! The only file besides `incoming` that names rustls. New files are in force
//! for the next connection; those that are open stay as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, Validity, X509Certificate};

use pounce_types::clock::now;
use pounce_types::post::Timestamp;

use super::metrics;
use crate::lifecycle::reload::{FileError, Reloaded};

/// Where the PEM files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by its intermediate certificates.
    pub cert: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// CA bundle that client certificates are verified against: mutual TLS.
    pub client_ca: Option<PathBuf>,
}

/// TLS as the files have it now.
pub type Tls = Reloaded<TlsConfig>;

/// What a connection is accepted with.
pub struct TlsConfig {
    pub(super) grpc: Arc<ServerConfig>,
    pub(super) http: Arc<ServerConfig>,
    /// Of the server's certificate.
    valid: CertificateValidity,
}

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CertificateValidity {
    from: i64,
    until: i64,
}

impl CertificateValidity {
    /// Why clients refuse the certificate at `at`, if they do.
    fn fault(self, at: Timestamp) -> Option<&'static str> {
        let at = i64::try_from(at.millis() / 1000).unwrap_or(i64::MAX);
        if at > self.until {
            Some("has expired")
        } else if at < self.from {
            Some("is not valid yet")
        } else {
            None
        }
    }
}

/// Reads the files. A certificate that is not valid now is used, with a warning in the log; it
/// does not replace one that is valid.
/// # Errors
/// [`FileError`] naming the file that is missing or invalid.
pub fn open(files: TlsFiles) -> Result<Tls, FileError> {
    let paths = [&files.cert, &files.key].into_iter().chain(&files.client_ca);
    let paths = paths.cloned().collect();
    Reloaded::open("tls", paths, move |contents, before: Option<&TlsConfig>| {
        let config = config(&files, contents)?;
        if let Some(fault) = config.valid.fault(now()) {
            if before.is_some_and(|before| before.valid.fault(now()).is_none()) {
                return Err(FileError::new(&files.cert, fault));
            }
            tracing::warn!(file = %files.cert.display(), "the certificate {fault}");
        }
        metrics::certificate_in_use(config.valid.until);
        Ok(config)
    })
}

fn config(files: &TlsFiles, contents: &[Vec<u8>]) -> Result<TlsConfig, FileError> {
    let chain = certificates(&files.cert, &contents[0])?;
    let valid = validity(&chain[0])
        .ok_or_else(|| FileError::new(&files.cert, "holds a certificate that can't be read"))?;
    let mut grpc = server_config(files, chain, contents)?;
    let mut http = grpc.clone();
    grpc.alpn_protocols = vec![b"h2".to_vec()];
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConfig { grpc: Arc::new(grpc), http: Arc::new(http), valid })
}

fn validity(certificate: &CertificateDer<'_>) -> Option<CertificateValidity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let Validity { not_before, not_after } = parsed.validity();
    Some(CertificateValidity { from: not_before.timestamp(), until: not_after.timestamp() })
}

fn server_config(
    files: &TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    contents: &[Vec<u8>],
) -> Result<ServerConfig, FileError> {
    let key = PrivateKeyDer::from_pem_slice(&contents[1])
        .map_err(|_| FileError::new(&files.key, "holds no private key in PEM"))?;
    let verifier = match &files.client_ca {
        Some(file) => verifier(file, &contents[2])?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileError::new(&files.cert, error))?
        .with_client_cert_verifier(verifier)
        // Also refuses a key that is not the certificate's.
        .with_single_cert(chain, key)
        .map_err(|error| {
            FileError::new(
                &files.cert,
                format!("does not go with {}: {error}", files.key.display()),
            )
        })
}

fn verifier(file: &Path, pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, pem)? {
        roots.add(certificate).map_err(|error| FileError::new(file, error))?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| FileError::new(file, error))
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(FileError::new(file, "holds no certificate in PEM")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_valid_between_its_two_times() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        let valid = validity(certificate.der()).expect("a certificate");
        assert_eq!(valid, CertificateValidity { from: 1_767_225_600, until: 1_775_001_600 });
        let fault = |seconds: u64| valid.fault(Timestamp::from_millis(seconds * 1000));
        assert_eq!(fault(1_767_225_599), Some("is not valid yet"));
        assert_eq!(fault(1_767_225_600), None);
        assert_eq!(fault(1_775_001_600), None);
        assert_eq!(fault(1_775_001_601), Some("has expired"));
    }
}
