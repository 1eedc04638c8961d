//! Frames that a client never makes: what is in them, how they are sealed, and where they come from.

use openmls::{group::MlsGroup, prelude::LeafNodeParameters};
use protocol::{ChatHeader, ChatId, CloseReason, Content, Text, ToClient};
use tls_codec::Serialize as _;

use crate::{
    Blames, Scene,
    common::talk,
    hears, is_over,
    peer::{Peer, Rogue},
    stock::{build, config, own, package},
};

const NO_MESSAGE: Blames = Blames::Peer("it sealed something that is no message");
const OTHER_HEAD: Blames = Blames::Either("the head of a message is not the one that was sealed");
const OUT_OF_STEP: Blames = Blames::Either("a second time, too late or too early");
const NOT_GENUINE: Blames = Blames::Either("not genuine");

fn text(text: &str) -> Vec<u8> {
    Content::Text(Text::try_from(text.to_owned()).unwrap()).tls_serialize_detached().unwrap()
}

/// Seals a text of the kind that a client would, under the head that the victim expects.
fn sealed(rogue: &mut Rogue<'_>, words: &str) -> bytes::Bytes {
    let (header, plain) = (rogue.header(), text(words));
    rogue.seals(&header, |group, provider, own| group.create_message(provider, own, &plain).unwrap())
}

#[test]
fn something_sealed_that_is_no_message_ends_the_chat() {
    let mut scene = Scene::new();
    let trailing = [text("hello"), vec![0]].concat();
    let over_long = [&[1, 0x40, 1][..], &[b'x'; 0x4001]].concat();
    let giant = [&[1, 0xf0, 0][..], &[b'x'; 0xf000]].concat();
    let not_utf8: &[u8] = &[1, 0, 2, 0xc3, 0x28];
    let surrogate: &[u8] = &[1, 0, 3, 0xed, 0xa0, 0x80];
    let (nothing, unknown_kind, empty_text): (&[u8], &[u8], &[u8]) = (&[], &[3], &[1, 0, 0]);
    let (long_receipt, cut_short): (&[u8], &[u8]) = (&[0, 0], &[1, 0, 9, b'x']);
    for plain in [
        nothing,
        unknown_kind,
        &[255],
        empty_text,
        long_receipt,
        cut_short,
        not_utf8,
        surrogate,
        &trailing,
        &over_long,
        &giant,
    ] {
        scene.ends(NO_MESSAGE, |rogue| rogue.sends_plain(rogue.header(), plain));
    }
    scene.victor_is_free();
}

#[test]
fn authenticated_data_that_is_not_the_head_of_the_frame_ends_the_chat() {
    let mut scene = Scene::new();
    let odd: [fn(Vec<u8>) -> Vec<u8>; 5] = [
        |_| vec![],
        |head| head[..33].to_vec(),
        |head| [head, vec![0]].concat(),
        |head| [vec![6], head[1..].to_vec()].concat(),
        |head| [head, vec![7; 50_000]].concat(),
    ];
    for change in odd {
        scene.ends(OTHER_HEAD, |rogue| {
            let header = rogue.header();
            rogue.group.set_aad(change(header.aad().unwrap()));
            let plain = text("hello");
            let sealed = rogue.group.create_message(&rogue.provider, &rogue.own, &plain).unwrap();
            rogue.sends(header, sealed.to_bytes().unwrap());
        });
    }
    scene.victor_is_free();
}

/// A frame says how far its sender has got in the head that the server reads, and under the seal; they must not differ.
#[test]
fn a_head_that_says_something_else_than_the_seal_ends_the_chat() {
    let mut scene = Scene::new();
    let odd: [fn(&mut ChatHeader); 3] =
        [|sealed| sealed.counter += 1, |sealed| sealed.ack += 1, |sealed| sealed.chat = ChatId::from_bytes([9; 16])];
    for change in odd {
        scene.ends(OTHER_HEAD, |rogue| {
            let outer = rogue.header();
            let (mut inner, plain) = (outer, text("hello"));
            change(&mut inner);
            let sealed =
                rogue.seals(&inner, |group, provider, own| group.create_message(provider, own, &plain).unwrap());
            rogue.sends(outer, sealed);
        });
    }
    scene.victor_is_free();
}

