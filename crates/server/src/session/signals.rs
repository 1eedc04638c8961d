//! What other sessions say.

use std::time::Instant;

use protocol::{Accepted, ChatId, Close, CloseReason, Established, Request, ToClient, UserName};

use super::{Line, Output, Phase, STRANDED, Session, Side, State, Timer, send, signal};
use crate::signal::{NodeId, Signal, SignalKind, Undelivered};

impl Session {
    pub(super) fn signal(&mut self, from_peer: Signal, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { user, state } = &mut self.phase else {
            return;
        };
        let Signal { from, session, chat, kind } = from_peer;
        match kind {
            SignalKind::Undelivered { is_repeated, why } => {
                return self.undelivered(&from, chat, is_repeated, why, now, out);
            }
            SignalKind::Lapsed(node) => return self.lapsed(node, now, out),
            _ => {}
        }
        if let SignalKind::Request { .. } = kind {
            let yields = match state {
                State::Free => true,
                // Two ask each other at the same moment. The request of the smaller name stands, on both sides.
                State::Calling { peer, .. } if *peer == from => {
                    if *user < from {
                        return;
                    }
                    true
                }
                _ => false,
            };
            if yields {
                self.timers.start_after(Timer::Request, now, self.patience.request);
                self.timers.stop(Timer::Check);
                send(out, &ToClient::RequestToTalk(Request { peer: from.clone(), chat }));
                *state = State::Ringing { peer: from, chat, session };
            } else {
                signal(out, (user, self.id), &from, chat, SignalKind::Unavailable);
            }
            return;
        }
        if !state.is_about(chat) || state.peer() != Some(&from) {
            // The chat ended while this was on its way. Who waits for this side is told so; what a stranger makes up about
            // a chat gets no further than here.
            if matches!(kind, SignalKind::Ask(_) | SignalKind::Check) {
                signal(out, (user, self.id), &from, chat, SignalKind::Close(CloseReason::Left));
            }
            return;
        }
        match (kind, &*state) {
            (SignalKind::Message(frame), State::Chatting { line: Line::Open(open), .. }) if *open == session => {
                out.push(Output::Send(frame));
            }
            (SignalKind::Ask(theirs), _) => self.asked(session, theirs, now, out),
            (SignalKind::Answer(theirs), _) => self.answered(session, theirs, now, out),
            (SignalKind::Check, _) => self.checked(session, now, out),
            (SignalKind::Away, _) => self.peer_lost(session, now, out),
            (SignalKind::Unavailable, State::Calling { .. }) => {
                self.free();
                send(out, &ToClient::UserNotFound(chat));
            }
            (SignalKind::Refuse, State::Calling { .. }) => {
                self.free();
                send(out, &ToClient::Refuse(chat));
            }
            (SignalKind::Accept { key, key_package }, State::Calling { .. }) => {
                self.timers.stop(Timer::Request);
                self.timers.stop(Timer::Check);
                self.timers.start_after(Timer::Establishment, now, self.patience.establishment);
                *state = State::Establishing { peer: from, chat, session, side: Side::Caller };
                send(out, &ToClient::Accept(Accepted { chat, key, key_package }));
            }
            (SignalKind::Establish { key, welcome }, State::Establishing { side: Side::Accepter, .. }) => {
                self.open(from, chat, session, now);
                send(out, &ToClient::SessionEstablishment(Established { chat, key, welcome }));
            }
            // Whoever goes while being asked was not there to be found.
            (SignalKind::Close(CloseReason::Left), State::Calling { .. }) => {
                self.free();
                send(out, &ToClient::UserNotFound(chat));
            }
            (SignalKind::Close(reason) | SignalKind::CallOff(reason), _) => {
                self.free();
                send(out, &ToClient::ChatClosed(Close { chat, reason }));
            }
            _ => {}
        }
    }

    /// What sessions of `node` have said may have been lost: the peer's, perhaps.
    fn lapsed(&mut self, node: NodeId, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { state, .. } = &self.phase else {
            return;
        };
        match state {
            State::Chatting { line: Line::Open(session), .. } if session.node == node => self.breaks(now, out),
            // Where the peer's session is, a caller does not know. If the peer knows nothing of the request, it says so.
            State::Calling { .. } => self.check(now, out),
            State::Ringing { session, .. } | State::Establishing { session, .. } if session.node == node => {
                self.check(now, out);
            }
            _ => {}
        }
    }

    pub(super) fn undelivered(
        &mut self,
        to: &UserName,
        chat: ChatId,
        is_repeated: bool,
        why: Undelivered,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Phase::LoggedIn { state, .. } = &self.phase else {
            return;
        };
        // What a stranger is answered may name this chat, if the stranger did.
        if !state.is_about(chat) || state.peer() != Some(to) {
            return;
        }
        match (state, why) {
            (State::Free, _) => {}
            (State::Calling { .. }, _) => {
                self.free();
                send(out, &ToClient::UserNotFound(chat));
            }
            (State::Ringing { .. } | State::Establishing { .. }, Undelivered::Absent | Undelivered::Unreachable) => {
                self.free();
                send(out, &ToClient::ChatClosed(Close { chat, reason: CloseReason::Left }));
            }
            (State::Chatting { .. }, Undelivered::Absent) => {
                // Not there, as far as all nodes know: it is the peer who has to come back, and not this side.
                self.timers.stop(Timer::Stranded);
                self.peer_absent(now, out);
            }
            (State::Chatting { .. }, Undelivered::Unreachable) => {
                if !self.timers.is_running(Timer::Stranded) {
                    self.timers.start_after(Timer::Stranded, now, STRANDED);
                }
                self.peer_absent(now, out);
            }
            (_, Undelivered::Full) if is_repeated => {}
            (_, Undelivered::Full) => self.close_on_both_sides(CloseReason::Overrun, out),
        }
    }
}
