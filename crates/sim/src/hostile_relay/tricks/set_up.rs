//! Keys, key packages and welcomes: others than they should be.

use bytes::Bytes;
use protocol::{Accepted, Established, Request, ServerName, ToClient, ToServer};

use super::{Acts, Moment, Trick};
use crate::hostile_relay::{
    forger::Forger,
    notes::{Link, Notes},
};

/// What is put in the place of what.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    AcceptersKey,
    CallersKey,
    Package,
    Welcome,
    OthersPackage,
    OthersPackageTrueKey,
    OthersWelcome,
    OldPackage,
    OldWelcome,
    OwnPackage,
    FlippedBit,
}

/// A key, package or welcome that is not the true one.
pub(super) struct Exchange {
    wrong: Wrong,
    forger: Forger,
}

impl Exchange {
    pub(super) fn new(wrong: Wrong, server: &ServerName) -> Self {
        Self { wrong, forger: Forger::new(server) }
    }

    fn accept(&mut self, notes: &Notes, link: Link, accepted: &mut Accepted) -> Option<()> {
        let (user, peer) = (notes.user(link)?, notes.peer(link)?);
        let mut packages = notes.packages.iter().rev();
        match self.wrong {
            Wrong::AcceptersKey => {
                accepted.key = self.forger.key(peer);
                accepted.key_package = self.forger.package(peer)?.1;
            }
            Wrong::Package => accepted.key_package = self.forger.package(peer)?.1,
            Wrong::OthersPackage | Wrong::OthersPackageTrueKey => {
                let (other, _, package) = packages.find(|(whose, ..)| whose != user && whose != peer)?;
                accepted.key_package = package.clone();
                if self.wrong == Wrong::OthersPackage {
                    accepted.key = *notes.users.get(other)?;
                }
            }
            Wrong::OldPackage => {
                let (_, _, package) = packages.find(|(whose, chat, _)| whose == peer && *chat != accepted.chat)?;
                accepted.key_package = package.clone();
            }
            Wrong::OwnPackage => {
                let (_, _, package) = packages.find(|(whose, ..)| whose == user)?;
                accepted.key_package = package.clone();
                accepted.key = *notes.users.get(user)?;
            }
            Wrong::FlippedBit => flip(&mut accepted.key_package),
            Wrong::CallersKey | Wrong::Welcome | Wrong::OthersWelcome | Wrong::OldWelcome => {}
        }
        Some(())
    }

    fn establish(&mut self, notes: &Notes, link: Link, established: &mut Established) -> Option<()> {
        let (user, peer) = (notes.user(link)?, notes.peer(link)?);
        let chat = established.chat;
        let mut welcomes = notes.welcomes.iter().rev();
        match self.wrong {
            Wrong::CallersKey => established.key = self.forger.key(peer),
            Wrong::Welcome => {
                let (_, _, package) =
                    notes.packages.iter().rev().find(|(whose, of, _)| whose == user && *of == chat)?;
                let accepter = self.forger.member(user, *notes.users.get(user)?);
                established.welcome = self.forger.group(peer, chat, &accepter, package)?.1;
            }
            Wrong::OthersWelcome => {
                let is_others = |pair: &[protocol::UserName; 2]| pair[1] != *user;
                let (_, welcome) = welcomes.find(|(of, _)| notes.chats.get(of.as_bytes()).is_some_and(is_others))?;
                established.welcome = welcome.clone();
            }
            Wrong::OldWelcome => {
                let is_ours = |pair: &[protocol::UserName; 2]| pair == &[peer.clone(), user.clone()];
                let (_, welcome) =
                    welcomes.find(|(of, _)| *of != chat && notes.chats.get(of.as_bytes()).is_some_and(is_ours))?;
                established.welcome = welcome.clone();
            }
            Wrong::FlippedBit => flip(&mut established.welcome),
            _ => {}
        }
        Some(())
    }
}

impl Trick for Exchange {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match ToClient::decode(&frame) {
            Ok(ToClient::Accept(mut accepted)) => {
                // What the relay has not got yet stays as it is.
                let _ = self.accept(notes, link, &mut accepted);
                acts.say(link, &ToClient::Accept(accepted));
            }
            Ok(ToClient::SessionEstablishment(mut established)) => {
                let _ = self.establish(notes, link, &mut established);
                acts.say(link, &ToClient::SessionEstablishment(established));
            }
            _ => acts.down(link, frame),
        }
    }
}