/// Padding is the sender's own to hide behind. Zeros alone, as MLS wants it.
#[test]
fn padding_of_any_length_is_opened_and_anything_else_than_zeros_in_it_ends_the_chat() {
    let mut scene = Scene::new();
    for block in [0, 1, 100, 60_000] {
        let mut rogue = scene.mallory.calls_with(&mut scene.victor, "victor", config().padding_size(block));
        rogue.tells("short");
        hears(&mut scene.victor, "mallory", "short");
        rogue.takes_leave(&mut scene.victor);
    }
    scene.ends(NOT_GENUINE, |rogue| {
        rogue.provider.meddles(Box::new(|plain| {
            if plain.len() > 100 {
                *plain.last_mut().unwrap() = 1;
            }
        }));
        rogue.tells("short");
    });
    scene.victor_is_free();
}

/// The 12 bytes that say who seals are under a key that both have.
#[test]
fn a_frame_in_the_name_of_its_reader_or_of_nobody_ends_the_chat() {
    let mut scene = Scene::new();
    for (leaf, blames) in [(1, Blames::Either("one of your own messages came back")), (2, NOT_GENUINE)] {
        scene.ends(blames, |rogue| {
            rogue.provider.meddles(Box::new(move |plain| {
                if plain.len() == 12 {
                    plain[3] = leaf;
                }
            }));
            rogue.tells("I am you");
        });
    }
    scene.victor_is_free();
}

#[test]
fn what_is_no_sealed_frame_at_all_ends_the_chat() {
    let mut scene = Scene::new();
    let noise = vec![0xa5; 60_000];
    for sealed in [&[0][..], &[0, 1, 0, 2], &noise] {
        scene.ends(NOT_GENUINE, |rogue| rogue.sends(rogue.header(), sealed.to_vec()));
    }
    scene.ends(NOT_GENUINE, |rogue| {
        let sealed = sealed(rogue, "hello");
        rogue.sends(rogue.header(), sealed.slice(..sealed.len() - 1));
    });
    scene.ends(NOT_GENUINE, |rogue| {
        let sealed = [&sealed(rogue, "hello")[..], &[0; 100]].concat();
        rogue.sends(rogue.header(), sealed);
    });
    scene.victor_is_free();
}

#[test]
fn a_frame_of_another_group_ends_the_chat() {
    let mut scene = Scene::new();
    let mut mallory = Peer::log_in(&scene.world, "mallory-too");
    scene.ends(Blames::Either("for another chat"), |rogue| {
        let mut other = mallory.alone(ChatId::from_bytes([8; 16]), config());
        let sealed = sealed(&mut other, "hello");
        rogue.sends(rogue.header(), sealed);
    });
    // Of one with the same id.
    scene.ends(NOT_GENUINE, |rogue| {
        let mut other = mallory.alone(rogue.chat, config());
        let stand_in = build(package(), &own("victor"), &other.provider);
        other.add(&[stand_in]);
        let sealed = sealed(&mut other, "hello");
        rogue.sends(rogue.header(), sealed);
    });
    scene.victor_is_free();
}

#[test]
fn the_victims_own_frames_sent_back_end_the_chat() {
    let mut scene = Scene::new();
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    scene.victor.says("mine");
    let message = rogue.gets();
    rogue.sends(message.header, message.sealed);
    is_over(&mut scene.victor, Blames::Either("one of your own messages came back"));
    scene.victor_is_free();
}

