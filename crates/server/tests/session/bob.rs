//! Bob's session with its clock, in each state that it can be in, and what it and others say.

use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{
    Accept, Accepted, Attempt, ChatHeader, ChatId, ClientId, Close, CloseReason, Established, Held, Login,
    Machine as _, Message, PublicKey, Request, Resume, ServerError, ToClient, ToServer, UserName,
};
use server::{
    rate::Rate,
    session::{Input, Output, Patience, Session},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

pub(crate) const KEY: PublicKey = PublicKey::from_bytes([1; 32]);
pub(crate) const OTHER_KEY: PublicKey = PublicKey::from_bytes([2; 32]);
pub(crate) const CHAT: ChatId = ChatId::from_bytes([7; 16]);
pub(crate) const OTHER_CHAT: ChatId = ChatId::from_bytes([8; 16]);
/// Bob's session.
pub(crate) const OWN: SessionId = SessionId::new(1);
/// The session of whoever speaks to bob.
pub(crate) const PEER: SessionId = SessionId::new(2);
/// A session that the same user has after that.
pub(crate) const NEXT: SessionId = SessionId::new(3);
/// Which log-in of bob's client it is.
pub(crate) const ATTEMPT: Attempt = Attempt { client: ClientId::from_bytes([9; 16]), number: 3 };
/// What bob's client says that it expects next when it comes back.
pub(crate) const EXPECTED: u64 = 5;

pub(crate) fn name(name: &str) -> UserName {
    name.parse().unwrap()
}

pub(crate) struct Test {
    pub(crate) session: Session,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
}

impl Test {
    /// A session whose client has yet to log in.
    pub(crate) fn new() -> Self {
        Self::with_key(KEY)
    }

    pub(crate) fn with_key(key: PublicKey) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can only be had from the clock; the test turns it on"
        )]
        let now = Instant::now();
        let patience = Patience {
            login: Duration::from_secs(10),
            refusal: Duration::from_millis(300),
            // Longer than all others, so that each of them is seen.
            idle: Duration::from_secs(90),
            request: Duration::from_secs(60),
            establishment: Duration::from_secs(15),
            grace: Duration::from_secs(60),
            lists: Rate::new(600, 100),
            requests: Rate::new(60, 20),
        };
        Self { session: Session::new(OWN, key, "chat.example".parse().unwrap(), patience, now), start: now, now }
    }

    /// Logged in, with no chat.
    pub(crate) fn bob() -> Self {
        let mut test = Self::new();
        assert_eq!(test.log_in(None), logged_in(None));
        test
    }

    pub(crate) fn calling(peer: &str) -> Self {
        let mut test = Self::bob();
        let out = test.frame(&ToServer::RequestToTalk(Request { peer: name(peer), chat: CHAT }));
        assert_eq!(out, [signal(peer, CHAT, SignalKind::Request { key: KEY })]);
        test
    }

    pub(crate) fn ringing(peer: &str) -> Self {
        let mut test = Self::bob();
        let out = test.hear(peer, CHAT, SignalKind::Request { key: OTHER_KEY });
        assert_eq!(out, [sent(&ToClient::RequestToTalk(Request { peer: name(peer), chat: CHAT }))]);
        test
    }

    pub(crate) fn caller_establishing() -> Self {
        let mut test = Self::calling("alice");
        let package = Bytes::from_static(b"package");
        let out = test.hear("alice", CHAT, SignalKind::Accept { key: OTHER_KEY, key_package: package.clone() });
        assert_eq!(out, [sent(&ToClient::Accept(Accepted { chat: CHAT, key: OTHER_KEY, key_package: package }))]);
        test
    }

    pub(crate) fn accepter_establishing() -> Self {
        let mut test = Self::ringing("alice");
        let package = Bytes::from_static(b"package");
        let out = test.frame(&ToServer::Accept(Accept { chat: CHAT, key_package: package.clone() }));
        assert_eq!(out, [signal("alice", CHAT, SignalKind::Accept { key: KEY, key_package: package })]);
        test
    }

    /// In a chat with alice; the line is open to her session [`PEER`].
    pub(crate) fn chatting() -> Self {
        let mut test = Self::accepter_establishing();
        let welcome = Bytes::from_static(b"welcome");
        let out = test.hear("alice", CHAT, SignalKind::Establish { key: OTHER_KEY, welcome: welcome.clone() });
        let established = Established { chat: CHAT, key: OTHER_KEY, welcome };
        assert_eq!(out, [sent(&ToClient::SessionEstablishment(established))]);
        test
    }

    /// In a chat whose line broke at alice's end; bob's client has yet to say where it stands.
    pub(crate) fn awaiting_client() -> Self {
        let mut test = Self::chatting();
        assert_eq!(test.say(PEER, SignalKind::Away), [peer_away()]);
        test
    }

    /// Logged in with a chat from a connection before; alice's session is asked to open the line.
    pub(crate) fn awaiting_peer() -> Self {
        let mut test = Self::new();
        let [register, ok] = logged_in(Some(CHAT));
        assert_eq!(test.log_in(Some(held("alice"))), [register, ok, ask(EXPECTED)]);
        test
    }

    /// Logs bob in; what comes of that.
    pub(crate) fn log_in(&mut self, held: Option<Held>) -> Vec<Output> {
        let out = self.frame(&ToServer::Login(login(held)));
        assert_eq!(out, [Output::LookUp(name("bob"))]);
        self.input(Input::Registered(Some(Some(KEY))))
    }

    pub(crate) fn input(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.session.handle(input, self.now, &mut out);
        out
    }

    pub(crate) fn frame(&mut self, frame: &ToServer) -> Vec<Output> {
        self.input(Input::Frame(frame.encode().unwrap()))
    }

    /// Bob's client says what it expects next.
    pub(crate) fn resume(&mut self, expected: u64) -> Vec<Output> {
        self.frame(&ToServer::Resume(Resume { chat: CHAT, expected }))
    }

    /// The session [`PEER`], of user `from`, says something.
    pub(crate) fn hear(&mut self, from: &str, chat: ChatId, kind: SignalKind) -> Vec<Output> {
        self.input(Input::Signal(Signal { from: name(from), session: PEER, chat, kind }))
    }

    /// This session of alice's says something about the chat.
    pub(crate) fn say(&mut self, session: SessionId, kind: SignalKind) -> Vec<Output> {
        self.input(Input::Signal(Signal { from: name("alice"), session, chat: CHAT, kind }))
    }

    /// Alice is not online.
    pub(crate) fn absent(&mut self, is_repeated: bool) -> Vec<Output> {
        self.input(Input::Undelivered { to: name("alice"), chat: CHAT, is_repeated, why: Undelivered::Absent })
    }

    /// Lets time go by up to the session's deadline; what it does then, and how long after the start that is.
    pub(crate) fn next_deadline(&mut self) -> (Duration, Vec<Output>) {
        self.now = self.session.deadline().expect("a timer runs");
        (self.now - self.start, self.expire())
    }

    fn expire(&mut self) -> Vec<Output> {
        let out = self.input(Input::Tick);
        assert!(self.session.deadline().is_none_or(|next| next > self.now), "a timer that has expired still runs");
        out
    }

    /// What the session does by itself in so many seconds from now, with the second at which it does it.
    pub(crate) fn by_itself(&mut self, seconds: u64) -> Vec<(u64, Output)> {
        let (start, end) = (self.now, self.now + Duration::from_secs(seconds));
        let mut all = Vec::new();
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline;
            let second = (deadline - start).as_secs();
            all.extend(self.expire().into_iter().map(|output| (second, output)));
        }
        self.now = end;
        all
    }

    /// Whether frames pass: both ways or neither.
    pub(crate) fn is_open_to(&mut self, session: SessionId) -> bool {
        let frame = message(CHAT).encode().unwrap();
        let passed_out = self.frame(&message(CHAT)) == [signal("alice", CHAT, SignalKind::Message(frame.clone()))];
        let passed_in = self.say(session, SignalKind::Message(frame.clone())) == [Output::Send(frame)];
        passed_out && passed_in
    }

    /// Whether no frame passes, in either direction and from whichever session.
    pub(crate) fn is_broken(&mut self) -> bool {
        let frame = message(CHAT).encode().unwrap();
        self.frame(&message(CHAT)).is_empty()
            && [PEER, NEXT].iter().all(|session| self.say(*session, SignalKind::Message(frame.clone())).is_empty())
    }
}

