//! Commits and proposals (RFC 9420 section 12): in a chat of two a commit renews its sender's keys, in turn, and nothing
//! else.

use openmls::{
    extensions::{ApplicationIdExtension, Extension, Extensions, ExternalSender},
    framing::{MlsMessageBodyIn, MlsMessageIn},
    group::{CommitBuilder, ExternalCommitBuilder, Initial, PURE_PLAINTEXT_WIRE_FORMAT_POLICY},
    prelude::{Capabilities, LeafNodeParameters, NewSignerBundle, PreSharedKeyProposal, Proposal},
    schedule::PreSharedKeyId,
};
use openmls_traits::OpenMlsProvider as _;
use protocol::Content;
use tls_codec::DeserializeBytes as _;

use crate::{
    Blames, Scene, is_over,
    meddler::Meddler,
    peer::Rogue,
    stock::{self, build, config, credential, leaf, own, package},
};

fn eves_package() -> openmls::key_packages::KeyPackage {
    build(package(), &own("eve"), &Meddler::new())
}

/// Has the peer send a commit that `fill` puts something in.
fn commits(
    rogue: &mut Rogue<'_>,
    fill: impl for<'a> FnOnce(CommitBuilder<'a, Initial>, &Meddler) -> CommitBuilder<'a, Initial>,
) {
    rogue.does(|group, provider, own| {
        fill(group.commit_builder(), provider)
            .load_psks(provider.storage())
            .unwrap()
            .build(provider.rand(), provider.crypto(), own, |_| true)
            .unwrap()
            .stage_commit(provider)
            .unwrap()
            .into_contents()
            .0
    });
}

const OUT_OF_STEP: Blames = Blames::Either("a second time, too late or too early");
const CHANGED_THE_GROUP: Blames = Blames::Peer("it tried to change the chat's group");
const CHANGED_ITSELF: Blames = Blames::Peer("it changed its name or key");

#[test]
fn a_commit_that_lets_somebody_in_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(CHANGED_THE_GROUP, |rogue| commits(rogue, |builder, _| builder.propose_adds([eves_package()])));
    scene.ends(CHANGED_THE_GROUP, |rogue| {
        commits(rogue, |builder, _| builder.propose_adds([eves_package()]).force_self_update(true));
    });
    scene.victor_is_free();
}

#[test]
fn a_commit_that_puts_its_reader_out_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(CHANGED_THE_GROUP, |rogue| commits(rogue, |builder, _| builder.propose_removals([leaf(1)])));
    scene.ends(CHANGED_THE_GROUP, |rogue| {
        commits(rogue, |builder, _| builder.propose_removals([leaf(1)]).propose_adds([eves_package()]));
    });
    scene.victor_is_free();
}

#[test]
fn a_commit_that_changes_what_the_group_agrees_on_ends_the_chat() {
    let mut scene = Scene::new();
    let eve = own("eve");
    let sender = ExternalSender::new(eve.member().key.as_bytes().as_slice().into(), credential(&eve).credential);
    let context = Extensions::single(Extension::ExternalSenders(vec![sender])).unwrap();
    for context in [context, Extensions::empty()] {
        scene.ends(CHANGED_THE_GROUP, |rogue| {
            commits(rogue, |builder, _| builder.propose_group_context_extensions(context).unwrap());
        });
    }
    scene.victor_is_free();
}

#[test]
fn a_commit_that_mixes_in_a_secret_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(Blames::Peer("its renewal does not work out"), |rogue| {
        commits(rogue, |builder, provider| {
            let psk = PreSharedKeyId::external(b"shared".to_vec(), vec![0; 32]);
            psk.store(provider, b"secret").unwrap();
            builder.add_proposal(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(psk))))
        });
    });
    scene.victor_is_free();
}

#[test]
fn a_commit_to_a_proposal_that_was_kept_back_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(Blames::Peer("its renewal does not work out"), |rogue| {
        let header = rogue.header();
        let _kept = rogue
            .seals(&header, |group, provider, own| group.propose_add_member(provider, own, &eves_package()).unwrap().0);
        rogue.does(|group, provider, own| group.commit_to_pending_proposals(provider, own).unwrap().0);
    });
    scene.victor_is_free();
}

