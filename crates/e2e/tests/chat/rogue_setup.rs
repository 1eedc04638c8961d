//! Packages and welcomes of a client that keeps to MLS and not to our rules.

use e2e::{Breach, Chat, Culprit, Error, Invitation, Member, Part};
use openmls::{
    extensions::{ApplicationIdExtension, Extension, Extensions, ExternalSender, UnknownExtension},
    framing::MlsMessageOut,
    group::MlsGroupCreateConfigBuilder,
    key_packages::{KeyPackage, Lifetime},
    prelude::{Capabilities, ExtensionType, PreSharedKeyProposal, Proposal},
    schedule::PreSharedKeyId,
};
use openmls_libcrux_crypto::Provider;
use openmls_traits::{OpenMlsProvider as _, types::Ciphersuite};
use protocol::ChatId;

use crate::{
    common::{CHAT, alice, bob, mallory, own, rng},
    rogue::{self, Rogue, build, config, credential, package, read_package},
};

fn create(package: KeyPackage, accepter: &Member) -> Result<(), Error> {
    let bytes = MlsMessageOut::from(package).to_bytes().unwrap();
    Chat::create(&alice(), CHAT, accepter, &bytes, &mut rng(1)).map(drop)
}

/// Bob's answer to a welcome that `make` produces from his package.
fn join(make: impl FnOnce(KeyPackage) -> Vec<u8>) -> Result<(), Error> {
    let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let welcome = make(read_package(&package));
    invitation.join(CHAT, mallory().member(), &welcome, &mut rng(2)).map(drop)
}

fn join_with(config: MlsGroupCreateConfigBuilder) -> Result<(), Error> {
    join(|bobs| Rogue::alone(mallory(), CHAT, config).add(&[bobs]))
}

fn application_id() -> Extension {
    Extension::ApplicationId(ApplicationIdExtension::new(b"x"))
}

fn with_extension(kind: ExtensionType) -> Capabilities {
    Capabilities::builder()
        .versions(rogue::capabilities().versions().to_vec())
        .ciphersuites(vec![rogue::SUITE])
        .extensions(vec![kind])
        .build()
}

#[test]
fn plain_openmls_within_the_rules_is_accepted() {
    assert_eq!(create(build(package(), &mallory(), &Provider::new().unwrap()), mallory().member()), Ok(()));
    assert_eq!(join_with(config()), Ok(()));
}

#[test]
fn a_package_of_another_suite_is_refused() {
    let provider = Provider::new().unwrap();
    for suite in [
        Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
    ] {
        let own = mallory();
        let classical = package().build(suite, &provider, &own, credential(&own)).unwrap().into_key_package();
        assert_eq!(create(classical, own.member()), Err(Error::Breach(Breach::Suite)));
    }
    assert_eq!(Error::Breach(Breach::Suite).culprit(), Culprit::Peer);
}

#[test]
fn a_package_with_another_lifetime_is_refused_whatever_the_clock_says() {
    let provider = Provider::new().unwrap();
    for lifetime in [Lifetime::default(), Lifetime::init(0, 1), Lifetime::init(u64::MAX - 1, u64::MAX)] {
        let limited = build(package().key_package_lifetime(lifetime), &mallory(), &provider);
        assert_eq!(create(limited, mallory().member()), Err(Error::Breach(Breach::Profile)), "{lifetime:?}");
    }
}

#[test]
fn a_package_with_other_properties_is_refused() {
    let provider = Provider::new().unwrap();
    let own = mallory();
    let odd = [
        package().mark_as_last_resort(),
        package().leaf_node_capabilities(Capabilities::default()),
        package().leaf_node_capabilities(with_extension(ExtensionType::Unknown(0xf042))),
        package().leaf_node_capabilities(with_extension(ExtensionType::LastResort)).mark_as_last_resort(),
        package()
            .leaf_node_capabilities(with_extension(ExtensionType::Unknown(0xf042)))
            .leaf_node_extensions(Extensions::single(Extension::Unknown(0xf042, UnknownExtension(vec![1]))).unwrap()),
    ];
    for builder in odd {
        let result = create(build(builder.clone(), &own, &provider), own.member());
        assert_eq!(result, Err(Error::Breach(Breach::Profile)), "{builder:?}");
    }
}

#[test]
fn a_package_that_claims_a_key_it_cannot_sign_with_is_refused() {
    let provider = Provider::new().unwrap();
    let claimed = package().build(rogue::SUITE, &provider, &mallory(), credential(&bob())).unwrap();
    assert_eq!(create(claimed.into_key_package(), bob().member()), Err(Error::Forged(Part::KeyPackage)));
}

