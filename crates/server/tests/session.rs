//! The session machine, state by state.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{
    Accept, Accepted, ChatHeader, ChatId, Close, CloseReason, Establish, Established, Machine as _, Message, Page,
    PublicKey, Request, ServerError, ToClient, ToServer, UserName,
};
use server::{
    session::{Input, Output, Patience, Session},
    signal::{Signal, SignalKind, Undelivered},
};

const KEY: PublicKey = PublicKey::from_bytes([1; 32]);
const OTHER_KEY: PublicKey = PublicKey::from_bytes([2; 32]);
const CHAT: ChatId = ChatId::from_bytes([7; 16]);
const OTHER_CHAT: ChatId = ChatId::from_bytes([8; 16]);

fn name(name: &str) -> UserName {
    name.parse().unwrap()
}

/// A session with its clock.
struct Test {
    session: Session,
    start: Instant,
    now: Instant,
}

impl Test {
    fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can only be had from the clock; the test turns it on"
        )]
        let now = Instant::now();
        let patience = Patience {
            login: Duration::from_secs(10),
            refusal: Duration::from_millis(300),
            idle: Duration::from_secs(90),
            request: Duration::from_secs(60),
            establishment: Duration::from_secs(15),
        };
        Self { session: Session::new(KEY, "chat.example".parse().unwrap(), patience, now), start: now, now }
    }

    /// The session of bob, logged in.
    fn bob() -> Self {
        let mut test = Self::new();
        test.frame(&ToServer::Login(name("bob").into()));
        assert_eq!(
            test.input(Input::Registered(Some(Some(KEY)))),
            [Output::Register(name("bob")), sent(&ToClient::LoggedIn("chat.example".parse().unwrap()))]
        );
        test
    }

    fn calling(peer: &str) -> Self {
        let mut test = Self::bob();
        let out = test.frame(&ToServer::RequestToTalk(Request { peer: name(peer), chat: CHAT }));
        assert_eq!(out, [signal(peer, CHAT, SignalKind::Request { key: KEY })]);
        test
    }

    fn ringing(peer: &str) -> Self {
        let mut test = Self::bob();
        let out = test.hear(peer, CHAT, SignalKind::Request { key: OTHER_KEY });
        assert_eq!(out, [sent(&ToClient::RequestToTalk(Request { peer: name(peer), chat: CHAT }))]);
        test
    }

    fn caller_establishing() -> Self {
        let mut test = Self::calling("alice");
        let package = Bytes::from_static(b"package");
        let out = test.hear("alice", CHAT, SignalKind::Accept { key: OTHER_KEY, key_package: package.clone() });
        assert_eq!(out, [sent(&ToClient::Accept(Accepted { chat: CHAT, key: OTHER_KEY, key_package: package }))]);
        test
    }

    fn accepter_establishing() -> Self {
        let mut test = Self::ringing("alice");
        let package = Bytes::from_static(b"package");
        let out = test.frame(&ToServer::Accept(Accept { chat: CHAT, key_package: package.clone() }));
        assert_eq!(out, [signal("alice", CHAT, SignalKind::Accept { key: KEY, key_package: package })]);
        test
    }

    fn chatting() -> Self {
        let mut test = Self::accepter_establishing();
        let welcome = Bytes::from_static(b"welcome");
        let out = test.hear("alice", CHAT, SignalKind::Establish { key: OTHER_KEY, welcome: welcome.clone() });
        let established = Established { chat: CHAT, key: OTHER_KEY, welcome };
        assert_eq!(out, [sent(&ToClient::SessionEstablishment(established))]);
        test
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.session.handle(input, self.now, &mut out);
        out
    }

    fn frame(&mut self, frame: &ToServer) -> Vec<Output> {
        self.input(Input::Frame(frame.encode().unwrap()))
    }

    fn hear(&mut self, from: &str, chat: ChatId, kind: SignalKind) -> Vec<Output> {
        self.input(Input::Signal(Signal { from: name(from), chat, kind }))
    }

    /// Lets time go by up to the session's deadline; what it does then, and how long after the start that is.
    fn next_deadline(&mut self) -> (Duration, Vec<Output>) {
        self.now = self.session.deadline().expect("a timer runs");
        (self.now - self.start, self.input(Input::Tick))
    }
}

