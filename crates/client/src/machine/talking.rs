//! The chat itself, from the check of the peer's key to the goodbye.

use std::time::Instant;

use e2e::{Chat, Member, Own};
use identity::{Pin, Trust, safety_number};
use protocol::{ChatId, Close, CloseReason, Message, ToServer, UserName};

use super::{
    Attempts, BEHIND, Client, Leaving, Output, Phase, RECEIPT, RENEWAL, State, Step, Timer, error, error_about, send,
};
use crate::{
    Ending, ErrorCode, Event, Failure,
    conversation::{Arrival, Arrived, Came, Conversation, Fault},
};

/// Counted frames of the peer's after which a receipt goes out at once.
const MAX_UNCONFIRMED: usize = protocol::limits::WINDOW_FRAMES / 4;

impl Client {
    /// What is pinned for the peer is known: go on, or stop before a word is sent (B4).
    pub(super) fn pin(&mut self, pin: Option<Pin>, now: Instant, out: &mut Vec<Output>) {
        let (peer, chat, step) = match std::mem::take(&mut self.state) {
            State::CheckingPin { peer, chat, step } => (peer, chat, step),
            other => {
                self.state = other;
                return;
            }
        };
        let trust = match pin {
            None => Trust::New,
            Some(pin) if pin.key != peer.key => {
                let Member { user, .. } = &peer;
                let message = format!(
                    "the server hands out another key for {user} than the one that {user} had when you last talked. \
                     Either {user} has a new key, or somebody stands between you. Nothing was sent. Ask {user} by another \
                     way; only if it is so, `/forget {user}` lets you talk, or `sottovoce pins forget {user} --profile DIR`"
                );
                error_about(out, user, Failure::new(ErrorCode::KeyChanged, message));
                send(out, &ToServer::ChatClosed(Close { chat, reason: CloseReason::Failed }));
                self.timers.stop(Timer::SetUp);
                return;
            }
            Some(Pin { verified: true, .. }) => Trust::Verified,
            Some(Pin { verified: false, .. }) => Trust::Pinned,
        };
        if let Err(fault) = self.set_up(peer.clone(), chat, step, trust, now, out) {
            let reason = CloseReason::Failed;
            send(out, &ToServer::ChatClosed(Close { chat, reason }));
            self.timers.stop(Timer::SetUp);
            blame(out, &peer.user, &fault, format!("no chat with {}: {fault}", peer.user));
            let closed = Event::ChatClosed { peer: peer.user.to_string(), reason: Ending::Error, undelivered: 0 };
            out.push(Output::Event(closed));
        }
    }

    fn set_up(
        &mut self,
        peer: Member,
        chat: ChatId,
        step: Step,
        trust: Trust,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        let Some(own) = &self.own else {
            return Ok(());
        };
        match step {
            Step::Create { key_package } => {
                let (group, welcome) = Chat::create(own, chat, &peer, &key_package, &mut *self.rng)?;
                send(out, &ToServer::SessionEstablishment(protocol::Establish { chat, welcome }));
                let conversation = Box::new(Conversation::new(peer, chat, group, true));
                self.state = State::Confirming { conversation, trust };
            }
            Step::Join { invitation, welcome } => {
                let group = invitation.join(chat, &peer, &welcome, &mut *self.rng)?;
                let mut conversation = Box::new(Conversation::new(peer, chat, group, false));
                // Shows the caller that this side has the same group; its chat starts with this.
                out.push(Output::Send(conversation.receipt(&mut *self.rng)?));
                self.started(conversation, trust, now, out);
            }
        }
        Ok(())
    }

    fn started(&mut self, conversation: Box<Conversation>, trust: Trust, now: Instant, out: &mut Vec<Output>) {
        let Some(own) = &self.own else {
            return;
        };
        let peer = &conversation.peer;
        let safety_number = number(own, peer);
        if trust == Trust::New {
            out.push(Output::StorePin(peer.clone()));
        }
        out.push(Output::Event(Event::ChatStarted {
            peer: peer.user.to_string(),
            suite: e2e::SUITE.to_owned(),
            safety_number,
            trust,
        }));
        self.timers.stop(Timer::SetUp);
        if conversation.has_turn() {
            self.timers.start_after(Timer::Renewal, now, RENEWAL);
        }
        self.state = State::Chatting(conversation);
    }

