//! Our own protocol (docs/protocol.md). What is sealed is a payload, since the relay cannot tell.

use bytes::Bytes;
use protocol::{
    Accept, ChatHeader, ChatId, ClientId, Code, Establish, Login, Message, Request, ServerError, ToClient, ToServer,
    UserName,
};

use crate::{
    connect::Tls,
    fault::Fault,
    wire::{End, Line, Protocol, Talker, name_of, peer_of, put_frame, split_frame},
};

/// Bytes of a key package and of a welcome: about what the clients' have.
const KEY_PACKAGE: usize = 3000;
const WELCOME: usize = 4000;

/// Speaks to the relay.
pub(crate) struct Sottovoce;

impl Protocol for Sottovoce {
    type Talker = Chat;

    fn tls(&self) -> Tls {
        Tls::OURS
    }

    async fn log_in(&self, line: &mut Line, user: u64) -> Result<(), Fault> {
        // Whichever client it is: of log-ins with one number, that which comes last counts as the last.
        let client = ClientId::from_bytes([0; 16]);
        say(line, &ToServer::Login(Login::first(user_name(user)?, client))).await?;
        match hear(line).await? {
            ToClient::LoggedIn(_) => Ok(()),
            ToClient::Error(ServerError::UnknownUser) => {
                let name = user_name(user)?;
                Err(Fault::Asked(format!("the relay does not know {name}; `bench register` registers more users")))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn log_off(&self, line: &mut Line) -> Result<(), Fault> {
        say(line, &ToServer::Exit).await
    }

    async fn show_life(&self, line: &mut Line) -> Result<(), Fault> {
        say(line, &ToServer::Ping).await?;
        expect(hear(line).await?, |frame| matches!(frame, ToClient::Pong))
    }

    async fn pair_up(&self, caller: End<'_>, callee: End<'_>) -> Result<(Chat, Chat), Fault> {
        let mut id = [0; 16];
        for (place, byte) in id.iter_mut().zip(caller.user.to_be_bytes()) {
            *place = byte;
        }
        let chat = ChatId::from_bytes(id);
        let (caller, callee, peer) = (caller.line, callee.line, user_name(peer_of(caller.user))?);

        say(caller, &ToServer::RequestToTalk(Request { peer, chat })).await?;
        expect(hear(callee).await?, |frame| matches!(frame, ToClient::RequestToTalk(asked) if asked.chat == chat))?;
        let key_package = Bytes::from(vec![1; KEY_PACKAGE]);
        say(callee, &ToServer::Accept(Accept { chat, key_package })).await?;
        expect(hear(caller).await?, |frame| matches!(frame, ToClient::Accept(accepted) if accepted.chat == chat))?;
        let welcome = Bytes::from(vec![1; WELCOME]);
        say(caller, &ToServer::SessionEstablishment(Establish { chat, welcome })).await?;
        expect(
            hear(callee).await?,
            |frame| matches!(frame, ToClient::SessionEstablishment(told) if told.chat == chat),
        )?;
        // The accepter's first sealed frame, an empty receipt, by which the chat has started for the caller.
        let receipt = Message { header: ChatHeader::new(chat, 0, 0), sealed: Bytes::from_static(b"receipt") };
        say(callee, &ToServer::Message(receipt)).await?;
        expect(hear(caller).await?, |frame| matches!(frame, ToClient::Message(_)))?;
        Ok((Chat::new(chat), Chat::new(chat)))
    }
}

/// One end of a chat that stands.
pub(crate) struct Chat {
    id: ChatId,
    /// The counter of the next frame.
    counter: u64,
    /// The counter that is expected next.
    expected: u64,
}

impl Chat {
    fn new(id: ChatId) -> Self {
        Self { id, counter: 0, expected: 0 }
    }
}

/// Bytes of a sealed frame before what is sealed: code, header, and the length of what is sealed.
const BEFORE_SEALED: usize = ChatHeader::AAD_LEN + 2;

impl Talker for Chat {
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let aad = ChatHeader::new(self.id, self.counter, self.expected).aad().unwrap_or_default();
        let length = BEFORE_SEALED.saturating_add(payload.len());
        out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(aad);
        put_frame(payload, out);
        self.counter = self.counter.saturating_add(1);
    }

    fn read(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
        _answers: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        let mut rest = bytes;
        while let Some((frame, after)) = split_frame(rest) {
            if frame.first() != Some(&(Code::Message as u8)) {
                return Err(unexpected(&decoded(frame)?));
            }
            take(frame.get(BEFORE_SEALED..).unwrap_or_default())?;
            self.expected = self.expected.saturating_add(1);
            rest = after;
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }
}

async fn say(line: &mut Line, frame: &ToServer) -> Result<(), Fault> {
    line.send_frame(&frame.encode().map_err(|error| Fault::Said(error.to_string()))?).await
}

async fn hear(line: &mut Line) -> Result<ToClient, Fault> {
    decoded(&line.frame().await?)
}

fn decoded(frame: &[u8]) -> Result<ToClient, Fault> {
    ToClient::decode(frame).map_err(|error| Fault::Said(error.to_string()))
}

fn expect(frame: ToClient, is_right: impl FnOnce(&ToClient) -> bool) -> Result<(), Fault> {
    if is_right(&frame) { Ok(()) } else { Err(unexpected(&frame)) }
}

fn unexpected(frame: &ToClient) -> Fault {
    Fault::Said(format!("{frame:?}"))
}

/// The name of a user, as the directory has it.
pub(crate) fn user_name(user: u64) -> Result<UserName, Fault> {
    name_of(user).parse().map_err(|error: protocol::NameError| Fault::Said(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{complaint, read_in_pieces};

    #[test]
    fn messages_are_sealed_frames_with_counters_that_go_up() {
        let id = ChatId::from_bytes([3; 16]);
        let (mut alice, mut bob, mut bytes) = (Chat::new(id), Chat::new(id), Vec::new());
        for payload in [&b"one"[..], b"two"] {
            alice.write(payload, &mut bytes);
        }
        for piece in [1, 7, 1000] {
            assert_eq!(read_in_pieces(&mut bob, &bytes, piece), (vec![b"one".to_vec(), b"two".to_vec()], vec![]));
        }
        let (first, rest) = split_frame(&bytes).unwrap();
        let (second, _) = split_frame(rest).unwrap();
        for (counter, (frame, payload)) in [(first, "one"), (second, "two")].into_iter().enumerate() {
            let header = ChatHeader::new(id, u64::try_from(counter).unwrap(), 0);
            let message = Message { header, sealed: Bytes::from(payload) };
            assert_eq!(ToServer::decode(frame).unwrap(), ToServer::Message(message));
        }
        let mut answer = Vec::new();
        bob.write(b"three", &mut answer);
        let ToServer::Message(message) = ToServer::decode(split_frame(&answer).unwrap().0).unwrap() else { panic!() };
        assert_eq!((message.header.counter, message.header.ack), (0, 6), "it has read the two three times");
    }

    #[test]
    fn the_end_of_a_chat_is_noticed() {
        let id = ChatId::from_bytes([3; 16]);
        let mut bytes = Vec::new();
        put_frame(&ToClient::PeerAway(id).encode().unwrap(), &mut bytes);
        assert!(matches!(complaint(&mut Chat::new(id), &bytes), Fault::Said(what) if what.contains("PeerAway")));
    }
}
