//! The flags of every command that calls a running service.

use std::path::{Path, PathBuf};

use clap::Args;
use pounce_client::{Access, Client, ClientError, Line, line};

/// Where the service is, and what to show it.
#[derive(Debug, Args)]
pub(crate) struct ConnectionFlags {
    /// Address of the service; https:// uses TLS; dns:///NAME:PORT is all servers that a name resolves
    /// to, dns+https:///NAME:PORT the same with TLS; `pounce score`, `bridge`, `watch`,
    /// `topics`, `cases`, `alerts` and `acknowledge` accept several addresses of one fleet
    #[arg(
        long,
        env = "POUNCE_ADDR",
        default_value = "http://127.0.0.1:50051",
        value_delimiter = ',',
        value_name = "URL,.."
    )]
    addr: Vec<String>,
    /// CA bundle (PEM) used to verify the server's certificate [default: the system's]
    #[arg(long, env = "POUNCE_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Client certificate (PEM), for a service that asks for one
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM)
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// File with the bearer token and nothing else
    #[arg(long, env = "POUNCE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ConnectionFlags {
    /// A client of the service.
    pub(crate) fn client(&self) -> Result<Client, ClientError> {
        Client::connect_with(self.one()?, &self.access()?)
    }

    /// A client of whichever server of a fleet is there.
    pub(crate) fn fleet(&self) -> Result<Client, ClientError> {
        Client::balanced(&self.addr, &self.access()?)
    }

    /// The answer of the first server that can be reached, in the order of the addresses.
    pub(crate) async fn ask<T>(
        &self,
        call: impl AsyncFn(Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let access = self.access()?;
        let (last, others) = self.addr.split_last().expect("clap gives the default");
        for addr in others {
            match call(Client::connect_with(addr, &access)?).await {
                Err(ClientError::Unreachable(_)) => {}
                answer => return answer,
            }
        }
        call(Client::connect_with(last, &access)?).await
    }

    /// A connection for other services than ours.
    pub(crate) fn line(&self) -> Result<Line, ClientError> {
        line(self.one()?, &self.access()?)
    }

    fn one(&self) -> Result<&str, ClientError> {
        match &self.addr[..] {
            [addr] => Ok(addr),
            more => Err(ClientError::Address {
                addr: more.join(","),
                reason: "this command asks one server".to_owned(),
            }),
        }
    }

    fn access(&self) -> Result<Access, ClientError> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
            _ => None,
        };
        let token = self.token_file.as_deref().map(token).transpose()?;
        Ok(Access { ca: self.tls_ca.as_deref().map(read).transpose()?, identity, token })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ClientError> {
    let fault = |error| ClientError::Access(format!("{}: {error}", file.display()));
    std::fs::read(file).map_err(fault)
}

fn token(file: &Path) -> Result<String, ClientError> {
    let content = read(file)?;
    let text = std::str::from_utf8(&content).unwrap_or_default().trim();
    if text.is_empty() {
        return Err(ClientError::Access(format!("{}: holds no token", file.display())));
    }
    Ok(text.to_owned())
}