    /// A sealed frame came.
    pub(super) fn message(&mut self, message: &Message, now: Instant, out: &mut Vec<Output>) {
        let conversation = match &mut self.state {
            State::Confirming { conversation, .. } | State::Chatting(conversation)
                if conversation.chat == message.header.chat =>
            {
                conversation
            }
            // The chat ended while this was on its way.
            _ => return,
        };
        let opened = conversation.open(message, &mut *self.rng);
        match opened {
            Ok(Came::Again) => {}
            Ok(Came::Early) => self.missed(now, out),
            Ok(Came::Next(arrival)) => {
                // The connection was good for something, and no server can make that up.
                self.attempts = Attempts::default();
                match std::mem::take(&mut self.state) {
                    State::Confirming { conversation, trust } => self.started(conversation, trust, now, out),
                    other => self.state = other,
                }
                self.arrived(arrival, now, out);
            }
            Err(fault) => self.fail_chat(&fault, now, out),
        }
    }

    fn arrived(&mut self, arrival: Arrival, now: Instant, out: &mut Vec<Output>) {
        let State::Chatting(conversation) = &self.state else {
            return;
        };
        if let Some(n) = arrival.delivered {
            out.push(Output::Event(Event::Delivered { n }));
        }
        match arrival.content {
            Arrived::Nothing => {}
            Arrived::Text { text, counter } => {
                let from = conversation.peer.user.to_string();
                out.push(Output::Event(Event::Message { from, text, n: counter }));
            }
            Arrived::Renewed => {
                out.push(Output::Event(Event::Renewed { epoch: conversation.epoch() }));
                self.timers.start_after(Timer::Renewal, now, RENEWAL);
            }
            Arrived::Goodbye => {
                // Who said it waits to hear that it has arrived.
                self.receipt(out);
                self.end_chat(Ending::Goodbye, Some(CloseReason::Left), out);
                return self.go_if_leaving(now, out);
            }
        }
        self.pump(now, out);
    }

    /// Does all that has become possible: sends what waits, renews, confirms, and goes if the user wanted to go.
    pub(super) fn pump(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.send_waiting(now, out) {
            Ok(()) => self.go_if_leaving(now, out),
            Err(fault) => self.fail_chat(&fault, now, out),
        }
    }

    fn send_waiting(&mut self, now: Instant, out: &mut Vec<Output>) -> Result<(), Fault> {
        let (Phase::Online, State::Chatting(conversation)) = (&self.phase, &mut self.state) else {
            return Ok(());
        };
        while let Some((n, frame)) = conversation.next_text(&mut *self.rng)? {
            out.extend([Output::Send(frame), Output::Event(Event::Sent { n })]);
        }
        if !conversation.is_open() {
            return Ok(());
        }
        if conversation.waiting() == 0 {
            self.timers.stop(Timer::Behind);
            if std::mem::take(&mut conversation.said_behind) {
                out.push(Output::Event(Event::PeerCaughtUp { peer: conversation.peer.user.to_string() }));
            }
        } else if !conversation.said_behind && !self.timers.is_running(Timer::Behind) {
            self.timers.start_after(Timer::Behind, now, BEHIND);
        }
        if conversation.is_renewal_due()
            && self.leaving.is_none()
            && let Some(frame) = conversation.renew(&mut *self.rng)?
        {
            out.extend([Output::Send(frame), Output::Event(Event::Renewed { epoch: conversation.epoch() })]);
            self.timers.stop(Timer::Renewal);
        }
        if conversation.unconfirmed() >= MAX_UNCONFIRMED {
            let frame = conversation.receipt(&mut *self.rng)?;
            out.push(Output::Send(frame));
        }
        if conversation.unconfirmed() == 0 {
            self.timers.stop(Timer::Receipt);
        } else if !self.timers.is_running(Timer::Receipt) {
            self.timers.start_after(Timer::Receipt, now, RECEIPT);
        }
        Ok(())
    }

    /// It is time to renew; a full window puts it off until it has room.
    pub(super) fn renew(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let State::Chatting(conversation) = &mut self.state {
            conversation.make_renewal_due();
            self.pump(now, out);
        }
    }

    /// It is time to confirm what came.
    pub(super) fn receipt(&mut self, out: &mut Vec<Output>) {
        let (Phase::Online, State::Chatting(conversation)) = (&self.phase, &mut self.state) else {
            return;
        };
        if conversation.unconfirmed() > 0 && conversation.is_open() {
            match conversation.receipt(&mut *self.rng) {
                Ok(frame) => out.push(Output::Send(frame)),
                Err(fault) => self.fault(&fault, out),
            }
        }
    }

