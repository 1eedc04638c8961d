//! Clients and servers that do not do as they should, against ours.

use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use identity::{TlsError, client_key, negotiated};
use rcgen::KeyPair;
use rustls::{
    CertificateError, ClientConfig, Error, NamedGroup, PeerIncompatible, RootCertStore, ServerConfig,
    SignatureAlgorithm, SignatureScheme,
    client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, WebPkiServerVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::{CertifiedKey, Signer, SigningKey as TlsKey},
    version::TLS13,
};

use crate::{
    common::{Issued, issued, key, now},
    tls::{Broken, broken, client_of, connect, server_of},
};

/// A client that is free to do everything wrong: its groups, its protocols, its proof.
pub(crate) fn rogue(
    issued: &Issued,
    groups: &[NamedGroup],
    proof: Option<Arc<dyn ResolvesClientCert>>,
) -> ClientConfig {
    let kx_groups = aws_lc_rs::ALL_KX_GROUPS.iter().copied().filter(|group| groups.contains(&group.name())).collect();
    let provider = Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() });
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(issued.authority.certificate_pem.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_webpki_verifier(verifier);
    let mut config = match proof {
        Some(proof) => builder.with_client_cert_resolver(proof),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol::ALPN.to_vec()];
    config
}

pub(crate) const OURS: &[NamedGroup] = &[NamedGroup::X25519MLKEM768];

/// Shows the key `shown` and signs with the key `held`, in the name of `scheme`.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    shown: Vec<u8>,
    held: SigningKey,
    scheme: SignatureScheme,
}

impl Claim {
    pub(crate) fn proof(self) -> Arc<dyn ResolvesClientCert> {
        let shown = vec![CertificateDer::from(self.shown.clone())];
        Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(CertifiedKey::new(shown, Arc::new(self)))))
    }
}

impl TlsKey for Claim {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Claim {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.held.sign(message).to_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

pub(crate) fn spki(key: &[u8]) -> Vec<u8> {
    [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", key].concat()
}

pub(crate) fn claim(shown: Vec<u8>, held: u8) -> Claim {
    Claim { shown, held: SigningKey::from_bytes(&[held; 32]), scheme: SignatureScheme::ED25519 }
}

#[test]
fn the_server_takes_an_honest_claim() {
    let issued = issued("relay.example", now());
    let honest = claim(spki(key(5).public().as_bytes()), 5);
    let pair = connect(&Arc::new(rogue(&issued, OURS, Some(honest.proof()))), &server_of(&issued), "relay.example");
    assert_eq!(client_key(&pair.unwrap().server).unwrap(), key(5).public());
}

#[test]
fn the_server_takes_no_other_claim() {
    let issued = issued("relay.example", now());
    let server = server_of(&issued);
    let honest = spki(key(5).public().as_bytes());
    let p256 = KeyPair::generate().unwrap();
    let p256 = rcgen::PublicKeyData::subject_public_key_info(&p256);
    let mut small_order = [0; 32];
    small_order[0] = 1;

    let bad_signature = Error::InvalidCertificate(CertificateError::BadSignature);
    let bad_key = Error::InvalidCertificate(CertificateError::BadEncoding);
    let cases = [
        ("a key that the client does not hold", claim(honest.clone(), 6), bad_signature),
        ("a P-256 key", claim(p256, 5), bad_key.clone()),
        ("a key that anybody can sign for", claim(spki(&small_order), 5), bad_key.clone()),
        ("a key with something after it", claim([honest.as_slice(), b"\0"].concat(), 5), bad_key.clone()),
        ("a certificate in place of a key", claim(issued.chain.clone().into_bytes(), 5), bad_key),
    ];
    for (case, claim, expected) in cases {
        let client = Arc::new(rogue(&issued, OURS, Some(claim.proof())));
        assert_eq!(broken(&client, &server, "relay.example"), Broken::ByServer(expected), "{case}");
    }

    let other_scheme = Claim { scheme: SignatureScheme::ECDSA_NISTP256_SHA256, ..claim(honest, 5) };
    let client = Arc::new(rogue(&issued, OURS, Some(other_scheme.proof())));
    let broken = broken(&client, &server, "relay.example");
    assert!(matches!(broken, Broken::ByServer(Error::PeerMisbehaved(_))), "{broken:?}");
}

#[test]
fn a_client_without_a_raw_key_is_refused() {
    let issued = issued("relay.example", now());
    let server = server_of(&issued);
    let refused = || Broken::ByServer(Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension));

    let nobody = Arc::new(rogue(&issued, OURS, None));
    assert_eq!(broken(&nobody, &server, "relay.example"), refused());

    let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
    let held = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let held = CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(&held).unwrap());
    let x509 = Arc::new(rustls::sign::SingleCertAndKey::from(held));
    assert_eq!(broken(&Arc::new(rogue(&issued, OURS, Some(x509))), &server, "relay.example"), refused());