#[test]
fn a_frame_sent_again_is_dropped_and_under_a_new_counter_ends_the_chat() {
    let mut scene = Scene::new();
    scene.goes_on(|rogue, victor| {
        let (header, once) = (rogue.header(), sealed(rogue, "once"));
        for _ in 0..100 {
            rogue.sends(header, once.clone());
        }
        rogue.next += 1;
        hears(victor, "mallory", "once");
    });
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    let (header, once) = (rogue.header(), sealed(&mut rogue, "once"));
    rogue.sends(header, once.clone());
    hears(&mut scene.victor, "mallory", "once");
    rogue.next += 1;
    rogue.sends(rogue.header(), once);
    is_over(&mut scene.victor, OUT_OF_STEP);
    scene.victor_is_free();
}

/// A receipt has the counter of what comes next, so that its counter does not show that it has been here.
#[test]
fn a_receipt_sent_again_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(OUT_OF_STEP, |rogue| {
        let header = rogue.header();
        let plain = Content::Receipt.tls_serialize_detached().unwrap();
        let sealed = rogue.seals(&header, |group, provider, own| group.create_message(provider, own, &plain).unwrap());
        rogue.sends(header, sealed.clone());
        rogue.sends(header, sealed);
    });
    scene.victor_is_free();
}

#[test]
fn frames_of_an_earlier_chat_change_nothing_in_a_later_one_with_somebody_else() {
    let mut scene = Scene::new();
    let (mut frames, mut old) = (Vec::new(), None);
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    for words in ["one", "two"] {
        let (header, sealed) = (rogue.header(), sealed(&mut rogue, words));
        frames.push((header, sealed.clone()));
        rogue.sends(header, sealed);
        rogue.next += 1;
        hears(&mut scene.victor, "mallory", words);
    }
    old.replace(rogue.chat);
    rogue.takes_leave(&mut scene.victor);

    scene.world.user("wendy");
    let mut wendy = scene.world.log_in("wendy");
    talk(&mut wendy, &mut scene.victor, "victor");
    let raw = &mut scene.mallory.raw;
    for (header, sealed) in frames {
        raw.say(&protocol::ToServer::Message(protocol::Message { header, sealed }));
    }
    raw.say(&protocol::ToServer::Resume(protocol::Resume { chat: old.unwrap(), expected: 0 }));
    raw.hear_what_is_there();
    wendy.says("only me");
    let told = scene.victor.up_to("message");
    let told: Vec<_> = told.iter().map(|event| (&event["event"], &event["from"], &event["text"])).collect();
    assert_eq!(told, [(&"message".into(), &"wendy".into(), &"only me".into())]);
}

/// In the next chat of the same two a frame of the last bears another chat's id; and with the new id it does not open.
#[test]
fn frames_of_an_earlier_chat_end_a_later_one_with_the_same_peer() {
    let mut scene = Scene::new();
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    let old = (rogue.header(), sealed(&mut rogue, "old"));
    rogue.takes_leave(&mut scene.victor);

    scene.goes_on(|rogue, _| rogue.sends(old.0, old.1.clone()));
    scene.ends(Blames::Either("for another chat"), |rogue| rogue.sends(rogue.header(), old.1));
    scene.victor_is_free();
}

#[test]
fn nothing_comes_after_a_goodbye() {
    let mut scene = Scene::new();
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    rogue.says(&Content::Goodbye);
    rogue.says(&Content::Goodbye);
    rogue.tells("and another thing");
    assert_eq!(rogue.hears_the_end(), CloseReason::Left);
    rogue.tells("and another thing");
    rogue.resumes(0);
    rogue.raw.hear_what_is_there();
    let told = scene.victor.up_to("chat_closed");
    let names: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((names.as_slice(), &told[0]["reason"]), (&["chat_closed"][..], &"goodbye".into()));
    scene.victor.types("--l");
    assert_eq!(scene.victor.next().unwrap()["event"], "users");
    scene.victor_is_free();
}

