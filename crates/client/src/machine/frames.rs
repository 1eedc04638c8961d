//! What the server sends.

use std::time::{Duration, Instant};

use protocol::{
    Accepted, Asked, ChatId, Close, CloseReason, Established, Page, Request, ServerError, ToClient, ToServer, TooFast,
    UserName,
};

use super::{Client, Output, Phase, SET_UP, State, Step, Timer, error, error_about, member, send, users};
use crate::{Ending, ErrorCode, Event, Failure, RequestEnding};

impl Client {
    pub(super) fn frame(&mut self, frame: &[u8], now: Instant, out: &mut Vec<Output>) {
        if !self.has_connection() {
            return;
        }
        let frame = match ToClient::decode(frame) {
            Ok(frame) => frame,
            Err(fault) => {
                let message = format!("the server is at fault: {fault}; tell its operator");
                return self.fail(Failure::new(ErrorCode::Protocol, message), out);
            }
        };
        if let ToClient::Error(reason) = frame
            && self.may_end_for(reason)
        {
            return self.ended(reason, now, out);
        }
        match (&mut self.phase, frame) {
            (Phase::LoggingIn { claimed: claimed @ None, .. }, ToClient::LoggedIn(server)) => {
                *claimed = Some(server.clone());
                out.push(Output::CheckServerName(server));
            }
            (Phase::Online, frame) => {
                self.heard(out);
                self.online(frame, now, out);
            }
            _ => {
                let message = "the server sent something else than an answer to the log-in";
                self.fail(Failure::new(ErrorCode::Protocol, message), out);
            }
        }
    }

    fn online(&mut self, frame: ToClient, now: Instant, out: &mut Vec<Output>) {
        match frame {
            ToClient::List(list) => {
                let Some(page) = self.lists_asked.pop_front() else { return };
                if !is_part(&list.names, &page) {
                    let message = "the server sent another part of the list than was asked for";
                    return self.fail(Failure::new(ErrorCode::Protocol, message), out);
                }
                out.push(Output::Event(users(list, &self.user)));
                self.go_if_leaving(now, out);
            }
            ToClient::RequestToTalk(request) => self.requested(request, now, out),
            ToClient::Accept(accepted) => self.accepted(accepted, now, out),
            ToClient::Refuse(chat) => {
                if let Some(peer) = self.called(chat) {
                    out.push(Output::Event(Event::Refused { peer: peer.to_string() }));
                }
            }
            ToClient::UserNotFound(chat) => {
                if let Some(peer) = self.called(chat) {
                    out.push(Output::Event(Event::UserNotFound { peer: peer.to_string() }));
                }
            }
            ToClient::SessionEstablishment(established) => self.established(established, out),
            ToClient::Message(message) => self.message(&message, now, out),
            ToClient::ChatClosed(close) => self.closed(close, now, out),
            ToClient::PeerAway(chat) => self.peer_away(chat, out),
            ToClient::Resume(resume) => self.resumed(resume, now, out),
            ToClient::TooFast(too_fast) => self.too_fast(too_fast, now, out),
            ToClient::Pong => {}
            ToClient::LoggedIn(_) | ToClient::Error(_) => {
                let message = "the server answers a log-in that was over";
                self.fail(Failure::new(ErrorCode::Protocol, message), out);
            }
        }
    }

    /// The server has not done what was asked. It is for the user to say whether that is still wanted later.
    fn too_fast(&mut self, TooFast { asked, retry_in_ms }: TooFast, now: Instant, out: &mut Vec<Output>) {
        // The lowest rate that an operator can set is one in a minute. A server that says more is not believed.
        let seconds = retry_in_ms.div_ceil(1_000).min(60);
        let failure =
            |what: &str| Failure::new(ErrorCode::TooFast, format!("{what} only so often; try again in {seconds} s"));
        match asked {
            Asked::List => {
                if self.lists_asked.pop_front().is_some() {
                    out.push(Output::Event(failure("the server says who is online").into()));
                    self.go_if_leaving(now, out);
                }
            }
            Asked::RequestToTalk(chat) => {
                if let Some(peer) = self.called(chat) {
                    let what = format!("{peer} was not asked to talk: the server passes your requests on");
                    error_about(out, &peer, failure(&what));
                }
            }
        }
    }

