//! Opening ports. A port that cannot be opened is named together with the variable that changes
//! it.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::env::{Env, EnvError};

/// An address to listen on, and the variable it came from.
#[derive(Debug, Clone)]
pub struct ListenAddr {
    /// The address; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// The variable that sets it.
    pub variable: &'static str,
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {addr}: {source}; set {variable} to another address, for example {variable}=127.0.0.1:0"
)]
pub struct ListenError {
    addr: SocketAddr,
    variable: &'static str,
    source: std::io::Error,
}

impl ListenAddr {
    /// Reads the address from the environment.
    pub fn from_env(env: &Env, variable: &'static str, default: &str) -> Result<Self, EnvError> {
        let text = env.text(variable, default);
        let addr = text.parse().map_err(|_| {
            EnvError::new(variable, format!("'{text}' is no address; write 127.0.0.1:8080"))
        })?;
        Ok(Self { addr, variable })
    }

    /// Opens the port.
    pub async fn bind(&self) -> Result<TcpListener, ListenError> {
        let Self { addr, variable } = *self;
        TcpListener::bind(addr).await.map_err(|source| ListenError { addr, variable, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_variable() {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = first.local_addr().unwrap();
        let second = ListenAddr { addr, variable: "POSTERN_REST_LISTEN" }.bind().await;
        let error = second.unwrap_err().to_string();
        assert!(error.contains(&addr.to_string()), "{error}");
        assert!(error.contains("set POSTERN_REST_LISTEN"), "{error}");
    }
}
