//! Genuine frames that break the rules of a chat. Each ends it, and leaves the epoch where it was.

use e2e::{Breach, Error, Opened, Part};
use openmls::{
    extensions::{Extension, Extensions, ExternalSender},
    framing::{MlsMessageBodyIn, MlsMessageIn, MlsMessageOut},
    group::{CommitBuilder, ExternalCommitBuilder, Initial, MlsGroup, PURE_PLAINTEXT_WIRE_FORMAT_POLICY},
    prelude::{Capabilities, LeafNodeParameters, NewSignerBundle, PreSharedKeyProposal, Proposal},
    schedule::PreSharedKeyId,
};
use openmls_libcrux_crypto::Provider;
use openmls_traits::OpenMlsProvider as _;
use protocol::{ChatHeader, ChatId, Content};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use crate::{
    common::{CHAT, Frame, alice, bob, header, own, text},
    rogue::{Rogue, build, config, credential, leaf, package},
};

/// Bob's answer to a commit that `fill` puts something in.
#[track_caller]
fn refuses_commit(
    error: Error,
    fill: impl for<'a> FnOnce(CommitBuilder<'a, Initial>, &Provider) -> CommitBuilder<'a, Initial>,
) {
    let (mut rogue, mut bob) = Rogue::chat(config());
    let frame = rogue.frame(|group, provider, own| {
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
    bob.refuses(&frame, error);
}

#[track_caller]
fn refuses_proposal(make: impl FnOnce(&mut MlsGroup, &Provider, &e2e::Own) -> MlsMessageOut) {
    let (mut rogue, mut bob) = Rogue::chat(config());
    let frame = rogue.frame(make);
    bob.refuses(&frame, Error::Breach(Breach::Proposal));
}

fn eves_package() -> openmls::key_packages::KeyPackage {
    build(package(), &own("eve", "chat.example", 4), &Provider::new().unwrap())
}

fn external_senders() -> Extension {
    let eve = own("eve", "chat.example", 4);
    let key = eve.member().key.as_bytes().as_slice().into();
    Extension::ExternalSenders(vec![ExternalSender::new(key, credential(&eve).credential)])
}

#[test]
fn plain_openmls_within_the_rules_is_understood() {
    let callers = Rogue::chat(config());
    let accepters = Rogue::accepting(&alice());
    for (mut rogue, mut honest) in [callers, accepters] {
        let plain = text("hello").tls_serialize_detached().unwrap();
        let frame = rogue.frame(|group, provider, own| group.create_message(provider, own, &plain).unwrap());
        honest.hears(&frame, "hello");
        let frame = rogue.frame(|group, provider, own| {
            let bundle = group.self_update(provider, own, LeafNodeParameters::default()).unwrap();
            bundle.into_contents().0
        });
        rogue.group.merge_pending_commit(&rogue.provider).unwrap();
        assert_eq!(honest.open(&frame), Ok(Opened::Renewed));

        for frame in [honest.say("and you"), honest.renew(), honest.say("and on")] {
            let message = MlsMessageIn::tls_deserialize_exact_bytes(&frame.sealed).unwrap();
            let message = message.try_into_protocol_message().unwrap();
            let processed = rogue.group.process_message(&rogue.provider, message).unwrap();
            assert_eq!(processed.aad(), frame.header.aad().unwrap());
            let content = processed.into_content();
            if let openmls::framing::ProcessedMessageContent::StagedCommitMessage(commit) = content {
                rogue.group.merge_staged_commit(&rogue.provider, *commit).unwrap();
            }
        }
        assert_eq!(rogue.group.epoch().as_u64(), honest.chat.epoch());
    }
}

#[test]
fn a_commit_that_adds_somebody_ends_the_chat() {
    refuses_commit(Error::Breach(Breach::Proposal), |builder, _| builder.propose_adds([eves_package()]));
}

#[test]
fn a_commit_that_adds_somebody_and_renews_ends_the_chat() {
    refuses_commit(Error::Breach(Breach::Proposal), |builder, _| {
        builder.propose_adds([eves_package()]).force_self_update(true)
    });
}

#[test]
fn a_commit_that_removes_its_reader_ends_the_chat() {
    refuses_commit(Error::Breach(Breach::Proposal), |builder, _| builder.propose_removals([leaf(1)]));
}

#[test]
fn a_commit_that_changes_the_groups_context_ends_the_chat() {
    refuses_commit(Error::Breach(Breach::Proposal), |builder, _| {
        builder.propose_group_context_extensions(Extensions::single(external_senders()).unwrap()).unwrap()
    });
}

#[test]
fn a_commit_that_says_again_what_the_context_is_ends_the_chat() {
    refuses_commit(Error::Breach(Breach::Proposal), |builder, _| {
        builder.propose_group_context_extensions(Extensions::empty()).unwrap()
    });
}

#[test]
fn a_commit_that_brings_in_another_secret_ends_the_chat() {
    refuses_commit(Error::Breach(Breach::Commit), |builder, provider| {
        let psk = PreSharedKeyId::external(b"shared".to_vec(), vec![0; 32]);
        psk.store(provider, b"secret").unwrap();
        builder.add_proposal(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(psk))))
    });
}

#[test]
fn a_commit_to_a_proposal_that_was_kept_back_ends_the_chat() {
    let (mut rogue, mut bob) = Rogue::chat(config());
    let _kept = rogue.frame(|group, provider, own| group.propose_add_member(provider, own, &eves_package()).unwrap().0);
    let frame = rogue.frame(|group, provider, own| group.commit_to_pending_proposals(provider, own).unwrap().0);
    bob.refuses(&frame, Error::Breach(Breach::Commit));
}

