use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use ::client::{Client, Command, Ending, ErrorCode, Event, Failure, Input, Output};
use bytes::Bytes;
use e2e::Member;
use identity::{Negotiated, Pin, safety_number};
use protocol::{
    Accepted, ChatId, Established, Machine as _, PublicKey, Request, Resume, Text, ToClient, ToServer, UserName,
    limits::{MAX_FRAME, WINDOW_BYTES, WINDOW_FRAMES},
};

use crate::{
    frames::{from_server, name},
    pair,
    script::{Script, edited},
    time::{start, wait},
};

/// Of one input: all that is in the window again, what waited for room in it, and a little.
const MAX_OUTPUTS: usize = 4 * WINDOW_FRAMES;
const MAX_BYTES: usize = 3 * WINDOW_BYTES;

/// Alice's and bob's clients, and between them a server that does what the bytes say: passes on, keeps back, changes,
/// repeats and makes up frames, cuts connections, and has time go by.
///
/// While seals hold, each shows just what the other said, once and in order; tells of nothing as delivered that was not
/// shown; and takes for a goodbye only one that was said. Also while they do not, what is told is in an order that makes
/// sense, one input leads to no more than a window, and no machine spins.
pub fn client(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let holds = script.flag();
    openmls_libcrux_crypto::hold(holds);
    let mut world = World::new(holds);
    if script.flag() {
        world.begin_chat();
    }
    while !script.is_over() {
        world.step(&mut script);
    }
}

struct World {
    now: Instant,
    people: [Person; 2],
    /// The last chat that anybody named.
    chat: ChatId,
}

struct Person {
    client: Client,
    user: UserName,
    pins: BTreeMap<UserName, Pin>,
    /// Sent, and not yet seen by the server.
    sent: VecDeque<Bytes>,
    /// All that the server gave to this one.
    given: Vec<Bytes>,
    told: Told,
    /// What the client expects next, as it last told the server.
    expected: u64,
    is_reachable: bool,
}

/// What a user was told, and said.
struct Told {
    holds: bool,
    safety_number: String,
    is_online: bool,
    chat: Option<UserName>,
    chats: u32,
    /// How many messages this user has said, each of which is its number.
    said: u64,
    /// The number of the last message that was shown to this user.
    heard: Option<u64>,
    /// Counters of the chat's messages that were shown, sent and delivered.
    shown_to: Option<u64>,
    sent_to: Option<u64>,
    delivered_to: Option<u64>,
    wants_to_go: bool,
    is_over: bool,
}

impl World {
    fn new(holds: bool) -> Self {
        let now = start();
        let [alice, bob] = [pair::alice().member(), pair::bob().member()];
        let number = safety_number(&alice.server, (&alice.user, &alice.key), (&bob.user, &bob.key)).to_string();
        let person = |user: &str, seed| Person::new(name(user), seed, holds, number.clone());
        let mut world = Self { now, people: [person("alice", 1), person("bob", 2)], chat: ChatId::from_bytes([0; 16]) };
        for at in 0..2 {
            world.handle(at, Input::Start);
        }
        world
    }

    /// Alice asks, bob accepts.
    fn begin_chat(&mut self) {
        self.settle();
        self.command(0, Command::Talk(name("bob")));
        self.settle();
        self.command(1, Command::Yes(None));
        self.settle();
        assert!(self.people.iter().all(|person| person.told.chat.is_some()), "honest clients have a chat");
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let what = script.choice(32);
        let at = what & 1;
        match what >> 1 {
            0 | 1 => self.say(at, script),
            2 | 3 => self.want(at, script),
            4 | 5 => drop(self.pass(at)),
            6 => {
                self.settle();
                self.command(at, Command::Talk(self.people[1 - at].user.clone()));
                self.settle();
                self.command(1 - at, Command::Yes(None));
            }
            7 => self.settle(),
            8 => drop(self.people[at].sent.pop_front()),
            9 => {
                if let Some(frame) = self.people[at].sent.pop_front() {
                    let frames: Vec<_> = self.as_given(at, &frame).collect();
                    for frame in frames {
                        let frame = changed(&frame, script);
                        self.give(1 - at, frame);
                    }
                }
            }
            10 => {
                let given = &self.people[at].given;
                if let Some(frame) = given.get(script.short() % given.len().max(1)).cloned() {
                    self.give(at, frame);
                }
            }
            11 => {
                let frame = from_server(self.chat, script);
                self.give(at, frame);
            }
            12 => self.open_line(at),
            13 => {
                self.people[at].is_reachable = script.flag();
                self.handle(at, Input::Lost);
            }
            14 => self.oddity(at, script),
            _ => {
                self.now += wait(script);
                for at in 0..2 {
                    self.handle(at, Input::Tick);
                }
            }
        }
    }

