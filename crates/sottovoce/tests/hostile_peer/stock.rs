//! OpenMLS as anybody has it, set up as an honest client's is.

use std::sync::Arc;

use bytes::Bytes;
use e2e::Own;
use identity::UserKey;
use openmls::{
    framing::{MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, ProcessedMessage},
    group::{
        MlsGroup, MlsGroupCreateConfig, MlsGroupCreateConfigBuilder, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, StagedWelcome,
    },
    key_packages::{KeyPackage, KeyPackageBuilder, Lifetime},
    prelude::{
        BasicCredential, Capabilities, CredentialType, CredentialWithKey, LeafNodeIndex, LeafNodeParameters,
        SenderRatchetConfiguration,
    },
    versions::ProtocolVersion,
};
use openmls_traits::{OpenMlsProvider, types::Ciphersuite};
use protocol::limits::PADDING;
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use tls_codec::DeserializeBytes as _;

use crate::meddler::Meddler;

pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519;
/// One that a quantum computer breaks.
pub(crate) const CLASSICAL: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;

/// Bytes of a public key of X-Wing: 1,184 of ML-KEM-768, then 32 of X25519 (draft-connolly-cfrg-xwing-kem-06 section 5).
pub(crate) const KEM_KEY: usize = 1216;
/// Lengths that no such key has.
pub(crate) const ODD_LENGTHS: [usize; 6] = [1, 32, 1183, 1184, 1215, 1217];

/// A user of the same server with a new key, whether registered or not.
pub(crate) fn own(name: &str) -> Own {
    let key = Arc::new(UserKey::generate(&mut UnwrapErr(SysRng)));
    Own::new(name.parse().unwrap(), "localhost".parse().unwrap(), key)
}

pub(crate) fn forever() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

pub(crate) fn capabilities() -> Capabilities {
    let (versions, suites, basic) = ([ProtocolVersion::Mls10], [SUITE], [CredentialType::Basic]);
    Capabilities::new(Some(&versions), Some(&suites), Some(&[]), Some(&[]), Some(&basic))
}

pub(crate) fn credential(own: &Own) -> CredentialWithKey {
    let member = own.member();
    CredentialWithKey {
        credential: BasicCredential::new(format!("{}@{}", member.user, member.server).into_bytes()).into(),
        signature_key: member.key.as_bytes().as_slice().into(),
    }
}

/// What an honest caller's group is made with.
pub(crate) fn config() -> MlsGroupCreateConfigBuilder {
    MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .capabilities(capabilities())
        .lifetime(forever())
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(PADDING)
        .max_past_epochs(2)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(1024, 1024))
        .use_ratchet_tree_extension(true)
}

/// What an honest accepter's package is made with.
pub(crate) fn package() -> KeyPackageBuilder {
    KeyPackage::builder().leaf_node_capabilities(capabilities()).key_package_lifetime(forever())
}

pub(crate) fn build(builder: KeyPackageBuilder, own: &Own, provider: &impl OpenMlsProvider) -> KeyPackage {
    builder.build(SUITE, provider, own, credential(own)).unwrap().into_key_package()
}

pub(crate) fn to_bytes(package: KeyPackage) -> Bytes {
    MlsMessageOut::from(package).to_bytes().unwrap().into()
}

pub(crate) fn read_package(bytes: &[u8]) -> KeyPackage {
    let MlsMessageBodyIn::KeyPackage(package) = MlsMessageIn::tls_deserialize_exact_bytes(bytes).unwrap().extract()
    else {
        panic!("no key package");
    };
    package.validate(Meddler::new().crypto(), ProtocolVersion::Mls10).unwrap()
}

pub(crate) fn join(provider: &Meddler, welcome: &[u8]) -> MlsGroup {
    let MlsMessageBodyIn::Welcome(welcome) = MlsMessageIn::tls_deserialize_exact_bytes(welcome).unwrap().extract()
    else {
        panic!("no welcome");
    };
    let join = config().build().join_config().clone();
    StagedWelcome::new_from_welcome(provider, &join, welcome, None).unwrap().into_group(provider).unwrap()
}

pub(crate) fn process(group: &mut MlsGroup, provider: &Meddler, sealed: &[u8]) -> ProcessedMessage {
    let message = MlsMessageIn::tls_deserialize_exact_bytes(sealed).unwrap().try_into_protocol_message().unwrap();
    group.process_message(provider, message).unwrap()
}

/// The commit that an honest client makes.
pub(crate) fn renewal(group: &mut MlsGroup, provider: &Meddler, own: &Own) -> MlsMessageOut {
    group.self_update(provider, own, LeafNodeParameters::default()).unwrap().into_contents().0
}

pub(crate) fn leaf(index: u32) -> LeafNodeIndex {
    LeafNodeIndex::new(index)
}
