//! Client machines and server sessions wired back to back: no sockets, no clock but the one that a test turns.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod telling;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use client::{Client, Command, Event};
use identity::{Negotiated, Pin, UserKey};
use protocol::{List, Machine, PublicKey, Recording, ServerName, ToServer, UserName};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use server::{
    rate::Rate,
    session::{self, Patience, Session},
    signal::{SessionId, Signal, Undelivered},
};

/// One user: the client, its session on the server, and what lies between and beside them.
pub(crate) struct User {
    pub(crate) name: UserName,
    pub(crate) key: Arc<UserKey>,
    seed: u64,
    pub(crate) client: Client,
    pub(crate) session: Option<Session>,
    /// The session before, which does not know that its client is gone, until the new one is registered.
    older: Option<Session>,
    pub(crate) pins: BTreeMap<UserName, Pin>,
    pub(crate) events: Vec<Event>,
    pub(crate) recording: Recording<client::Input>,
    pub(crate) outputs: Vec<client::Output>,
    to_server: VecDeque<bytes::Bytes>,
    to_client: VecDeque<bytes::Bytes>,
    to_session: VecDeque<Signal>,
    /// Whether nothing gets through between client and session, though one of them may not know.
    is_cut: bool,
    /// How many connections have been made.
    connections: u64,
    /// How many of the next attempts at a connection fail.
    pub(crate) unreachable: u64,
    /// Whether somebody is there to let them fail.
    pub(crate) is_rejected: bool,
    pub(crate) quit: bool,
}

/// The whole: users, and a relay that does what the router does.
pub(crate) struct Relay {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) users: Vec<User>,
    pub(crate) registered: BTreeMap<UserName, PublicKey>,
    sessions: u64,
}

/// To whom something is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Server(usize),
    Client(usize),
    Session(usize),
}

/// Who notices at once that a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    Both,
    /// The session lives on, until its client is back or its time is up.
    Client,
    /// The client takes the server for alive, until it misses its answers.
    Server,
}

impl Relay {
    /// A relay with these users, registered and not connected.
    pub(crate) fn new(names: &[&str]) -> Self {
        #[allow(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; the test turns it on")]
        let now = Instant::now();
        let users: Vec<_> = names.iter().zip(1..).map(|(name, seed)| User::new(name, seed)).collect();
        let registered = users.iter().map(|user| (user.name.clone(), user.key.public())).collect();
        Self { now, start: now, users, registered, sessions: 0 }
    }

    pub(crate) fn index(&self, name: &str) -> usize {
        self.users.iter().position(|user| user.name.as_str() == name).expect("a user of the test")
    }

    /// Connects all, and lets everything happen.
    pub(crate) fn everybody_logs_in(&mut self) {
        for user in 0..self.users.len() {
            self.input(user, client::Input::Start);
        }
        self.settle();
    }