    fn say(&mut self, at: usize, script: &mut Script<'_>) {
        let size = if script.flag() { 16_000 } else { 0 };
        for _ in 0..=script.choice(4) {
            let number = self.people[at].told.said;
            if !self.people[at].client.is_ready() {
                return;
            }
            self.people[at].told.said += 1;
            let text = format!("{number} {}", "x".repeat(size));
            self.command(at, Command::Say(Text::try_from(text).unwrap()));
        }
    }

    fn want(&mut self, at: usize, script: &mut Script<'_>) {
        let peer = self.people[1 - at].user.clone();
        let command = match script.choice(16) {
            0..4 => Command::Talk(peer),
            4..7 => Command::Yes(None),
            7 => Command::Yes(Some(peer)),
            8 => Command::No,
            9 => Command::list("", "").unwrap(),
            10 => Command::Verify(None),
            11 => Command::Verify(Some("1".repeat(60))),
            12 => Command::Forget(peer),
            13 => Command::Leave,
            14 => Command::Exit,
            _ => Command::Talk(name("carol")),
        };
        if self.people[at].client.is_ready() || command == Command::Exit {
            self.people[at].told.wants_to_go |= matches!(command, Command::Leave | Command::Exit);
            self.command(at, command);
        }
    }

    /// What the system, and those who are asked for something, can come up with besides.
    fn oddity(&mut self, at: usize, script: &mut Script<'_>) {
        let peer = self.people[1 - at].user.clone();
        let failure = || Failure::new(ErrorCode::Unreachable, "made up");
        let input = match script.choice(8) {
            0 => Input::NetworkChanged,
            1 => Input::NotConnected(failure()),
            2 => Input::NotConnected(Failure::new(ErrorCode::UntrustedServer, "made up")),
            3 => Input::ServerNameChecked(Err(failure())),
            4 => Input::Pin(Some(Pin { key: PublicKey::from_bytes([9; 32]), verified: script.flag() })),
            5 => Input::Marked(peer, if script.flag() { Ok(()) } else { Err(failure()) }),
            6 => Input::Connected { negotiated: negotiated() },
            _ if script.flag() => Input::FileFailed(failure()),
            _ => Input::Tick,
        };
        self.handle(at, input);
    }

    fn command(&mut self, at: usize, command: Command) {
        self.handle(at, Input::Command(command));
    }

    /// Passes on what is under way, until nothing is.
    fn settle(&mut self) {
        for _ in 0..8 * WINDOW_FRAMES {
            if !self.pass(0) && !self.pass(1) {
                break;
            }
        }
    }

    /// Has the server do with the next frame of one what an honest one does.
    fn pass(&mut self, at: usize) -> bool {
        let Some(frame) = self.people[at].sent.pop_front() else { return false };
        let frames: Vec<_> = self.as_given(at, &frame).collect();
        for frame in frames {
            self.give(1 - at, frame);
        }
        true
    }

