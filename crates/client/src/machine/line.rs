//! The line of a chat: broken by the loss of either connection, and opened again (B3).

use std::time::Instant;

use protocol::{ChatId, Resume, ToServer};

use super::{BEHIND, Client, Output, State, Timer, send};
use crate::Event;

impl Client {
    /// The server says that the peer is not there. From here on it drops what is sent to the peer, until it has heard
    /// from both where they stand.
    pub(super) fn peer_away(&mut self, chat: ChatId, out: &mut Vec<Output>) {
        let Some(conversation) = self.state.conversation().filter(|conversation| conversation.chat == chat) else {
            return;
        };
        // Said once for each break: at log-in it has been said, and a second word could come upon a line that is open
        // again, and break it.
        if conversation.is_open() {
            conversation.breaks();
            send(out, &ToServer::Resume(conversation.resume()));
        }
        self.timers.stop(Timer::Receipt);
        self.timers.stop(Timer::Behind);
        self.say_away(out);
    }

    /// The line is broken at this side and has to be opened from the other. The user is told if that takes a while.
    pub(super) fn await_peer(&mut self, now: Instant) {
        if matches!(self.state, State::Chatting(_)) {
            self.timers.start_after(Timer::Behind, now, BEHIND);
        }
    }

    /// Tells the user that the peer cannot be reached, once.
    pub(super) fn say_away(&mut self, out: &mut Vec<Output>) {
        if let State::Chatting(conversation) = &mut self.state
            && !std::mem::replace(&mut conversation.said_away, true)
        {
            out.push(Output::Event(Event::PeerAway { peer: conversation.peer.user.to_string() }));
        }
    }

    /// The server says that the peer is there, and what it expects next. Frames that the peer has after all are
    /// dropped there; of those that it has not, none is forgotten here before a sealed frame has acknowledged it.
    pub(super) fn resumed(&mut self, Resume { chat, expected }: Resume, now: Instant, out: &mut Vec<Output>) {
        let Some(conversation) = self.state.conversation().filter(|conversation| conversation.chat == chat) else {
            return;
        };
        if conversation.is_open() {
            return;
        }
        out.extend(conversation.opens(expected).cloned().map(Output::Send));
        let State::Chatting(conversation) = &mut self.state else {
            // The peer has to show first that it has the same group.
            return;
        };
        if std::mem::take(&mut conversation.said_away) {
            out.push(Output::Event(Event::PeerBack { peer: conversation.peer.user.to_string() }));
        }
        self.timers.stop(Timer::Behind);
        // What was sent again acknowledges no more than it did when it was sealed.
        match conversation.receipt(&mut *self.rng) {
            Ok(frame) => out.push(Output::Send(frame)),
            Err(fault) => return self.fail_chat(&fault, now, out),
        }
        self.pump(now, out);
    }

    /// A frame came before one that it should have come after.
    pub(super) fn missed(&mut self, now: Instant, out: &mut Vec<Output>) {
        // With a broken line it is known that something is missing, and asked for.
        let Some(conversation) = self.state.conversation().filter(|conversation| conversation.is_open()) else {
            return;
        };
        match conversation.miss() {
            Ok(()) => {
                send(out, &ToServer::Resume(conversation.resume()));
                self.timers.stop(Timer::Receipt);
                self.await_peer(now);
            }
            Err(fault) => self.fail_chat(&fault, now, out),
        }
    }
}
