//! What a client shows to the service, and how it reaches one server: over TLS or not, with a token
//! or without.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::error::{ClientError, whole};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What a client shows and asks for. An `http` address is plaintext, an `https`
/// one TLS. The default trusts the system's authorities and has no token.
#[derive(Clone, Default)]
pub struct Access {
    /// CA bundle (PEM) used to verify the server's certificate; the
    /// system's if none.
    pub ca: Option<Vec<u8>>,
    /// The client's own certificate and key in PEM, where the service asks for them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// A bearer token.
    pub token: Option<String>,
}

/// Shows the token with each call. Its `Debug` does not.
#[derive(Debug, Clone)]
pub struct Credential(Option<MetadataValue<Ascii>>);

impl Credential {
    /// Shows nothing.
    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A server that shows a certificate for `server_name`; none: for the host in `addr`.
pub(super) fn endpoint(
    addr: &str,
    access: &Access,
    server_name: Option<&str>,
) -> Result<Endpoint, ClientError> {
    let fault = |reason: String| ClientError::Address { addr: addr.to_owned(), reason };
    let mut endpoint = Endpoint::from_shared(addr.to_owned()).map_err(|e| fault(whole(&e)))?;
    let secure = match endpoint.uri().scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(_) => return Err(fault("the scheme is neither http nor https".to_owned())),
        None => return Err(fault("the scheme is missing".to_owned())),
    };
    if secure {
        let tls = access.tls();
        let tls = server_name.map_or(tls.clone(), |name| tls.domain_name(name));
        endpoint = endpoint.tls_config(tls).map_err(|e| ClientError::Access(whole(&e)))?;
    } else if access.ca.is_some() || access.identity.is_some() {
        return Err(fault("certificates are for https".to_owned()));
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

impl Access {
    fn tls(&self) -> ClientTlsConfig {
        let tls = ClientTlsConfig::new();
        let tls = match &self.ca {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        match &self.identity {
            Some((cert, key)) => tls.identity(Identity::from_pem(cert, key)),
            None => tls,
        }
    }

    /// What its calls show.
    pub(super) fn credential(&self) -> Result<Credential, ClientError> {
        let Some(token) = &self.token else { return Ok(Credential(None)) };
        let mut header = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| ClientError::Access("the token is not plain text".to_owned()))?;
        header.set_sensitive(true);
        Ok(Credential(Some(header)))
    }
}