    /// What the other gets of a frame. What only its sender hears of is answered here.
    fn as_given(&mut self, at: usize, frame: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let Person { user, .. } = &self.people[at];
        let key = if at == 0 { pair::alice() } else { pair::bob() }.member().key;
        let given = match ToServer::decode(frame).expect("what a server understands") {
            ToServer::RequestToTalk(Request { peer, chat }) => {
                self.chat = chat;
                let is_there = peer == self.people[1 - at].user;
                let request = ToClient::RequestToTalk(Request { peer: user.clone(), chat });
                if !is_there {
                    self.answer(at, &ToClient::UserNotFound(chat));
                }
                is_there.then_some(request)
            }
            ToServer::Accept(accept) => {
                Some(ToClient::Accept(Accepted { chat: accept.chat, key, key_package: accept.key_package }))
            }
            ToServer::Refuse(chat) => Some(ToClient::Refuse(chat)),
            ToServer::Message(message) => Some(ToClient::Message(message)),
            ToServer::SessionEstablishment(establish) => Some(ToClient::SessionEstablishment(Established {
                chat: establish.chat,
                key,
                welcome: establish.welcome,
            })),
            ToServer::ChatClosed(close) => Some(ToClient::ChatClosed(close)),
            ToServer::Login(login) => {
                self.answer(at, &ToClient::LoggedIn("chat.example".parse().unwrap()));
                login.held.map(|held| {
                    self.people[at].expected = held.resume.expected;
                    ToClient::PeerAway(held.resume.chat)
                })
            }
            ToServer::Resume(resume) => {
                self.people[at].expected = resume.expected;
                None
            }
            ToServer::List(_) => {
                let names = vec![self.people[1 - at].user.clone()];
                self.answer(at, &ToClient::List(protocol::List { names, more: false }));
                None
            }
            ToServer::Ping => {
                self.answer(at, &ToClient::Pong);
                None
            }
            ToServer::Exit => None,
        };
        given.and_then(|frame| frame.encode().ok()).into_iter()
    }

    fn answer(&mut self, at: usize, frame: &ToClient) {
        self.give(at, frame.encode().unwrap());
    }

    /// Tells one where the other stands.
    fn open_line(&mut self, at: usize) {
        let expected = self.people[1 - at].expected;
        self.answer(at, &ToClient::Resume(Resume { chat: self.chat, expected }));
    }

    fn give(&mut self, at: usize, frame: Bytes) {
        self.people[at].given.push(frame.clone());
        self.handle(at, Input::Frame(frame));
    }

    /// What the driver does with an input and all that comes of it.
    fn handle(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut rounds = 0;
        // The driver ends with its client.
        while let Some(input) = inputs.pop_front().filter(|_| !self.people[at].told.is_over) {
            rounds += 1;
            assert!(rounds <= 64, "one input leads to ever more");
            let mut out = Vec::new();
            let [ref mut first, ref mut second] = self.people;
            let (person, other) = if at == 0 { (first, second) } else { (second, first) };
            person.client.handle(input, self.now, &mut out);
            assert!(out.len() <= MAX_OUTPUTS, "{} outputs", out.len());
            let sent = out.iter().map(|output| if let Output::Send(frame) = output { frame.len() } else { 0 });
            assert!(sent.sum::<usize>() <= MAX_BYTES);
            assert!(person.client.deadline().is_none_or(|deadline| deadline > self.now), "the loop spins");
            for output in out {
                assert!(!person.told.is_over, "{output:?} after the end");
                inputs.extend(person.carry_out(output, &other.told));
            }
        }
    }
}

impl Person {
    fn new(user: UserName, seed: u8, holds: bool, safety_number: String) -> Self {
        let key = Arc::new(identity::UserKey::from_seed(&[seed; 32]));
        let client = Client::new(user.clone(), key, Box::new(pair::rng(seed.into())));
        let told = Told {
            holds,
            safety_number,
            is_online: false,
            chat: None,
            chats: 0,
            said: 0,
            heard: None,
            shown_to: None,
            sent_to: None,
            delivered_to: None,
            wants_to_go: false,
            is_over: false,
        };
        Self {
            client,
            user,
            pins: BTreeMap::new(),
            sent: VecDeque::new(),
            given: Vec::new(),
            told,
            expected: 0,
            is_reachable: true,
        }
    }

