//! What may be shown, and what may be sent between threads.

use e2e::{Breach, Chat, Culprit, Error, Invitation, Opened, Own, Part};

use crate::common::{alice, bob, pair, rng, text};

#[test]
fn debug_shows_no_secrets() {
    let own = r#"Own { member: Member { user: bob, server: chat.example, key: PublicKey(8139770e…) }, .. }"#;
    assert_eq!(format!("{:?}", bob()), own);
    let (invitation, _) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    assert_eq!(format!("{invitation:?}"), format!("Invitation {{ own: {own}, .. }}"));
    let (mut side, mut peer) = pair(1);
    let shown = "Chat { chat: ChatId(07070707…), \
        peer: Member { user: bob, server: chat.example, key: PublicKey(8139770e…) }, epoch: 1, over: false, .. }";
    assert_eq!(format!("{:?}", side.chat), shown);
    let frame = side.say("meet at nine");
    assert_eq!(format!("{:?}", peer.open(&frame)), "Ok(Content(Text(Text(12 bytes))))");
    assert_eq!(format!("{:?}", Opened::Content(text("x"))), "Content(Text(Text(1 bytes)))");
    let _ = peer.open(&frame);
    assert!(format!("{:?}", peer.chat).ends_with("epoch: 1, over: true, .. }"));
}

#[test]
fn every_error_says_what_happened_and_what_to_do() {
    let parts = [Part::KeyPackage, Part::Welcome, Part::Frame];
    let breaches = [
        Breach::Suite,
        Breach::Profile,
        Breach::Members,
        Breach::Proposal,
        Breach::NoUpdate,
        Breach::Identity,
        Breach::Commit,
        Breach::Content,
    ];
    let mut errors = vec![
        (Error::Header, Culprit::Either),
        (Error::Reflected, Culprit::Either),
        (Error::OutOfReach, Culprit::Either),
        (Error::SameKey, Culprit::Own),
        (Error::Misuse, Culprit::Own),
        (Error::Local("sealing a message"), Culprit::Own),
        (Error::Over, Culprit::Own),
    ];
    for part in parts {
        errors.extend([Error::Forged, Error::WrongMember, Error::WrongChat].map(|e| (e(part), Culprit::Either)));
    }
    errors.extend(breaches.map(|breach| (Error::Breach(breach), Culprit::Peer)));
    let mut texts = Vec::new();
    for (error, culprit) in errors {
        assert_eq!(error.culprit(), culprit, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("; ") && text.len() > 30, "what to do next: {text}");
        texts.push(text);
    }
    let all = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), all, "no two alike");
}

#[test]
fn a_chat_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    is_send(&invitation);
    is_send::<Own>(&bob());
    let (chat, _) = Chat::create(&alice(), crate::common::CHAT, bob().member(), &package, &mut rng(2)).unwrap();
    is_send(&chat);
}
