//! Two clients that lose their connections at any moment, and the sessions that they have one after the other.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{
    Attempt, ChatHeader, ClientId, Close, CloseReason, Held, Login, Machine as _, Message, PublicKey, Resume,
    ServerError, ToClient, ToServer, UserName,
};
use server::{
    rate::Rate,
    session::{Input, Output, Patience, Session},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

use crate::bob::{CHAT, KEY, name};

/// What can happen next. Numbers pick one of those that it can happen to.
#[derive(Clone, Debug)]
enum Step {
    /// A session takes in a signal.
    Letter(usize),
    /// A session takes in a frame of its client's.
    FromClient(usize),
    /// A client takes in a frame of its session's.
    ToClient(usize),
    /// A client says something.
    Say(usize),
    /// A connection is cut. The client knows it at once.
    Cut(usize),
    /// A session learns that its connection is gone, or that it has been replaced.
    Told(usize),
    /// A session takes in the log-in of a client that has given the connection up.
    Late(usize),
    /// A client logs in anew.
    LogIn(usize),
    /// A client ends the chat.
    End(usize),
    /// Time goes by, in milliseconds.
    Wait(u64),
    /// The server is gone, and another in its place.
    Restart,
    /// The next signal that is said again, or may get lost, finds no room.
    Full,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..4_usize).prop_map(Step::Letter),
        8 => (0..2_usize).prop_map(Step::FromClient),
        8 => (0..2_usize).prop_map(Step::ToClient),
        8 => (0..2_usize).prop_map(Step::Say),
        2 => (0..2_usize).prop_map(Step::Cut),
        3 => (0..4_usize).prop_map(Step::Told),
        3 => (0..4_usize).prop_map(Step::Late),
        4 => (0..2_usize).prop_map(Step::LogIn),
        2 => (0..1500_u64).prop_map(Step::Wait),
        1 => Just(Step::Full),
    ];
    let rare = prop_oneof![
        6 => Just(Step::Restart),
        2 => (0..40_000_u64).prop_map(Step::Wait),
        1 => (0..2_usize).prop_map(Step::End),
    ];
    let step = prop_oneof![80 => step, 1 => rare];
    prop::collection::vec(step, 0..400)
}

/// A client as the protocol describes it, without the seal, the window and the acknowledgements.
struct Client {
    user: UserName,
    peer: UserName,
    next_log_in: Attempt,
    has_chat: bool,
    is_open: bool,
    said: u64,
    expected: u64,
    connection: Option<Connection>,
}

#[derive(Default)]
struct Connection {
    session: u64,
    to_server: VecDeque<Bytes>,
    to_client: VecDeque<Bytes>,
}

impl Client {
    fn new(user: &str, peer: &str) -> Self {
        // The same for both: only the log-ins of one user are compared.
        let client = ClientId::from_bytes([1; 16]);
        Self {
            user: name(user),
            peer: name(peer),
            next_log_in: Attempt::first(client),
            has_chat: true,
            is_open: false,
            said: 0,
            expected: 0,
            connection: None,
        }
    }

    fn send(&mut self, frame: &ToServer) {
        if let Some(connection) = &mut self.connection {
            connection.to_server.push_back(frame.encode().unwrap());
        }
    }

    fn say(&mut self) {
        if self.has_chat && self.is_open && self.connection.is_some() {
            self.said += 1;
            self.send_from(self.said - 1);
        }
    }

    fn send_from(&mut self, counter: u64) {
        for counter in counter..self.said {
            let header = ChatHeader::new(CHAT, counter, self.expected);
            self.send(&ToServer::Message(Message { header, sealed: Bytes::from_static(b"sealed") }));
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.has_chat) {
            self.send(&ToServer::ChatClosed(Close { chat: CHAT, reason: CloseReason::Left }));
        }
    }

    fn resume(&self) -> Resume {
        Resume { chat: CHAT, expected: self.expected }
    }

    fn hear(&mut self, frame: &Bytes) {
        match ToClient::decode(frame).unwrap() {
            ToClient::Message(message) if self.has_chat => {
                let counter = message.header.counter;
                assert!(self.is_open, "{counter} came through a line that this client knows to be broken");
                assert!(counter <= self.expected, "{counter} came without {} before it", self.expected);
                self.expected = self.expected.max(counter + 1);
            }
            // A client says once for each break where it stands, and has done so when it comes back.
            ToClient::PeerAway(_) if self.has_chat && self.is_open => {
                self.is_open = false;
                self.send(&ToServer::Resume(self.resume()));
            }
            ToClient::Resume(resume) if self.has_chat && !self.is_open => {
                self.is_open = true;
                self.send_from(resume.expected);
            }
            ToClient::ChatClosed(_) => self.has_chat = false,
            ToClient::Error(ServerError::Replaced) => panic!("an older log-in has taken the place of the newest"),
            _ => {}
        }
    }
}