#[test]
fn a_commit_that_changes_its_senders_name_or_key_ends_the_chat() {
    let mut scene = Scene::new();
    let mallory = scene.mallory.own.clone();
    // The same key under another name.
    let server = mallory.member().server.clone();
    let renamed = e2e::Own::new("wendy".parse().unwrap(), server, scene.mallory.secret());
    for new in [own("mallory"), own("eve"), renamed] {
        scene.ends(CHANGED_ITSELF, |rogue| {
            rogue.does(|group, provider, own| {
                let bundle = NewSignerBundle { signer: &new, credential_with_key: credential(&new) };
                group
                    .commit_builder()
                    .load_psks(provider.storage())
                    .unwrap()
                    .build_with_new_signer(provider.rand(), provider.crypto(), own, bundle, |_| true)
                    .unwrap()
                    .stage_commit(provider)
                    .unwrap()
                    .into_contents()
                    .0
            });
        });
    }
    scene.victor_is_free();
}

#[test]
fn a_commit_that_gives_its_sender_other_properties_ends_the_chat() {
    let mut scene = Scene::new();
    let unknown = || Blames::Peer("its key has properties that this version does not know");
    scene.ends(unknown(), |rogue| {
        commits(rogue, |builder, _| {
            builder
                .leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(Capabilities::default()).build())
        });
    });
    scene.ends(unknown(), |rogue| {
        commits(rogue, |builder, _| {
            let id = ApplicationIdExtension::new(b"x");
            let extensions = Extensions::single(Extension::ApplicationId(id)).unwrap();
            builder.leaf_node_parameters(LeafNodeParameters::builder().with_extensions(extensions).build())
        });
    });
    scene.victor_is_free();
}

/// The key of the group, which its reader can derive, and the sender's own, which it cannot.
#[test]
fn a_renewal_to_a_key_of_another_length_ends_the_chat() {
    let mut scene = Scene::new();
    for length in stock::ODD_LENGTHS {
        for (lengths, words) in [
            ([length, stock::KEM_KEY], "its renewal does not work out"),
            ([stock::KEM_KEY, length], "its key has properties that this version does not know"),
        ] {
            let mut rogue = scene.mallory.accepts(&mut scene.victor);
            rogue.provider.makes_keys_of(lengths);
            rogue.does(stock::renewal);
            is_over(&mut scene.victor, Blames::Peer(words));
            rogue.hears_the_end();
        }
    }
    scene.victor_is_free();
}

#[test]
fn a_proposal_alone_ends_the_chat_whatever_it_proposes() {
    let mut scene = Scene::new();
    scene.ends(CHANGED_THE_GROUP, |rogue| {
        rogue.does(|group, provider, own| group.propose_add_member(provider, own, &eves_package()).unwrap().0);
    });
    scene.ends(CHANGED_THE_GROUP, |rogue| {
        rogue.does(|group, provider, own| group.propose_remove_member(provider, own, leaf(1)).unwrap().0);
    });
    scene.ends(CHANGED_THE_GROUP, |rogue| {
        rogue.does(|group, provider, own| group.leave_group(provider, own).unwrap());
    });
    scene.ends(CHANGED_THE_GROUP, |rogue| {
        rogue.does(|group, provider, own| {
            group.propose_self_update(provider, own, LeafNodeParameters::default()).unwrap().0
        });
    });
    scene.ends(CHANGED_THE_GROUP, |rogue| {
        rogue.does(|group, provider, own| {
            group.propose_group_context_extensions(provider, Extensions::empty(), own).unwrap().0
        });
    });
    scene.ends(CHANGED_THE_GROUP, |rogue| {
        rogue.does(|group, provider, own| {
            let psk = PreSharedKeyId::external(b"shared".to_vec(), vec![0; 32]);
            group.propose_pre_shared_key(provider, own, psk).unwrap().0
        });
    });
    scene.victor_is_free();
}