    /// Hands a user's client an input.
    pub(crate) fn input(&mut self, user: usize, input: client::Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let User { client, recording, .. } = &mut self.users[user];
            recording.note(&input, self.now);
            let mut out = Vec::new();
            client.handle(input, self.now, &mut out);
            self.users[user].outputs.extend(out.iter().cloned());
            for output in out {
                inputs.extend(self.carry_out(user, output));
            }
        }
    }

    pub(crate) fn types(&mut self, user: usize, line: &str) {
        self.input(user, client::Input::Command(Command::parse(line).expect("a line that can be typed")));
    }

    fn carry_out(&mut self, user: usize, output: client::Output) -> Option<client::Input> {
        use client::{Input, Output};
        let this = &mut self.users[user];
        match output {
            Output::Connect => {
                if let Some(left) = this.unreachable.checked_sub(1) {
                    this.unreachable = left;
                    let failure = client::Failure::new(client::ErrorCode::Unreachable, "the test wants it so");
                    return Some(if this.is_rejected {
                        Input::NotConnected(failure)
                    } else {
                        Input::Unanswered(failure)
                    });
                }
                self.connects(user);
                let negotiated = Negotiated { group: "test".into(), suite: "test".into() };
                return Some(Input::Connected { negotiated });
            }
            Output::Send(_) if this.is_cut => {}
            Output::Send(frame) => this.to_server.push_back(frame),
            Output::Disconnect | Output::Abandon if this.is_cut => {}
            Output::Abandon => {
                this.cut();
                self.session_input(user, session::Input::Lost);
                self.users[user].session = None;
            }
            Output::Disconnect => {
                // What is on its way still arrives, as it does on a connection that is closed in order.
                while self.take_on(Way::Server(user)) {}
                self.session_input(user, session::Input::Lost);
                let this = &mut self.users[user];
                this.session = None;
                this.to_client.clear();
                this.to_session.clear();
            }
            Output::CheckServerName(name) => {
                assert_eq!(name, server_name());
                return Some(Input::ServerNameChecked(Ok(())));
            }
            Output::LookUpPin(peer, _) => return Some(Input::Pin(this.pins.get(&peer).cloned())),
            Output::StorePin(member) => {
                this.pins.insert(member.user, Pin { key: member.key, verified: false });
            }
            Output::MarkVerified(member) => {
                let pin = this.pins.get_mut(&member.user).filter(|pin| pin.key == member.key);
                let changed = client::Failure::new(client::ErrorCode::KeyChanged, "the test wants it so");
                let result = pin.map(|pin| pin.verified = true).ok_or(changed);
                return Some(Input::Marked(member.user, result));
            }
            Output::ForgetPin(peer, _) => {
                let none = client::Failure::new(client::ErrorCode::BadName, "the test wants it so");
                let result = this.pins.remove(&peer).map(drop).ok_or(none);
                return Some(Input::Forgotten(peer, result));
            }
            Output::Event(event) => this.events.push(event),
            Output::Quit(_) => this.quit = true,
        }
        None
    }

    fn session_input(&mut self, user: usize, input: session::Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            let Some(session) = &mut self.users[user].session else {
                return;
            };
            session.handle(input, self.now, &mut out);
            for output in out {
                inputs.extend(self.carry_out_for_session(user, output));
            }
        }
    }

    fn carry_out_for_session(&mut self, user: usize, output: session::Output) -> Option<session::Input> {
        use session::{Input, Output};
        match output {
            Output::Send(_) if self.users[user].is_cut => {}
            Output::Send(frame) => self.users[user].to_client.push_back(frame),
            Output::LookUp(name) => return Some(Input::Registered(Some(self.registered.get(&name).copied()))),
            Output::Register { held, .. } => {
                let mut out = Vec::new();
                if let Some(mut older) = self.users[user].older.take() {
                    older.handle(Input::Replaced { held }, self.now, &mut out);
                }
                for output in out {
                    if let Output::Signal { .. } = output {
                        // Nobody is left to hear that it did not arrive.
                        self.carry_out_for_session(user, output);
                    }
                }
            }
            Output::List(_) => {
                let online = self.users.iter().filter(|other| other.is_registered());
                let names = online.map(|other| other.name.clone()).collect();
                return Some(Input::Listed(List { names, more: false }));
            }
            Output::Signal { to, signal } => {
                let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
                match self.users.iter_mut().find(|other| other.name == to && other.is_registered()) {
                    Some(receiver) => receiver.to_session.push_back(signal),
                    None => return Some(Input::Undelivered { to, chat, is_repeated, why: Undelivered::Absent }),
                }
            }
            Output::Disconnect => {
                let connection = self.users[user].connections;
                while self.take_on(Way::Client(user)) {}
                let this = &mut self.users[user];
                if this.connections != connection {
                    // The client has come back at the word that this one ends.
                    return None;
                }
                this.session = None;
                this.to_session.clear();
                if !this.quit && !this.is_cut {
                    self.input(user, client::Input::Lost);
                }
            }
        }
        None
    }

    /// All places where something waits.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let mut ways = Vec::new();
        for (index, user) in self.users.iter().enumerate() {
            let waiting = [
                (Way::Server(index), user.to_server.is_empty()),
                (Way::Client(index), user.to_client.is_empty()),
                (Way::Session(index), user.to_session.is_empty()),
            ];
            ways.extend(waiting.into_iter().filter(|(_, is_empty)| !is_empty).map(|(way, _)| way));
        }
        ways
    }

    /// Takes the first thing on that waits there. Whether there was one.
    pub(crate) fn take_on(&mut self, way: Way) -> bool {
        match way {
            Way::Server(user) => {
                let Some(frame) = self.users[user].to_server.pop_front() else { return false };
                self.session_input(user, session::Input::Frame(frame));
            }
            Way::Client(user) => {
                let Some(frame) = self.users[user].to_client.pop_front() else { return false };
                self.input(user, client::Input::Frame(frame));
            }
            Way::Session(user) => {
                let this = &mut self.users[user];
                let Some(signal) = this.to_session.pop_front() else { return false };
                if let Some(older) = &mut this.older {
                    let mut out = Vec::new();
                    older.handle(session::Input::Signal(signal), self.now, &mut out);
                    out.retain(|output| matches!(output, session::Output::Signal { .. }));
                    for output in out {
                        self.carry_out_for_session(user, output);
                    }
                } else {
                    self.session_input(user, session::Input::Signal(signal));
                }
            }
        }
        true
    }

    /// The next frame to a user's client.
    pub(crate) fn next_frame(&self, user: usize) -> Option<&bytes::Bytes> {
        self.users[user].to_client.front()
    }

    /// Changes the next frame to a user's client.
    pub(crate) fn tamper(&mut self, user: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let frame = self.users[user].to_client.front_mut().expect("a frame on its way");
        let mut bytes = frame.to_vec();
        change(&mut bytes);
        *frame = bytes.into();
    }

    /// Repeats the next frame to a user's client.
    pub(crate) fn repeat(&mut self, user: usize) {
        let frame = self.users[user].to_client.front().expect("a frame on its way").clone();
        self.users[user].to_client.push_front(frame);
    }

    /// Drops the next frame to a user's client.
    pub(crate) fn lose(&mut self, user: usize) {
        self.users[user].to_client.pop_front().expect("a frame on its way");
    }

    /// Makes a connection for a user, whose session waits for the log-in.
    pub(crate) fn connects(&mut self, user: usize) {
        self.sessions += 1;
        let id = SessionId::new(self.sessions);
        let this = &mut self.users[user];
        if this.session.as_ref().is_some_and(|session| session.user().is_some()) {
            this.older = this.session.take();
        }
        this.is_cut = false;
        this.connections += 1;
        this.session = Some(Session::new(id, this.key.public(), server_name(), patience(), self.now));
    }

    /// Has a user's client send what it would not by itself.
    pub(crate) fn sends(&mut self, user: usize, frame: &ToServer) {
        self.users[user].to_server.push_back(frame.encode().expect("a frame"));
    }

    /// Cuts a user's connection, and what is on its way with it.
    pub(crate) fn cut(&mut self, user: usize, noticed: Noticed) {
        self.users[user].cut();
        if noticed != Noticed::Client {
            self.session_input(user, session::Input::Lost);
        }
        if noticed != Noticed::Server && !self.users[user].quit {
            self.input(user, client::Input::Lost);
        }
    }

    /// Ends all sessions, as a server does that stops.
    pub(crate) fn stops(&mut self) {
        for user in 0..self.users.len() {
            self.session_input(user, session::Input::End(protocol::ServerError::ShuttingDown));
        }
    }

    /// Lets everything on its way arrive.
    pub(crate) fn settle(&mut self) {
        while let Some(way) = self.ways().first().copied() {
            self.take_on(way);
        }
    }

    /// Turns the clock, timer by timer, and lets everything happen that comes of it.
    pub(crate) fn wait(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let next = self
                .users
                .iter()
                .flat_map(|user| [user.client.deadline(), user.session.as_ref().and_then(Machine::deadline)]);
            let Some(next) = next.flatten().min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for user in 0..self.users.len() {
                if self.users[user].client.deadline().is_some_and(|at| at <= self.now) {
                    self.input(user, client::Input::Tick);
                }
                if self.users[user].session.as_ref().and_then(Machine::deadline).is_some_and(|at| at <= self.now) {
                    self.session_input(user, session::Input::Tick);
                }
            }
            self.settle();
        }
        self.now = end;
    }

    /// The events of a user since the last call, without the ones that only tell of progress.
    pub(crate) fn news(&mut self, user: usize) -> Vec<Event> {
        std::mem::take(&mut self.users[user].events)
    }
}

