//! Counters and acknowledgements.

use protocol::{ChatHeader, Content, limits::MAX_COUNTER};
use tls_codec::Serialize as _;

use crate::{Blames, Scene, hears, is_over, peer::Rogue};

/// Sends a receipt with this head, sealed as it is.
fn receipt(rogue: &mut Rogue<'_>, counter: u64, ack: u64) {
    let header = ChatHeader::new(rogue.chat, counter, ack);
    rogue.sends_plain(header, &Content::Receipt.tls_serialize_detached().unwrap());
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_the_chat() {
    let mut scene = Scene::new();
    // One frame has been sent: the words that nobody confirms.
    for ack in [2, MAX_COUNTER - 1, MAX_COUNTER, u64::MAX - 1, u64::MAX] {
        let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
        scene.victor.says("words that nobody confirms");
        assert_eq!(scene.victor.expect("sent")["n"], 0);
        receipt(&mut rogue, 0, ack);
        is_over(&mut scene.victor, Blames::Peer("confirmed what was never sent"));
        rogue.hears_the_end();
    }
    scene.victor_is_free();
}

/// With a text the peer's word comes in the same frame, and is not shown either.
#[test]
fn nothing_of_a_frame_with_a_false_acknowledgement_is_shown() {
    let mut scene = Scene::new();
    scene.ends(Blames::Peer("confirmed what was never sent"), |rogue| {
        rogue.expected = 1000;
        rogue.tells("I have all of it");
    });
    scene.victor_is_free();
}

#[test]
fn an_acknowledgement_that_goes_back_takes_nothing_back() {
    let mut scene = Scene::new();
    scene.goes_on(|rogue, victor| {
        for n in 0..3 {
            victor.says(&n.to_string());
        }
        while rogue.expected < 3 {
            rogue.hears();
        }
        // A text acknowledges as well; not here.
        rogue.expected = 0;
        for (ack, delivered) in [(2, Some(1)), (0, None), (1, None), (2, None), (3, Some(2)), (0, None)] {
            receipt(rogue, rogue.next, ack);
            rogue.tells("a sign");
            let told = victor.up_to("message");
            let told: Vec<_> = told.iter().filter(|event| event["event"] == "delivered").collect();
            match delivered {
                Some(n) => assert_eq!((told.len(), &told[0]["n"]), (1, &n.into()), "{ack}"),
                None => assert!(told.is_empty(), "{ack}: {told:#?}"),
            }
        }
    });
    scene.victor_is_free();
}

/// `delivered` is the word of the peer's client, and nobody can look whether it keeps it.
#[test]
fn who_confirms_what_it_does_not_read_is_believed() {
    let mut scene = Scene::new();
    scene.goes_on(|rogue, victor| {
        victor.says("read this");
        rogue.gets();
        receipt(rogue, 0, 1);
        assert_eq!(victor.expect("delivered")["n"], 0);
        rogue.expected = 1;
    });
    scene.victor_is_free();
}

/// What has been here is dropped by its counter, whatever is sealed in it.
#[test]
fn counters_that_go_back_are_dropped() {
    let mut scene = Scene::new();
    scene.goes_on(|rogue, victor| {
        for n in 0..5 {
            rogue.tells(&n.to_string());
            hears(victor, "mallory", &n.to_string());
        }
        for counter in [0, 3, 4] {
            let header = ChatHeader::new(rogue.chat, counter, u64::MAX);
            rogue.sends(header, vec![7; 300]);
        }
    });
    scene.victor_is_free();
}

/// Each frame too many makes victor ask for what is missing; what comes then is again something else.
#[test]
fn counters_that_jump_end_the_chat() {
    let mut scene = Scene::new();
    for counter in [1, 1000, MAX_COUNTER - 1, MAX_COUNTER, u64::MAX] {
        scene.ends(Blames::Either("is missing, also when it is sent again"), |rogue| {
            for round in 0..4 {
                let header = ChatHeader::new(rogue.chat, counter, 0);
                rogue.sends(header, vec![7; 300]);
                if round < 3 {
                    rogue.goes_along();
                }
            }
        });
    }
    scene.victor_is_free();
}

/// Nothing is opened, and nothing kept, of what comes while something is missing.
#[test]
fn frames_after_a_gap_are_dropped_however_many() {
    // Room for all of them: the server would end the chat of a victim who reads so slowly that it has none.
    let mut scene = Scene::with("mailbox_frames = 4096");
    scene.goes_on(|rogue, _| {
        for counter in 0..2000 {
            let header = ChatHeader::new(rogue.chat, 5 + counter, 0);
            rogue.sends(header, vec![7; 300]);
        }
        rogue.goes_along();
    });
    scene.victor_is_free();
}
