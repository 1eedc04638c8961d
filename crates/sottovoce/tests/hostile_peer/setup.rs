//! Key packages and welcomes: what the chat starts with. Whatever is wrong with one, there is no chat.

use std::time::Duration;

use bytes::Bytes;
use openmls::{
    extensions::{ApplicationIdExtension, Extension, Extensions, ExternalSender, UnknownExtension},
    group::{GroupId, MlsGroup, MlsGroupCreateConfigBuilder},
    key_packages::{KeyPackage, KeyPackageBuilder, Lifetime},
    prelude::{Capabilities, ExtensionType, PreSharedKeyProposal, Proposal},
    schedule::PreSharedKeyId,
};
use openmls_traits::OpenMlsProvider as _;
use protocol::ChatId;

use crate::{
    Blames, Scene,
    common::now,
    is_over,
    meddler::Meddler,
    peer::{Peer, Rogue},
    stock::{self, CLASSICAL, KEM_KEY, ODD_LENGTHS, SUITE, build, config, credential, leaf, own, package, to_bytes},
};

const PROPERTIES: Blames = Blames::Peer("its key has properties that this version does not know");
const NOT_A_PAIR: Blames = Blames::Peer("its group is not a new one of two");
const BAD_PACKAGE: Blames = Blames::Either("the other side's key package is not genuine");
const BAD_WELCOME: Blames = Blames::Either("the other side's welcome is not genuine");

impl Scene {
    /// Victor calls mallory, who accepts with this package: there is no chat.
    #[track_caller]
    fn refuses_package(&mut self, blames: Blames, key_package: impl Into<Bytes>) {
        self.mallory.accepts_with(&mut self.victor, key_package);
        is_over(&mut self.victor, blames);
        self.mallory.hears_the_end();
    }

    /// Mallory calls victor with a welcome that is made of his package: there is no chat.
    #[track_caller]
    fn refuses_welcome(&mut self, blames: Blames, make: impl FnOnce(&mut Peer, ChatId, KeyPackage) -> Vec<u8>) {
        let (chat, package) = self.mallory.asks(&mut self.victor, "victor");
        let welcome = make(&mut self.mallory, chat, package);
        self.mallory.alone(chat, config()).establishes(welcome);
        is_over(&mut self.victor, blames);
        self.mallory.hears_the_end();
    }

    #[track_caller]
    fn refuses_group(&mut self, blames: Blames, config: MlsGroupCreateConfigBuilder) {
        self.refuses_welcome(blames, |mallory, chat, package| mallory.alone(chat, config).add(&[package]));
    }

    fn package(&self, builder: KeyPackageBuilder) -> Bytes {
        to_bytes(build(builder, &self.mallory.own, &Meddler::new()))
    }
}

fn with_extension(kind: ExtensionType) -> Capabilities {
    Capabilities::builder()
        .versions(stock::capabilities().versions().to_vec())
        .ciphersuites(vec![SUITE])
        .extensions(vec![kind])
        .build()
}

#[test]
fn a_package_of_a_weaker_suite_makes_no_chat() {
    let mut scene = Scene::new();
    let own = scene.mallory.own.clone();
    let classical = package().build(CLASSICAL, &Meddler::new(), &own, credential(&own)).unwrap();
    scene.refuses_package(Blames::Peer("it chose other cryptography"), to_bytes(classical.into_key_package()));
    scene.victor_is_free();
}

#[test]
fn a_package_with_a_lifetime_extensions_or_capabilities_of_its_own_makes_no_chat() {
    let mut scene = Scene::new();
    let extension = Extension::Unknown(0xf042, UnknownExtension(vec![1]));
    let odd = [
        package().key_package_lifetime(Lifetime::default()),
        package().key_package_lifetime(Lifetime::init(0, 1)),
        package().key_package_lifetime(Lifetime::init(u64::MAX - 1, u64::MAX)),
        package().mark_as_last_resort(),
        package().leaf_node_capabilities(Capabilities::default()),
        package().leaf_node_capabilities(with_extension(ExtensionType::Unknown(0xf042))),
        package()
            .leaf_node_capabilities(with_extension(ExtensionType::Unknown(0xf042)))
            .leaf_node_extensions(Extensions::single(extension).unwrap()),
    ];
    for builder in odd {
        let package = scene.package(builder);
        scene.refuses_package(PROPERTIES, package);
    }
    scene.victor_is_free();
}

