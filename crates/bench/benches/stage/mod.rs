//! What the benchmarks are played on: the product's own machines, mailboxes, router, codec and TLS configurations, put
//! together without sockets. Nothing here stands in for a part of them.
#![allow(dead_code, reason = "each benchmark uses a part of this")]

pub(crate) mod clients;
pub(crate) mod frames;
pub(crate) mod handshake;
pub(crate) mod line;
pub(crate) mod relay;
pub(crate) mod seal;

use std::{sync::Arc, time::Instant};

use identity::UserKey;
use protocol::{ChatId, ServerName, UserName};

/// The two who talk: the first calls, the second accepts.
pub(crate) const CALLER: usize = 0;
pub(crate) const ACCEPTER: usize = 1;

/// The chat that the two have where its name is not drawn by a client.
pub(crate) const CHAT: ChatId = ChatId::from_bytes([7; 16]);

pub(crate) fn name(user: usize) -> UserName {
    let names = ["alice", "bob"];
    names[user].parse().unwrap()
}

pub(crate) fn key(user: usize) -> Arc<UserKey> {
    Arc::new(UserKey::from_seed(&[u8::try_from(user).unwrap() + 1; 32]))
}

pub(crate) fn server() -> ServerName {
    "localhost".parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; it is read once a benchmark")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
