//! TLS for the gRPC port: the certificate, its key, and whom to let in.
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
pub type Tls = Reloaded<ServerConfig>;

/// Reads the files.
/// # Errors
/// [`FileError`] naming the file that is missing or of no use.
pub fn open(files: TlsFiles) -> Result<Tls, FileError> {
    let paths = [&files.cert, &files.key].into_iter().chain(&files.client_ca);
    let paths = paths.cloned().collect();
    Reloaded::open("tls", paths, move |contents, _| server_config(&files, contents))
}

fn server_config(files: &TlsFiles, contents: &[Vec<u8>]) -> Result<ServerConfig, FileError> {
    let chain = certificates(&files.cert, &contents[0])?;
    let key = PrivateKeyDer::from_pem_slice(&contents[1])
        .map_err(|_| FileError::new(&files.key, "holds no private key in PEM"))?;
    let verifier = match &files.client_ca {
        Some(file) => verifier(file, &contents[2])?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
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
        })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
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
