//! A client's connection as the machine sees it: lost, tried again, given up. The test is clock, network and server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use client::{Client, Command, ErrorCode, Event, Failure, Input, Output};
use identity::{Negotiated, UserKey};
use protocol::{Asked, Attempt, ChatId, List, Machine as _, Request, ServerError, ToClient, ToServer, TooFast};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

const ONLINE_FOR_GOOD: Duration = Duration::from_millis(500);

/// A client, with what it put out since that was last looked at.
struct Alone {
    client: Client,
    now: Instant,
    out: Vec<Output>,
}

impl Alone {
    fn new(seed: u64) -> Self {
        #[allow(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; the test turns it on")]
        let now = Instant::now();
        let key = Arc::new(UserKey::from_seed(&[1; 32]));
        let rng = Box::new(ChaCha20Rng::seed_from_u64(seed));
        Self { client: Client::new("alice".parse().unwrap(), key, rng), now, out: Vec::new() }
    }

    /// One that is logged in, which has been told.
    fn online(seed: u64) -> Self {
        let mut alone = Self::new(seed);
        alone.input(Input::Start);
        alone.let_in();
        alone.out.clear();
        alone
    }

    /// One in that phase, with all before it told.
    fn at(phase: Phase) -> Self {
        let mut alone = match phase {
            Phase::First | Phase::FirstLoggingIn => Self::new(7),
            _ => Self::online(7),
        };
        match phase {
            Phase::First | Phase::FirstLoggingIn => alone.input(Input::Start),
            Phase::Online => {}
            Phase::Waiting => {
                alone.input(Input::Lost);
                alone.not_connected();
            }
            Phase::Connecting | Phase::LoggingIn => alone.input(Input::Lost),
            Phase::ComeBack | Phase::ComeBackLoggingIn => alone.types("/leave"),
            Phase::ComeBackAgain => {
                alone.types("/leave");
                alone.not_connected();
            }
        }
        if matches!(phase, Phase::FirstLoggingIn | Phase::LoggingIn | Phase::ComeBackLoggingIn) {
            alone.connected();
        }
        alone.out.clear();
        alone
    }

    fn input(&mut self, input: Input) {
        self.client.handle(input, self.now, &mut self.out);
    }

    fn types(&mut self, line: &str) {
        self.input(Input::Command(Command::parse(line).unwrap()));
    }

    fn hears(&mut self, frame: &ToClient) {
        self.input(Input::Frame(frame.encode().unwrap()));
    }

    fn connected(&mut self) {
        self.input(Input::Connected { negotiated: Negotiated { group: "test".into(), suite: "test".into() } });
    }

    fn not_connected(&mut self) {
        self.input(Input::NotConnected(Failure::new(ErrorCode::Unreachable, "nobody there")));
    }

    fn let_in(&mut self) {
        self.let_in_by("chat.example");
    }

    fn let_in_by(&mut self, server: &str) {
        self.connected();
        self.hears(&ToClient::LoggedIn(server.parse().unwrap()));
        self.input(Input::ServerNameChecked(Ok(())));
    }

    /// Lets time go by, with the client awake whenever it wants to be.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.client.deadline().filter(|due| *due < end) {
            self.now = self.now.max(due);
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    /// Lets time go by while the client is held up, until something wakes it.
    fn sleep(&mut self, time: Duration, until: Input) {
        self.now += time;
        self.input(until);
    }

    /// Waits for an attempt that was announced; that it comes then and no sooner is checked. How long it took.
    fn wait_for_attempt(&mut self) -> Duration {
        let announced = self.take().into_iter().rev().find_map(|output| match output {
            Output::Event(Event::Reconnecting { in_ms }) => Some(Duration::from_millis(in_ms)),
            _ => None,
        });
        let announced = announced.expect("an attempt is announced");
        assert_eq!(self.client.deadline(), Some(self.now + announced));
        self.wait(announced - Duration::from_millis(1));
        assert_eq!(self.take(), []);
        self.wait(Duration::from_millis(1));
        assert_eq!(self.take(), [Output::Connect]);
        announced
    }

    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Which log-in went out since the last look.
    fn attempt(&mut self) -> Attempt {
        let logins = self.take().into_iter().filter_map(|output| match output {
            Output::Send(frame) => match ToServer::decode(&frame).unwrap() {
                ToServer::Login(login) => Some(login.attempt),
                _ => None,
            },
            _ => None,
        });
        let [attempt] = logins.collect::<Vec<_>>().try_into().expect("one log-in");
        attempt
    }

