use std::sync::Arc;

use protocol::ServerName;
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore,
    client::{AlwaysResolvesClientRawPublicKeys, Resumption},
    crypto::aws_lc_rs::sign::any_eddsa_type,
    pki_types::CertificateDer,
    sign::CertifiedKey,
    version::TLS13,
};
use webpki::EndEntityCert;

use super::{GROUP, TlsError, certificates, is_for, is_our_suite, provider};
use crate::{UserKey, key};

/// Whom a client believes when a server shows its certificate.
#[derive(Clone, Debug)]
pub enum Roots {
    /// The certification authorities in the bytes of a PEM file, and nobody else.
    Pem(Vec<u8>),
    /// The authorities that the operating system trusts.
    System,
}

/// What the two ends of a connection agreed on, by the names that the standards give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The key exchange: `X25519MLKEM768`.
    pub group: String,
    /// Cipher and hash: `TLS13_AES_256_GCM_SHA384` or `TLS13_CHACHA20_POLY1305_SHA256`.
    pub suite: String,
}

/// Makes the configuration of a client that proves to hold `key` and accepts servers that `roots` vouch for (S2).
///
/// The configuration holds a copy of the key, which is zeroed when the last connection that uses it is gone.
/// Certificates are checked against the system's clock.
///
/// # Errors
/// [`TlsError::NoCertificate`], [`TlsError::BadCertificate`], [`TlsError::NoSystemRoots`].
pub fn client_config(key: &UserKey, roots: Roots) -> Result<Arc<ClientConfig>, TlsError> {
    let signer = key::with_pkcs8(key, any_eddsa_type).map_err(TlsError::Setup)?;
    let raw_key = CertificateDer::from(key::to_spki(&key.public()).to_vec());
    let proof = AlwaysResolvesClientRawPublicKeys::new(Arc::new(CertifiedKey::new(vec![raw_key], signer)));

    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Setup)?
        .with_root_certificates(root_store(roots)?)
        .with_client_cert_resolver(Arc::new(proof));
    config.alpn_protocols = vec![protocol::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// What a connection of [`client_config`] is protected by, once its handshake is over.
///
/// # Errors
/// [`TlsError::Unfinished`]; [`TlsError::NotOurs`] when the server did not choose our protocol; [`TlsError::Weak`]
/// when anything but TLS 1.3 with X25519MLKEM768 was agreed on, which the configuration rules out and which is
/// checked here all the same, because it is what users are told.
pub fn negotiated(connection: &ClientConnection) -> Result<Negotiated, TlsError> {
    if connection.is_handshaking() {
        return Err(TlsError::Unfinished);
    }
    let version = connection.protocol_version();
    if version != Some(ProtocolVersion::TLSv1_3) {
        return Err(TlsError::Weak(format!("the protocol version {version:?}")));
    }
    let group = connection.negotiated_key_exchange_group().map(|group| group.name());
    if group != Some(GROUP) {
        return Err(TlsError::Weak(format!("the key exchange {group:?}")));
    }
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    let Some(suite) = suite.filter(|suite| is_our_suite(*suite)) else {
        return Err(TlsError::Weak(format!("the cipher suite {suite:?}")));
    };
    if connection.alpn_protocol() != Some(protocol::ALPN) {
        return Err(TlsError::NotOurs);
    }
    Ok(Negotiated { group: format!("{GROUP:?}"), suite: format!("{suite:?}") })
}

/// Whether `name` stands on the certificate that the server proved to own in this connection, as a DNS name or an IP
/// address (RFC 9525). Not before the handshake is over, and not for a name that can be written in another way, such
/// as one with a final dot.
///
/// A certificate can carry many names, so this alone does not tell that a server is called now what it was called
/// yesterday.
pub fn server_goes_by(connection: &ClientConnection, name: &ServerName) -> bool {
    if connection.is_handshaking() {
        return false;
    }
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    certificate.is_some_and(|certificate| certificate_bears(certificate, name))
}

/// As [`server_goes_by`], for a certificate taken from a connection whose handshake is over.
pub fn certificate_bears(certificate: &CertificateDer<'_>, name: &ServerName) -> bool {
    EndEntityCert::try_from(certificate).is_ok_and(|certificate| is_for(&certificate, name))
}

/// Whether the bytes of a PEM file are certification authorities that [`Roots::Pem`] can hold.
///
/// # Errors
/// [`TlsError::NoCertificate`] or [`TlsError::BadCertificate`] when they are not.
pub fn check_authority(pem: &[u8]) -> Result<(), TlsError> {
    root_store(Roots::Pem(pem.to_owned())).map(|_| ())
}

fn root_store(roots: Roots) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Pem(pem) => {
            for certificate in certificates(&pem)? {
                store.add(certificate).map_err(|error| TlsError::BadCertificate(error.to_string()))?;
            }
        }
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            // One bad certificate among a hundred must not keep anybody offline.
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
                return Err(TlsError::NoSystemRoots(errors.join("; ")));
            }
        }
    }
    Ok(store)
}
