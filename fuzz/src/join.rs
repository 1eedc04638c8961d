use std::sync::OnceLock;

use bytes::Bytes;
use e2e::{Chat, Culprit};
use protocol::{ChatHeader, Content};

use crate::{
    forge::forged,
    mls,
    pair::{CHAT, alice, bob, invitation, rng},
    script::{Script, edited},
};

/// Bob's key package and alice's welcome: as they are, changed, or any bytes in their place.
///
/// What is accepted is, read in another way, just what docs/protocol.md allows, and a chat comes of it; what is not is
/// never blamed on this program. While signatures hold, no key package that was changed is.
pub fn join(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let holds = script.flag();
    openmls_libcrux_crypto::hold(holds);
    let Genuine { package, welcome } = genuine(holds);
    if script.flag() {
        create(&changed(package, &mut script), package, holds);
    } else {
        accept(&changed(welcome, &mut script), welcome);
    }
}

/// What an honest bob and an honest alice send.
struct Genuine {
    package: Bytes,
    welcome: Bytes,
}

/// It is made while hashes are what they are when it is read.
fn genuine(holds: bool) -> &'static Genuine {
    static GENUINE: [OnceLock<Genuine>; 2] = [const { OnceLock::new() }; 2];
    GENUINE[usize::from(holds)].get_or_init(|| {
        let (_, package) = invitation();
        let (_, welcome) = Chat::create(alice(), CHAT, bob().member(), &package, &mut rng(2)).unwrap();
        Genuine { package, welcome }
    })
}

fn changed(genuine: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    match script.choice(8) {
        0 => genuine.to_vec(),
        1 => script.rest().to_vec(),
        2 => edited(genuine, script),
        _ => forged(genuine, script),
    }
}

fn create(package: &[u8], genuine: &[u8], holds: bool) {
    match Chat::create(alice(), CHAT, bob().member(), package, &mut rng(2)) {
        Ok((chat, welcome)) => {
            assert!(!holds || package == genuine, "nobody made this key package");
            mls::is_a_package(package, bob().member());
            mls::is_a_welcome(&welcome, CHAT, [alice().member(), bob().member()]);
            talks(chat);
        }
        Err(error) => is_refused(error, package == genuine),
    }
}

/// Changed secrets are accepted also while seals hold, for HPKE is a copy here; the first frame finds them out.
fn accept(welcome: &[u8], genuine: &[u8]) {
    match invitation().0.join(CHAT, alice().member(), welcome, &mut rng(3)) {
        Ok(chat) => {
            mls::is_a_welcome(welcome, CHAT, [alice().member(), bob().member()]);
            talks(chat);
        }
        Err(error) => is_refused(error, welcome == genuine),
    }
}

fn is_refused(error: e2e::Error, is_genuine: bool) {
    assert!(!is_genuine, "{error:?}");
    assert_ne!(error.culprit(), Culprit::Own, "{error:?}");
}

fn talks(mut chat: Chat) {
    let rng = &mut rng(4);
    assert_eq!(chat.epoch(), 1);
    chat.seal(&ChatHeader::new(CHAT, 0, 0), &Content::Receipt, rng).unwrap();
    chat.renew(&ChatHeader::new(CHAT, 0, 0), rng).unwrap();
    assert_eq!(chat.epoch(), 2);
}
