use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{ChatHeader, ChatId, Code, Machine as _, Message, ServerError, ToClient, ToServer, UserName};
use server::{
    mailbox::{Inbox, Mailbox, Order, mailbox},
    router::Router,
    session::{Input, Line, Output, Session, State},
    signal::SessionId,
};

use crate::{
    frames::{self, chat, from_client, key, name},
    script::Script,
    time::{patience, start, wait},
};

const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// Connections at once, a user's old ones among them.
const MAX_CONNECTIONS: usize = 6;
/// Small, so that they fill.
const LETTERS: usize = 160;
const BYTES: usize = 4000;

/// A relay of up to six connections of three users, with the real router and real, small mailboxes.
///
/// A sealed frame reaches nobody but the other party of the chat that it was sent in, once and in order; mailboxes keep
/// their bounds; and when everybody has fallen silent and what was on its way has come, nobody waits for anything, and
/// who is in a chat is in it with somebody who is in it too.
pub fn relay(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut relay = Relay { router: Router::new(2), now: start(), connections: Vec::new(), ids: 0, frames: Vec::new() };
    while !script.is_over() {
        relay.step(&mut script);
    }
    relay.falls_silent();
}

struct Relay {
    router: Router,
    now: Instant,
    connections: Vec<Connection>,
    ids: u64,
    /// Each sealed frame that was sent, with its number in it.
    frames: Vec<Sent>,
}

struct Connection {
    id: SessionId,
    user: UserName,
    session: Session,
    mailbox: Mailbox,
    inbox: Inbox,
    is_over: bool,
}

struct Sent {
    /// The other party, if the line of the chat is open.
    to: Option<UserName>,
    chat: ChatId,
    by: SessionId,
    has_come: bool,
}

