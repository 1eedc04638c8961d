//! Requests to talk, and the answers to them.

use bytes::Bytes;
use protocol::{Accepted, Asked, ChatId, Request, ServerName, ToClient, ToServer, TooFast};

use super::{Acts, Moment, Trick};
use crate::hostile_relay::{
    forger::Forger,
    notes::{Link, Notes},
};

/// Requests that a flood is made of.
const FLOOD: usize = 1000;

/// Requests that nobody made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Oneself,
    Peer,
    Many,
}

/// Clients are asked to talk.
pub(super) struct Ask {
    who: Who,
    forger: Forger,
}

impl Ask {
    pub(super) fn new(who: Who, server: &ServerName) -> Self {
        Self { who, forger: Forger::new(server) }
    }
}

impl Trick for Ask {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        let names = match (self.who, moment) {
            (Who::Oneself, Moment::LoggedIn) => notes.user(link).cloned().into_iter().collect(),
            (Who::Peer, Moment::Chatting) => notes.peer(link).cloned().into_iter().collect(),
            (Who::Many, Moment::LoggedIn) => {
                (0..FLOOD).filter_map(|number| format!("u{number}").parse().ok()).collect()
            }
            _ => Vec::new(),
        };
        for peer in names {
            let chat = self.forger.chat();
            acts.say(link, &ToClient::RequestToTalk(Request { peer, chat }));
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Nothing,
    Refused,
    NotFound,
    Accepted,
    /// The called one asks, too.
    Mutual,
    /// Somebody else asks.
    Crossed,
}

/// Calls are answered by the relay.
pub(super) struct Calls {
    answer: Answer,
    forger: Forger,
}

impl Calls {
    pub(super) fn new(answer: Answer, server: &ServerName) -> Self {
        Self { answer, forger: Forger::new(server) }
    }
}

impl Trick for Calls {
    fn up(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let Ok(ToServer::RequestToTalk(Request { peer, chat })) = ToServer::decode(&frame) else {
            return acts.up(link, frame);
        };
        match self.answer {
            Answer::Nothing => {}
            Answer::Refused => acts.say(link, &ToClient::Refuse(chat)),
            Answer::NotFound => acts.say(link, &ToClient::UserNotFound(chat)),
            Answer::Accepted => {
                let key = notes.users.get(&peer).copied().unwrap_or_else(|| self.forger.key(&peer));
                let key_package = self.forger.noise(2700);
                acts.say(link, &ToClient::Accept(Accepted { chat, key, key_package }));
            }
            Answer::Mutual => acts.say(link, &ToClient::RequestToTalk(Request { peer, chat: self.forger.chat() })),
            Answer::Crossed => {
                let other = notes.somebody_else(&[notes.user(link), Some(&peer)]).unwrap_or(&peer).clone();
                let chat = self.forger.chat();
                acts.say(link, &ToClient::RequestToTalk(Request { peer: other, chat }));
            }
        }
    }
}

/// Everybody is too fast.
pub(super) struct Hold;

impl Trick for Hold {
    fn moment(&mut self, _: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::LoggedIn {
            for asked in [Asked::List, Asked::RequestToTalk(ChatId::from_bytes([0; 16]))] {
                acts.say(link, &ToClient::TooFast(TooFast { asked, retry_in_ms: u32::MAX }));
            }
        }
    }

    fn up(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let asked = match ToServer::decode(&frame) {
            Ok(ToServer::List(_)) => Asked::List,
            Ok(ToServer::RequestToTalk(request)) => Asked::RequestToTalk(request.chat),
            _ => return acts.up(link, frame),
        };
        acts.say(link, &ToClient::TooFast(TooFast { asked, retry_in_ms: u32::MAX }));
    }
}

/// Welcomes do not get through.
pub(super) struct NoWelcome;

impl Trick for NoWelcome {
    fn up(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !matches!(ToServer::decode(&frame), Ok(ToServer::SessionEstablishment(_))) {
            acts.up(link, frame);
        }
    }
}
