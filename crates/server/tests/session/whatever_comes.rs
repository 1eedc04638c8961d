//! What holds of a chat whatever clients and other sessions do.

use std::time::Duration;

use proptest::{prelude::*, sample::select};
use protocol::{ChatId, Close, CloseReason, Code, Machine as _, Resume, ToClient, ToServer};
use server::{
    session::{Input, Output},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

use crate::bob::{CHAT, NEXT, OTHER_CHAT, PEER, Test, message, name};

#[derive(Clone, Debug)]
enum Step {
    Input(Input),
    Wait(Duration),
}

fn chats() -> impl Strategy<Value = ChatId> {
    prop_oneof![9 => Just(CHAT), 1 => Just(OTHER_CHAT)]
}

fn frames() -> impl Strategy<Value = Input> {
    let frame = (chats(), 0..9_u64).prop_flat_map(|(chat, expected)| {
        prop_oneof![
            4 => Just(message(chat)),
            4 => Just(ToServer::Resume(Resume { chat, expected })),
            2 => Just(ToServer::Ping),
            1 => Just(ToServer::ChatClosed(Close { chat, reason: CloseReason::Left })),
            1 => Just(ToServer::Exit),
        ]
    });
    frame.prop_map(|frame| Input::Frame(frame.encode().unwrap()))
}

fn signals() -> impl Strategy<Value = Input> {
    let kind = prop_oneof![
        4 => Just(SignalKind::Message(message(CHAT).encode().unwrap())),
        3 => (0..9_u64).prop_map(SignalKind::Ask),
        3 => (0..9_u64).prop_map(SignalKind::Answer),
        2 => Just(SignalKind::Away),
        2 => Just(SignalKind::Check),
        1 => Just(SignalKind::Close(CloseReason::Left)),
    ];
    let from = prop_oneof![9 => Just("alice"), 1 => Just("carol")];
    (from, select(vec![PEER, NEXT]), chats(), kind)
        .prop_map(|(from, session, chat, kind)| Input::Signal(Signal { from: name(from), session, chat, kind }))
}

fn undelivered() -> impl Strategy<Value = Input> {
    (chats(), any::<bool>(), prop_oneof![6 => Just(Undelivered::Absent), 1 => Just(Undelivered::Full)])
        .prop_map(|(chat, is_repeated, why)| Input::Undelivered { to: name("alice"), chat, is_repeated, why })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => frames().prop_map(Step::Input),
        8 => signals().prop_map(Step::Input),
        2 => undelivered().prop_map(Step::Input),
        2 => (0..20_000_u64).prop_map(|wait| Step::Wait(Duration::from_millis(wait))),
    ];
    prop::collection::vec(step, 0..60)
}

/// The chat as one can know it who sees only what goes into the session and what comes out.
#[derive(Debug, Default)]
struct Seen {
    /// Since the line opened, no word of a break has gone from or to the client.
    is_open: bool,
    told_away: bool,
    over: bool,
    ended: bool,
}

impl Seen {
    fn input(&mut self, input: &Input) {
        match input {
            Input::Frame(frame) => match ToServer::decode(frame) {
                Ok(ToServer::Resume(resume)) if resume.chat == CHAT => self.is_open = false,
                Ok(ToServer::ChatClosed(close)) if close.chat == CHAT => self.over = true,
                _ => {}
            },
            // Whose session it comes from is checked at the output.
            Input::Signal(_) | Input::Undelivered { .. } => {}
            other => panic!("{other:?} is no step"),
        }
    }

    fn outputs(&mut self, cause: Option<&Input>, out: &[Output]) {
        assert!(!self.ended || out.is_empty(), "{out:?} after the end");
        for output in out {
            match output {
                Output::Send(frame) if frame[0] == Code::Message as u8 => {
                    assert!(self.is_open && !self.over);
                    let Some(Input::Signal(signal)) = cause else { panic!("a frame out of nowhere") };
                    assert_eq!((&signal.from, signal.chat), (&name("alice"), CHAT));
                }
                Output::Send(frame) => self.told(&ToClient::decode(frame).unwrap()),
                Output::Signal { to, signal } => match &signal.kind {
                    SignalKind::Message(_) => {
                        assert!(self.is_open && !self.over);
                        assert_eq!((to, signal.chat), (&name("alice"), CHAT));
                    }
                    SignalKind::Ask(_) => assert!(!self.is_open && !self.over),
                    SignalKind::Answer(_) => assert!(self.is_open && !self.over, "the client hears it first"),
                    SignalKind::Check => assert!(self.is_open && !self.over),
                    SignalKind::Close(_) | SignalKind::CallOff(_) => {}
                    other => panic!("{other:?} of a chat whose client is there"),
                },
                Output::Disconnect => self.ended = true,
                other => panic!("{other:?} of a logged-in session in a chat"),
            }
        }
    }

    fn told(&mut self, frame: &ToClient) {
        match frame {
            ToClient::PeerAway(chat) => {
                assert_eq!(*chat, CHAT);
                assert!(!self.told_away && !self.over, "told once for each break");
                (self.is_open, self.told_away) = (false, true);
            }
            ToClient::Resume(resume) => {
                assert_eq!(resume.chat, CHAT);
                assert!(!self.is_open && !self.over);
                (self.is_open, self.told_away) = (true, false);
            }
            ToClient::ChatClosed(close) => {
                assert_eq!(close.chat, CHAT);
                self.over = true;
            }
            ToClient::Pong | ToClient::Error(_) => {}
            other => panic!("{other:?} has no place in a chat"),
        }
    }
}

fn opened_for(session: SessionId) -> Test {
    let mut test = Test::awaiting_peer();
    assert!(!test.say(session, SignalKind::Ask(0)).is_empty());
    test
}

proptest! {
    /// Nothing passes a broken line; a client is told of each break once and of each opening before frames come; and a
    /// line that stays broken ends.
    #[test]
    fn a_client_always_knows_whether_the_line_is_open(state in 0..4_usize, steps in steps()) {
        let (mut test, is_open, told_away) = match state {
            0 => (Test::chatting(), true, false),
            1 => (opened_for(NEXT), true, false),
            2 => (Test::awaiting_client(), false, true),
            _ => (Test::awaiting_peer(), false, false),
        };
        let mut seen = Seen { is_open, told_away, ..Seen::default() };
        for step in steps {
            match step {
                Step::Input(input) => {
                    seen.input(&input);
                    let out = test.input(input.clone());
                    seen.outputs(Some(&input), &out);
                }
                Step::Wait(wait) => {
                    let end = test.now + wait;
                    while test.session.deadline().is_some_and(|deadline| deadline <= end) {
                        let (_, out) = test.next_deadline();
                        seen.outputs(None, &out);
                    }
                    test.now = end;
                }
            }
        }
        // A client that shows that it is there, and nothing else any more.
        for _ in 0..61 {
            let out = test.frame(&ToServer::Ping);
            seen.outputs(None, &out);
            test.now += Duration::from_secs(1);
            let out = test.input(Input::Tick);
            seen.outputs(None, &out);
        }
        prop_assert!(seen.is_open || seen.over || seen.ended, "a line stays broken for ever");
    }
}