    fn carry_out(&mut self, output: Output, other: &Told) -> Option<Input> {
        match output {
            Output::Connect if self.is_reachable => Some(Input::Connected { negotiated: negotiated() }),
            Output::Connect => {
                // The next attempt finds it.
                self.is_reachable = true;
                Some(Input::Unanswered(Failure::new(ErrorCode::Unreachable, "nobody answers")))
            }
            Output::Send(frame) => {
                assert!(frame.len() <= MAX_FRAME);
                self.sent.push_back(frame);
                None
            }
            Output::Disconnect => None,
            Output::Abandon => {
                self.sent.clear();
                None
            }
            Output::CheckServerName(_) => Some(Input::ServerNameChecked(Ok(()))),
            Output::LookUpPin(user, _) => Some(Input::Pin(self.pins.get(&user).cloned())),
            Output::StorePin(Member { user, key, .. }) => {
                assert_eq!(self.pins.insert(user, Pin { key, verified: false }), None, "a pin was written over");
                None
            }
            Output::MarkVerified(Member { user, .. }) => Some(Input::Marked(user, Ok(()))),
            Output::ForgetPin(user, _) => {
                self.pins.remove(&user);
                Some(Input::Forgotten(user, Ok(())))
            }
            Output::Event(event) => {
                self.told.event(event, other);
                None
            }
            Output::Quit(_) => {
                self.told.is_over = true;
                None
            }
        }
    }
}

impl Told {
    fn event(&mut self, event: Event, other: &Told) {
        match event {
            Event::LoggedIn { .. } => assert!(!std::mem::replace(&mut self.is_online, true), "logged in twice"),
            Event::LoggedOut => {
                assert!(std::mem::replace(&mut self.is_online, false), "logged out twice");
                assert_eq!(self.chat, None, "a chat without its user");
            }
            Event::ChatStarted { peer, safety_number, .. } => {
                assert!(self.is_online);
                assert_eq!(self.chat.replace(name(&peer)), None, "two chats at once");
                self.chats += 1;
                (self.shown_to, self.sent_to, self.delivered_to) = (None, None, None);
                if self.holds {
                    assert_eq!(safety_number, self.safety_number);
                }
            }
            Event::Message { from, text, n } => {
                self.is_in_chat_with(&from);
                assert!(self.shown_to.replace(n).is_none_or(|before| before < n), "shown out of order");
                if self.holds {
                    let number = text.as_str().split(' ').next().and_then(|number| number.parse::<u64>().ok());
                    let number = number.expect("nobody said that");
                    assert!(number < other.said, "shown before it was said");
                    assert!(self.heard.replace(number).is_none_or(|before| before < number), "shown again, or late");
                }
            }
            Event::Sent { n } => {
                assert!(self.chat.is_some());
                assert!(self.sent_to.replace(n).is_none_or(|before| before < n), "sent out of order");
            }
            Event::Delivered { n } => {
                assert!(self.chat.is_some() && Some(n) <= self.sent_to, "delivered what was not sent");
                assert!(self.delivered_to.replace(n).is_none_or(|before| before < n), "delivered again");
                // Each chat counts anew, and only of the first is it known that both mean the same one.
                if self.holds && self.chats == 1 && other.chats == 1 {
                    assert!(Some(n) <= other.shown_to, "delivered what was not shown");
                }
            }
            Event::ChatClosed { peer, reason, .. } => {
                if let Some(chat) = self.chat.take() {
                    assert_eq!(chat.as_str(), peer);
                }
                let was_said = self.wants_to_go || other.wants_to_go;
                assert!(reason != Ending::Goodbye || was_said || !self.holds, "a goodbye that nobody said");
            }
            Event::PeerBehind { peer } | Event::PeerCaughtUp { peer } => self.is_in_chat_with(&peer),
            Event::PeerAway { peer } | Event::PeerBack { peer } => self.is_in_chat_with(&peer),
            Event::Renewed { epoch } => assert!(self.chat.is_some() && epoch > 1),
            _ => {}
        }
    }

    #[track_caller]
    fn is_in_chat_with(&self, peer: &str) {
        assert_eq!(self.chat.as_ref().map(UserName::as_str), Some(peer));
    }
}

/// A frame with another header, or with any change in it.
fn changed(frame: &Bytes, script: &mut Script<'_>) -> Bytes {
    match (script.choice(4), ToClient::decode(frame)) {
        (0, Ok(ToClient::Message(mut message))) => {
            message.header.counter = script.number();
            ToClient::Message(message).encode().unwrap()
        }
        (1, Ok(ToClient::Message(mut message))) => {
            message.header.ack = script.number();
            ToClient::Message(message).encode().unwrap()
        }
        _ => edited(frame, script).into(),
    }
}

fn negotiated() -> Negotiated {
    Negotiated { group: "X25519MLKEM768".to_owned(), suite: "TLS13_CHACHA20_POLY1305_SHA256".to_owned() }
}