    /// What was put out since the last look, in short.
    fn told(&mut self) -> Vec<String> {
        self.take().iter().map(short).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    First,
    FirstLoggingIn,
    Online,
    Waiting,
    Connecting,
    LoggingIn,
    ComeBack,
    ComeBackLoggingIn,
    /// The first attempt at coming back after a /leave has failed.
    ComeBackAgain,
}

fn short(output: &Output) -> String {
    match output {
        Output::Send(frame) => format!("send {:?}", ToServer::decode(frame).unwrap()),
        Output::Event(Event::Error { code, .. }) => format!("error {}", code.as_str()),
        Output::Event(Event::Reconnecting { in_ms: 0 }) => "reconnecting".to_owned(),
        Output::Event(Event::Reconnecting { .. }) => "reconnecting later".to_owned(),
        Output::Event(Event::LoggedIn { .. }) => "LoggedIn".to_owned(),
        Output::Event(Event::RequestEnded { peer, reason }) => format!("request_ended {peer} {reason:?}"),
        Output::Event(event) => format!("{event:?}"),
        Output::Quit(failure) => format!("quit {}", failure.as_ref().map_or("", |failure| failure.code.as_str())),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_log_in_that_was_asked_for_is_told_step_by_step_and_another_is_not() {
    let mut alice = Alone::new(1);
    alice.input(Input::Start);
    assert_eq!(alice.told(), ["Connecting", "Connect"]);
    alice.connected();
    assert_eq!(alice.told()[0], "Connected");
    let mut alice = Alone::online(1);
    alice.types("/leave");
    assert_eq!(alice.told(), ["send Exit", "Disconnect", "LoggedOut", "Connecting", "Connect"]);
    alice.let_in();
    let told: Vec<_> = alice.told().into_iter().filter(|told| told.starts_with(char::is_uppercase)).collect();
    assert_eq!(told[0], "Connected");
    assert_eq!(told.last().unwrap(), "LoggedIn");
    alice.input(Input::Lost);
    assert_eq!(alice.told(), ["error unreachable", "Abandon", "reconnecting", "Connect"]);
    alice.connected();
    assert_eq!(alice.told().len(), 1, "nothing but the log-in");
}

/// However the log-ins before it came to their end, and whether or not they ever reached the server.
#[test]
fn each_log_in_says_which_one_of_this_client_it_is() {
    let mut alice = Alone::new(1);
    alice.input(Input::Start);
    alice.connected();
    let first = alice.attempt();
    assert_eq!(first, Attempt::first(first.client));
    alice.hears(&ToClient::LoggedIn("chat.example".parse().unwrap()));
    alice.input(Input::ServerNameChecked(Ok(())));
    let mut numbers = Vec::new();
    for how in 0..6 {
        match how {
            0 => alice.input(Input::Lost),
            // Not answered, and given up.
            1 => alice.input(Input::Lost),
            2 => alice.wait(Duration::from_secs(15)),
            // No connection came of it, so there was no log-in.
            3 => {
                alice.input(Input::Lost);
                alice.wait(Duration::from_secs(1));
                alice.not_connected();
            }
            4 => {
                alice.hears(&ToClient::Error(ServerError::ShuttingDown));
                alice.wait(Duration::from_secs(3));
            }
            _ => {
                alice.hears(&ToClient::LoggedIn("chat.example".parse().unwrap()));
                alice.input(Input::ServerNameChecked(Ok(())));
                alice.types("/leave");
            }
        }
        alice.wait(Duration::from_secs(1));
        alice.take();
        alice.connected();
        let attempt = alice.attempt();
        assert_eq!(attempt.client, first.client, "{how}");
        numbers.push(attempt.number);
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn each_client_has_an_id_of_its_own() {
    let client = |seed| {
        let mut alice = Alone::new(seed);
        alice.input(Input::Start);
        alice.connected();
        alice.attempt().client
    };
    assert_ne!(client(1), client(2));
    assert_eq!(client(1), client(1), "nothing but what it was handed decides");
}

#[test]
fn waits_grow_up_to_a_limit_and_are_spread() {
    const NORMAL: [u64; 14] = [100, 150, 225, 338, 506, 759, 1139, 1709, 2563, 3844, 5767, 8650, 10_000, 10_000];
    let mut seen = vec![Vec::new(); NORMAL.len()];
    for seed in 0..200 {
        let mut alice = Alone::online(seed);
        alice.input(Input::Lost);
        assert_eq!(alice.told(), ["error unreachable", "Abandon", "reconnecting", "Connect"]);
        for seen in &mut seen {
            alice.not_connected();
            let told: Vec<_> = alice.out.iter().map(short).collect();
            assert_eq!(told, ["Abandon", "reconnecting later"], "the reason is told once");
            seen.push(u64::try_from(alice.wait_for_attempt().as_millis()).unwrap());
        }
    }
    for (waits, normal) in seen.iter().zip(NORMAL) {
        let (least, most) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
        let part = |percent: u64| normal * percent / 100;
        assert!(least >= part(75) && most <= part(125), "{normal} ms: {least} to {most}");
        assert!(least < part(80) && most > part(120), "{normal} ms: only {least} to {most}");
    }
}

#[test]
fn an_attempt_that_comes_to_nothing_at_any_point_is_one_that_failed() {
    let mut alice = Alone::online(3);
    alice.input(Input::Lost);
    let mut waits = Vec::new();
    for how in 0..5 {
        match how {
            0 => alice.not_connected(),
            1 => {
                alice.connected();
                alice.input(Input::Lost);
            }
            2 => {
                alice.connected();
                alice.wait(Duration::from_secs(15));
            }
            3 => {
                alice.connected();
                alice.hears(&ToClient::Error(ServerError::Unavailable));
            }
            _ => {
                alice.connected();
                alice.hears(&ToClient::Error(ServerError::ShuttingDown));
            }
        }
        waits.push(alice.wait_for_attempt().as_secs_f64());
    }
    for (wait, seconds) in waits.iter().zip([0.1, 0.15, 0.225, 0.338, 0.506]) {
        assert!((seconds * 0.75..=seconds * 1.25).contains(wait), "{waits:?}");
    }
}

#[test]
fn attempts_that_failed_are_forgotten_once_the_user_has_been_online_for_a_while() {
    let mut alice = Alone::online(4);
    let drops = |alice: &mut Alone| {
        alice.input(Input::Lost);
        let told = alice.out.iter().map(short).find(|told| told.starts_with("reconnecting")).unwrap();
        let wait = if told == "reconnecting" { 0.0 } else { alice.wait_for_attempt().as_secs_f64() };
        alice.take();
        wait
    };
    assert_eq!(drops(&mut alice), 0.0);
    // A server that lets one in and drops one is not hammered.
    for seconds in [0.1, 0.15, 0.225] {
        alice.let_in();
        alice.wait(ONLINE_FOR_GOOD - Duration::from_millis(1));
        alice.hears(&ToClient::Pong);
        let wait = drops(&mut alice);
        assert!((seconds * 0.75..=seconds * 1.25).contains(&wait), "{wait} for {seconds}");
    }
    alice.let_in();
    alice.wait(ONLINE_FOR_GOOD);
    assert_eq!(drops(&mut alice), 0.0);
}

#[test]
fn clients_of_a_server_that_stops_come_back_at_different_times() {
    let waits: Vec<_> = (0..200)
        .map(|seed| {
            let mut alice = Alone::online(seed);
            alice.hears(&ToClient::Error(ServerError::ShuttingDown));
            let told: Vec<_> = alice.out.iter().map(short).collect();
            assert_eq!(told, ["error unreachable", "Abandon", "reconnecting later"]);
            alice.wait_for_attempt().as_millis()
        })
        .collect();
    let (least, most) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
    assert!(least >= 50 && most <= 500, "{least} to {most}");
    assert!(least < 90 && most > 460, "only {least} to {most}");
}

/// Whatever may happen, wherever: does the client end, with what code, or does it try again?
#[test]
fn what_ends_a_client_and_what_does_not() {
    use ErrorCode::{BadFile, Protocol, Replaced, UnknownUser, Unreachable, UntrustedServer};
    use Phase::{
        ComeBack, ComeBackAgain, ComeBackLoggingIn, Connecting, First, FirstLoggingIn, LoggingIn, Online, Waiting,
    };
    let not_connected = |code| Input::NotConnected(Failure::new(code, "so"));
    let error = |error| Input::Frame(ToClient::Error(error).encode().unwrap());
    let garbage = || Input::Frame(vec![99].into());
    let again = None;
    let table = [
        (First, not_connected(Unreachable), Some(Unreachable)),
        (First, not_connected(UntrustedServer), Some(UntrustedServer)),
        (First, not_connected(Protocol), Some(Protocol)),
        (Connecting, not_connected(Unreachable), again),
        (ComeBack, not_connected(Unreachable), again),
        (FirstLoggingIn, Input::Lost, Some(Unreachable)),
        (FirstLoggingIn, error(ServerError::UnknownUser), Some(UnknownUser)),
        (FirstLoggingIn, error(ServerError::ShuttingDown), Some(Unreachable)),
        (FirstLoggingIn, error(ServerError::Idle), Some(Unreachable)),
        (FirstLoggingIn, error(ServerError::Unavailable), Some(Unreachable)),
        (FirstLoggingIn, error(ServerError::Protocol), Some(Protocol)),
        (FirstLoggingIn, error(ServerError::Replaced), Some(Protocol)),
        (FirstLoggingIn, garbage(), Some(Protocol)),
        (LoggingIn, Input::Lost, again),
        (LoggingIn, error(ServerError::UnknownUser), Some(UnknownUser)),
        (LoggingIn, error(ServerError::ShuttingDown), again),
        (LoggingIn, error(ServerError::Idle), again),
        (LoggingIn, error(ServerError::Unavailable), again),
        (LoggingIn, error(ServerError::Protocol), Some(Protocol)),
        (LoggingIn, error(ServerError::Replaced), Some(Protocol)),
        (LoggingIn, garbage(), Some(Protocol)),
        (ComeBackLoggingIn, Input::Lost, again),
        (ComeBackLoggingIn, error(ServerError::UnknownUser), Some(UnknownUser)),
        (ComeBackLoggingIn, error(ServerError::ShuttingDown), again),
        (ComeBackLoggingIn, garbage(), Some(Protocol)),
        (Online, Input::Lost, again),
        (Online, error(ServerError::ShuttingDown), again),
        (Online, error(ServerError::Idle), again),
        (Online, error(ServerError::Unavailable), again),
        (Online, error(ServerError::Replaced), Some(Replaced)),
        (Online, error(ServerError::Removed), Some(UnknownUser)),
        (Online, error(ServerError::Protocol), Some(Protocol)),
        (Online, error(ServerError::UnknownUser), Some(Protocol)),
        (Online, garbage(), Some(Protocol)),
        (Online, Input::FileFailed(Failure::new(BadFile, "so")), Some(BadFile)),
    ];
    for (phase, input, ends) in table {
        let context = format!("{phase:?}: {input:?}");
        let mut alice = Alone::at(phase);
        alice.input(input);
        let told = alice.told();
        let is_told_of_log_in = matches!(phase, Online | Waiting | Connecting | LoggingIn);
        let is_told_why = matches!(phase, Online | ComeBack | ComeBackLoggingIn);
        match ends {
            Some(code) => {
                assert_eq!(told.last().unwrap(), &format!("quit {}", code.as_str()), "{context}");
                assert_eq!(told.contains(&"LoggedOut".to_owned()), is_told_of_log_in, "{context}: {told:?}");
                assert_eq!(alice.client.deadline(), None, "{context}");
            }
            None => {
                assert_eq!(told.contains(&"error unreachable".to_owned()), is_told_why, "{context}: {told:?}");
                assert!(told.iter().any(|told| told.starts_with("reconnecting")), "{context}: {told:?}");
                assert!(alice.client.is_ready(), "{context}");
            }
        }
    }
    // What comes late, of a connection that is given up, changes nothing.
    for phase in [Waiting, Connecting, ComeBackAgain] {
        let mut alice = Alone::at(phase);
        for late in [Input::Lost, garbage(), error(ServerError::Removed), Input::Pin(None)] {
            alice.input(late);
        }
        alice.input(Input::ServerNameChecked(Err(Failure::new(UntrustedServer, "so"))));
        assert_eq!(alice.told(), [""; 0], "{phase:?}");
    }
}

#[test]
fn a_second_leave_on_the_way_back_from_the_first_is_that_one() {
    let mut alice = Alone::at(Phase::ComeBackLoggingIn);
    alice.types("/leave");
    alice.let_in();
    let told = alice.told();
    assert!(!told.contains(&"LoggedOut".to_owned()), "{told:?}");
}

/// They may have been the log-in page of a foreign network.
#[test]
fn who_is_in_the_servers_place_is_told_of_once_and_waited_out() {
    for phase in [Phase::Connecting, Phase::ComeBack] {
        let mut alice = Alone::at(phase);
        for (code, is_new) in [
            (ErrorCode::UntrustedServer, true),
            (ErrorCode::UntrustedServer, false),
            (ErrorCode::Protocol, true),
            (ErrorCode::Unreachable, false),
            (ErrorCode::Protocol, false),
        ] {
            alice.input(Input::NotConnected(Failure::new(code, "so")));
            let told = alice.told();
            let error = format!("error {}", code.as_str());
            assert_eq!(told.contains(&error), is_new, "{phase:?}, {error}: {told:?}");
            assert!(told.iter().any(|told| told.starts_with("reconnecting")), "{phase:?}, {error}: {told:?}");
            alice.wait(Duration::from_secs(10));
            alice.told();
        }
    }
}

#[test]
fn commands_without_a_connection_are_answered_at_once_and_not_kept() {
    let table = [
        ("--l", Some("error unreachable")),
        ("--r bob", Some("error unreachable")),
        ("--y", Some("error unreachable")),
        ("--n", Some("error unreachable")),
        ("/forget bob", Some("error unreachable")),
        ("/verify", Some("error not_in_chat")),
        ("hello?", Some("error not_in_chat")),
        ("/leave", None),
        ("/help", None),
    ];
    for phase in [Phase::Waiting, Phase::Connecting, Phase::LoggingIn, Phase::ComeBackAgain] {
        let mut alice = Alone::at(phase);
        for (line, answer) in table {
            assert!(alice.client.is_ready(), "{phase:?}");
            alice.types(line);
            assert_eq!(alice.told(), Vec::from_iter(answer), "{phase:?}: {line}");
        }
        alice.types("hello?");
        let [Output::Event(Event::Error { message, .. })] = &alice.take()[..] else { panic!("{phase:?}") };
        assert!(message.contains("not connected"), "who cannot ask anybody is not told to: {message}");
        match phase {
            Phase::LoggingIn => {
                alice.hears(&ToClient::LoggedIn("chat.example".parse().unwrap()));
                alice.input(Input::ServerNameChecked(Ok(())));
            }
            Phase::Connecting => alice.let_in(),
            _ => {
                alice.wait(Duration::from_secs(2));
                alice.let_in();
            }
        }
        let told = alice.told();
        let back = if phase == Phase::ComeBackAgain { "LoggedIn" } else { "Reconnected" };
        assert_eq!(told.last().unwrap(), back, "{phase:?}: nothing was kept; {told:?}");
        alice.types("--l");
        assert!(alice.told()[0].starts_with("send List"), "{phase:?}");
    }
}

#[test]
fn an_exit_without_a_connection_ends_at_once() {
    for (phase, is_told) in [
        (Phase::Waiting, true),
        (Phase::Connecting, true),
        (Phase::LoggingIn, true),
        (Phase::ComeBackAgain, false),
        (Phase::First, false),
        (Phase::FirstLoggingIn, false),
        (Phase::ComeBack, false),
    ] {
        let mut alice = Alone::at(phase);
        alice.types("--ex");
        let expected: &[_] = if is_told { &["LoggedOut", "Abandon", "quit "] } else { &["Abandon", "quit "] };
        assert_eq!(alice.told(), expected, "{phase:?}");
        assert_eq!(alice.client.deadline(), None);
        // The second of an order to stop.
        alice.types("--ex");
        assert_eq!(alice.told(), [""; 0], "{phase:?}");
    }
}

#[test]
fn a_loss_while_leaving_ends_as_was_wanted() {
    let mut alice = Alone::online(1);
    alice.types("--l");
    alice.types("--ex");
    alice.take();
    alice.input(Input::Lost);
    assert_eq!(alice.told(), ["send Exit", "Disconnect", "LoggedOut", "quit "]);
    let mut alice = Alone::online(1);
    alice.types("--l");
    alice.types("/leave");
    alice.take();
    alice.hears(&ToClient::Error(ServerError::ShuttingDown));
    assert_eq!(alice.told(), ["send Exit", "Disconnect", "LoggedOut", "Connecting", "Connect"]);
    // A list that was asked for on the old connection holds up no other exit.
    alice.let_in();
    alice.take();
    alice.types("--ex");
    assert_eq!(alice.told().last().unwrap(), "quit ");
}

#[test]
fn a_request_ends_with_the_connection_and_a_list_is_not_waited_for() {
    let mut alice = Alone::online(1);
    alice.types("--l");
    let request = Request { peer: "bob".parse().unwrap(), chat: ChatId::from_bytes([1; 16]) };
    alice.hears(&ToClient::RequestToTalk(request));
    alice.take();
    alice.input(Input::Lost);
    let expected = ["error unreachable", "request_ended bob Lost", "Abandon", "reconnecting", "Connect"];
    assert_eq!(alice.told(), expected);
    alice.let_in();
    alice.take();
    alice.types("--y");
    assert_eq!(alice.told(), ["error not_in_chat"]);
    alice.types("--ex");
    assert_eq!(alice.told().last().unwrap(), "quit ");
}

#[test]
fn a_way_back_that_fails_answers_what_waited_and_ends_in_a_log_in() {
    let mut alice = Alone::online(5);
    for line in ["/leave", "--l", "/leave"] {
        alice.types(line);
    }
    assert!(!alice.client.is_ready(), "what is typed waits for the log-in, while that is likely to come soon");
    alice.take();
    alice.not_connected();
    let told = alice.out.iter().map(short).collect::<Vec<_>>();
    assert_eq!(told, ["error unreachable", "Abandon", "reconnecting later", "error unreachable"]);
    alice.wait_for_attempt();
    alice.let_in();
    assert_eq!(alice.told().last().unwrap(), "LoggedIn");
    // A pipe that has ended meanwhile does not go on for ever.
    let mut alice = Alone::online(5);
    for line in ["/leave", "--l", "--ex"] {
        alice.types(line);
    }
    alice.not_connected();
    assert_eq!(alice.told().last().unwrap(), "quit ");
}

/// Pins and safety numbers are of people on a server of that name, and `reconnected` bears none.
#[test]
fn a_server_that_has_another_name_when_one_is_back_is_not_trusted() {
    let mut alice = Alone::online(1);
    alice.input(Input::Lost);
    alice.let_in_by("other.example");
    assert_eq!(alice.told().last().unwrap(), "quit untrusted_server");
    // After a log-off the user is told the name.
    let mut alice = Alone::online(1);
    alice.types("/leave");
    alice.let_in_by("other.example");
    assert_eq!(alice.told().last().unwrap(), "LoggedIn");
}

#[test]
fn a_silent_server_is_noticed_after_a_reconnect_too() {
    let mut alice = Alone::online(1);
    for _ in 0..3 {
        alice.wait(Duration::from_secs(6));
        assert_eq!(alice.told(), ["send Ping"]);
        alice.wait(Duration::from_secs(6));
        assert_eq!(alice.told(), ["ServerSilent", "send Ping"]);
        alice.wait(Duration::from_secs(2));
        assert_eq!(alice.told(), ["error unreachable", "Abandon", "reconnecting", "Connect"]);
        // No ping without a connection.
        alice.wait(Duration::from_secs(60));
        assert_eq!(alice.told(), [""; 0]);
        alice.let_in();
        assert_eq!(alice.told().last().unwrap(), "Reconnected");
    }
}

/// A process that was stopped, or whose computer slept, has heard nothing meanwhile: that says nothing of the server.
#[test]
fn who_was_held_up_asks_before_judging() {
    let pong = || Input::Frame(ToClient::Pong.encode().unwrap());
    let long = Duration::from_secs(40);
    for (since_log_in, until) in [(0, Input::Tick), (0, pong()), (7, Input::Tick), (7, pong()), (11, Input::Tick)] {
        let context = format!("{since_log_in} s, {until:?}");
        let mut alice = Alone::online(1);
        alice.wait(Duration::from_secs(since_log_in));
        let was_silent = alice.told().contains(&"ServerSilent".to_owned());
        alice.sleep(long, until);
        let mut told = alice.told();
        assert_eq!(told.remove(0), "send Ping", "{context}");
        alice.hears(&ToClient::Pong);
        told.extend(alice.told());
        assert_eq!(told, was_silent.then_some("ServerHeard").as_slice(), "{context}");
        alice.wait(Duration::from_secs(5));
        assert_eq!(alice.told(), [""; 0], "{context}: the answer has come");
    }
    // Asked once and given its time, though less than else, a server that answers nothing is judged.
    let mut alice = Alone::online(1);
    alice.sleep(long, Input::Tick);
    alice.wait(Duration::from_millis(2999));
    assert_eq!(alice.told(), ["send Ping", "ServerSilent"]);
    alice.wait(Duration::from_millis(1));
    assert_eq!(alice.told(), ["error unreachable", "Abandon", "reconnecting", "Connect"]);
    // Told once, however often it is asked.
    let mut alice = Alone::online(1);
    alice.wait(Duration::from_secs(8));
    assert_eq!(alice.told(), ["send Ping", "ServerSilent"]);
    alice.sleep(long, Input::Tick);
    alice.wait(Duration::from_millis(2999));
    assert_eq!(alice.told(), ["send Ping"]);
    // A little late is no sleep, or a busy machine would judge nobody.
    let mut alice = Alone::online(1);
    alice.wait(Duration::from_secs(13));
    alice.take();
    alice.sleep(Duration::from_millis(1000 + 1999), Input::Tick);
    assert_eq!(alice.told(), ["error unreachable", "Abandon", "reconnecting", "Connect"]);
    // Without a connection there is nobody to ask.
    let mut alice = Alone::at(Phase::Waiting);
    alice.sleep(long, Input::Tick);
    assert_eq!(alice.told(), ["Connect"]);
}

/// Another way out: attempts take it at once, and a connection by the old one is asked whether it still stands.
#[test]
fn a_network_that_changed_is_tried_at_once() {
    use Phase::{
        ComeBack, ComeBackAgain, ComeBackLoggingIn, Connecting, First, FirstLoggingIn, LoggingIn, Online, Waiting,
    };
    for (phase, does) in [
        (First, &["Abandon", "Connect"][..]),
        (Connecting, &["Abandon", "Connect"]),
        (ComeBack, &["Abandon", "Connect"]),
        (Waiting, &["reconnecting", "Connect"]),
        (ComeBackAgain, &["reconnecting", "Connect"]),
        // A log-in that was begun has its own time.
        (FirstLoggingIn, &[]),
        (LoggingIn, &[]),
        (ComeBackLoggingIn, &[]),
        (Online, &["send Ping"]),
    ] {
        let mut alice = Alone::at(phase);
        alice.input(Input::NetworkChanged);
        assert_eq!(alice.told(), does, "{phase:?}");
        match phase {
            First | Connecting | Waiting => {
                alice.let_in();
                let told = alice.told().pop().unwrap();
                assert_eq!(told, if phase == First { "LoggedIn" } else { "Reconnected" });
            }
            // A change in many steps asks once, and does not put off the judgement.
            Online => {
                alice.wait(Duration::from_millis(2999));
                alice.input(Input::NetworkChanged);
                assert_eq!(alice.told(), ["ServerSilent"]);
                alice.wait(Duration::from_millis(1));
                assert_eq!(alice.told(), ["error unreachable", "Abandon", "reconnecting", "Connect"]);
            }
            _ => {}
        }
    }
    // An attempt that was to come is not made a second time.
    let mut alice = Alone::at(Waiting);
    alice.input(Input::NetworkChanged);
    alice.take();
    alice.wait(Duration::from_secs(60));
    assert_eq!(alice.told(), [""; 0]);
    // A server that answers is not left.
    let mut alice = Alone::online(1);
    alice.input(Input::NetworkChanged);
    alice.hears(&ToClient::Pong);
    alice.wait(Duration::from_secs(5));
    assert_eq!(alice.told(), ["send Ping"]);
}

/// Whoever shares the network can make it change all the time, by a router's word that is not his to give: no attempt was
/// ever older than the last of these.
#[test]
fn a_network_that_changes_all_the_time_leaves_attempts_their_time() {
    let mut alice = Alone::at(Phase::Connecting);
    alice.take();
    for _ in 0..100 {
        alice.input(Input::NetworkChanged);
        alice.wait(Duration::from_millis(50));
    }
    let told = alice.told();
    assert_eq!(told, ["Abandon", "Connect"].repeat(told.len() / 2));
    assert!((5..=6).contains(&(told.len() / 2)), "one in each of five seconds, not {told:?}");
    // Nor do attempts follow one another as fast as they are refused.
    let mut alice = Alone::at(Phase::Waiting);
    alice.take();
    for _ in 0..100 {
        alice.input(Input::NetworkChanged);
        alice.input(Input::NotConnected(Failure::new(ErrorCode::Unreachable, "so")));
        alice.wait(Duration::from_millis(50));
    }
    let attempts = alice.told().iter().filter(|told| *told == "Connect").count();
    assert!((5..=10).contains(&attempts), "{attempts} in five seconds");
    // The last change is heeded as well.
    let mut alice = Alone::at(Phase::Connecting);
    alice.take();
    alice.input(Input::NetworkChanged);
    alice.input(Input::NetworkChanged);
    assert_eq!(alice.told(), ["Abandon", "Connect"]);
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.told(), ["Abandon", "Connect"]);
    alice.wait(Duration::from_secs(60));
    assert_eq!(alice.told(), [""; 0]);
    // But not by an attempt that came after it.
    alice.input(Input::NetworkChanged);
    alice.input(Input::NetworkChanged);
    alice.let_in();
    alice.take();
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.told(), [""; 0]);
}

/// A face marks one of the names for the user to ask: it must be one that the user looked for.
#[test]
fn a_list_is_the_part_that_was_asked_for() {
    let names = |names: &[&str]| {
        ToClient::List(List { names: names.iter().map(|name| name.parse().unwrap()).collect(), more: false })
    };
    for (good, line, sent) in [
        (true, "/list bo", &["bob", "bobby"][..]),
        (true, "/list bo bob", &["bobby"]),
        (true, "--l", &[]),
        (false, "/list bo", &["mallory"]),
        (false, "/list bo", &["bob", "mallory"]),
        (false, "/list bo bob", &["bob"]),
        (false, "--l", &["bob", "bob"]),
        (false, "--l", &["carol", "bob"]),
    ] {
        let mut alone = Alone::online(9);
        alone.types(line);
        alone.hears(&names(sent));
        let out = alone.take();
        let shown = out.iter().any(|output| matches!(output, Output::Event(Event::Users { .. })));
        let failed = out
            .iter()
            .any(|output| matches!(output, Output::Quit(Some(failure)) if failure.code == ErrorCode::Protocol));
        assert_eq!((shown, failed), (good, !good), "{line} {sent:?}");
    }
}

#[test]
fn a_request_that_comes_too_fast_is_over_and_its_user_told() {
    let mut alone = Alone::online(9);
    alone.types("--r bob");
    let chat = alone.take().iter().find_map(|output| match output {
        Output::Send(frame) => match ToServer::decode(frame).unwrap() {
            ToServer::RequestToTalk(Request { chat, .. }) => Some(chat),
            other => panic!("{other:?}"),
        },
        _ => None,
    });
    let too_fast = |chat, retry_in_ms| ToClient::TooFast(TooFast { asked: Asked::RequestToTalk(chat), retry_in_ms });
    alone.hears(&too_fast(ChatId::from_bytes([9; 16]), 0));
    assert_eq!(alone.take(), [], "it is about another request");
    alone.hears(&too_fast(chat.unwrap(), 1_001));
    let told = Output::Event(Event::Error {
        code: ErrorCode::TooFast,
        message: "bob was not asked to talk: the server passes your requests on only so often; try again in 2 s".into(),
        peer: Some("bob".into()),
    });
    assert_eq!(alone.take(), [told]);
    alone.hears(&too_fast(chat.unwrap(), 1_001));
    assert_eq!(alone.take(), [], "it is over already");
    alone.types("--r bob");
    assert!(alone.told()[0].starts_with("send RequestToTalk"), "one is free to ask again");
}

#[test]
fn a_list_that_is_asked_for_too_fast_is_not_waited_for() {
    let too_fast = ToClient::TooFast(TooFast { asked: Asked::List, retry_in_ms: u32::MAX });
    let bob = ToClient::List(List { names: vec!["bob".parse().unwrap()], more: false });
    let mut alone = Alone::online(9);
    alone.hears(&too_fast);
    assert_eq!(alone.take(), [], "none was asked for");
    alone.types("/list a");
    alone.types("/list b");
    alone.take();
    alone.hears(&too_fast);
    let message = "the server says who is online only so often; try again in 60 s".into();
    assert_eq!(alone.take(), [Output::Event(Event::Error { code: ErrorCode::TooFast, message, peer: None })]);
    alone.hears(&bob);
    assert_eq!(alone.take(), [Output::Event(Event::Users { users: vec!["bob".into()], more: false })]);
    // Who leaves waits for a list that is to come, and not for one that does not.
    alone.types("--l");
    alone.types("--ex");
    assert_eq!(alone.told().len(), 1);
    alone.hears(&too_fast);
    assert_eq!(alone.told(), ["error too_fast", "send Exit", "Disconnect", "LoggedOut", "quit "]);
}

#[test]
fn a_server_that_does_not_answer_is_told_of_before_it_counts_as_dead() {
    let mut alone = Alone::online(9);
    let said = |alone: &mut Alone, event: &Event| {
        alone.take().iter().filter(|output| matches!(output, Output::Event(said) if said == event)).count()
    };
    alone.wait(Duration::from_secs(6));
    alone.wait(Duration::from_millis(1999));
    assert_eq!(said(&mut alone, &Event::ServerSilent), 0);
    alone.wait(Duration::from_millis(1));
    assert_eq!(said(&mut alone, &Event::ServerSilent), 1);
    alone.wait(Duration::from_secs(4));
    assert_eq!(said(&mut alone, &Event::ServerSilent), 0, "once");
    alone.hears(&ToClient::Pong);
    assert_eq!(said(&mut alone, &Event::ServerHeard), 1);
    alone.hears(&ToClient::Pong);
    assert_eq!(said(&mut alone, &Event::ServerHeard), 0);

    // And if nothing comes at all, the connection is given up.
    let mut alone = Alone::online(9);
    alone.wait(Duration::from_secs(6));
    alone.wait(Duration::from_secs(2));
    alone.wait(Duration::from_secs(6));
    let told = alone.take();
    let place = |event: &dyn Fn(&Event) -> bool| {
        told.iter().position(|output| matches!(output, Output::Event(told) if event(told)))
    };
    let silent = place(&|event| *event == Event::ServerSilent);
    let reconnecting = place(&|event| matches!(event, Event::Reconnecting { .. }));
    assert!(silent.is_some() && silent < reconnecting, "{told:?}");
    assert_eq!(place(&|event| *event == Event::ServerHeard), None);
}
