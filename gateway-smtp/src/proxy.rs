//! The PROXY protocol, version 2: a load balancer says at the start of a connection for whom it
//! speaks. Believed only from the networks that are configured to begin with it.

use std::net::SocketAddr;
use std::time::Duration;

use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;

/// The fixed part: signature, version and command, family, length.
const HEAD_BYTES: usize = 16;
/// The longest variable part that is read; addresses take at most 216.
const REST_BYTES_MAX: usize = 2048;
/// How long the load balancer may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// A connection that does not begin as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// It ended or broke.
    #[error("the connection broke in the PROXY header: {0}")]
    Io(#[from] std::io::Error),
    /// It took too long.
    #[error("the PROXY header did not come in time")]
    TimedOut,
    /// It is no header of version 2.
    #[error("there is no usable PROXY v2 header")]
    Malformed,
}

/// Reads the header and returns the client's address; none when the load balancer speaks for
/// itself, as in health checks.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyError> {
    tokio::time::timeout(TIME_MAX, header(stream)).await.map_err(|_| ProxyError::TimedOut)?
}

async fn header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyError> {
    let mut bytes = vec![0; HEAD_BYTES];
    stream.read_exact(&mut bytes).await?;
    let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    // The signature is checked before anything is read that it announces.
    if !bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") || rest > REST_BYTES_MAX {
        return Err(ProxyError::Malformed);
    }
    bytes.resize(HEAD_BYTES + rest, 0);
    stream.read_exact(&mut bytes[HEAD_BYTES..]).await?;
    let header = Header::try_from(bytes.as_slice()).map_err(|_| ProxyError::Malformed)?;
    if header.command == Command::Local {
        return Ok(None);
    }
    match header.addresses {
        Addresses::IPv4(pair) => Ok(Some((pair.source_address, pair.source_port).into())),
        Addresses::IPv6(pair) => Ok(Some((pair.source_address, pair.source_port).into())),
        Addresses::Unspecified => Ok(None),
        Addresses::Unix(_) => Err(ProxyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// What is read ends where the header says, and the address is the one that stands where the
    /// specification has it.
    #[test]
    fn fuzz_proxy() {
        postern_fuzz::check!("proxy", |input| {
            let mut stream = input;
            let read = header(&mut stream).now_or_never().unwrap();
            let taken = input.len() - stream.len();
            assert!(taken <= HEAD_BYTES + REST_BYTES_MAX);
            let Ok(client) = read else { return };
            let announced = usize::from(u16::from_be_bytes([input[14], input[15]]));
            assert_eq!(taken, HEAD_BYTES + announced);
            let Some(client) = client else { return };
            assert_eq!(input[12], 0x21);
            let (octets, port) = match input[13] >> 4 {
                1 => (&input[16..20], &input[24..26]),
                2 => (&input[16..32], &input[48..50]),
                other => panic!("family {other}"),
            };
            assert_eq!(client.port().to_be_bytes(), port);
            match client.ip() {
                std::net::IpAddr::V4(ip) => assert_eq!(ip.octets(), octets),
                std::net::IpAddr::V6(ip) => assert_eq!(ip.octets(), octets),
            }
        });
    }
}