fn sent(frame: &ToClient) -> Output {
    Output::Send(frame.encode().unwrap())
}

fn signal(to: &str, chat: ChatId, kind: SignalKind) -> Output {
    Output::Signal { to: name(to), signal: Signal { from: name("bob"), chat, kind } }
}

fn closed(reason: CloseReason) -> Output {
    sent(&ToClient::ChatClosed(Close { chat: CHAT, reason }))
}

fn ended(reason: ServerError) -> [Output; 2] {
    [sent(&ToClient::Error(reason)), Output::Disconnect]
}

fn message(chat: ChatId) -> ToServer {
    ToServer::Message(Message { header: ChatHeader::new(chat, 3, 4), sealed: Bytes::from_static(b"sealed") })
}

/// One of each frame that a client can send, about the chat of the state.
fn all_frames() -> Vec<ToServer> {
    let bytes = Bytes::from_static(b"bytes");
    vec![
        ToServer::Exit,
        ToServer::List(Page::default()),
        ToServer::RequestToTalk(Request { peer: name("carol"), chat: OTHER_CHAT }),
        ToServer::Accept(Accept { chat: CHAT, key_package: bytes.clone() }),
        ToServer::Refuse(CHAT),
        message(CHAT),
        ToServer::SessionEstablishment(Establish { chat: CHAT, welcome: bytes }),
        ToServer::ChatClosed(Close { chat: CHAT, reason: CloseReason::Left }),
        ToServer::Login(name("bob").into()),
        ToServer::Ping,
    ]
}

