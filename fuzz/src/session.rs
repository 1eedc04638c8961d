use std::time::Instant;

use bytes::Bytes;
use protocol::{ChatHeader, ChatId, Code, List, Machine as _, PublicKey, ToClient, UserName, limits::MAX_FRAME};
use server::{
    session::{Input, Line, Output, Session, State, Timer},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

use crate::{
    frames::{self, chat, from_client, key, name, reason},
    script::Script,
    time::{EACH_AT_ONCE, EACH_PER_MINUTE, patience, start, wait},
};

/// Outputs of one input, with all timers that were late, at most.
const MAX_OUTPUTS: usize = 24;
const OWN: SessionId = SessionId::new(10);

/// A session of alice's that anything happens to, at any time.
///
/// It never says more than a little at once, nothing after its end and nothing before the log-in but what ends it; it
/// tells the directory, the router and other sessions only what they may hear; a sealed frame passes only between the two
/// of an open line; and whatever it waits for, a timer runs for it.
pub fn session(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut watched = Watched::new();
    if script.flag() {
        let login = frames::login(name("alice"), &mut script);
        watched.handle(Input::Frame(protocol::ToServer::Login(login).encode().unwrap()));
        watched.handle(Input::Registered(Some(Some(key(&name("alice"))))));
    }
    while !script.is_over() {
        let input = input(&mut script);
        watched.now += wait(&mut script);
        watched.handle(input);
    }
}

fn input(script: &mut Script<'_>) -> Input {
    match script.choice(16) {
        0..6 => Input::Frame(from_client(script)),
        6..11 => Input::Signal(signal(script)),
        11 => Input::Undelivered {
            to: stranger(script),
            chat: chat(script),
            is_repeated: script.flag(),
            why: why(script),
        },
        12 => Input::Registered(match script.choice(4) {
            0 => None,
            1 => Some(None),
            2 => Some(Some(key(&name("bob")))),
            _ => Some(Some(key(&name("alice")))),
        }),
        13 => match script.choice(3) {
            0 => Input::Listed(List { names: vec![stranger(script)], more: script.flag() }),
            1 => Input::Replaced { held: script.flag().then(|| chat(script)) },
            _ => Input::End(script.pick(&frames::ERRORS)),
        },
        14 if script.flag() => Input::Lost,
        _ => Input::Tick,
    }
}

/// The router gives a session what others say, and says of each who it is.
fn stranger(script: &mut Script<'_>) -> UserName {
    name(script.pick(&["bob", "carol", "dave"]))
}

/// Why a signal found nobody.
pub(crate) fn why(script: &mut Script<'_>) -> Undelivered {
    script.pick(&[Undelivered::Absent, Undelivered::Full, Undelivered::Unreachable])
}

/// What another session says.
pub(crate) fn signal(script: &mut Script<'_>) -> Signal {
    let (from, chat, session) = (stranger(script), chat(script), SessionId::new(20 + u64::from(script.byte() % 4)));
    let kind = match script.choice(18) {
        0 => SignalKind::Unavailable,
        1 => SignalKind::Refuse,
        2 => SignalKind::Close(reason(script)),
        3 => SignalKind::CallOff(reason(script)),
        4 => SignalKind::Away,
        5 => SignalKind::Ask(script.number()),
        6 => SignalKind::Answer(script.number()),
        7 => SignalKind::Check,
        8 | 9 => SignalKind::Accept { key: key(&from), key_package: some(script) },
        10 | 11 => SignalKind::Establish { key: key(&from), welcome: some(script) },
        12 | 13 => SignalKind::Request { key: key(&from) },
        14 => SignalKind::Undelivered { is_repeated: script.flag(), why: why(script) },
        15 => SignalKind::Lapsed(script.pick(&[OWN, session]).node),
        _ => SignalKind::Message(sealed_frame(chat, script)),
    };
    Signal { from, session, chat, kind }
}

fn some(script: &mut Script<'_>) -> Bytes {
    vec![1; if script.flag() { 65_484 } else { 40 }].into()
}

fn sealed_frame(chat: ChatId, script: &mut Script<'_>) -> Bytes {
    let header = ChatHeader::new(chat, script.number(), 0);
    protocol::ToServer::Message(protocol::Message { header, sealed: vec![1; 40].into() }).encode().unwrap()
}

struct Watched {
    session: Session,
    now: Instant,
    asked_for: Option<UserName>,
    is_registered: bool,
    is_over: bool,
    lists: usize,
    requests: usize,
}

impl Watched {
    fn new() -> Self {
        let now = start();
        let server = "chat.example".parse().unwrap();
        let session = Session::new(OWN, key(&name("alice")), server, patience(), now);
        Self { session, now, asked_for: None, is_registered: false, is_over: false, lists: 0, requests: 0 }
    }

    fn handle(&mut self, mut input: Input) {
        if let Input::Registered(Some(registered)) = &mut input
            && self.asked_for.as_ref().is_some_and(|user| *user != name("alice"))
        {
            // Alice's key is hers alone.
            *registered = registered.filter(|registered| *registered != own_key());
        }
        let before = self.session.state().cloned();
        let mut out = Vec::new();
        self.session.handle(input.clone(), self.now, &mut out);
        assert!(out.len() <= MAX_OUTPUTS, "{} outputs", out.len());
        for output in &out {
            assert!(!self.is_over, "{output:?} after the end");
            self.look_at(output, &input, before.as_ref());
        }
        if self.is_over {
            assert_eq!(self.session.deadline(), None);
            assert_eq!(self.session.user(), None);
        } else {
            let is_due = self.session.deadline().expect("an end of waiting") <= self.now;
            if is_due {
                assert!(!matches!(input, Input::Tick), "the loop spins");
                return self.handle(Input::Tick);
            }
            assert_eq!(self.session.user().is_some(), self.is_registered);
        }
        self.waits_for_an_end();
    }

    fn look_at(&mut self, output: &Output, cause: &Input, before: Option<&State>) {
        match output {
            Output::Send(frame) => self.tells(frame, cause, before),
            Output::LookUp(user) => {
                assert!(matches!(cause, Input::Frame(_)));
                assert_eq!(self.asked_for.replace(user.clone()), None, "asked twice");
            }
            Output::Register { user, .. } => {
                assert!(matches!(cause, Input::Registered(Some(Some(registered))) if *registered == own_key()));
                assert_eq!(Some(user), self.asked_for.as_ref());
                assert!(!std::mem::replace(&mut self.is_registered, true), "registered twice");
            }
            Output::List(_) => {
                assert!(self.is_registered && matches!(cause, Input::Frame(_)));
                self.lists += 1;
                assert!(self.lists <= self.may_have_asked(), "lists without end");
            }
            Output::Signal { to, signal } => self.says(to, signal, cause, before),
            Output::Disconnect => self.is_over = true,
        }
    }

    /// A frame for the client.
    fn tells(&self, frame: &Bytes, cause: &Input, before: Option<&State>) {
        assert!(frame.len() <= MAX_FRAME);
        if frame.first() == Some(&(Code::Message as u8)) {
            let Input::Signal(signal) = cause else { panic!("a sealed frame out of nowhere") };
            assert_eq!(signal.kind, SignalKind::Message(frame.clone()), "another frame");
            let line = Line::Open(signal.session);
            assert!(
                matches!(before, Some(State::Chatting { peer, chat, line: open })
                    if (peer, *chat, *open) == (&signal.from, signal.chat, line)),
                "{before:?} let pass what {} says",
                signal.from
            );
            return;
        }
        let frame = ToClient::decode(frame).expect("what a client understands");
        assert!(self.is_registered || matches!(frame, ToClient::Error(_)), "{frame:?} before the log-in");
    }

    /// A word for another session.
    fn says(&mut self, to: &UserName, signal: &Signal, cause: &Input, before: Option<&State>) {
        assert!(self.is_registered);
        assert_eq!((Some(&signal.from), signal.session), (self.asked_for.as_ref(), OWN), "in another's name");
        assert_ne!(to, &signal.from, "to itself");
        match &signal.kind {
            SignalKind::Message(frame) => {
                assert!(matches!(cause, Input::Frame(sent) if sent == frame), "another frame");
                assert_eq!(ChatHeader::chat_of(frame), Ok(signal.chat));
                assert!(
                    matches!(before, Some(State::Chatting { peer, chat, line: Line::Open(_) })
                        if (peer, *chat) == (to, signal.chat)),
                    "{before:?} let pass a frame to {to}"
                );
            }
            SignalKind::Request { key } => {
                assert_eq!(*key, own_key());
                self.requests += 1;
                assert!(self.requests <= self.may_have_asked(), "requests without end");
            }
            SignalKind::Accept { key, .. } | SignalKind::Establish { key, .. } => {
                assert_eq!(*key, own_key());
            }
            _ => {}
        }
    }

    /// How often a client may have asked for something by now.
    fn may_have_asked(&self) -> usize {
        let milliseconds = self.now.duration_since(start()).as_millis() as usize;
        EACH_AT_ONCE + milliseconds * EACH_PER_MINUTE / 60_000
    }

    fn waits_for_an_end(&self) {
        let running = |timer| self.session.timers().is_running(timer);
        let Some(state) = self.session.state() else { return };
        assert!(running(Timer::Idle));
        let (request, establishment, grace, check) = match state {
            State::Free => (false, false, false, false),
            State::Calling { .. } => (true, false, false, true),
            State::Ringing { .. } => (true, false, false, false),
            State::Establishing { .. } => (false, true, false, false),
            State::Chatting { line: Line::Broken { .. }, .. } => (false, false, true, false),
            State::Chatting { line: Line::Open(_), .. } => (false, false, false, true),
        };
        assert_eq!(
            [Timer::Request, Timer::Establishment, Timer::Grace, Timer::Check].map(running),
            [request, establishment, grace, check],
            "{state:?}"
        );
    }
}

fn own_key() -> PublicKey {
    key(&name("alice"))
}