#[test]
fn a_commit_from_outside_the_group_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(Blames::Either("not genuine"), |rogue| {
        let info = rogue.group.export_group_info(rogue.provider.crypto(), &rogue.own, true).unwrap();
        let info = MlsMessageIn::tls_deserialize_exact_bytes(&info.to_bytes().unwrap()).unwrap();
        let MlsMessageBodyIn::GroupInfo(info) = info.extract() else { panic!("no group info") };
        let (eve, provider, header) = (own("eve"), Meddler::new(), rogue.header());
        let (_, bundle) = ExternalCommitBuilder::new()
            .with_aad(header.aad().unwrap())
            .with_config(config().build().join_config().clone())
            .build_group(&provider, info, credential(&eve))
            .unwrap()
            .leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(stock::capabilities()).build())
            .load_psks(provider.storage())
            .unwrap()
            .build(provider.rand(), provider.crypto(), &eve, |_| true)
            .unwrap()
            .finalize(&provider)
            .unwrap();
        let sealed = bundle.into_contents().0.to_bytes().unwrap();
        rogue.sends(header, sealed);
    });
    scene.victor_is_free();
}

#[test]
fn a_commit_in_clear_ends_the_chat() {
    let mut scene = Scene::new();
    let config = config().wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY);
    let mut rogue = scene.mallory.calls_with(&mut scene.victor, "victor", config);
    let header = rogue.header();
    let sealed = rogue.seals(&header, stock::renewal);
    assert_eq!(sealed[2..4], [0, 1], "a PublicMessage");
    rogue.sends(header, sealed);
    is_over(&mut scene.victor, Blames::Either("not genuine"));
    scene.victor_is_free();
}

/// Victor accepted, so the first renewal is his.
#[test]
fn a_renewal_out_of_turn_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(Blames::Peer("not its turn"), |rogue| rogue.renews());
    scene.victor_is_free();
}

#[test]
fn a_second_renewal_in_a_row_ends_the_chat() {
    let mut scene = Scene::new();
    let mut rogue = scene.mallory.accepts(&mut scene.victor);
    rogue.renews();
    assert_eq!(scene.victor.expect("renewed")["epoch"], 2);
    rogue.renews();
    is_over(&mut scene.victor, Blames::Peer("not its turn"));
    scene.victor_is_free();
}

/// A renewal to the keys that it had before would heal nothing.
#[test]
fn a_renewal_that_changes_no_key_ends_the_chat() {
    let mut scene = Scene::new();
    let mut rogue = scene.mallory.accepts(&mut scene.victor);
    rogue.provider.starts_over();
    rogue.renews();
    assert_eq!(scene.victor.expect("renewed")["epoch"], 2);
    for n in 0..50 {
        rogue.tells(&format!("text {n}"));
    }
    assert_eq!(scene.victor.expect("renewed")["epoch"], 3);
    while rogue.group.epoch().as_u64() < 3 {
        let message = rogue.gets();
        rogue.opens(&message);
    }
    rogue.provider.starts_over();
    rogue.does(stock::renewal);
    is_over(&mut scene.victor, Blames::Peer("its renewal does not work out"));
    scene.victor_is_free();
}

/// Fifty texts make victor renew; mallory commits without having taken that in.
#[test]
fn two_renewals_that_meet_end_the_chat() {
    let mut scene = Scene::new();
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    for n in 0..50 {
        rogue.tells(&format!("text {n}"));
    }
    assert_eq!(scene.victor.expect("renewed")["epoch"], 2);
    rogue.renews();
    is_over(&mut scene.victor, OUT_OF_STEP);
    scene.victor_is_free();
}

/// What the peer is free not to do: it harms itself.
#[test]
fn who_never_renews_in_turn_keeps_old_keys_and_the_chat_goes_on() {
    let mut scene = Scene::new();
    scene.goes_on(|rogue, victor| {
        for n in 0..50 {
            rogue.tells(&format!("text {n}"));
        }
        assert_eq!(victor.expect("renewed")["epoch"], 2);
        while rogue.group.epoch().as_u64() < 2 {
            let message = rogue.gets();
            rogue.opens(&message);
        }
        for n in 0..120 {
            rogue.tells(&format!("more {n}"));
            crate::hears(victor, "mallory", &format!("more {n}"));
        }
        victor.says("still there?");
        while rogue.hears() == Content::Receipt {}
    });
    scene.victor_is_free();
}