#[test]
fn unknown_names_and_wrong_keys_get_the_same_answer_at_the_same_time() {
    let mut answers = Vec::new();
    for (registered, delay) in [(None, 0), (Some(OTHER_KEY), 0), (None, 200), (Some(OTHER_KEY), 200)] {
        let mut test = Test::new();
        assert_eq!(test.frame(&ToServer::Login(name("bob").into())), [Output::LookUp(name("bob"))]);
        test.now += Duration::from_millis(delay);
        assert_eq!(test.input(Input::Registered(Some(registered))), [], "nothing is told before its time");
        answers.push(test.next_deadline());
    }
    assert_eq!(answers[0], (Duration::from_millis(300), ended(ServerError::UnknownUser).to_vec()));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn nobody_has_the_key_of_an_unknown_user() {
    let mut test = Test::new();
    test.session = Session::new(
        PublicKey::from_bytes([0; 32]),
        "chat.example".parse().unwrap(),
        Patience {
            login: Duration::from_secs(10),
            refusal: Duration::from_millis(300),
            idle: Duration::from_secs(90),
            request: Duration::from_secs(60),
            establishment: Duration::from_secs(15),
        },
        test.now,
    );
    test.frame(&ToServer::Login(name("bob").into()));
    assert_eq!(test.input(Input::Registered(Some(None))), []);
    assert_eq!(test.next_deadline().1, ended(ServerError::UnknownUser));
}

#[test]
fn a_directory_that_cannot_be_asked_lets_nobody_in() {
    let mut test = Test::new();
    test.frame(&ToServer::Login(name("bob").into()));
    assert_eq!(test.input(Input::Registered(None)), ended(ServerError::Unavailable));
}

#[test]
fn whoever_does_not_log_in_in_time_is_let_go() {
    let mut test = Test::new();
    assert_eq!(test.next_deadline(), (Duration::from_secs(10), ended(ServerError::Idle).to_vec()));
    assert_eq!(test.session.deadline(), None);
}

#[test]
fn before_the_log_in_nothing_else_is_heard() {
    for frame in all_frames() {
        let out = Test::new().frame(&frame);
        match &frame {
            ToServer::Login(_) => assert_eq!(out, [Output::LookUp(name("bob"))]),
            ToServer::Exit => assert_eq!(out, [Output::Disconnect]),
            _ => assert_eq!(out, ended(ServerError::Protocol), "{frame:?}"),
        }
        let mut looking_up = Test::new();
        looking_up.frame(&ToServer::Login(name("bob").into()));
        let out = looking_up.frame(&frame);
        match &frame {
            ToServer::Exit => assert_eq!(out, [Output::Disconnect]),
            _ => assert_eq!(out, ended(ServerError::Protocol), "{frame:?}"),
        }
    }
}

#[test]
fn a_user_removed_between_look_up_and_registration_is_ended() {
    for registered in [None, Some(OTHER_KEY)] {
        let mut test = Test::bob();
        assert_eq!(test.input(Input::Registered(Some(registered))), ended(ServerError::Removed));
    }
    assert_eq!(Test::bob().input(Input::Registered(Some(Some(KEY)))), []);
}

/// Frames that are neither answered nor passed on in a state: they crossed with the end of what they are about.
#[test]
fn every_frame_in_every_state() {
    let busy = sent(&ToClient::ChatClosed(Close { chat: OTHER_CHAT, reason: CloseReason::Busy }));
    let close = |reason| signal("alice", CHAT, SignalKind::Close(reason));
    let request = signal("carol", OTHER_CHAT, SignalKind::Request { key: KEY });
    let bytes = Bytes::from_static(b"bytes");
    let accept = signal("alice", CHAT, SignalKind::Accept { key: KEY, key_package: bytes.clone() });
    let establish = signal("alice", CHAT, SignalKind::Establish { key: KEY, welcome: bytes });
    let pass_on = signal("alice", CHAT, SignalKind::Message(message(CHAT).encode().unwrap()));
    let refuse = signal("alice", CHAT, SignalKind::Refuse);
    let left = close(CloseReason::Left);
    let called_off = signal("alice", CHAT, SignalKind::CallOff(CloseReason::Left));
    let list = Output::List(Page::default());
    let pong = sent(&ToClient::Pong);
    let [error, disconnect] = ended(ServerError::Protocol);
    let violation = vec![error.clone(), left.clone(), disconnect.clone()];
    let leave = vec![left.clone(), Output::Disconnect];
    let leave_calling = vec![called_off.clone(), Output::Disconnect];
    let violation_calling = vec![error.clone(), called_off.clone(), disconnect.clone()];
    let none = Vec::new;
    type Make = fn() -> Test;
    // In the order of `all_frames`: Exit, List, RequestToTalk, Accept, Refuse, Message, SessionEstablishment,
    // ChatClosed, Login, Ping.
    let table: [(&str, Make, [Vec<Output>; 10]); 6] = [
        (
            "Free",
            Test::bob,
            [
                vec![Output::Disconnect],
                vec![list.clone()],
                vec![request],
                none(),
                none(),
                none(),
                none(),
                none(),
                vec![error, disconnect],
                vec![pong.clone()],
            ],
        ),
        (
            "Calling",
            || Test::calling("alice"),
            [
                leave_calling,
                vec![list.clone()],
                vec![busy.clone()],
                none(),
                none(),
                none(),
                none(),
                vec![called_off],
                violation_calling,
                vec![pong.clone()],
            ],
        ),
        (
            "Ringing",
            || Test::ringing("alice"),
            [
                leave.clone(),
                vec![list.clone()],
                vec![busy.clone()],
                vec![accept],
                vec![refuse],
                none(),
                none(),
                vec![left.clone()],
                violation.clone(),
                vec![pong.clone()],
            ],
        ),
        (
            "Establishing, caller",
            Test::caller_establishing,
            [
                leave.clone(),
                vec![list.clone()],
                vec![busy.clone()],
                none(),
                none(),
                none(),
                vec![establish],
                vec![left.clone()],
                violation.clone(),
                vec![pong.clone()],
            ],
        ),
        (
            "Establishing, accepter",
            Test::accepter_establishing,
            [
                leave.clone(),
                vec![list.clone()],
                vec![busy.clone()],
                none(),
                none(),
                none(),
                violation.clone(),
                vec![left.clone()],
                violation.clone(),
                vec![pong.clone()],
            ],
        ),
        (
            "Chatting",
            Test::chatting,
            [
                leave,
                vec![list],
                vec![busy],
                none(),
                none(),
                vec![pass_on],
                violation.clone(),
                vec![left],
                violation,
                vec![pong],
            ],
        ),
    ];
    for (state, make, expected) in table {
        for (frame, expected) in all_frames().into_iter().zip(expected) {
            assert_eq!(make().frame(&frame), expected, "{frame:?} in {state}");
        }
    }
}

#[test]
fn a_frame_of_a_chat_reaches_only_the_other_party_of_that_chat() {
    let mut test = Test::chatting();
    let frame = message(CHAT).encode().unwrap();
    assert_eq!(test.input(Input::Frame(frame.clone())), [signal("alice", CHAT, SignalKind::Message(frame.clone()))]);
    assert_eq!(test.frame(&message(OTHER_CHAT)), [], "of a chat that is over");
    assert_eq!(test.hear("alice", CHAT, SignalKind::Message(frame.clone())), [Output::Send(frame.clone())]);
    assert_eq!(test.hear("carol", CHAT, SignalKind::Message(frame.clone())), [], "of nobody's chat");
    assert_eq!(test.hear("alice", OTHER_CHAT, SignalKind::Message(frame.clone())), [], "of a chat that is over");
    assert_eq!(Test::bob().hear("alice", CHAT, SignalKind::Message(frame)), []);
    assert_eq!(test.hear("carol", CHAT, SignalKind::Close(CloseReason::Left)), [], "not carol's to end");
}

/// What is passed on is a whole frame: a client that sends less ends its own connection, not its peer's.
#[test]
fn a_message_that_is_cut_or_too_long_ends_its_sender() {
    let whole = message(CHAT).encode().unwrap();
    for length in 0..whole.len() {
        let mut out = Test::chatting().input(Input::Frame(whole.slice(..length)));
        assert_eq!(out.remove(0), sent(&ToClient::Error(ServerError::Protocol)), "{length}");
    }
    let longer = [&whole[..], b"x"].concat();
    let empty = [&whole[..ChatHeader::AAD_LEN], &[0, 0]].concat();
    for frame in [longer, empty] {
        let mut out = Test::chatting().input(Input::Frame(frame.into()));
        assert_eq!(out.remove(0), sent(&ToClient::Error(ServerError::Protocol)));
    }
}

#[test]
fn whoever_is_not_free_is_unavailable() {
    let unavailable = [signal("carol", OTHER_CHAT, SignalKind::Unavailable)];
    for mut test in [
        Test::calling("alice"),
        Test::ringing("alice"),
        Test::caller_establishing(),
        Test::accepter_establishing(),
        Test::chatting(),
    ] {
        assert_eq!(test.hear("carol", OTHER_CHAT, SignalKind::Request { key: OTHER_KEY }), unavailable);
    }
}

#[test]
fn of_two_who_call_each_other_the_smaller_names_call_stands() {
    // bob calls alice, and alice calls bob: alice's stands.
    let mut test = Test::calling("alice");
    let out = test.hear("alice", OTHER_CHAT, SignalKind::Request { key: OTHER_KEY });
    assert_eq!(out, [sent(&ToClient::RequestToTalk(Request { peer: name("alice"), chat: OTHER_CHAT }))]);
    // bob calls carol, and carol calls bob: bob's stands, and carol's session sees to it.
    let mut test = Test::calling("carol");
    assert_eq!(test.hear("carol", OTHER_CHAT, SignalKind::Request { key: OTHER_KEY }), []);
    // A call to the one whose request is on its way to the client needs no answer: the client accepts.
    let mut test = Test::ringing("alice");
    assert_eq!(test.frame(&ToServer::RequestToTalk(Request { peer: name("alice"), chat: OTHER_CHAT })), []);
}

#[test]
fn requests_and_set_ups_expire_on_both_sides() {
    let expired = |kind| vec![signal("alice", CHAT, kind), closed(CloseReason::Expired)];
    let (call_off, close) = (SignalKind::CallOff(CloseReason::Expired), SignalKind::Close(CloseReason::Expired));
    for (mut test, seconds, kind) in [
        (Test::calling("alice"), 60, call_off),
        (Test::ringing("alice"), 60, close.clone()),
        (Test::caller_establishing(), 15, close.clone()),
        (Test::accepter_establishing(), 15, close),
    ] {
        assert_eq!(test.next_deadline(), (Duration::from_secs(seconds), expired(kind)));
        assert_eq!(test.frame(&message(CHAT)), [], "it is over");
        assert_eq!(test.next_deadline().0, Duration::from_secs(90 + seconds), "only the idle limit is left");
    }
    let mut test = Test::chatting();
    assert_eq!(test.next_deadline().0, Duration::from_secs(90), "a chat has no limit of its own");
}

#[test]
fn what_other_sessions_say_is_passed_on_as_it_has_to_be() {
    let not_found = [sent(&ToClient::UserNotFound(CHAT))];
    assert_eq!(Test::calling("alice").hear("alice", CHAT, SignalKind::Unavailable), not_found);
    assert_eq!(Test::calling("alice").hear("alice", CHAT, SignalKind::Close(CloseReason::Left)), not_found);
    assert_eq!(Test::calling("alice").hear("alice", CHAT, SignalKind::Refuse), [sent(&ToClient::Refuse(CHAT))]);
    let undelivered = |why| Input::Undelivered { chat: CHAT, why };
    for why in [Undelivered::Absent, Undelivered::Full] {
        assert_eq!(Test::calling("alice").input(undelivered(why)), not_found);
    }
    for reason in [CloseReason::CalledOff, CloseReason::Expired, CloseReason::Left, CloseReason::Failed] {
        assert_eq!(Test::ringing("alice").hear("alice", CHAT, SignalKind::CallOff(reason)), [closed(reason)]);
        assert_eq!(Test::chatting().hear("alice", CHAT, SignalKind::Close(reason)), [closed(reason)]);
    }
    assert_eq!(Test::chatting().input(undelivered(Undelivered::Absent)), [closed(CloseReason::Left)]);
    assert_eq!(
        Test::chatting().input(undelivered(Undelivered::Full)),
        [signal("alice", CHAT, SignalKind::Close(CloseReason::Overrun)), closed(CloseReason::Overrun)],
        "whoever ignores the window loses the chat"
    );
}

#[test]
fn the_end_of_a_session_is_told_to_client_and_peer_once() {
    for reason in [ServerError::Replaced, ServerError::Removed, ServerError::ShuttingDown] {
        let mut test = Test::chatting();
        let told = [
            sent(&ToClient::Error(reason)),
            signal("alice", CHAT, SignalKind::Close(CloseReason::Left)),
            Output::Disconnect,
        ];
        assert_eq!(test.input(Input::End(reason)), told);
        assert_eq!(test.input(Input::End(reason)), []);
        assert_eq!(test.input(Input::Lost), []);
        assert_eq!(test.frame(&ToServer::Ping), []);
        assert_eq!(test.session.deadline(), None);
    }
    let mut test = Test::chatting();
    let left = signal("alice", CHAT, SignalKind::Close(CloseReason::Left));
    assert_eq!(test.input(Input::Lost), [left, Output::Disconnect]);
}

#[test]
fn reasons_that_only_a_server_gives_are_not_taken_from_a_client() {
    for reason in [CloseReason::Expired, CloseReason::Busy, CloseReason::Overrun] {
        let out = Test::bob().frame(&ToServer::ChatClosed(Close { chat: CHAT, reason }));
        assert_eq!(out, ended(ServerError::Protocol));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_session_panic_or_speak_after_its_end(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
        for mut test in [Test::new(), Test::bob(), Test::ringing("alice"), Test::chatting()] {
            let mut over = false;
            for frame in &frames {
                let out = test.input(Input::Frame(frame.clone().into()));
                prop_assert!(!over || out.is_empty());
                over |= out.contains(&Output::Disconnect);
            }
        }
    }
}