fn flip(bytes: &mut Bytes) {
    let mut changed = bytes.to_vec();
    if let Some(byte) = changed.last_mut() {
        *byte ^= 1;
    }
    *bytes = changed.into();
}

/// Keys and packages for a chat that there is, now or at the return to it.
pub(super) struct Anew {
    forger: Forger,
    on_return: bool,
}

impl Anew {
    pub(super) fn in_chat(server: &ServerName) -> Self {
        Self { forger: Forger::new(server), on_return: false }
    }

    pub(super) fn on_return(server: &ServerName) -> Self {
        Self { forger: Forger::new(server), on_return: true }
    }

    fn hand_out(&mut self, notes: &Notes, link: Link, acts: &mut Acts) -> Option<()> {
        let (user, peer, chat) = (notes.user(link)?, notes.peer(link)?, notes.chat(link)?);
        let key = self.forger.key(peer);
        let (_, key_package) = self.forger.package(peer)?;
        acts.say(link, &ToClient::Accept(Accepted { chat, key, key_package }));
        let accepter = self.forger.member(user, *notes.users.get(user)?);
        let package = notes.packages.iter().rev().find(|(whose, ..)| whose == user);
        let welcome = package.and_then(|(_, _, package)| self.forger.group(peer, chat, &accepter, package));
        let welcome = welcome.map_or_else(|| self.forger.noise(1000), |(_, welcome)| welcome);
        acts.say(link, &ToClient::SessionEstablishment(Established { chat, key, welcome }));
        Some(())
    }
}

impl Trick for Anew {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        // Whoever is in a chat at the moment of the log-in has come back with it.
        let is_it = if self.on_return { Moment::LoggedIn } else { Moment::Chatting };
        if moment == is_it && notes.links.get(&link).is_some_and(|known| known.is_chatting) {
            let _ = self.hand_out(notes, link, acts);
        }
    }
}

/// Each frame of the set-up comes back to its sender.
pub(super) struct Reflect;

impl Trick for Reflect {
    fn up(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let key = notes.user(link).and_then(|user| notes.users.get(user)).copied();
        match (ToServer::decode(&frame), key) {
            (Ok(ToServer::Accept(accept)), Some(key)) => {
                let (chat, key_package) = (accept.chat, accept.key_package);
                acts.say(link, &ToClient::Accept(Accepted { chat, key, key_package }));
            }
            (Ok(ToServer::SessionEstablishment(establish)), Some(key)) => {
                let (chat, welcome) = (establish.chat, establish.welcome);
                acts.say(link, &ToClient::SessionEstablishment(Established { chat, key, welcome }));
            }
            _ => {}
        }
        acts.up(link, frame);
    }
}

/// Each frame of the set-up comes twice.
pub(super) struct Duplicate;

impl Trick for Duplicate {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if let Ok(ToClient::RequestToTalk(_) | ToClient::Accept(_) | ToClient::SessionEstablishment(_)) =
            ToClient::decode(&frame)
        {
            acts.down(link, frame.clone());
        }
        acts.down(link, frame);
    }
}

/// A call goes to somebody else.
pub(super) struct Redirect;

impl Trick for Redirect {
    fn up(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match ToServer::decode(&frame) {
            Ok(ToServer::RequestToTalk(Request { peer, chat })) => {
                let other = notes.somebody_else(&[notes.user(link), Some(&peer)]).unwrap_or(&peer).clone();
                acts.say_up(link, &ToServer::RequestToTalk(Request { peer: other, chat }));
            }
            _ => acts.up(link, frame),
        }
    }
}

/// A request bears another name.
pub(super) struct Rename;

impl Trick for Rename {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match ToClient::decode(&frame) {
            Ok(ToClient::RequestToTalk(Request { peer, chat })) => {
                let other = notes.somebody_else(&[notes.user(link), Some(&peer)]).unwrap_or(&peer).clone();
                acts.say(link, &ToClient::RequestToTalk(Request { peer: other, chat }));
            }
            _ => acts.down(link, frame),
        }
    }
}
