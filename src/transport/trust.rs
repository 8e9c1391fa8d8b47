//! TLS of the calls that we make: whose certificates to trust.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::lifecycle::reload::FileError;

/// Trusts the CA bundle (PEM) in a file; none: what the system trusts.
/// # Errors
/// [`FileError`] naming the file that can't be read or is invalid.
pub(crate) fn client_config(ca: Option<&Path>) -> Result<ClientConfig, FileError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca {
        let fault = |error: &dyn std::fmt::Display| FileError::new(file, error);
        let pem = std::fs::read(file).map_err(|error| fault(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| fault(&error))?;
            roots.add(certificate).map_err(|error| fault(&error))?;
        }
        if roots.is_empty() {
            return Err(fault(&"holds no certificate in PEM"));
        }
    } else {
        // One of them that can't be read is no reason to trust none.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileError::new(ca.unwrap_or(Path::new("TLS")), error))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_vouches_for_nobody_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        for (content, fault) in [("", "holds no certificate"), ("nonsense", "holds no certificate")]
        {
            std::fs::write(&file, content).expect("written");
            let error = client_config(Some(&file)).expect_err("must be refused").to_string();
            assert!(error.contains("ca.pem") && error.contains(fault), "{error}");
        }
        let error = client_config(Some(&folder.path().join("none"))).expect_err("must be refused");
        assert!(error.to_string().contains("No such file"), "{error}");
        assert!(client_config(None).is_ok());
    }
}
