//! Mallory's program: plain OpenMLS with its own libcrux provider, and none of our rules.
//!
//! It has a registered key like anybody, so that what it sends is genuine and only the rules can refuse it.

use e2e::{Chat, Invitation, Own};
use openmls::{
    framing::{MlsMessageBodyIn, MlsMessageIn, MlsMessageOut},
    group::{
        GroupId, MlsGroup, MlsGroupCreateConfig, MlsGroupCreateConfigBuilder, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY,
        StagedWelcome,
    },
    key_packages::{KeyPackage, KeyPackageBuilder, Lifetime},
    prelude::{BasicCredential, Capabilities, CredentialType, CredentialWithKey, LeafNodeIndex},
    versions::ProtocolVersion,
};
use openmls_libcrux_crypto::Provider;
use openmls_traits::{OpenMlsProvider as _, types::Ciphersuite};
use protocol::{ChatId, limits::PADDING};
use tls_codec::DeserializeBytes as _;

use crate::common::{CHAT, Frame, Side, bob, header, mallory, rng};

pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519;

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
        .use_ratchet_tree_extension(true)
}

/// What an honest accepter's package is made with.
pub(crate) fn package() -> KeyPackageBuilder {
    KeyPackage::builder().leaf_node_capabilities(capabilities()).key_package_lifetime(forever())
}

pub(crate) fn build(builder: KeyPackageBuilder, own: &Own, provider: &Provider) -> KeyPackage {
    builder.build(SUITE, provider, own, credential(own)).unwrap().into_key_package()
}

pub(crate) fn read_package(bytes: &[u8]) -> KeyPackage {
    let MlsMessageBodyIn::KeyPackage(package) = MlsMessageIn::tls_deserialize_exact_bytes(bytes).unwrap().extract()
    else {
        panic!("no key package");
    };
    package.validate(Provider::new().unwrap().crypto(), ProtocolVersion::Mls10).unwrap()
}

/// One member of a group, free to do as it likes.
pub(crate) struct Rogue {
    pub(crate) own: Own,
    pub(crate) provider: Provider,
    pub(crate) group: MlsGroup,
}

impl Rogue {
    /// A group of `own` alone.
    pub(crate) fn alone(own: Own, chat: ChatId, config: MlsGroupCreateConfigBuilder) -> Self {
        let provider = Provider::new().unwrap();
        let id = GroupId::from_slice(chat.as_bytes());
        let group = MlsGroup::new_with_group_id(&provider, &own, &config.build(), id, credential(&own)).unwrap();
        Self { own, provider, group }
    }

    /// Adds members by their packages and returns the welcome.
    pub(crate) fn add(&mut self, packages: &[KeyPackage]) -> Vec<u8> {
        let (_, welcome, _) = self.group.add_members_without_update(&self.provider, &self.own, packages).unwrap();
        self.group.merge_pending_commit(&self.provider).unwrap();
        welcome.to_bytes().unwrap()
    }

    /// A chat that mallory calls bob for, in good order so far.
    pub(crate) fn chat(config: MlsGroupCreateConfigBuilder) -> (Self, Side) {
        let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
        let mut rogue = Self::alone(mallory(), CHAT, config);
        let welcome = rogue.add(&[read_package(&package)]);
        let chat = invitation.join(CHAT, mallory().member(), &welcome, &mut rng(2)).unwrap();
        (rogue, Side::new(chat, 3))
    }

    /// A chat that mallory accepts.
    pub(crate) fn accepting(caller: &Own) -> (Self, Side) {
        let provider = Provider::new().unwrap();
        let own = mallory();
        let package = MlsMessageOut::from(build(package(), &own, &provider)).to_bytes().unwrap();
        let (chat, welcome) = Chat::create(caller, CHAT, own.member(), &package, &mut rng(1)).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = MlsMessageIn::tls_deserialize_exact_bytes(&welcome).unwrap().extract()
        else {
            panic!("no welcome");
        };
        let join = config().build().join_config().clone();
        let group =
            StagedWelcome::new_from_welcome(&provider, &join, welcome, None).unwrap().into_group(&provider).unwrap();
        (Self { own, provider, group }, Side::new(chat, 2))
    }

    /// Makes a frame under the header that bob expects first.
    pub(crate) fn frame(&mut self, make: impl FnOnce(&mut MlsGroup, &Provider, &Own) -> MlsMessageOut) -> Frame {
        let header = header(0, 0);
        self.group.set_aad(header.aad().unwrap());
        let message = make(&mut self.group, &self.provider, &self.own);
        Frame { header, sealed: message.to_bytes().unwrap().into() }
    }
}

pub(crate) fn leaf(index: u32) -> LeafNodeIndex {
    LeafNodeIndex::new(index)
}
