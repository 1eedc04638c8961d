//! What one user is told, in an order that makes sense: nothing ends that did not begin, and nobody is in two chats.

use client::Event;

use crate::model::{Broken, Id};

/// Where a user is, as the events tell it.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) presence: Presence,
    pub(crate) place: Place,
    pub(crate) is_peer_away: bool,
    pub(crate) is_server_silent: bool,
    pub(crate) is_peer_behind: bool,
    pub(crate) is_leaving: bool,
    /// The last request was not passed on, since it came too soon after others: one may ask again.
    pub(crate) was_too_fast: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    #[default]
    Offline,
    Online,
    Reconnecting,
}

/// In at most one request or chat, with whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Free,
    Calling(String),
    Ringing(String),
    SettingUp(String, Id),
    Chatting(String, Id),
}

impl Story {
    /// The chat that the user is in.
    pub(crate) fn chat(&self) -> Option<Id> {
        match &self.place {
            Place::Chatting(_, chat) => Some(*chat),
            _ => None,
        }
    }

    /// The user is told this.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Broken> {
        let makes_sense = match event {
            Event::LoggedIn { .. } => change(&mut self.presence, &[Presence::Offline], Presence::Online),
            // Nothing of it outlives a log-off: a chat or a request has been ended before.
            Event::LoggedOut => {
                let ends = self.presence != Presence::Offline && self.place == Place::Free;
                *self = Self::default();
                ends
            }
            Event::Reconnecting { .. } => {
                self.is_server_silent = false;
                // An attempt that fails is followed by another. After a /leave one is not online.
                change(&mut self.presence, &[Presence::Online], Presence::Reconnecting);
                true
            }
            Event::Reconnected => change(&mut self.presence, &[Presence::Reconnecting], Presence::Online),
            Event::ServerSilent => change(&mut self.is_server_silent, &[false], true),
            Event::ServerHeard => change(&mut self.is_server_silent, &[true], false),
            Event::Calling { peer } => {
                self.was_too_fast = false;
                change(&mut self.place, &[Place::Free], Place::Calling(peer.clone()))
            }
            Event::Request { from } => {
                // Who was calling somebody else was told that this came first.
                let is_open = matches!(self.place, Place::Free | Place::Calling(_));
                self.place = Place::Ringing(from.clone());
                is_open
            }
            Event::Refused { peer } | Event::UserNotFound { peer } => {
                change(&mut self.place, &[Place::Calling(peer.clone())], Place::Free)
            }
            Event::RequestEnded { peer, .. } => {
                let from = [Place::Calling(peer.clone()), Place::Ringing(peer.clone())];
                change(&mut self.place, &from, Place::Free)
            }
            Event::ChatStarted { peer, .. } => match &self.place {
                Place::SettingUp(other, id) if other == peer => {
                    self.place = Place::Chatting(peer.clone(), *id);
                    true
                }
                _ => false,
            },
            Event::Message { from, .. } => self.chats_with(from),
            Event::Sent { .. } | Event::Delivered { .. } | Event::Renewed { .. } => self.chat().is_some(),
            Event::PeerAway { peer } => self.chats_with(peer) && change(&mut self.is_peer_away, &[false], true),
            Event::PeerBack { peer } => self.chats_with(peer) && change(&mut self.is_peer_away, &[true], false),
            Event::PeerBehind { peer } => self.chats_with(peer) && change(&mut self.is_peer_behind, &[false], true),
            Event::PeerCaughtUp { peer } => self.chats_with(peer) && change(&mut self.is_peer_behind, &[true], false),
            Event::ChatClosed { peer, undelivered, .. } => {
                (self.is_peer_away, self.is_peer_behind) = (false, false);
                // Without a connection there is no log-off: one comes back as one is, or ends.
                self.is_leaving &= self.presence == Presence::Online;
                match std::mem::take(&mut self.place) {
                    Place::Chatting(other, _) => other == *peer,
                    // It did not come to stand.
                    Place::SettingUp(other, _) | Place::Calling(other) => other == *peer && *undelivered == 0,
                    Place::Free | Place::Ringing(_) => false,
                }
            }
            Event::Error { code: client::ErrorCode::TooFast, peer: Some(peer), .. } => {
                self.was_too_fast = true;
                change(&mut self.place, &[Place::Calling(peer.clone())], Place::Free)
            }
            Event::Error { code, message, .. } => {
                use client::ErrorCode::{
                    BadFile, KeyChanged, Protocol, Replaced, TooLong, UnknownUser, UntrustedServer, WrongPassword,
                };
                if let BadFile | KeyChanged | Protocol | Replaced | TooLong | UnknownUser | UntrustedServer
                | WrongPassword = code
                {
                    return Err(format!("an honest world has no such error: {}: {message}", code.as_str()));
                }
                true
            }
            Event::Connecting
            | Event::Connected
            | Event::Users { .. }
            | Event::Verified { .. }
            | Event::Forgotten { .. } => true,
        };
        if makes_sense { Ok(()) } else { Err(format!("events make sense: {event:?} came to {:?}", self.place)) }
    }

    fn chats_with(&self, peer: &str) -> bool {
        matches!(&self.place, Place::Chatting(other, _) if other == peer)
    }
}

/// Changes `what`, if it is one of `from`, and says whether it was.
fn change<T: PartialEq>(what: &mut T, from: &[T], to: T) -> bool {
    let may = from.contains(what);
    if may {
        *what = to;
    }
    may
}
