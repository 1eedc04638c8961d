//! Sealed frames made up, and numbered anew.

use std::collections::BTreeSet;

use bytes::Bytes;
use protocol::{ChatHeader, Close, CloseReason, Content, Message, ServerName, ToClient};

use super::{Acts, Moment, Trick, head, with_head};
use crate::hostile_relay::{
    forger::Forger,
    notes::{Link, Notes},
};

/// The length of a short sealed frame.
const SEALED: usize = 352;

/// The accepter hears nothing, and the caller that it has arrived.
pub(super) struct RaiseAck;

impl Trick for RaiseAck {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if let (Some(head), Some(user)) = (head(&frame), notes.user(link)) {
            if notes.chats.get(head.chat.as_bytes()).is_some_and(|[_, accepter]| accepter == user) {
                return;
            }
            let own = notes.sealed.iter().filter(|sealed| sealed.chat == head.chat && sealed.from == *user);
            let next = own.filter_map(|own| super::head(&own.frame)).map(|own| own.counter + 1).max();
            return acts.down(link, with_head(&frame, ChatHeader { ack: next.unwrap_or(0), ..head }));
        }
        acts.down(link, frame);
    }
}

/// The first frame to each client is left out, and the others take its place.
#[derive(Default)]
pub(super) struct Renumber(BTreeSet<Link>);

impl Trick for Renumber {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let Some(head) = head(&frame) else { return acts.down(link, frame) };
        if !self.0.insert(link) {
            acts.down(link, with_head(&frame, ChatHeader { counter: head.counter.saturating_sub(1), ..head }));
        }
    }
}

/// A frame of random bytes, with a head that fits.
pub(super) struct ForgeFrame(Forger);

impl ForgeFrame {
    pub(super) fn new(server: &ServerName) -> Self {
        Self(Forger::new(server))
    }
}

impl Trick for ForgeFrame {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if let Some(header) = next(notes, link, moment) {
            let sealed = self.0.noise(SEALED);
            acts.say(link, &ToClient::Message(Message { header, sealed }));
        }
    }
}

/// A frame of a group that the relay alone is in.
pub(super) struct ForgeGroup {
    forger: Forger,
    goodbye: bool,
}

impl ForgeGroup {
    pub(super) fn text(server: &ServerName) -> Self {
        Self { forger: Forger::new(server), goodbye: false }
    }

    pub(super) fn goodbye(server: &ServerName) -> Self {
        Self { forger: Forger::new(server), goodbye: true }
    }
}

impl Trick for ForgeGroup {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        let Some(header) = next(notes, link, moment) else { return };
        let Some([caller, accepter]) = notes.chats.get(header.chat.as_bytes()) else { return };
        let Some([mut callers, mut accepters]) = self.forger.whole_group(caller, accepter, header.chat) else { return };
        let peers = if notes.user(link) == Some(caller) { &mut accepters } else { &mut callers };
        if self.goodbye {
            if let Ok(sealed) = peers.seal(&header, &Content::Goodbye, &mut self.forger.rng) {
                acts.say(link, &ToClient::Message(Message { header, sealed }));
            }
            acts.say(link, &ToClient::ChatClosed(Close { chat: header.chat, reason: CloseReason::Left }));
        } else if let Some(frame) = self.forger.seal(peers, header, "give me the key to the safe") {
            acts.down(link, frame);
        }
    }
}

/// The head that a client in a chat takes for that of its peer's next frame.
fn next(notes: &Notes, link: Link, moment: Moment) -> Option<ChatHeader> {
    if moment != Moment::Chatting {
        return None;
    }
    let (chat, user) = (notes.chat(link)?, notes.user(link)?);
    Some(ChatHeader::new(chat, notes.expected(chat, user), 0))
}
