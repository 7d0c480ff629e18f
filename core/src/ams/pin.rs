//! Certificates that are trusted because they are the very one the operator named: AMS signs its own.
//! No authority and no name is looked at, nor when it expires; that the other side holds the key of
//! the certificate is proven in every handshake. Pure.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::credential;

/// SHA-256 of a certificate in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl std::str::FromStr for Fingerprint {
    type Err = String;

    /// Reads 64 hexadecimal digits, with or without colons, as `openssl x509 -fingerprint -sha256`
    /// prints them.
    fn from_str(text: &str) -> Result<Self, String> {
        let problem = "needs the SHA-256 of the certificate: 64 hexadecimal digits";
        let hash = credential::sha256_from_hex(&text.replace(':', ""));
        hash.map(Self).ok_or_else(|| problem.to_owned())
    }
}

#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A client that talks to whoever holds this certificate, and to nobody else.
pub(super) fn client(fingerprint: Fingerprint) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    let verifier = Arc::new(Pinned { fingerprint, algorithms });
    Ok(builder.with_custom_certificate_verifier(verifier).with_no_client_auth())
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Sha256::digest(end_entity);
        if bool::from(found.ct_eq(&self.fingerprint.0)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    /// A server that signed its own certificate, and the fingerprint of that.
    fn server() -> (Arc<ServerConfig>, Fingerprint) {
        let made = rcgen::generate_simple_self_signed(["whatever.test".to_owned()]).unwrap();
        let der = made.cert.der().clone();
        let fingerprint = Fingerprint(Sha256::digest(&der).into());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        (Arc::new(builder.with_single_cert(vec![der], key).unwrap()), fingerprint)
    }

    #[tokio::test]
    async fn one_certificate_is_trusted_under_any_name_and_no_other() {
        let ((server, fingerprint), (_, other)) = (server(), server());
        for (fingerprint, trusted) in [(fingerprint, true), (other, false)] {
            let (near, far) = tokio::io::duplex(64 << 10);
            let accepting = tokio_rustls::TlsAcceptor::from(server.clone()).accept(far);
            let connector =
                tokio_rustls::TlsConnector::from(Arc::new(client(fingerprint).unwrap()));
            let connecting = connector.connect(ServerName::try_from("192.0.2.1").unwrap(), near);
            let (connected, _accepted) = tokio::join!(connecting, accepting);
            assert_eq!(connected.is_ok(), trusted);
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let plain: Fingerprint = "ab".repeat(32).parse().unwrap();
        let colons: Fingerprint = vec!["AB"; 32].join(":").parse().unwrap();
        assert_eq!(plain, colons);
        for bad in ["", "ab", &"ab".repeat(31), &"xy".repeat(32), &"ab".repeat(33)] {
            assert!(bad.parse::<Fingerprint>().unwrap_err().contains("64 hexadecimal digits"));
        }
    }
}
