//! What other sessions say.

use std::time::Instant;

use protocol::{Accepted, ChatId, Close, CloseReason, Established, Request, ToClient};

use super::{Output, Phase, Session, Side, State, Timer, send, signal};
use crate::signal::{Signal, SignalKind, Undelivered};

impl Session {
    pub(super) fn signal(&mut self, from_peer: Signal, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { user, state } = &mut self.phase else {
            return;
        };
        let Signal { from, chat, kind } = from_peer;
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
                send(out, &ToClient::RequestToTalk(Request { peer: from.clone(), chat }));
                *state = State::Ringing { peer: from, chat };
            } else {
                signal(out, user, &from, chat, SignalKind::Unavailable);
            }
            return;
        }
        if !state.is_about(chat) || state.peer() != Some(&from) {
            // The chat ended while this was on its way.
            return;
        }
        match (kind, &*state) {
            (SignalKind::Message(frame), State::Chatting { .. }) => out.push(Output::Send(frame)),
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
                self.timers.start_after(Timer::Establishment, now, self.patience.establishment);
                *state = State::Establishing { peer: from, chat, side: Side::Caller };
                send(out, &ToClient::Accept(Accepted { chat, key, key_package }));
            }
            (SignalKind::Establish { key, welcome }, State::Establishing { side: Side::Accepter, .. }) => {
                self.timers.stop(Timer::Establishment);
                *state = State::Chatting { peer: from, chat };
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

    pub(super) fn undelivered(&mut self, chat: ChatId, why: Undelivered, out: &mut Vec<Output>) {
        let Phase::LoggedIn { state, .. } = &self.phase else {
            return;
        };
        if !state.is_about(chat) {
            return;
        }
        match (state, why) {
            (State::Calling { .. }, _) => {
                self.free();
                send(out, &ToClient::UserNotFound(chat));
            }
            (_, Undelivered::Absent) => {
                self.free();
                send(out, &ToClient::ChatClosed(Close { chat, reason: CloseReason::Left }));
            }
            (_, Undelivered::Full) => self.close_on_both_sides(CloseReason::Overrun, out),
        }
    }
}