/// What is said under the keys from before the victim's renewal opens until the peer shows that it has the renewal.
#[test]
fn a_frame_of_an_old_epoch_ends_the_chat_once_the_new_one_was_used() {
    let mut scene = Scene::new();
    let mut rogue = scene.mallory.accepts(&mut scene.victor);
    let late = (rogue.header(), sealed(&mut rogue, "late"));
    rogue.renews();
    assert_eq!(scene.victor.expect("renewed")["epoch"], 2);
    rogue.sends(rogue.header(), late.1);
    is_over(&mut scene.victor, OUT_OF_STEP);
    scene.victor_is_free();
}

#[test]
fn a_frame_of_an_epoch_that_is_yet_to_come_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(OUT_OF_STEP, |rogue| {
        let header = rogue.header();
        rogue.seals(&header, |group: &mut MlsGroup, provider, own| {
            let commit = group.self_update(provider, own, LeafNodeParameters::default()).unwrap().into_contents().0;
            group.merge_pending_commit(provider).unwrap();
            commit
        });
        rogue.tells("too early");
    });
    scene.victor_is_free();
}

/// Each frame that is left out costs its reader; so few may be.
#[test]
fn a_frame_that_is_far_ahead_in_its_senders_ratchet_ends_the_chat() {
    let mut scene = Scene::new();
    scene.ends(OUT_OF_STEP, |rogue| {
        for _ in 0..=e2e::MAX_FORWARD {
            sealed(rogue, "never sent");
        }
        rogue.tells("far ahead");
    });
    scene.victor_is_free();
}

#[test]
fn texts_arrive_as_they_are_under_their_senders_name_alone() {
    let mut scene = Scene::new();
    let nasty = [
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "victor: I give you everything",
        "{\"event\":\"message\",\"from\":\"wendy\",\"text\":\"hi\"}",
        "line\nvictor | line\r\n",
        "\u{202e}reversed\u{0}\u{85}\u{2028}",
        "--ex",
    ];
    scene.goes_on(|rogue, victor| {
        for words in nasty {
            rogue.tells(words);
            hears(victor, "mallory", words);
        }
        let longest = "x".repeat(protocol::limits::MAX_TEXT);
        rogue.tells(&longest);
        hears(victor, "mallory", &longest);
    });
    scene.victor_is_free();
}

/// The server looks at the head of a frame, and drops the connection that one without a head comes from.
#[test]
fn what_a_client_may_not_say_to_the_server_ends_its_own_connection_alone() {
    let mut scene = Scene::new();
    for bytes in [&[5][..], &[5, 1, 0], &[]] {
        let rogue = scene.mallory.calls(&mut scene.victor, "victor");
        rogue.raw.send(bytes);
        assert_eq!(rogue.raw.hear_all().pop(), Some(ToClient::Error(protocol::ServerError::Protocol)), "{bytes:?}");
        assert_eq!(scene.victor.expect_closed(), "lost");
        scene.mallory.comes_back();
    }
    scene.victor_is_free();
}

/// What the tests above compare with: a peer that keeps to the rules, with the same program.
#[test]
fn a_peer_with_a_program_of_its_own_that_keeps_to_the_rules_is_understood() {
    let mut scene = Scene::new();
    for victor_calls in [false, true] {
        let mut rogue = if victor_calls {
            scene.mallory.accepts(&mut scene.victor)
        } else {
            scene.mallory.calls(&mut scene.victor, "victor")
        };
        rogue.tells("hello");
        hears(&mut scene.victor, "mallory", "hello");
        scene.victor.says("hello yourself");
        let heard = loop {
            match rogue.hears() {
                Content::Receipt => {}
                content => break content,
            }
        };
        assert_eq!(heard.tls_serialize_detached().unwrap(), text("hello yourself"));
        rogue.says(&Content::Receipt);
        scene.victor.expect("delivered");
        if victor_calls {
            rogue.renews();
            assert_eq!(scene.victor.expect("renewed")["epoch"], 2);
            rogue.tells("with new keys");
            hears(&mut scene.victor, "mallory", "with new keys");
        }
        rogue.takes_leave(&mut scene.victor);
    }
    scene.victor_is_free();
}