/// One of the two keys of a package, which a welcome and a renewal are encrypted to.
#[test]
fn a_package_with_a_key_of_another_length_makes_no_chat() {
    let mut scene = Scene::new();
    for length in ODD_LENGTHS {
        for lengths in [[length, KEM_KEY], [KEM_KEY, length]] {
            let provider = Meddler::new();
            provider.makes_keys_of(lengths);
            let odd = to_bytes(build(package(), &scene.mallory.own, &provider));
            scene.refuses_package(PROPERTIES, odd);
        }
    }
    scene.victor_is_free();
}

#[test]
fn a_welcome_to_a_group_with_a_key_of_another_length_makes_no_chat() {
    let mut scene = Scene::new();
    for length in ODD_LENGTHS {
        scene.refuses_welcome(PROPERTIES, |mallory, chat, victors| {
            let provider = Meddler::new();
            provider.makes_keys_of([length]);
            made_by(&provider, &mallory.own, &mallory.own, chat, victors)
        });
    }
    scene.victor_is_free();
}

#[test]
fn somebody_elses_package_makes_no_chat() {
    let mut scene = Scene::new();
    let not_the_one = || Blames::Either("not from the person that the server named");
    // With a key of its own under mallory's name, mallory's key under another name, and all of somebody else's.
    let server = scene.mallory.own.member().server.clone();
    let renamed = e2e::Own::new("wendy".parse().unwrap(), server, scene.mallory.secret());
    for other in [own("mallory"), renamed, own("wendy")] {
        scene.refuses_package(not_the_one(), to_bytes(build(package(), &other, &Meddler::new())));
    }
    // Mallory's name and key, and another's signature.
    let claimed = package().build(SUITE, &Meddler::new(), &own("wendy"), credential(&scene.mallory.own)).unwrap();
    scene.refuses_package(BAD_PACKAGE, to_bytes(claimed.into_key_package()));
    scene.victor_is_free();
}

#[test]
fn what_is_no_package_makes_no_chat() {
    let mut scene = Scene::new();
    let good = scene.package(package());
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let giant = [&good[..], &[0; 60_000]].concat();
    for bytes in [vec![0], good[..good.len() - 1].to_vec(), flipped, giant, vec![0xa5; 65_000]] {
        scene.refuses_package(BAD_PACKAGE, bytes);
    }
    scene.victor_is_free();
}

#[test]
fn a_welcome_to_a_group_of_three_makes_no_chat() {
    let mut scene = Scene::new();
    for victor_first in [true, false] {
        scene.refuses_welcome(NOT_A_PAIR, |mallory, chat, victors| {
            let eves = build(package(), &own("eve"), &Meddler::new());
            let packages = if victor_first { [victors, eves] } else { [eves, victors] };
            mallory.alone(chat, config()).add(&packages)
        });
    }
    scene.victor_is_free();
}

/// Whoever was in it before may have kept keys.
#[test]
fn a_welcome_to_a_group_that_is_not_new_makes_no_chat() {
    let mut scene = Scene::new();
    scene.refuses_welcome(NOT_A_PAIR, |mallory, chat, victors| {
        let mut rogue = mallory.alone(chat, config());
        rogue.add(&[build(package(), &own("eve"), &Meddler::new())]);
        rogue.group.remove_members(&rogue.provider, &rogue.own, &[leaf(1)]).unwrap();
        rogue.group.merge_pending_commit(&rogue.provider).unwrap();
        rogue.add(&[victors])
    });
    scene.victor_is_free();
}

#[test]
fn a_welcome_to_another_group_makes_no_chat() {
    let mut scene = Scene::new();
    scene.refuses_welcome(Blames::Either("the other side's welcome is for another chat"), |mallory, _, package| {
        mallory.alone(ChatId::from_bytes([8; 16]), config()).add(&[package])
    });
    scene.victor_is_free();
}

#[test]
fn a_welcome_to_a_group_with_other_properties_makes_no_chat() {
    let mut scene = Scene::new();
    scene.refuses_group(PROPERTIES, config().capabilities(Capabilities::default()));
    let id = Extension::ApplicationId(ApplicationIdExtension::new(b"x"));
    scene.refuses_group(PROPERTIES, config().with_leaf_node_extensions(Extensions::single(id).unwrap()).unwrap());
    let eve = own("eve");
    let sender = ExternalSender::new(eve.member().key.as_bytes().as_slice().into(), credential(&eve).credential);
    let context = Extensions::single(Extension::ExternalSenders(vec![sender])).unwrap();
    scene.refuses_group(PROPERTIES, config().with_group_context_extensions(context));
    scene.refuses_welcome(PROPERTIES, |mallory, chat, victors| {
        welcome_with(&mut mallory.alone(chat, config()), victors, None)
    });
    scene.victor_is_free();
}

