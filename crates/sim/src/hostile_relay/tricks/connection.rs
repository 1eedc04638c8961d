//! The connection, the line of a chat, and the end of both.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use protocol::{Close, CloseReason, List, Resume, ServerError, ToClient, ToServer, UserName};

use super::{Act, Acts, Moment, Trick};
use crate::hostile_relay::notes::{Id, Known, Link, Notes};

/// How far ahead a lie about the counter is.
const TOO_HIGH: u64 = 1000;
/// How often a line flaps, and how long each state lasts.
const FLAPS: u32 = 40;
const FLAP: Duration = Duration::from_millis(25);

/// Clients are told that the peer expects a later frame than it does.
pub(super) struct ResumeTooHigh;

impl Trick for ResumeTooHigh {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::Chatting
            && let Some(chat) = notes.chat(link)
        {
            // So that there is a line to be opened.
            acts.say(link, &ToClient::PeerAway(chat));
        }
    }

    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match ToClient::decode(&frame) {
            Ok(ToClient::Resume(Resume { chat, expected })) => {
                acts.say(link, &ToClient::Resume(Resume { chat, expected: expected + TOO_HIGH }));
            }
            _ => acts.down(link, frame),
        }
    }
}

/// Clients are told that the peer expects the first frame. Of each chat one is told so when its peer has a frame
/// it has not confirmed.
#[derive(Default)]
pub(super) struct ResumeTooLow {
    chats: BTreeSet<Id>,
    /// Who was told that the peer is away, and gets nothing sealed until it is back.
    away: BTreeSet<Link>,
}

impl Trick for ResumeTooLow {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match ToClient::decode(&frame) {
            Ok(ToClient::Resume(Resume { chat, .. })) => {
                self.away.remove(&link);
                acts.say(link, &ToClient::Resume(Resume { chat, expected: 0 }));
            }
            Ok(ToClient::Message(_)) if self.away.contains(&link) => {}
            Ok(ToClient::Message(message)) => {
                let chat = message.header.chat;
                acts.down(link, frame);
                let is_sender = |(other, known): &(&Link, &Known)| **other != link && known.chat == Some(chat);
                if let Some((sender, _)) = notes.links.iter().find(is_sender)
                    && self.chats.insert(*chat.as_bytes())
                {
                    self.away.insert(*sender);
                    acts.say(*sender, &ToClient::PeerAway(chat));
                }
            }
            _ => acts.down(link, frame),
        }
    }
}

/// The peer is away and back, again and again.
pub(super) struct Flapping;

impl Trick for Flapping {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        let (Some(chat), Some(peer)) = (notes.chat(link), notes.peer(link)) else { return };
        if moment == Moment::Chatting {
            let expected = notes.expected(chat, peer);
            let words = [ToClient::PeerAway(chat), ToClient::Resume(Resume { chat, expected })];
            let frames: Vec<_> = words.iter().filter_map(|word| word.encode().ok()).collect();
            for (word, number) in frames.iter().cycle().zip(0..2 * FLAPS) {
                acts.later(FLAP * number, Act::Down(link, word.clone()));
            }
        }
    }

    fn up(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !is_resume(&frame) {
            acts.up(link, frame);
        }
    }
}

/// The peer is away, and stays so.
pub(super) struct AwayForEver;

impl Trick for AwayForEver {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::Chatting
            && let Some(chat) = notes.chat(link)
        {
            acts.say(link, &ToClient::PeerAway(chat));
        }
    }

    fn up(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !is_resume(&frame) {
            acts.up(link, frame);
        }
    }

    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !is_resume(&frame) {
            acts.down(link, frame);
        }
    }
}

fn is_resume(frame: &[u8]) -> bool {
    frame.first() == Some(&(protocol::Code::Resume as u8))
}

/// The chat is said to be over.
pub(super) struct Over(pub(super) CloseReason);

impl Trick for Over {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::Chatting
            && let Some(chat) = notes.chat(link)
        {
            acts.say(link, &ToClient::ChatClosed(Close { chat, reason: self.0 }));
            // So that its session is free as well, and the client can go on.
            acts.say_up(link, &ToServer::ChatClosed(Close { chat, reason: CloseReason::Left }));
        }
    }
}

/// Everybody is put out.
pub(super) struct PutOut(pub(super) ServerError);

impl Trick for PutOut {
    fn moment(&mut self, _: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::LoggedIn {
            acts.say(link, &ToClient::Error(self.0));
            acts.0.push(Act::Cut(link));
        }
    }

    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match ToClient::decode(&frame) {
            Ok(ToClient::LoggedIn(_)) if self.0 == ServerError::UnknownUser => {
                acts.say(link, &ToClient::Error(self.0));
                acts.0.push(Act::Cut(link));
            }
            _ => acts.down(link, frame),
        }
    }
}

/// What becomes of a log-in.
pub(super) enum LogIn {
    OtherName,
    Nothing,
    Twice,
}

impl Trick for LogIn {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !matches!(ToClient::decode(&frame), Ok(ToClient::LoggedIn(_))) {
            return acts.down(link, frame);
        }
        match self {
            Self::OtherName => {
                if let Ok(name) = "elsewhere.example".parse() {
                    acts.say(link, &ToClient::LoggedIn(name));
                }
            }
            Self::Nothing => {}
            Self::Twice => {
                acts.down(link, frame.clone());
                acts.down(link, frame);
            }
        }
    }
}

/// Frames come before the answer to the log-in.
pub(super) struct Early;

impl Trick for Early {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if matches!(ToClient::decode(&frame), Ok(ToClient::LoggedIn(_))) {
            acts.say(link, &ToClient::List(List { names: Vec::new(), more: false }));
        }
        acts.down(link, frame);
    }
}

/// No ping is answered.
pub(super) struct NoPong;

impl Trick for NoPong {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !matches!(ToClient::decode(&frame), Ok(ToClient::Pong)) {
            acts.down(link, frame);
        }
    }
}

/// Nothing is said any more on each user's first connection.
#[derive(Default)]
pub(super) struct Silent(BTreeMap<UserName, Link>);

impl Trick for Silent {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, _: &mut Acts) {
        if moment == Moment::LoggedIn
            && let Some(user) = notes.user(link)
        {
            self.0.entry(user.clone()).or_insert(link);
        }
    }

    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !self.0.values().any(|silent| *silent == link) {
            acts.down(link, frame);
        }
    }
}

/// Each user's connection is cut.
#[derive(Default)]
pub(super) struct Cut(BTreeSet<UserName>);

impl Trick for Cut {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::LoggedIn
            && let Some(user) = notes.user(link)
            && self.0.insert(user.clone())
        {
            acts.0.push(Act::Cut(link));
        }
    }
}
