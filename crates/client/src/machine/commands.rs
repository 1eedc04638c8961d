//! What the user tells the client to do.

use std::time::Instant;

use e2e::Invitation;
use protocol::{Accept, ChatId, Close, CloseReason, Request, Text, ToServer, UserName};

use super::{
    Client, DRAIN, Leaving, Output, Phase, SET_UP, State, Timer, connection::Purpose, error, error_about, send,
};
use crate::{Command, Ending, ErrorCode, Event, Failure, RequestEnding};

impl Client {
    pub(super) fn command(&mut self, command: Command, now: Instant, out: &mut Vec<Output>) {
        if self.leaving == Some(Leaving::ToComeBack)
            && !matches!(command, Command::Exit | Command::Leave | Command::Help | Command::Say(_))
        {
            // For when the user is back; a pipe has it there at once.
            return self.early.push_back(command);
        }
        match (&self.phase, command) {
            (Phase::Ended, _) | (_, Command::Help) => {}
            (Phase::Online, Command::List(page)) => {
                send(out, &ToServer::List(page.clone()));
                self.lists_asked.push_back(page);
            }
            (Phase::Online, Command::Talk(peer)) => self.talk(peer, out),
            (Phase::Online, Command::Yes(whose)) => self.yes(whose.as_ref(), now, out),
            (Phase::Online, Command::No) => self.refuse(out),
            (Phase::Online, Command::Say(text)) => self.say(text, now, out),
            (Phase::Online, Command::Leave) => self.leave(Leaving::ToComeBack, now, out),
            (Phase::Online, Command::Exit) => self.leave(Leaving::ForGood, now, out),
            (Phase::Online, Command::Verify(number)) => self.verify(number.as_deref(), out),
            (Phase::Online, Command::Forget(peer)) => self.forget(peer, out),
            (_, command) if self.is_reconnecting() => self.command_without_connection(command, now, out),
            // That is what is being done.
            (
                Phase::Connecting { purpose: Purpose::ComeBack } | Phase::LoggingIn { purpose: Purpose::ComeBack, .. },
                Command::Leave,
            ) => {}
            // Nothing was begun, or it is said for the second time.
            (_, Command::Exit) if self.early.is_empty() || self.early.contains(&Command::Exit) => self.give_up(out),
            (_, command) => self.early.push_back(command),
        }
    }

    /// What cannot be done now is refused, not kept: nobody knows when it could be done, nor whether it is still wanted
    /// then. A chat goes on.
    fn command_without_connection(&mut self, command: Command, now: Instant, out: &mut Vec<Output>) {
        let is_in_chat = matches!(self.state, State::Chatting(_));
        match command {
            Command::Exit if self.state.conversation().is_some() => self.leave(Leaving::ForGood, now, out),
            Command::Exit => self.give_up(out),
            Command::Leave if self.state.conversation().is_some() => self.leave(Leaving::ToComeBack, now, out),
            // There is no chat to leave.
            Command::Leave | Command::Help => {}
            Command::Say(text) if is_in_chat => self.say(text, now, out),
            Command::Say(_) => error(
                out,
                ErrorCode::NotInChat,
                "that was not sent: you are in no chat, and not connected; wait until you are connected again",
            ),
            Command::Verify(number) => self.verify(number.as_deref(), out),
            Command::List(_) | Command::Talk(_) | Command::Yes(_) | Command::No | Command::Forget(_) => error(
                out,
                ErrorCode::Unreachable,
                "not connected; wait until you are connected again, or leave with --ex",
            ),
        }
    }

    fn talk(&mut self, peer: UserName, out: &mut Vec<Output>) {
        let busy = match &self.state {
            State::Free => None,
            State::Calling { peer, .. } => Some(format!("you are asking {peer} to talk; --n takes that back")),
            State::Ringing { peer, .. } => Some(format!("{peer} asks to talk; answer with --y or --n first")),
            state => state.peer().map(|peer| format!("you are in a chat with {peer}; /leave ends it")),
        };
        if let Some(message) = busy {
            return error(out, ErrorCode::Busy, message);
        }
        if peer == self.user {
            // Told as of anybody else who cannot be asked; a server need not be trusted to say so.
            let peer = peer.to_string();
            let events = [Event::Calling { peer: peer.clone() }, Event::UserNotFound { peer }];
            return out.extend(events.map(Output::Event));
        }
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let chat = ChatId::from_bytes(id);
        send(out, &ToServer::RequestToTalk(Request { peer: peer.clone(), chat }));
        out.push(Output::Event(Event::Calling { peer: peer.to_string() }));
        self.state = State::Calling { peer, chat };
    }

