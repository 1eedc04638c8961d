//! What a relay sees that does nothing.

use bytes::Bytes;
use protocol::{ToServer, UserName};

use super::{Acts, Trick};
use crate::hostile_relay::notes::{Link, Notes};

/// The relay's owner is told of all that clients send.
pub(super) struct Watch;

impl Trick for Watch {
    fn up(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let user = notes.user(link).map_or("somebody", UserName::as_str);
        let peer = notes.peer(link).map_or("somebody", UserName::as_str);
        let line = match ToServer::decode(&frame) {
            Ok(ToServer::Login(login)) => match login.held {
                Some(held) => Some(format!("{user} comes back to a chat with {}", held.peer)),
                None => Some(format!("{user} logs in")),
            },
            Ok(ToServer::Exit) => Some(format!("{user} leaves")),
            Ok(ToServer::List(_)) => Some(format!("{user} looks who is online")),
            Ok(ToServer::RequestToTalk(request)) => Some(format!("{user} asks {} to talk", request.peer)),
            Ok(ToServer::Accept(_)) => Some(format!("{user} accepts the request of {peer}")),
            Ok(ToServer::Refuse(_)) => Some(format!("{user} refuses the request of {peer}")),
            Ok(ToServer::Message(message)) => {
                let (counter, ack) = (message.header.counter, message.header.ack);
                Some(format!("{user} to {peer}: counter {counter}, ack {ack}, {} bytes", message.sealed.len()))
            }
            _ => None,
        };
        line.into_iter().for_each(|line| acts.tell(line));
        acts.up(link, frame);
    }
}