    // Offers a raw key, and shows none when asked: what an honest client with a P-256 key does.
    #[derive(Debug)]
    struct Shy;
    impl ResolvesClientCert for Shy {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            None
        }
        fn only_raw_public_keys(&self) -> bool {
            true
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let shy = Arc::new(rogue(&issued, OURS, Some(Arc::new(Shy))));
    assert_eq!(broken(&shy, &server, "relay.example"), Broken::ByServer(Error::NoCertificatesPresented));
}

#[test]
fn no_other_group_is_taken_by_either_side() {
    let issued = issued("relay.example", now());
    let proof = || Some(claim(spki(key(5).public().as_bytes()), 5).proof());
    let no_group = || Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon);
    for group in [NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp256r1MLKEM768, NamedGroup::MLKEM768] {
        let client = Arc::new(rogue(&issued, &[group], proof()));
        assert_eq!(broken(&client, &server_of(&issued), "relay.example"), Broken::ByServer(no_group()), "{group:?}");

        let kx_groups = rogue(&issued, &[group], None).crypto_provider().kx_groups.clone();
        let provider = Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() });
        let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
        let held = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, held)
            .unwrap();
        assert_eq!(broken(&client_of(&issued), &Arc::new(server), "relay.example"), Broken::ByServer(no_group()));
    }

    // Who can do both is not talked down: the server asks again for the group that it wants.
    let both = Arc::new(rogue(&issued, &[NamedGroup::X25519, NamedGroup::X25519MLKEM768], proof()));
    let pair = connect(&both, &server_of(&issued), "relay.example").unwrap();
    assert_eq!(pair.client.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn no_other_protocol_is_taken_by_either_side() {
    let issued = issued("relay.example", now());
    let proof = || Some(claim(spki(key(5).public().as_bytes()), 5).proof());

    let mut web = rogue(&issued, OURS, proof());
    web.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let web = Arc::new(web);
    assert_eq!(broken(&web, &server_of(&issued), "relay.example"), Broken::ByServer(Error::NoApplicationProtocol));

    let mut silent = rogue(&issued, OURS, proof());
    silent.alpn_protocols.clear();
    let pair = connect(&Arc::new(silent), &server_of(&issued), "relay.example").unwrap();
    assert!(matches!(client_key(&pair.server), Err(TlsError::NotOurs)));

    let mut server = ServerConfig::clone(&server_of(&issued));
    server.alpn_protocols.clear();
    let pair = connect(&client_of(&issued), &Arc::new(server), "relay.example").unwrap();
    assert!(matches!(negotiated(&pair.client), Err(TlsError::NotOurs)));
}

#[test]
fn a_server_that_wants_no_raw_key_has_no_such_client() {
    let issued = issued("relay.example", now());
    let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
    let held = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, held)
        .unwrap();
    server.alpn_protocols = vec![protocol::ALPN.to_vec()];
    let refused = Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension);
    assert_eq!(broken(&client_of(&issued), &Arc::new(server), "relay.example"), Broken::ByServer(refused));
}
