//! What a logged-in client sends.

use std::time::Instant;

use protocol::{Asked, Close, CloseReason, Request, ServerError, ToClient, ToServer};

use super::{CHECK, Output, Phase, Session, Side, State, Timer, send, signal, too_fast};
use crate::signal::SignalKind;

impl Session {
    pub(super) fn command(&mut self, frame: ToServer, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { user, state } = &mut self.phase else {
            return;
        };
        match frame {
            ToServer::Exit => self.leave(out),
            ToServer::List(page) => match self.spent.lists.take(self.patience.lists, now) {
                Ok(()) => out.push(Output::List(page)),
                Err(wait) => too_fast(out, Asked::List, wait),
            },
            ToServer::Ping => send(out, &ToClient::Pong),
            ToServer::RequestToTalk(Request { peer, chat }) => match state {
                State::Free if peer == *user => send(out, &ToClient::UserNotFound(chat)),
                // Only what is passed on counts: each of those can light up somebody's screen.
                State::Free => match self.spent.requests.take(self.patience.requests, now) {
                    Ok(()) => {
                        signal(out, (user, self.id), &peer, chat, SignalKind::Request { key: self.key });
                        self.timers.start_after(Timer::Request, now, self.patience.request);
                        self.timers.start_after(Timer::Check, now, CHECK);
                        *state = State::Calling { peer, chat };
                    }
                    Err(wait) => too_fast(out, Asked::RequestToTalk(chat), wait),
                },
                // The two ask each other, and the peer was first: its request is on its way to the client, which
                // accepts it since it wants the same.
                State::Ringing { peer: caller, .. } if *caller == peer => {}
                _ => send(out, &ToClient::ChatClosed(Close { chat, reason: CloseReason::Busy })),
            },
            ToServer::Accept(accept) => {
                if let State::Ringing { peer, chat, session } = state
                    && *chat == accept.chat
                {
                    let kind = SignalKind::Accept { key: self.key, key_package: accept.key_package };
                    signal(out, (user, self.id), peer, *chat, kind);
                    self.timers.stop(Timer::Request);
                    self.timers.start_after(Timer::Establishment, now, self.patience.establishment);
                    let (peer, session) = (peer.clone(), *session);
                    *state = State::Establishing { peer, chat: *chat, session, side: Side::Accepter };
                }
            }
            ToServer::Refuse(refused) => {
                if let State::Ringing { peer, chat, .. } = state
                    && *chat == refused
                {
                    signal(out, (user, self.id), peer, refused, SignalKind::Refuse);
                    self.free();
                }
            }
            ToServer::SessionEstablishment(establish) => match state {
                State::Establishing { peer, chat, session, side } if *chat == establish.chat => {
                    if *side == Side::Accepter {
                        return self.end(ServerError::Protocol, out);
                    }
                    let kind = SignalKind::Establish { key: self.key, welcome: establish.welcome };
                    signal(out, (user, self.id), peer, *chat, kind);
                    let (peer, chat, session) = (peer.clone(), *chat, *session);
                    self.open(peer, chat, session, now);
                }
                State::Chatting { chat, .. } if *chat == establish.chat => self.end(ServerError::Protocol, out),
                _ => {}
            },
            ToServer::ChatClosed(Close { chat, reason }) => match reason {
                CloseReason::Left | CloseReason::CalledOff | CloseReason::Failed => {
                    if state.is_about(chat) {
                        self.close(reason, out);
                    }
                }
                CloseReason::Expired | CloseReason::Busy | CloseReason::Overrun => {
                    self.end(ServerError::Protocol, out);
                }
            },
            ToServer::Resume(resume) => self.resume(resume, now, out),
            // Messages never get here; a second log-in is a mistake of the client's.
            ToServer::Message(_) | ToServer::Login(_) => self.end(ServerError::Protocol, out),
        }
    }
}