#[test]
fn a_proposal_alone_ends_the_chat() {
    refuses_proposal(|group, provider, own| group.propose_add_member(provider, own, &eves_package()).unwrap().0);
    refuses_proposal(|group, provider, own| group.propose_remove_member(provider, own, leaf(1)).unwrap().0);
    refuses_proposal(|group, provider, own| group.leave_group(provider, own).unwrap());
    refuses_proposal(|group, provider, own| {
        group.propose_self_update(provider, own, LeafNodeParameters::default()).unwrap().0
    });
    refuses_proposal(|group, provider, own| {
        group.propose_group_context_extensions(provider, Extensions::empty(), own).unwrap().0
    });
    refuses_proposal(|group, provider, own| {
        let psk = PreSharedKeyId::external(b"shared".to_vec(), vec![0; 32]);
        group.propose_pre_shared_key(provider, own, psk).unwrap().0
    });
}

#[test]
fn a_commit_that_changes_its_senders_name_or_key_ends_the_chat() {
    let others = [
        own("alice", "chat.example", 3),
        own("mallory", "other.example", 3),
        own("mallory", "chat.example", 4),
        own("eve", "chat.example", 4),
    ];
    for new in others {
        let (mut rogue, mut bob) = Rogue::chat(config());
        let frame = rogue.frame(|group, provider, own| {
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
        bob.refuses(&frame, Error::Breach(Breach::Identity));
    }
}

#[test]
fn a_commit_that_changes_what_its_sender_can_do_ends_the_chat() {
    refuses_commit(Error::Breach(Breach::Profile), |builder, _| {
        builder.leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(Capabilities::default()).build())
    });
    refuses_commit(Error::Breach(Breach::Profile), |builder, _| {
        let id = openmls::extensions::ApplicationIdExtension::new(b"x");
        let extensions = Extensions::single(Extension::ApplicationId(id)).unwrap();
        builder.leaf_node_parameters(LeafNodeParameters::builder().with_extensions(extensions).build())
    });
}

#[test]
fn a_commit_in_clear_ends_the_chat() {
    let (mut rogue, mut bob) = Rogue::chat(config().wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY));
    let frame = rogue.frame(|group, provider, own| {
        group.self_update(provider, own, LeafNodeParameters::default()).unwrap().into_contents().0
    });
    assert_eq!(frame.sealed[2..4], [0, 1], "a PublicMessage");
    bob.refuses(&frame, Error::Forged(Part::Frame));
}

#[test]
fn somebody_who_commits_from_outside_ends_the_chat() {
    let (rogue, mut bob) = Rogue::chat(config());
    let info = rogue.group.export_group_info(rogue.provider.crypto(), &rogue.own, true).unwrap();
    let info = MlsMessageIn::tls_deserialize_exact_bytes(&info.to_bytes().unwrap()).unwrap();
    let MlsMessageBodyIn::GroupInfo(info) = info.extract() else { panic!("no group info") };
    let (eve, provider) = (own("eve", "chat.example", 4), Provider::new().unwrap());
    let header = header(0, 0);
    let (_, bundle) = ExternalCommitBuilder::new()
        .with_aad(header.aad().unwrap())
        .with_config(config().build().join_config().clone())
        .build_group(&provider, info, credential(&eve))
        .unwrap()
        .leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(crate::rogue::capabilities()).build())
        .load_psks(provider.storage())
        .unwrap()
        .build(provider.rand(), provider.crypto(), &eve, |_| true)
        .unwrap()
        .finalize(&provider)
        .unwrap();
    let sealed = bundle.into_contents().0.to_bytes().unwrap().into();
    bob.refuses(&Frame { header, sealed }, Error::Forged(Part::Frame));
}

#[test]
fn something_sealed_that_is_no_content_ends_the_chat() {
    let mut trailing = text("hello").tls_serialize_detached().unwrap();
    trailing.push(0);
    let empty_text: &[u8] = &[1, 0, 0];
    let not_utf8: &[u8] = &[1, 0, 1, 0xff];
    let short: &[u8] = &[1, 0, 9, b'x'];
    let longer_than_a_text = [&[1, 0x40, 1][..], &[b'x'; 0x4001]].concat();
    for plain in [&[][..], &[3], &[0, 0], &trailing, empty_text, not_utf8, short, &longer_than_a_text] {
        let (mut rogue, mut bob) = Rogue::chat(config());
        let frame = rogue.frame(|group, provider, own| group.create_message(provider, own, plain).unwrap());
        bob.refuses(&frame, Error::Breach(Breach::Content));
    }
}

#[test]
fn genuine_data_that_is_not_the_header_ends_the_chat() {
    let first = header(0, 0);
    let short = first.aad().unwrap()[..33].to_vec();
    let long = [first.aad().unwrap(), vec![0]].concat();
    let other_code = [vec![6], first.aad().unwrap()[1..].to_vec()].concat();
    for aad in [vec![], short, long, other_code] {
        let (mut rogue, mut bob) = Rogue::chat(config());
        let plain = Content::Receipt.tls_serialize_detached().unwrap();
        rogue.group.set_aad(aad);
        let message = rogue.group.create_message(&rogue.provider, &rogue.own, &plain).unwrap();
        let sealed = message.to_bytes().unwrap().into();
        bob.refuses(&Frame { header: first, sealed }, Error::Header);
    }
}

#[test]
fn a_genuine_frame_of_another_group_ends_the_chat() {
    let (_, mut bobs) = Rogue::chat(config());
    let mut other = Rogue::alone(bob(), ChatId::from_bytes([8; 16]), config());
    let frame = other.frame(|group, provider, own| group.create_message(provider, own, &[0]).unwrap());
    assert_eq!(frame.header, ChatHeader::new(CHAT, 0, 0));
    bobs.refuses(&frame, Error::WrongChat(Part::Frame));
}