    /// The window has been full for a while, or the line broken.
    pub(super) fn behind(&mut self, out: &mut Vec<Output>) {
        if let State::Chatting(conversation) = &mut self.state {
            if !conversation.is_open() {
                return self.say_away(out);
            }
            conversation.said_behind = true;
            out.push(Output::Event(Event::PeerBehind { peer: conversation.peer.user.to_string() }));
        }
    }

    /// The chat cannot go on, and does not keep the user who wanted to go.
    pub(super) fn fail_chat(&mut self, fault: &Fault, now: Instant, out: &mut Vec<Output>) {
        self.fault(fault, out);
        self.go_if_leaving(now, out);
    }

    /// The chat cannot go on.
    pub(super) fn fault(&mut self, fault: &Fault, out: &mut Vec<Output>) {
        if let Some(peer) = self.state.peer() {
            blame(out, peer, fault, format!("the chat was ended: {fault}"));
        }
        self.end_chat(Ending::Error, Some(CloseReason::Failed), out);
    }

    /// Ends what there is of a chat or a request, and tells the user, and the server if `tell` is given.
    pub(super) fn end_chat(&mut self, reason: Ending, tell: Option<CloseReason>, out: &mut Vec<Output>) {
        for timer in [Timer::SetUp, Timer::Receipt, Timer::Renewal, Timer::Behind] {
            self.timers.stop(timer);
        }
        let state = std::mem::take(&mut self.state);
        let (Some(peer), Some(chat)) = (state.peer(), state.chat()) else {
            return;
        };
        let peer = peer.to_string();
        if let Some(reason) = tell
            && matches!(self.phase, Phase::Online)
        {
            send(out, &ToServer::ChatClosed(Close { chat, reason }));
        }
        let event = match state {
            State::Free => return,
            State::Calling { .. } | State::Ringing { .. } => {
                Event::RequestEnded { peer, reason: crate::RequestEnding::Lost }
            }
            State::AwaitingWelcome { .. } | State::CheckingPin { .. } => {
                Event::ChatClosed { peer, reason, undelivered: 0 }
            }
            State::Confirming { conversation, .. } | State::Chatting(conversation) => {
                let undelivered = conversation.undelivered();
                if self.leaving == Some(Leaving::ForGood) && undelivered > 0 {
                    self.unfinished = Some(unconfirmed(&peer, undelivered));
                }
                Event::ChatClosed { peer, reason, undelivered }
            }
        };
        out.push(Output::Event(event));
    }

    /// Goes, if the user wanted to and nothing is left to be delivered, the goodbye among it.
    pub(super) fn go_if_leaving(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.leaving.is_none() || !matches!(self.phase, Phase::Online) {
            return;
        }
        match &mut self.state {
            State::Chatting(conversation) => {
                if conversation.waiting() == 0 && conversation.is_open() && !conversation.said_goodbye() {
                    match conversation.goodbye(&mut *self.rng) {
                        Ok(frame) => out.push(Output::Send(frame)),
                        Err(fault) => self.fail_chat(&fault, now, out),
                    }
                } else if conversation.said_goodbye() && conversation.is_all_delivered() {
                    self.go(now, out);
                }
            }
            // A pipe that asks for the list and ends wants to read it.
            _ if !self.lists_asked.is_empty() => {}
            _ => self.go(now, out),
        }
    }
}

/// Tells of a fault, and of the peer by name where it is the peer's doing.
fn blame(out: &mut Vec<Output>, peer: &UserName, fault: &Fault, message: String) {
    if fault.is_peers() {
        error_about(out, peer, Failure::new(ErrorCode::Protocol, message));
    } else {
        error(out, ErrorCode::Protocol, message);
    }
}

/// What is to be said of messages that were left behind.
fn unconfirmed(peer: &str, count: u64) -> Failure {
    let which = match count {
        1 => format!("your last message to {peer} was"),
        many => format!("your last {many} messages to {peer} were"),
    };
    Failure::new(ErrorCode::Unreachable, format!("{which} not confirmed and may be lost; ask {peer} what has arrived"))
}

/// The safety number of a chat between this user and a peer.
pub(super) fn number(own: &Own, peer: &Member) -> String {
    let own = own.member();
    safety_number(&own.server, (&own.user, &own.key), (&peer.user, &peer.key)).to_string()
}
