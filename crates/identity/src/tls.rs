//! TLS as Sottovoce speaks it: 1.3 alone (RFC 8446), X25519MLKEM768 alone, one application protocol, nothing resumed.
//! The server proves its name by X.509, the client its key by a raw public key (RFC 7250).
//!
//! In rustls the two are negotiated apart. `client_certificate_type` is offered by a client whose resolver says
//! `only_raw_public_keys` and demanded by a server whose client verifier says `requires_raw_public_keys`; whichever
//! side lacks its half makes the other end the handshake. `server_certificate_type` is offered by neither, and then
//! RFC 7250 section 3 has the server send X.509.

mod client;
mod server;

use std::{io, sync::Arc};

use protocol::ServerName;
use rustls::{
    CipherSuite, Error, NamedGroup, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, pem::PemObject as _},
};
use webpki::EndEntityCert;

use crate::host;

pub use client::{Negotiated, Roots, certificate_bears, check_authority, client_config, negotiated, server_goes_by};
pub use server::{certifies, client_key, client_verifier, server_config};

/// Why there is no TLS configuration, or why a connection is not what it must be.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that should hold certificates holds none.
    #[error("there is no certificate where one is needed; it should be a PEM file, `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// A certificate cannot be read.
    #[error("a certificate cannot be read: {0}; put back the file that was handed out")]
    BadCertificate(String),
    /// The system trusts nobody.
    #[error(
        "this system has no root certificates that can be read ({0}); install its package of CA certificates, or name the server's CA file in the profile"
    )]
    NoSystemRoots(String),
    /// A file that should hold the server's private key holds none that can be read.
    #[error(
        "there is no private key that can be used ({0}); it should be a PEM file without a password, `-----BEGIN PRIVATE KEY-----`"
    )]
    BadKey(String),
    /// The server's private key is not the one that its certificate is for.
    #[error("the server's private key does not belong to its certificate; put the two that belong together in place")]
    KeyOfAnother,
    /// The TLS library does not take the configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(Error),
    /// The question came before the handshake was over.
    #[error("the TLS handshake is not over yet")]
    Unfinished,
    /// The client did not prove to hold an Ed25519 key.
    #[error("the client did not prove to hold an Ed25519 key")]
    NoClientKey,
    /// The other side does not speak [`protocol::ALPN`].
    #[error("the other side speaks TLS, but not Sottovoce's protocol; is this the right address and port?")]
    NotOurs,
    /// What was negotiated is weaker than what is offered, which TLS rules out.
    #[error("the connection uses {0}, which is not accepted")]
    Weak(String),
}

/// Whether a connection failed because the server could not prove to be the one it was called: its certificate is
/// from another CA, for another name, expired, not valid yet, or not for servers, or its key is not the one
/// certified.
///
/// What a client's connection fails with is a [`rustls::Error`], often inside an [`io::Error`]: [`tls_error`] gets it
/// out. An alert that the *other* side sent is never taken for this.
pub fn is_untrusted(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(_) | Error::NoCertificatesPresented | Error::UnsupportedNameType)
}

/// The error of TLS that an I/O operation on a TLS stream failed with, if it was one.
pub fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

const GROUP: NamedGroup = NamedGroup::X25519MLKEM768;

/// Suites with keys of 256 bits. TLS 1.3 has one more, with 128, which both ends of this protocol can do without.
const SUITES: [SupportedCipherSuite; 2] =
    [aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384, aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    })
}

fn is_our_suite(suite: CipherSuite) -> bool {
    SUITES.iter().any(|ours| ours.suite() == suite)
}

fn is_for(certificate: &EndEntityCert<'_>, name: &ServerName) -> bool {
    host::subject(name).is_some_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
}

/// The certificates in a PEM file, one at least.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::BadCertificate(error.to_string()))?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}