#[test]
fn a_third_member_is_refused() {
    let eve = own("eve", "chat.example", 4);
    for bob_first in [true, false] {
        let result = join(|bobs| {
            let eves = build(package(), &eve, &Provider::new().unwrap());
            let packages = if bob_first { [bobs, eves] } else { [eves, bobs] };
            Rogue::alone(mallory(), CHAT, config()).add(&packages)
        });
        assert_eq!(result, Err(Error::Breach(Breach::Members)));
    }
}

#[test]
fn a_group_that_is_not_new_is_refused() {
    let result = join(|bobs| {
        let mut rogue = Rogue::alone(mallory(), CHAT, config());
        let eve = own("eve", "chat.example", 4);
        rogue.add(&[build(package(), &eve, &Provider::new().unwrap())]);
        rogue.group.remove_members(&rogue.provider, &rogue.own, &[rogue::leaf(1)]).unwrap();
        rogue.group.merge_pending_commit(&rogue.provider).unwrap();
        rogue.add(&[bobs])
    });
    assert_eq!(result, Err(Error::Breach(Breach::Members)));
}

#[test]
fn a_group_with_another_id_is_refused() {
    let other = ChatId::from_bytes([8; 16]);
    let result = join(|bobs| Rogue::alone(mallory(), other, config()).add(&[bobs]));
    assert_eq!(result, Err(Error::WrongChat(Part::Welcome)));
}

#[test]
fn a_group_with_other_properties_is_refused() {
    let breach = Err(Error::Breach(Breach::Profile));
    assert_eq!(join_with(config().capabilities(Capabilities::default())), breach);
    let leaf = Extensions::single(application_id()).unwrap();
    let odd = config().with_leaf_node_extensions(leaf).unwrap();
    assert_eq!(join_with(odd), breach, "an extension in the caller's leaf");
    let eve = own("eve", "chat.example", 4);
    let sender = ExternalSender::new(eve.member().key.as_bytes().as_slice().into(), credential(&eve).credential);
    let context = Extensions::single(Extension::ExternalSenders(vec![sender])).unwrap();
    assert_eq!(join_with(config().with_group_context_extensions(context)), breach, "somebody else may propose");
    let result = join(|bobs| {
        let mut rogue = Rogue::alone(mallory(), CHAT, config());
        let bundle = rogue
            .group
            .commit_builder()
            .propose_adds([bobs])
            .load_psks(rogue.provider.storage())
            .unwrap()
            .create_group_info_with_extensions([Extension::Unknown(0xf042, UnknownExtension(vec![1]))])
            .unwrap()
            .build(rogue.provider.rand(), rogue.provider.crypto(), &rogue.own, |_| true)
            .unwrap()
            .stage_commit(&rogue.provider)
            .unwrap();
        bundle.to_welcome_msg().unwrap().to_bytes().unwrap()
    });
    assert_eq!(result, breach, "an extension of the group's description");
}

#[test]
fn a_welcome_that_needs_another_secret_is_refused() {
    let result = join(|bobs| {
        let mut rogue = Rogue::alone(mallory(), CHAT, config());
        let psk = PreSharedKeyId::external(b"shared".to_vec(), vec![0; 32]);
        psk.store(&rogue.provider, b"secret").unwrap();
        let bundle = rogue
            .group
            .commit_builder()
            .propose_adds([bobs])
            .add_proposal(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(psk))))
            .load_psks(rogue.provider.storage())
            .unwrap()
            .build(rogue.provider.rand(), rogue.provider.crypto(), &rogue.own, |_| true)
            .unwrap()
            .stage_commit(&rogue.provider)
            .unwrap();
        bundle.to_welcome_msg().unwrap().to_bytes().unwrap()
    });
    assert_eq!(result, Err(Error::Forged(Part::Welcome)));
}

#[test]
fn a_welcome_without_the_tree_is_refused() {
    assert_eq!(join_with(config().use_ratchet_tree_extension(false)), Err(Error::Forged(Part::Welcome)));
}

#[test]
fn a_caller_who_claims_a_key_it_cannot_sign_with_is_refused() {
    let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let provider = Provider::new().unwrap();
    // Mallory signs, with alice's name and key on the leaf. OpenMLS as a sender does not mind.
    let id = openmls::group::GroupId::from_slice(CHAT.as_bytes());
    let mut group =
        openmls::group::MlsGroup::new_with_group_id(&provider, &mallory(), &config().build(), id, credential(&alice()))
            .unwrap();
    let (_, welcome, _) = group.add_members_without_update(&provider, &mallory(), &[read_package(&package)]).unwrap();
    let result = invitation.join(CHAT, alice().member(), &welcome.to_bytes().unwrap(), &mut rng(2));
    assert_eq!(result.map(drop), Err(Error::Forged(Part::Welcome)));
}
