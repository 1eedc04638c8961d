//! What passes between a client and its driver, told to the model.

use std::time::Instant;

use bytes::Bytes;
use client::{Command, Event, Output};
use protocol::Code;

use crate::model::{Broken, Id, Model};

/// A command was taken in by the client, and `out` came of it.
pub(super) fn commanded(
    model: &mut Model,
    user: usize,
    command: &Command,
    out: &[Output],
    now: Instant,
) -> Result<(), Broken> {
    let is_refused = out.iter().any(|output| matches!(output, Output::Event(Event::Error { .. })));
    match command {
        Command::Say(text) if !is_refused => model.says(user, text),
        Command::Say(_) if model.chat_of(user).is_some() && !model.stories[user].is_leaving => {
            Err("who is in a chat can say something".to_owned())
        }
        // What is told with it may be about what waited for it, or about a goodbye that could not be said.
        Command::Exit | Command::Leave => {
            model.leaves(user, now);
            Ok(())
        }
        // Whoever leaves to come back is heard when they are back; whoever leaves for good is heard at once.
        Command::No if out.iter().any(is_refusal) => {
            model.refuses(user);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_refusal(output: &Output) -> bool {
    matches!(output, Output::Send(frame) if frame.first() == Some(&(Code::Refuse as u8)))
}

/// A client sends a frame.
pub(super) fn sent(model: &mut Model, user: usize, frame: &Bytes) -> Result<(), Broken> {
    let code = frame.first().copied();
    let is_caller = code == Some(Code::SessionEstablishment as u8);
    match chat_at_start(frame) {
        Some(chat) if is_caller || code == Some(Code::Accept as u8) => model.sets_up(user, chat, is_caller),
        _ => Ok(()),
    }
}

/// A frame has reached a client.
pub(super) fn reached(model: &Model, user: usize, frame: &Bytes) -> Result<(), Broken> {
    if frame.first() == Some(&(Code::Message as u8))
        && let Some(chat) = frame.get(2..18).and_then(|id| id.try_into().ok())
        && !model.is_party(user, chat)
    {
        return Err("a frame of a chat reaches only the other party".to_owned());
    }
    Ok(())
}

fn chat_at_start(frame: &Bytes) -> Option<Id> {
    frame.get(1..17)?.try_into().ok()
}