    fn yes(&mut self, whose: Option<&UserName>, now: Instant, out: &mut Vec<Output>) {
        match (whose, &self.state) {
            (Some(whose), State::Ringing { peer, .. }) if peer != whose => {
                let message = format!("nothing was accepted: {whose} no longer asks to talk, {peer} does");
                error(out, ErrorCode::NotInChat, message);
            }
            _ => self.accept(now, out),
        }
    }

    pub(super) fn accept(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (Some(own), State::Ringing { peer, chat }) = (&self.own, &self.state) else {
            return error(out, ErrorCode::NotInChat, "nobody asks to talk");
        };
        match Invitation::new(own, &mut *self.rng) {
            Ok((invitation, key_package)) => {
                send(out, &ToServer::Accept(Accept { chat: *chat, key_package }));
                let invitation = Box::new(invitation);
                self.state = State::AwaitingWelcome { peer: peer.clone(), chat: *chat, invitation };
                self.timers.start_after(Timer::SetUp, now, SET_UP);
            }
            Err(fault) => {
                send(out, &ToServer::Refuse(*chat));
                self.state = State::Free;
                error(out, ErrorCode::Protocol, fault);
            }
        }
    }

    fn refuse(&mut self, out: &mut Vec<Output>) {
        match &self.state {
            State::Ringing { chat, .. } => send(out, &ToServer::Refuse(*chat)),
            State::Calling { peer, chat } => {
                send(out, &ToServer::ChatClosed(Close { chat: *chat, reason: CloseReason::CalledOff }));
                let (peer, reason) = (peer.to_string(), RequestEnding::CalledOff);
                out.push(Output::Event(Event::RequestEnded { peer, reason }));
            }
            _ => return error(out, ErrorCode::NotInChat, "there is no request to refuse or take back"),
        }
        self.state = State::Free;
    }

    fn say(&mut self, text: Text, now: Instant, out: &mut Vec<Output>) {
        match &mut self.state {
            State::Chatting(conversation) if self.leaving.is_none() => {
                conversation.say(text);
                self.pump(now, out);
            }
            State::Chatting(_) => error(out, ErrorCode::NotInChat, "that was not sent: you are leaving the chat"),
            State::Ringing { peer, .. } => {
                let message = format!("that was not sent: {peer} asks to talk; answer with --y or --n");
                error(out, ErrorCode::NotInChat, message);
            }
            _ => error(
                out,
                ErrorCode::NotInChat,
                "that was not sent: you are in no chat; --r NAME asks somebody to talk",
            ),
        }
    }

    /// Says goodbye, and goes once that and all before it is delivered, or time is up; at once when asked a second time.
    fn leave(&mut self, how: Leaving, now: Instant, out: &mut Vec<Output>) {
        if self.leaving.replace(how).is_some() {
            return self.go(now, out);
        }
        self.timers.start_after(Timer::Drain, now, DRAIN);
        self.pump(now, out);
    }

    /// Goes, whatever is still undelivered.
    pub(super) fn go(&mut self, now: Instant, out: &mut Vec<Output>) {
        let is_online = matches!(self.phase, Phase::Online);
        if let State::Chatting(conversation) = &mut self.state
            && is_online
            && conversation.is_open()
            && !conversation.said_goodbye()
        {
            match conversation.goodbye(&mut *self.rng) {
                Ok(frame) => out.push(Output::Send(frame)),
                Err(fault) => self.fault(&fault, out),
            }
        }
        let mut ending = Ending::Lost;
        if let State::Chatting(conversation) = &self.state {
            let peer = &conversation.peer.user;
            if conversation.said_goodbye() {
                ending = Ending::Goodbye;
                let is_on_its_way = is_online && conversation.is_open();
                if !is_on_its_way && !conversation.is_all_delivered() {
                    let message = format!(
                        "{peer} did not confirm your goodbye before the line was lost, and may see that the chat was lost"
                    );
                    error_about(out, peer, Failure::new(ErrorCode::Unreachable, message));
                }
            } else {
                let who = if is_online { peer.as_str() } else { "the server" };
                let message = format!(
                    "{who} could not be reached, so your goodbye was not sent; {peer} will see that the chat was lost"
                );
                error_about(out, peer, Failure::new(ErrorCode::Unreachable, message));
            }
        }
        self.end_chat(ending, None, out);
        match self.leaving {
            _ if is_online => self.log_off(out),
            Some(Leaving::ForGood) => self.give_up(out),
            // It is on its way back already.
            Some(Leaving::ToComeBack) | None => {
                self.leaving = None;
                self.timers.stop(Timer::Drain);
                self.do_what_waited(now, out);
            }
        }
    }
}
