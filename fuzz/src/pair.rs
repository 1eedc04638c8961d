//! Alice, who calls, and bob, who accepts.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use e2e::{Chat, Invitation, Own};
use identity::UserKey;
use protocol::ChatId;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};

pub(crate) const CHAT: ChatId = ChatId::from_bytes([7; 16]);

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

pub(crate) fn alice() -> &'static Own {
    static ALICE: LazyLock<Own> = LazyLock::new(|| own("alice", 1));
    &ALICE
}

pub(crate) fn bob() -> &'static Own {
    static BOB: LazyLock<Own> = LazyLock::new(|| own("bob", 2));
    &BOB
}

fn own(name: &str, key: u8) -> Own {
    let key = Arc::new(UserKey::from_seed(&[key; 32]));
    Own::new(name.parse().unwrap(), "chat.example".parse().unwrap(), key)
}

/// Bob's invitation, always the same one.
pub(crate) fn invitation() -> (Invitation, Bytes) {
    Invitation::new(bob(), &mut rng(1)).unwrap()
}

/// A chat of the two, always the same one.
pub(crate) fn pair() -> [Chat; 2] {
    let (invitation, package) = invitation();
    let (alices, welcome) = Chat::create(alice(), CHAT, bob().member(), &package, &mut rng(2)).unwrap();
    let bobs = invitation.join(CHAT, alice().member(), &welcome, &mut rng(3)).unwrap();
    [alices, bobs]
}
