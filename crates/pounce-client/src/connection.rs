//! How a client reaches the service: over TLS or not, with a token or without.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::error::{ClientError, whole};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Servers to choose from.
const SERVERS_MAX: usize = 256;

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

/// A connection that is made when needed and made anew when lost.
pub type Line = InterceptedService<Channel, Credential>;

/// Shows the token with each call. Its `Debug` does not.
#[derive(Debug, Clone)]
pub struct Credential(Option<MetadataValue<Ascii>>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Prepares a connection to `addr`, such as `http://127.0.0.1:50051`; connects
/// with the first call.
/// # Errors
/// [`ClientError::Address`] or [`ClientError::Access`].
pub fn line(addr: &str, access: &Access) -> Result<Line, ClientError> {
    let channel = endpoint(addr, access)?.connect_lazy();
    Ok(InterceptedService::new(channel, access.credential()?))
}

/// As [`line()`], to several servers: each call goes to one of them, a long
/// stream stays where it is. A server that is lost is tried again when its turn
/// comes.
/// # Errors
/// [`ClientError::Address`] or [`ClientError::Access`].
pub(super) fn balanced<S: AsRef<str>>(addrs: &[S], access: &Access) -> Result<Line, ClientError> {
    if let [addr] = addrs {
        return line(addr.as_ref(), access);
    }
    if !(1..=SERVERS_MAX).contains(&addrs.len()) {
        let reason = format!("there must be 1 to {SERVERS_MAX} addresses");
        return Err(ClientError::Address { addr: format!("a list of {}", addrs.len()), reason });
    }
    let endpoints: Result<Vec<_>, _> =
        addrs.iter().map(|addr| endpoint(addr.as_ref(), access)).collect();
    let channel = Channel::balance_list(endpoints?.into_iter());
    Ok(InterceptedService::new(channel, access.credential()?))
}

fn endpoint(addr: &str, access: &Access) -> Result<Endpoint, ClientError> {
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

/// A connection over a channel that was made in another way.
pub(super) fn bare(channel: Channel) -> Line {
    InterceptedService::new(channel, Credential(None))
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

    fn credential(&self) -> Result<Credential, ClientError> {
        let Some(token) = &self.token else { return Ok(Credential(None)) };
        let mut header = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| ClientError::Access("the token is not plain text".to_owned()))?;
        header.set_sensitive(true);
        Ok(Credential(Some(header)))
    }
}