impl User {
    fn is_registered(&self) -> bool {
        self.older.is_some() || self.session.as_ref().is_some_and(|session| session.user().is_some())
    }

    fn cut(&mut self) {
        self.is_cut = true;
        self.to_server.clear();
        self.to_client.clear();
    }

    fn new(name: &str, seed: u64) -> Self {
        let name: UserName = name.parse().expect("a name");
        let key = Arc::new(UserKey::from_seed(&[seed as u8; 32]));
        let client = Self::fresh_client(&name, &key, seed);
        Self {
            name,
            key,
            seed,
            client,
            session: None,
            older: None,
            pins: BTreeMap::new(),
            events: Vec::new(),
            recording: Recording::default(),
            outputs: Vec::new(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            to_session: VecDeque::new(),
            is_cut: false,
            connections: 0,
            unreachable: 0,
            is_rejected: false,
            quit: false,
        }
    }

    fn fresh_client(name: &UserName, key: &Arc<UserKey>, seed: u64) -> Client {
        Client::new(name.clone(), key.clone(), Box::new(ChaCha20Rng::seed_from_u64(seed)))
    }

    /// All sealed frames that the client has ever sent.
    pub(crate) fn sealed(&self) -> Vec<bytes::Bytes> {
        let frames = self.outputs.iter().filter(|output| telling::is_message(output));
        frames
            .filter_map(|output| if let client::Output::Send(frame) = output { Some(frame.clone()) } else { None })
            .collect()
    }

    /// A client as this user's was before anything happened.
    pub(crate) fn client_again(&self) -> Client {
        Self::fresh_client(&self.name, &self.key, self.seed)
    }
}

pub(crate) fn server_name() -> ServerName {
    "chat.example".parse().expect("a name")
}

pub(crate) fn patience() -> Patience {
    Patience {
        login: Duration::from_secs(10),
        refusal: Duration::from_millis(300),
        idle: Duration::from_secs(90),
        request: Duration::from_secs(60),
        establishment: Duration::from_secs(15),
        grace: Duration::from_secs(60),
        lists: Rate::new(600, 100),
        requests: Rate::new(60, 20),
    }
}