struct Served {
    session: Session,
    client: usize,
    mailbox: VecDeque<Signal>,
    told: Option<Input>,
    /// The log-in of a client that has given the connection up.
    late: Option<Bytes>,
}

struct World {
    now: Instant,
    clients: [Client; 2],
    sessions: BTreeMap<u64, Served>,
    online: [Option<(u64, Attempt)>; 2],
    last: u64,
    full: bool,
}

impl World {
    fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can only be had from the clock; the test turns it on"
        )]
        let now = Instant::now();
        Self {
            now,
            clients: [Client::new("alice", "bob"), Client::new("bob", "alice")],
            sessions: BTreeMap::new(),
            online: [None; 2],
            last: 0,
            full: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Letter(which) => _ = self.letter(*which),
            Step::FromClient(which) => _ = self.serve_frame(*which),
            Step::ToClient(which) => _ = self.show_frame(*which),
            Step::Say(which) => self.clients[*which].say(),
            Step::Cut(which) => self.cut(*which),
            Step::Told(which) => _ = self.tell(*which),
            Step::Late(which) => _ = self.serve_late(*which),
            Step::LogIn(which) => self.log_in(*which),
            Step::End(which) => self.clients[*which].end(),
            Step::Wait(milliseconds) => self.wait(Duration::from_millis(*milliseconds)),
            Step::Restart => {
                self.sessions.clear();
                self.online = [None; 2];
                (0..2).for_each(|client| self.cut(client));
            }
            Step::Full => self.full = true,
        }
    }

    fn letter(&mut self, which: usize) -> bool {
        let with_mail: Vec<_> =
            self.sessions.iter().filter(|(_, served)| !served.mailbox.is_empty()).map(|(id, _)| *id).collect();
        let Some(id) = with_mail.get(which % with_mail.len().max(1)).copied() else { return false };
        let letter = self.sessions.get_mut(&id).unwrap().mailbox.pop_front().unwrap();
        self.handle(id, Input::Signal(letter));
        true
    }

    fn serve_frame(&mut self, which: usize) -> bool {
        let Some(connection) = &mut self.clients[which].connection else { return false };
        let Some(frame) = connection.to_server.pop_front() else { return false };
        let id = connection.session;
        self.handle(id, Input::Frame(frame));
        true
    }

    fn show_frame(&mut self, which: usize) -> bool {
        let client = &mut self.clients[which];
        let Some(connection) = &mut client.connection else { return false };
        match connection.to_client.pop_front() {
            Some(frame) => client.hear(&frame),
            None if !self.sessions.contains_key(&connection.session) => self.cut(which),
            None => return false,
        }
        true
    }

    fn cut(&mut self, which: usize) {
        let client = &mut self.clients[which];
        client.is_open = false;
        if let Some(connection) = client.connection.take()
            && let Some(served) = self.sessions.get_mut(&connection.session)
        {
            // What comes after it is about the chat, and would be dropped.
            let login = |frame: &Bytes| matches!(ToServer::decode(frame), Ok(ToServer::Login(_)));
            served.late = connection.to_server.into_iter().next().filter(login);
            served.told.get_or_insert(Input::Lost);
        }
    }

    fn tell(&mut self, which: usize) -> bool {
        let untold: Vec<_> =
            self.sessions.iter().filter(|(_, served)| served.told.is_some()).map(|(id, _)| *id).collect();
        let Some(id) = untold.get(which % untold.len().max(1)).copied() else { return false };
        let told = self.sessions.get_mut(&id).unwrap().told.take().unwrap();
        self.handle(id, told);
        true
    }

    fn serve_late(&mut self, which: usize) -> bool {
        let late: Vec<_> =
            self.sessions.iter().filter(|(_, served)| served.late.is_some()).map(|(id, _)| *id).collect();
        let Some(id) = late.get(which % late.len().max(1)).copied() else { return false };
        let login = self.sessions.get_mut(&id).unwrap().late.take().unwrap();
        self.handle(id, Input::Frame(login));
        true
    }

    fn log_in(&mut self, which: usize) {
        let client = &mut self.clients[which];
        if client.connection.is_some() {
            return;
        }
        self.last += 1;
        let patience = Patience {
            login: Duration::from_secs(10),
            refusal: Duration::from_millis(300),
            idle: Duration::from_secs(86_400),
            request: Duration::from_secs(60),
            establishment: Duration::from_secs(15),
            grace: Duration::from_secs(60),
            lists: Rate::new(600, 100),
            requests: Rate::new(60, 20),
        };
        let key: PublicKey = KEY;
        let id = SessionId::new(self.last);
        let session = Session::new(id, key, "chat.example".parse().unwrap(), patience, self.now);
        self.sessions
            .insert(self.last, Served { session, client: which, mailbox: VecDeque::new(), told: None, late: None });
        client.connection = Some(Connection { session: self.last, ..Connection::default() });
        let held = client.has_chat.then(|| Held { peer: client.peer.clone(), resume: client.resume() });
        let (user, attempt) = (client.user.clone(), client.next_log_in);
        client.next_log_in = attempt.next();
        client.send(&ToServer::Login(Login { user, attempt, held }));
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.sessions.iter().filter_map(|(id, served)| Some((served.session.deadline()?, *id))).min();
            match next.filter(|(due, _)| *due <= end) {
                Some((due, id)) => {
                    self.now = due;
                    self.handle(id, Input::Tick);
                    let next = self.sessions.get(&id).and_then(|served| served.session.deadline());
                    assert!(next.is_none_or(|next| next > due), "a timer that has expired still runs");
                }
                None => break,
            }
        }
        self.now = end;
    }

    /// Hands a session an input, and carries out what it wants, as a connection does.
    fn handle(&mut self, id: u64, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut pending = VecDeque::new();
        loop {
            let Some(served) = self.sessions.get_mut(&id) else { return };
            if let Some(input) = inputs.pop_front() {
                let mut out = Vec::new();
                served.session.handle(input, self.now, &mut out);
                pending.extend(out);
                continue;
            }
            let Some(output) = pending.pop_front() else { return };
            let client = served.client;
            match output {
                Output::Send(frame) => {
                    let connection = self.clients[client].connection.as_mut();
                    if let Some(connection) = connection.filter(|connection| connection.session == id) {
                        connection.to_client.push_back(frame);
                    }
                }
                Output::LookUp(_) => inputs.push_back(Input::Registered(Some(Some(KEY)))),
                Output::Register { attempt, held, .. } => {
                    let is_late = self.online[client].is_some_and(|(_, newer)| attempt.is_before(&newer));
                    let older = if is_late {
                        Some(id)
                    } else {
                        self.online[client].replace((id, attempt)).map(|older| older.0)
                    };
                    if let Some(older) = older.and_then(|older| self.sessions.get_mut(&older)) {
                        // It may come to know of either first.
                        if older.told.is_none() || id.is_multiple_of(2) {
                            older.told = Some(Input::Replaced { held });
                        }
                    }
                }
                Output::Signal { to, signal } => {
                    let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
                    let may_get_lost = is_repeated || matches!(signal.kind, SignalKind::CallOff(_));
                    let receiver = self.clients.iter().position(|client| client.user == to).unwrap();
                    let receiver = self.online[receiver].and_then(|(id, _)| self.sessions.get_mut(&id));
                    let why = match receiver {
                        None => Undelivered::Absent,
                        Some(_) if may_get_lost && std::mem::take(&mut self.full) => Undelivered::Full,
                        Some(receiver) => {
                            receiver.mailbox.push_back(signal);
                            continue;
                        }
                    };
                    if why == Undelivered::Absent {
                        let mailbox = &mut self.sessions.get_mut(&id).unwrap().mailbox;
                        inputs.extend(std::mem::take(mailbox).into_iter().map(Input::Signal));
                    }
                    inputs.push_back(Input::Undelivered { to, chat, is_repeated, why });
                }
                Output::Disconnect => {
                    self.sessions.remove(&id);
                    self.online[client].take_if(|online| online.0 == id);
                    return;
                }
                Output::List(_) => panic!("nobody asked for a list"),
            }
        }
    }

    /// No more is cut; all that is on its way arrives.
    fn settle(&mut self) {
        for client in 0..2 {
            self.log_in(client);
        }
        let mut turns = 0;
        while self.letter(0)
            || self.serve_late(0)
            || self.tell(0)
            || (0..2).any(|client| self.serve_frame(client) || self.show_frame(client))
        {
            turns += 1;
            assert!(turns < 100_000, "it never ends");
            for client in 0..2 {
                self.log_in(client);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever is cut, replaced, restarted and lost: nothing is left out while a line is open, and when it is over the two
    /// are in one chat, all that was said has arrived, or neither is.
    #[test]
    fn two_who_lose_each_other_find_each_other_again(together in any::<bool>(), steps in steps()) {
        let mut world = World::new();
        if together {
            world.settle();
        }
        for step in &steps {
            world.step(step);
        }
        // Long enough for two looks at whether the chat is still there, the first of which may find no room.
        for _ in 0..25 {
            world.settle();
            world.wait(Duration::from_secs(1));
        }
        world.settle();
        let [alice, bob] = &world.clients;
        prop_assert_eq!(alice.has_chat, bob.has_chat);
        if alice.has_chat {
            prop_assert!(alice.is_open && bob.is_open);
            prop_assert_eq!((alice.said, bob.said), (bob.expected, alice.expected));
        }
    }
}