#[test]
fn a_welcome_that_needs_another_secret_makes_no_chat() {
    let mut scene = Scene::new();
    scene.refuses_welcome(BAD_WELCOME, |mallory, chat, victors| {
        welcome_with(&mut mallory.alone(chat, config()), victors, Some(b"shared"))
    });
    scene.victor_is_free();
}

#[test]
fn a_welcome_without_its_tree_or_somebody_elses_makes_no_chat() {
    let mut scene = Scene::new();
    scene.refuses_group(BAD_WELCOME, config().use_ratchet_tree_extension(false));
    // Made and signed by somebody whom the server did not name.
    let wendy = own("wendy");
    scene.refuses_welcome(Blames::Either("not from the person that the server named"), |_, chat, victors| {
        made_by(&Meddler::new(), &wendy, &wendy, chat, victors)
    });
    // Mallory's name and key, and another's signature.
    scene.refuses_welcome(BAD_WELCOME, |mallory, chat, victors| {
        made_by(&Meddler::new(), &mallory.own, &wendy, chat, victors)
    });
    scene.victor_is_free();
}

#[test]
fn what_is_no_welcome_makes_no_chat() {
    let mut scene = Scene::new();
    let edits: [fn(Vec<u8>) -> Vec<u8>; 5] = [
        |_| vec![0],
        |_| vec![0xa5; 65_000],
        |welcome| welcome[..welcome.len() - 1].to_vec(),
        |welcome| [welcome, vec![0; 60_000]].concat(),
        |mut welcome| {
            *welcome.last_mut().unwrap() ^= 1;
            welcome
        },
    ];
    for edit in edits {
        scene
            .refuses_welcome(BAD_WELCOME, |mallory, chat, victors| edit(mallory.alone(chat, config()).add(&[victors])));
    }
    // To another package than the one that this request was answered with.
    scene.refuses_welcome(BAD_WELCOME, |mallory, chat, _| {
        mallory.alone(chat, config()).add(&[build(package(), &own("victor"), &Meddler::new())])
    });
    scene.victor_is_free();
}

#[test]
fn who_begins_a_chat_and_says_nothing_more_is_not_waited_for() {
    let mut scene = Scene::with("establishment_timeout = \"1s\"");
    // No welcome comes.
    scene.mallory.asks(&mut scene.victor, "victor");
    let begin = now();
    assert_eq!(scene.victor.expect_closed(), "lost");
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "the server's doing, before victor's client gives up, after 20 s"
    );
    scene.mallory.hears_the_end();
    // No frame shows that mallory's client is in the group.
    let package = scene.package(package());
    scene.mallory.accepts_with(&mut scene.victor, package);
    let told = scene.victor.up_to("chat_closed");
    assert!(told.iter().all(|event| event["event"] != "chat_started"), "{told:#?}");
    assert_eq!(told.last().unwrap()["reason"], "lost");
    scene.mallory.hears_the_end();
    scene.victor_is_free();
}

/// The welcome of a group that `maker` makes and `signer` signs for.
fn made_by(provider: &Meddler, maker: &e2e::Own, signer: &e2e::Own, chat: ChatId, victors: KeyPackage) -> Vec<u8> {
    let id = GroupId::from_slice(chat.as_bytes());
    let mut group = MlsGroup::new_with_group_id(provider, signer, &config().build(), id, credential(maker)).unwrap();
    group.add_members_without_update(provider, signer, &[victors]).unwrap().1.to_bytes().unwrap()
}

/// A welcome with a further secret, or with an extension of the group's description.
fn welcome_with(rogue: &mut Rogue<'_>, victors: KeyPackage, secret: Option<&[u8]>) -> Vec<u8> {
    let mut builder = rogue.group.commit_builder().propose_adds([victors]);
    if let Some(secret) = secret {
        let psk = PreSharedKeyId::external(secret.to_vec(), vec![0; 32]);
        psk.store(&rogue.provider, b"secret").unwrap();
        builder = builder.add_proposal(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(psk))));
    }
    let mut builder = builder.load_psks(rogue.provider.storage()).unwrap();
    if secret.is_none() {
        let extension = Extension::Unknown(0xf042, UnknownExtension(vec![1]));
        builder = builder.create_group_info_with_extensions([extension]).unwrap();
    }
    let bundle = builder
        .build(rogue.provider.rand(), rogue.provider.crypto(), &rogue.own, |_| true)
        .unwrap()
        .stage_commit(&rogue.provider)
        .unwrap();
    bundle.to_welcome_msg().unwrap().to_bytes().unwrap()
}