impl Relay {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.choice(16) {
            0 | 1 => self.connect(script),
            2..8 => self.frame(script),
            8..11 => {
                if let Some(at) = self.any(script) {
                    let letters = script.choice(8) + 1;
                    self.deliver(at, letters);
                }
            }
            11 => self.deliver_all(),
            12 => {
                if let Some(at) = self.any(script) {
                    self.handle(at, Input::Lost);
                }
            }
            13 => {
                let user = name(script.pick(&USERS));
                self.router.end(&user, &key(&user), ServerError::Removed);
            }
            _ => {
                self.now += wait(script);
                self.ring();
            }
        }
        self.connections.retain(|connection| !connection.is_over);
    }

    fn any(&self, script: &mut Script<'_>) -> Option<usize> {
        (!self.connections.is_empty()).then(|| script.choice(self.connections.len()))
    }

    /// One more connection of a user, who logs in at once.
    fn connect(&mut self, script: &mut Script<'_>) {
        let user = name(script.pick(&USERS));
        let login = ToServer::Login(frames::login(user.clone(), script));
        if self.connections.len() >= MAX_CONNECTIONS {
            return;
        }
        self.ids += 1;
        let id = SessionId::new(self.ids);
        let (mailbox, inbox) = mailbox(LETTERS, BYTES);
        let session = Session::new(id, key(&user), "chat.example".parse().unwrap(), patience(), self.now);
        self.connections.push(Connection { id, user, session, mailbox, inbox, is_over: false });
        self.handle(self.connections.len() - 1, Input::Frame(login.encode().unwrap()));
    }

    fn frame(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.any(script) else { return };
        let frame = if script.flag() {
            self.sealed(at, script)
        } else {
            let frame = from_client(script);
            if ChatHeader::chat_of(&frame).is_ok() {
                // It would have a number that is another's.
                return;
            }
            frame
        };
        self.handle(at, Input::Frame(frame));
    }

    /// A sealed frame with a number in it; of the chat that the session is in, as a rule.
    fn sealed(&mut self, at: usize, script: &mut Script<'_>) -> Bytes {
        let Connection { id, session, .. } = &self.connections[at];
        let other = chat(script);
        let (to, chat) = match session.state() {
            Some(State::Chatting { peer, chat, line }) if script.flag() => {
                (matches!(line, Line::Open(_)).then(|| peer.clone()), *chat)
            }
            Some(State::Chatting { peer, chat, line: Line::Open(_) }) if *chat == other => (Some(peer.clone()), other),
            _ => (None, other),
        };
        let size = if script.flag() { 1000 } else { 0 };
        let mut sealed = u64::try_from(self.frames.len()).unwrap().to_be_bytes().to_vec();
        sealed.resize(8 + size, 0);
        self.frames.push(Sent { to, chat, by: *id, has_come: false });
        let message = Message { header: ChatHeader::new(chat, 0, 0), sealed: sealed.into() };
        ToServer::Message(message).encode().unwrap()
    }

    /// What the connection's task does with an input and all that comes of it.
    fn handle(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            let connection = &mut self.connections[at];
            connection.session.handle(input, self.now, &mut out);
            for output in out {
                assert!(!self.connections[at].is_over, "{output:?} after the end");
                inputs.extend(self.carry_out(at, output));
                assert!(inputs.len() <= 16, "one input leads to ever more");
            }
        }
    }

    fn carry_out(&mut self, at: usize, output: Output) -> Option<Input> {
        let Connection { id, user, mailbox, .. } = &self.connections[at];
        match output {
            Output::Send(frame) => {
                self.received(at, &frame);
                None
            }
            Output::LookUp(asked) => {
                let is_known = USERS.contains(&asked.as_str());
                Some(Input::Registered(Some(is_known.then(|| key(&asked)))))
            }
            Output::Register { user: registered, attempt, held } => {
                assert_eq!(registered, *user, "with another's key");
                self.router.register(registered, *id, attempt, key(user), mailbox.clone(), held);
                None
            }
            Output::List(page) => {
                let list = self.router.list(user, &page);
                assert!(list.names.len() <= 2 && list.names.is_sorted() && !list.names.contains(user));
                Some(Input::Listed(list))
            }
            Output::Signal { to, signal } => {
                let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
                let sent = self.router.send(&to, signal);
                sent.err().map(|why| Input::Undelivered { to, chat, is_repeated, why })
            }
            Output::Disconnect => {
                self.router.unregister(user, *id);
                self.connections[at].is_over = true;
                None
            }
        }
    }

    fn received(&mut self, at: usize, frame: &Bytes) {
        if frame.first() != Some(&(Code::Message as u8)) {
            ToClient::decode(frame).expect("what a client understands");
            return;
        }
        let place = number(frame).expect("a sealed frame that nobody sent");
        let Sent { to, chat, by, has_come } = &mut self.frames[place];
        assert!(!std::mem::replace(has_come, true), "a sealed frame came twice");
        let reader = &self.connections[at].user;
        assert_eq!((to.as_ref(), Ok(*chat)), (Some(reader), ChatHeader::chat_of(frame)), "to somebody else");
        let (to, chat, by) = (to.clone(), *chat, *by);
        let is_later = |later: &Sent| later.has_come && (&later.to, later.chat, later.by) == (&to, chat, by);
        assert!(!self.frames[place + 1..].iter().any(is_later), "a sealed frame was overtaken");
    }

    fn deliver(&mut self, at: usize, letters: usize) {
        for _ in 0..letters {
            let connection = &mut self.connections[at];
            assert!(connection.inbox.len() <= LETTERS);
            let input = match connection.inbox.order() {
                _ if connection.is_over => return,
                Some(Order::End(reason)) => Input::End(reason),
                Some(Order::Replaced { held }) => Input::Replaced { held },
                None if connection.inbox.is_to_end() => Input::Lost,
                None => match connection.inbox.try_receive() {
                    Some(signal) => Input::Signal(signal),
                    None => return,
                },
            };
            self.handle(at, input);
        }
    }

    fn deliver_all(&mut self) {
        for _ in 0..8 {
            for at in 0..self.connections.len() {
                self.deliver(at, LETTERS);
            }
        }
        assert!(self.connections.iter().all(|connection| connection.is_over || connection.inbox.is_empty()));
    }

    /// All whose time has come.
    fn ring(&mut self) {
        for at in 0..self.connections.len() {
            let connection = &self.connections[at];
            if !connection.is_over && connection.session.deadline().is_some_and(|deadline| deadline <= self.now) {
                self.handle(at, Input::Tick);
            }
        }
    }

    /// For longer than anything takes, clients do nothing but show that they are there.
    fn falls_silent(&mut self) {
        let ping = ToServer::Ping.encode().unwrap();
        for second in 0..90 {
            self.deliver_all();
            self.connections.retain(|connection| !connection.is_over);
            for at in 0..self.connections.len() {
                if second % 6 == 0 && self.connections[at].session.user().is_some() {
                    self.handle(at, Input::Frame(ping.clone()));
                }
            }
            self.now += Duration::from_secs(1);
            self.ring();
        }
        self.deliver_all();
        for connection in self.connections.iter().filter(|connection| !connection.is_over) {
            match connection.session.state() {
                Some(State::Free) => {}
                Some(State::Chatting { peer, chat, line: Line::Open(session) }) => {
                    let of_peer =
                        self.connections.iter().find(|other| other.id == *session).expect("a chat with nobody");
                    let back = Line::Open(connection.id);
                    assert!(
                        matches!(of_peer.session.state(), Some(State::Chatting { peer: me, chat: theirs, line })
                            if (me, theirs, *line) == (&connection.user, chat, back)),
                        "{peer} is not in the chat: {:?}",
                        of_peer.session.state()
                    );
                }
                state => panic!("{} waits for ever: {state:?}", connection.user),
            }
        }
    }
}

/// What [`Relay::sealed`] put into a frame.
fn number(frame: &Bytes) -> Option<usize> {
    let Ok(ToServer::Message(message)) = ToServer::decode(frame) else { return None };
    let number = u64::from_be_bytes(message.sealed.first_chunk().copied()?);
    usize::try_from(number).ok()
}
