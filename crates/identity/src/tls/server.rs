use std::sync::Arc;

use protocol::{PublicKey, ServerName};
use rustls::{
    CertificateError, CommonState, DigitallySignedStruct, DistinguishedName, Error, InconsistentKeys, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime, pem::PemObject as _},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use webpki::EndEntityCert;

use super::{TlsError, certificates, is_for, provider};
use crate::key;

/// Makes the configuration of a server that proves its name with the certificate chain in `chain_pem` (its own
/// certificate first) and the private key in `key_pem`, and that demands of each client to prove that it holds an
/// Ed25519 key, whichever it is. Whose key it is gets decided at log-in; see [`client_key`].
///
/// # Errors
/// [`TlsError::NoCertificate`], [`TlsError::BadCertificate`], [`TlsError::BadKey`], [`TlsError::KeyOfAnother`].
pub fn server_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::BadKey(error.to_string()))?;

    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(client_verifier())
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyOfAnother,
            Error::InvalidCertificate(error) => TlsError::BadCertificate(error.to_string()),
            error => TlsError::BadKey(error.to_string()),
        })?;
    config.alpn_protocols = vec![protocol::ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(Arc::new(config))
}

/// What asks a client to prove that it holds an Ed25519 key, and lets it in whichever it is: of [`server_config`], and for
/// servers that are to differ from it in something else.
pub fn client_verifier() -> Arc<dyn ClientCertVerifier> {
    Arc::new(HoldsEd25519Key)
}

/// Whether the server's own certificate in `chain_pem` is made out to `name`: what a client asks of the name that the
/// server gives itself, so a server had better ask it first.
///
/// # Errors
/// [`TlsError::NoCertificate`], [`TlsError::BadCertificate`].
pub fn certifies(chain_pem: &[u8], name: &ServerName) -> Result<bool, TlsError> {
    let chain = certificates(chain_pem)?;
    let first = chain.first().ok_or(TlsError::NoCertificate)?;
    let certificate = EndEntityCert::try_from(first).map_err(|error| TlsError::BadCertificate(error.to_string()))?;
    Ok(is_for(&certificate, name))
}

/// The key that the client of this connection proved to hold, once the handshake is over.
///
/// # Errors
/// [`TlsError::Unfinished`]; [`TlsError::NotOurs`] when the client does not speak our protocol;
/// [`TlsError::NoClientKey`], which the configuration of [`server_config`] rules out.
pub fn client_key(connection: &CommonState) -> Result<PublicKey, TlsError> {
    // The key is there a message earlier, but what the client said until now is only confirmed by its Finished.
    if connection.is_handshaking() {
        return Err(TlsError::Unfinished);
    }
    if connection.alpn_protocol() != Some(protocol::ALPN) {
        return Err(TlsError::NotOurs);
    }
    match connection.peer_certificates() {
        Some([raw_key]) => key::from_spki(raw_key).ok_or(TlsError::NoClientKey),
        _ => Err(TlsError::NoClientKey),
    }
}

/// Lets in whoever holds an Ed25519 key: possession is all that TLS is asked to prove of a client.
#[derive(Debug)]
struct HoldsEd25519Key;

static ED25519_ALONE: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::aws_lc_rs::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::aws_lc_rs::ED25519])],
};

impl ClientCertVerifier for HoldsEd25519Key {
    fn requires_raw_public_keys(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        raw_key: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let proves = key::from_spki(raw_key).is_some_and(|key| key::can_prove(&key));
        if proves && more.is_empty() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::BadEncoding.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _raw_key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        raw_key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let raw_key = SubjectPublicKeyInfoDer::from(raw_key.as_ref());
        verify_tls13_signature_with_raw_key(message, &raw_key, signature, &ED25519_ALONE)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ALONE.supported_schemes()
    }
}