/// What bob's client logs in with.
pub(crate) fn login(held: Option<Held>) -> Login {
    Login { user: name("bob"), attempt: ATTEMPT, held }
}

/// A chat with this user that bob's client has kept.
pub(crate) fn held(peer: &str) -> Held {
    Held { peer: name(peer), resume: Resume { chat: CHAT, expected: EXPECTED } }
}

pub(crate) fn logged_in(held: Option<ChatId>) -> [Output; 2] {
    let ok = sent(&ToClient::LoggedIn("chat.example".parse().unwrap()));
    [Output::Register { user: name("bob"), attempt: ATTEMPT, held }, ok]
}

pub(crate) fn sent(frame: &ToClient) -> Output {
    Output::Send(frame.encode().unwrap())
}

pub(crate) fn signal(to: &str, chat: ChatId, kind: SignalKind) -> Output {
    Output::Signal { to: name(to), signal: Signal { from: name("bob"), session: OWN, chat, kind } }
}

/// Alice's session is told or asked this about the chat.
pub(crate) fn tell(kind: SignalKind) -> Output {
    signal("alice", CHAT, kind)
}

pub(crate) fn ask(expected: u64) -> Output {
    tell(SignalKind::Ask(expected))
}

pub(crate) fn left() -> Output {
    tell(SignalKind::Close(CloseReason::Left))
}

/// The same with a broken line: the word may get lost, and perhaps she does not have the chat.
pub(crate) fn let_go() -> Output {
    tell(SignalKind::CallOff(CloseReason::Left))
}

pub(crate) fn peer_away() -> Output {
    sent(&ToClient::PeerAway(CHAT))
}

pub(crate) fn resumed(expected: u64) -> Output {
    sent(&ToClient::Resume(Resume { chat: CHAT, expected }))
}

pub(crate) fn closed(reason: CloseReason) -> Output {
    sent(&ToClient::ChatClosed(Close { chat: CHAT, reason }))
}

pub(crate) fn ended(reason: ServerError) -> [Output; 2] {
    [sent(&ToClient::Error(reason)), Output::Disconnect]
}

pub(crate) fn message(chat: ChatId) -> ToServer {
    ToServer::Message(Message { header: ChatHeader::new(chat, 3, 4), sealed: Bytes::from_static(b"sealed") })
}
