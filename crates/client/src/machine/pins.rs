//! What the user says of pinned keys: that one was compared, and that one is to be let go.

use protocol::UserName;

use super::{Client, Output, State, error, error_about, talking::number};
use crate::{ErrorCode, Event, Failure};

impl Client {
    /// Notes that the safety number was compared with the peer of the chat, and with nobody else: in a chat it is on
    /// both screens. That goes on without a connection, and so does this.
    pub(super) fn verify(&mut self, compared: Option<&str>, out: &mut Vec<Output>) {
        let Some(own) = &self.own else {
            return error(out, ErrorCode::NotInChat, "you are not connected, so nothing was noted");
        };
        match &self.state {
            State::Chatting(conversation) => {
                let peer = &conversation.peer;
                if compared.is_none_or(|compared| digits(compared).eq(digits(&number(own, peer)))) {
                    out.push(Output::MarkVerified(peer.clone()));
                } else {
                    let message = format!(
                        "nothing was noted: that number is DIFFERENT from the one of the chat with {}",
                        peer.user
                    );
                    error(out, ErrorCode::NotInChat, message);
                }
            }
            _ => error(
                out,
                ErrorCode::NotInChat,
                "you are in no chat; `sottovoce pins verify NAME --profile DIR` notes it for somebody you talked to",
            ),
        }
    }

    /// Lets go of a key. Not of the one that the chat rests on, for then it would go on with a key that is not pinned.
    pub(super) fn forget(&mut self, peer: UserName, out: &mut Vec<Output>) {
        let Some(own) = &self.own else {
            return;
        };
        match &self.state {
            state @ (State::AwaitingWelcome { .. }
            | State::CheckingPin { .. }
            | State::Confirming { .. }
            | State::Chatting(_))
                if state.peer() == Some(&peer) =>
            {
                let message = format!("you are in a chat with {peer}; /leave ends it, and then /forget {peer} is done");
                error_about(out, &peer, Failure::new(ErrorCode::Busy, message));
            }
            _ => out.push(Output::ForgetPin(peer, own.member().server.clone())),
        }
    }
}

fn digits(number: &str) -> impl Iterator<Item = char> {
    number.chars().filter(char::is_ascii_digit)
}

pub(super) fn marked(peer: UserName, result: Result<(), Failure>, out: &mut Vec<Output>) {
    match result {
        Ok(()) => out.push(Output::Event(Event::Verified { peer: peer.to_string() })),
        Err(failure) => error_about(out, &peer, failure),
    }
}

pub(super) fn forgotten(peer: UserName, result: Result<(), Failure>, out: &mut Vec<Output>) {
    match result {
        Ok(()) => out.push(Output::Event(Event::Forgotten { peer: peer.to_string() })),
        Err(failure) => error_about(out, &peer, failure),
    }
}