    /// Ends the call of this chat, if there is one; says whom it was to.
    fn called(&mut self, chat: ChatId) -> Option<UserName> {
        match std::mem::take(&mut self.state) {
            State::Calling { peer, chat: called } if called == chat => Some(peer),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn requested(&mut self, Request { peer, chat }: Request, now: Instant, out: &mut Vec<Output>) {
        if self.state.chat() == Some(chat) {
            // Said again, or one's own sent back: a refusal would be of the very chat that there is.
            return;
        }
        if peer == self.user {
            // No honest server lets a user call himself.
            return send(out, &ToServer::Refuse(chat));
        }
        match &self.state {
            State::Free => {
                out.push(Output::Event(Event::Request { from: peer.to_string() }));
                self.state = State::Ringing { peer, chat };
            }
            // One's own request was late: the server had passed this one on. It may not have seen the end of this one
            // when one's own came, and then holds that, so it is told to let go.
            State::Calling { peer: called, chat: own } => {
                send(out, &ToServer::ChatClosed(Close { chat: *own, reason: CloseReason::CalledOff }));
                let is_mutual = *called == peer;
                if !is_mutual {
                    let message = format!("{called} was not asked to talk: {peer} asked you first");
                    error(out, ErrorCode::Busy, message);
                    out.push(Output::Event(Event::Request { from: peer.to_string() }));
                }
                self.state = State::Ringing { peer, chat };
                if is_mutual {
                    // Each asked the other: both have said yes.
                    self.accept(now, out);
                }
            }
            _ => send(out, &ToServer::Refuse(chat)),
        }
    }

    fn accepted(&mut self, Accepted { chat, key, key_package }: Accepted, now: Instant, out: &mut Vec<Output>) {
        if let (Some(own), State::Calling { peer, chat: called }) = (&self.own, &self.state)
            && *called == chat
        {
            let peer = member(peer.clone(), &own.member().server, key);
            out.push(Output::LookUpPin(peer.user.clone(), peer.server.clone()));
            self.state = State::CheckingPin { peer, chat, step: Step::Create { key_package } };
            self.timers.start_after(Timer::SetUp, now, SET_UP);
        }
    }

    fn established(&mut self, Established { chat, key, welcome }: Established, out: &mut Vec<Output>) {
        let Some(own) = &self.own else {
            return;
        };
        match std::mem::take(&mut self.state) {
            State::AwaitingWelcome { peer, chat: accepted, invitation } if accepted == chat => {
                let peer = member(peer, &own.member().server, key);
                out.push(Output::LookUpPin(peer.user.clone(), peer.server.clone()));
                self.state = State::CheckingPin { peer, chat, step: Step::Join { invitation, welcome } };
            }
            other => self.state = other,
        }
    }

    fn closed(&mut self, Close { chat, reason }: Close, now: Instant, out: &mut Vec<Output>) {
        if self.state.chat() != Some(chat) {
            // It was over here already.
            return;
        }
        match &self.state {
            State::Calling { peer, .. } | State::Ringing { peer, .. } => {
                let peer = peer.to_string();
                self.state = State::Free;
                let reason = match reason {
                    CloseReason::Expired => RequestEnding::Expired,
                    CloseReason::CalledOff => RequestEnding::CalledOff,
                    _ => RequestEnding::Lost,
                };
                out.push(Output::Event(Event::RequestEnded { peer, reason }));
            }
            _ => {
                let ending = match reason {
                    // The word that it has arrived was lost, not the goodbye.
                    _ if self.state.conversation().is_some_and(|conversation| conversation.said_goodbye()) => {
                        Ending::Goodbye
                    }
                    CloseReason::Failed | CloseReason::Overrun => Ending::Error,
                    _ => Ending::Lost,
                };
                self.end_chat(ending, None, out);
                self.go_if_leaving(now, out);
            }
        }
    }

    /// Whether the server may give this reason now. A refusal in the midst of a session is a lie.
    fn may_end_for(&self, reason: ServerError) -> bool {
        let (is_logging_in, is_online) =
            (matches!(self.phase, Phase::LoggingIn { .. }), matches!(self.phase, Phase::Online));
        match reason {
            ServerError::UnknownUser => is_logging_in,
            ServerError::Replaced | ServerError::Removed => is_online,
            ServerError::ShuttingDown | ServerError::Idle | ServerError::Protocol | ServerError::Unavailable => {
                is_logging_in || is_online
            }
        }
    }

    fn ended(&mut self, reason: ServerError, now: Instant, out: &mut Vec<Output>) {
        let (code, message) = match reason {
            ServerError::UnknownUser => (
                ErrorCode::UnknownUser,
                "the server does not know this user with this key; check the name, or ask the operator to register \
                 your public key (the line in key.pub)",
            ),
            ServerError::Replaced => (
                ErrorCode::Replaced,
                "you logged in somewhere else, which ended this session; if it was not you, tell the operator",
            ),
            ServerError::Removed => (
                ErrorCode::UnknownUser,
                "the operator has removed you or registered another key for your name; ask the operator",
            ),
            ServerError::Protocol => (
                ErrorCode::Protocol,
                "the server did not understand this client; check that both have the same version",
            ),
            ServerError::ShuttingDown => {
                let wait = self.wait_for_restart();
                return self.lost("the server is being stopped; it may be back soon", wait, now, out);
            }
            ServerError::Idle => {
                return self.cut("the server heard nothing from here for too long", now, out);
            }
            ServerError::Unavailable => {
                let message = "the server cannot look up its users at the moment; if that lasts, tell the operator";
                return self.lost(message, Duration::ZERO, now, out);
            }
        };
        self.fail(Failure::new(code, message), out);
    }
}

/// Whether names are such as a page can have: each begins as wanted, and they go up from where the page starts. Whom a
/// face marks for the user to ask must be somebody whom the user looked for.
fn is_part(names: &[UserName], page: &Page) -> bool {
    let mut before = page.after.as_str();
    names.iter().map(UserName::as_str).all(|name| {
        let is_next = name > before && name.starts_with(page.prefix.as_str());
        before = name;
        is_next
    })
}
