//! Peers, strangers and servers that mean ill, and people who do not read: none of them reaches further than it may.
//! Each test keeps a hole closed that was once open.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;
mod people;
mod raw;

use std::{
    collections::VecDeque,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use client::{Account, Client, Event, Input, Output};
use common::{PASSWORD, PATIENCE, PROGRAM, World, now, signal, terminal::Terminal};
use people::{Registry, port_of};
use protocol::{
    Accept, ChatHeader, ChatId, Close, CloseReason, Establish, List, Machine as _, Page, Request, ServerError,
    ToClient, ToServer,
};
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use raw::{Holder, Raw};
use rustix::{io::ioctl_fionread, process::Signal};
use rustls::{ServerConnection, StreamOwned};

/// What must not wait for a time limit of the server's.
const AT_ONCE: Duration = Duration::from_secs(5);
/// The shortest that an operator can set: who is not heard is gone within a test's time.
const SHORT_IDLE: &str = "idle_timeout = \"10s\"";
/// A backlog that no system's socket buffers take, and that [`ROOMY`] does.
const BACKLOG_FRAMES: u64 = 240;
const BACKLOG_FRAME_BYTES: u16 = 60_000;
const ROOMY: &str = "mailbox_bytes = 67108864";

/// The frame went through unread, and the victim's client ended over it.
#[tokio::test]
async fn a_malformed_message_ends_its_sender_and_not_the_peer() {
    let world = World::new();
    world.user("victim");
    let mallory = Registry::of(&world).await.register("mallory").await;
    let mut victim = world.log_in("victim");
    for tail in [&[0, 0][..], &[0, 5, 1], &[0, 1, 1, 1], &[0], &[]] {
        let mut mallory = Turncoat::log_in(&world, &mallory);
        mallory.input(Input::Command(client::Command::parse("--r victim").unwrap()));
        victim.expect("request");
        victim.types("--y");
        mallory.until(|event| matches!(event, Event::ChatStarted { .. }));
        victim.expect("chat_started");

        let mut frame = header(mallory.chat.unwrap());
        frame.extend_from_slice(tail);
        mallory.raw.send(&frame);
        assert_eq!(mallory.raw.hear_all().pop(), Some(ToClient::Error(ServerError::Protocol)), "{tail:?}");
        assert_eq!(victim.expect_closed(), "lost", "{tail:?}");
    }
    victim.lists();
    assert_eq!(victim.ended(), (Some(0), String::new()));
}

/// The client asked for another name at the terminal, and sent what was typed next to the server as that name.
#[test]
fn a_server_cannot_have_a_typed_line_sent_to_it_as_a_name() {
    for reason in [ServerError::UnknownUser, ServerError::Removed] {
        let world = World::new();
        let rogue = Rogue::listen(&world);
        world.profile_at("alice", "alice", &rogue.dial());
        let mut terminal = Terminal::start(world.chat("alice", "line"));
        terminal.expect("Password");
        terminal.types(&format!("{PASSWORD}\n"));
        let mut session = rogue.let_in();
        terminal.expect("logged in to");
        session.say(&ToClient::Error(reason));
        terminal.types("a word for a friend\n");

        assert_eq!(exit_code(&mut terminal.process, PATIENCE), Some(1), "{reason:?}");
        let (_, seen) = terminal.ended();
        assert!(!seen.contains("User name:"), "{reason:?}: {seen}");
        // The next to connect is the test.
        let probe = TcpStream::connect(("127.0.0.1", rogue.port)).unwrap();
        let next = rogue.next().tls.sock;
        assert_eq!(next.peer_addr().unwrap(), probe.local_addr().unwrap(), "{reason:?}: the client came back");
    }
}

/// A session with a backlog read nothing of its client, and counted it as silent.
#[test]
fn who_reads_slowly_is_still_heard() {
    let world = World::with(&format!("{SHORT_IDLE}\n{ROOMY}"));
    let mut pair = Pair::chatting(&world);
    pair.pile_up();
    for _ in 0..20 {
        pair.victim.say(&ToServer::Ping);
    }
    pair.victim.send(&message(pair.chat, 0, 1));
    match pair.peer.hear() {
        Some(ToClient::Message(heard)) => assert_eq!(heard.header, ChatHeader::new(pair.chat, 0, 0)),
        other => panic!("{other:?}"),
    }

    let (mut messages, mut pongs) = (0, 0);
    while (messages, pongs) != (BACKLOG_FRAMES, 20) {
        match pair.victim.hear() {
            Some(ToClient::Message(heard)) => {
                assert_eq!(heard.header.counter, messages);
                messages += 1;
            }
            Some(ToClient::Pong) => pongs += 1,
            other => panic!("after {messages} messages: {other:?}"),
        }
    }
    assert_eq!(pair.victim.hear_what_is_there(), []);
}

/// Requests and their taking back filled the victim's mailbox, until its session ended for want of room.
#[test]
fn strangers_who_ask_and_take_back_do_not_end_a_chat() {
    const STRANGERS: u64 = 4;
    const REQUESTS: u64 = 1000;
    const MORE: u64 = 100;
    // All that they ask is passed on, so that nothing but the mailbox stops it.
    let world = World::with(&format!("{ROOMY}\nrequest_rate = 1000000\nrequest_burst = 1000000"));
    let mut pair = Pair::chatting(&world);
    // So that the mailbox is not emptied meanwhile.
    pair.pile_up();
    let strangers: Vec<_> = (1..=STRANGERS)
        .map(|number| {
            let mut stranger = Holder::registered(&world, &format!("stranger-{number}")).log_in();
            thread::spawn(move || {
                for n in 0..REQUESTS {
                    let chat = chat_id(number * REQUESTS + n);
                    stranger.say(&ToServer::RequestToTalk(Request { peer: "victim".parse().unwrap(), chat }));
                    stranger.say(&ToServer::ChatClosed(Close { chat, reason: CloseReason::CalledOff }));
                }
                stranger.hear_what_is_there();
            })
        })
        .collect();
    for stranger in strangers {
        stranger.join().unwrap();
    }
    for n in 0..MORE {
        pair.peer.send(&message(pair.chat, BACKLOG_FRAMES + n, 300));
    }
    assert_eq!(pair.peer.hear_what_is_there(), []);

    for n in 0..BACKLOG_FRAMES + MORE {
        match pair.victim.hear() {
            Some(ToClient::Message(heard)) => assert_eq!(heard.header.counter, n),
            other => panic!("after {n} messages: {other:?}"),
        }
    }
    assert_eq!(pair.victim.hear_what_is_there(), []);
}

/// Bob and his client waited for each other, for ever.
#[test]
fn bob_of_the_demo_answers_after_a_paste() {
    let room = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("demo").current_dir(room.path()).env("TMPDIR", room.path()).env("HOME", room.path());
    // On a terminal that says so little of itself the demo has the line face.
    command.env("TERM", "dumb");
    let (sender, ended) = mpsc::channel();
    // On a thread of its own: a demo that takes no more holds up who types.
    let story = thread::spawn(move || {
        let mut demo = Terminal::start(command);
        demo.expect("logged in to localhost as alice");
        demo.types("--r bob\n");
        demo.expect("bob: Hello alice.");
        demo.types(&"a line of a book\n".repeat(1500));
        demo.expect("bob: I got that");
        demo.types("/leave\n");
        demo.expect("ended with a goodbye");
        demo.types("--r bob\n");
        demo.expect("bob: Hello alice.");
        demo.types("Are you there?\n");
        demo.expect("14 characters");
        demo.types("\x03");
        sender.send(demo.ended().0).unwrap();
    });
    match ended.recv_timeout(PATIENCE) {
        Ok(code) => assert_eq!(code, Some(0)),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the demo takes no more"),
        Err(mpsc::RecvTimeoutError::Disconnected) => story.join().unwrap(),
    }
}

/// The order to end waited in the mailbox, behind what the removed user did not read.
#[test]
fn a_removed_user_who_reads_nothing_is_gone_at_once() {
    let world = World::with(&format!("{SHORT_IDLE}\n{ROOMY}"));
    let mut pair = Pair::chatting(&world);
    pair.pile_up();
    world.administer("remove", "victim", None);
    let begin = now();
    let left = Close { chat: pair.chat, reason: CloseReason::Left };
    assert_eq!(pair.peer.hear(), Some(ToClient::ChatClosed(left)));
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    loop {
        pair.peer.say(&ToServer::List(Page::default()));
        match pair.peer.hear() {
            Some(ToClient::List(List { names, .. })) if names.is_empty() => break,
            Some(ToClient::List(_)) => assert!(begin.elapsed() < AT_ONCE, "still online"),
            other => panic!("{other:?}"),
        }
    }
}

/// The client waited for its output to be read before it looked at any signal.
#[test]
fn two_interrupts_end_a_client_whose_output_is_not_read() {
    /// Of the 64 KiB that a pipe holds; far more than the rest is still to be told.
    const ALMOST_FULL: u64 = 60_000;
    let world = World::new();
    let rogue = Rogue::listen(&world);
    world.profile_at("alice", "alice", &rogue.dial());
    let mut command = world.chat("alice", "json");
    command.arg("--password-file").arg(world.password_file());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = Ends(command.spawn().unwrap());
    let mut session = rogue.let_in();
    for n in 0..1000 {
        let chat = chat_id(n);
        session.say(&ToClient::RequestToTalk(Request { peer: "mallory".parse().unwrap(), chat }));
        session.say(&ToClient::ChatClosed(Close { chat, reason: CloseReason::CalledOff }));
    }
    let begin = now();
    while ioctl_fionread(client.0.stdout.as_ref().unwrap()).unwrap() < ALMOST_FULL {
        assert!(begin.elapsed() < PATIENCE, "the client tells what it hears");
        thread::yield_now();
    }
    signal(&client.0, Signal::INT);
    // Two signals that wait to be taken would be one. That the first was taken shows in the client's leave.
    session.tls.sock.set_read_timeout(Some(AT_ONCE)).unwrap();
    assert_eq!(session.hear(), Some(ToServer::Exit));
    signal(&client.0, Signal::INT);
    exit_code(&mut client.0, AT_ONCE);
}

/// A user who talks to the victim. Both are connections made by hand; what they "seal" nobody looks into.
struct Pair {
    victim: Raw,
    peer: Raw,
    chat: ChatId,
}

impl Pair {
    fn chatting(world: &World) -> Self {
        let mut victim = Holder::registered(world, "victim").log_in();
        let mut peer = Holder::registered(world, "peer").log_in();
        let chat = chat_id(u64::MAX);
        peer.say(&ToServer::RequestToTalk(Request { peer: "victim".parse().unwrap(), chat }));
        assert!(matches!(victim.hear(), Some(ToClient::RequestToTalk(_))));
        victim.say(&ToServer::Accept(Accept { chat, key_package: vec![1].into() }));
        assert!(matches!(peer.hear(), Some(ToClient::Accept(_))));
        peer.say(&ToServer::SessionEstablishment(Establish { chat, welcome: vec![1].into() }));
        assert!(matches!(victim.hear(), Some(ToClient::SessionEstablishment(_))));
        Self { victim, peer, chat }
    }

    /// Sends the victim, who reads nothing, more than it can be sent.
    fn pile_up(&mut self) {
        for n in 0..BACKLOG_FRAMES {
            self.peer.send(&message(self.chat, n, BACKLOG_FRAME_BYTES));
        }
        assert_eq!(self.peer.hear_what_is_there(), []);
    }
}

fn chat_id(number: u64) -> ChatId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ChatId::from_bytes(bytes)
}

fn header(chat: ChatId) -> Vec<u8> {
    ChatHeader::new(chat, 0, 0).aad().unwrap()
}

/// A frame that a server takes for a message.
fn message(chat: ChatId, counter: u64, bytes: u16) -> Vec<u8> {
    let mut frame = ChatHeader::new(chat, counter, 0).aad().unwrap();
    frame.extend(bytes.to_be_bytes());
    frame.resize(frame.len() + usize::from(bytes), 7);
    frame
}

/// A peer with a client as it should be, who can also send what that client would not.
struct Turncoat {
    raw: Raw,
    client: Client,
    chat: Option<ChatId>,
    events: VecDeque<Event>,
}

impl Turncoat {
    fn log_in(world: &World, account: &Account) -> Self {
        let raw = Raw::connect(port_of(world), account.tls.clone()).unwrap();
        let client = Client::new(account.user.clone(), account.key.clone(), Box::new(UnwrapErr(SysRng)));
        let mut turncoat = Self { raw, client, chat: None, events: VecDeque::new() };
        turncoat.input(Input::Start);
        turncoat.until(|event| matches!(event, Event::LoggedIn { .. }));
        turncoat
    }

    fn until(&mut self, is_awaited: impl Fn(&Event) -> bool) {
        loop {
            while let Some(event) = self.events.pop_front() {
                if is_awaited(&event) {
                    return;
                }
            }
            let frame = self.raw.receive().expect("the server stays");
            self.input(Input::Frame(frame.into()));
        }
    }

    fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            self.client.handle(input, now(), &mut out);
            for output in out {
                match output {
                    Output::Connect => {
                        let negotiated = identity::Negotiated { group: "test".into(), suite: "test".into() };
                        inputs.push_back(Input::Connected { negotiated });
                    }
                    Output::Send(frame) => {
                        if let Ok(ToServer::RequestToTalk(request)) = ToServer::decode(&frame) {
                            self.chat = Some(request.chat);
                        }
                        self.raw.send(&frame);
                    }
                    Output::CheckServerName(_) => inputs.push_back(Input::ServerNameChecked(Ok(()))),
                    Output::LookUpPin(..) => inputs.push_back(Input::Pin(None)),
                    Output::StorePin(_) => {}
                    Output::Event(event) => self.events.push_back(event),
                    Output::MarkVerified(_)
                    | Output::ForgetPin(..)
                    | Output::Disconnect
                    | Output::Abandon
                    | Output::Quit(_) => panic!("{output:?}"),
                }
            }
        }
    }
}

/// A server with the world's certificate, which says what the test likes.
struct Rogue {
    port: u16,
    sessions: mpsc::Receiver<RogueSession>,
}

impl Rogue {
    fn listen(world: &World) -> Self {
        let file = |name| fs::read(world.server_dir().join(name)).unwrap();
        let config = identity::server_config(&file("server.pem"), &file("server.key")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, sessions) = mpsc::channel();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
                if sender.send(RogueSession { tls }).is_err() {
                    break;
                }
            }
        });
        Self { port, sessions }
    }

    fn dial(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn next(&self) -> RogueSession {
        self.sessions.recv_timeout(PATIENCE).expect("somebody connects")
    }

    fn let_in(&self) -> RogueSession {
        let mut session = self.next();
        assert!(matches!(session.hear(), Some(ToServer::Login(_))));
        session.say(&ToClient::LoggedIn("localhost".parse().unwrap()));
        session
    }
}

struct RogueSession {
    tls: StreamOwned<ServerConnection, TcpStream>,
}

impl RogueSession {
    fn say(&mut self, frame: &ToClient) {
        let frame = frame.encode().unwrap();
        self.tls.write_all(&u16::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
        self.tls.write_all(&frame).unwrap();
        self.tls.flush().unwrap();
    }

    /// The next frame; `None` when none comes.
    fn hear(&mut self) -> Option<ToServer> {
        let mut length = [0; 2];
        self.tls.read_exact(&mut length).ok()?;
        let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
        self.tls.read_exact(&mut frame).ok()?;
        Some(ToServer::decode(&frame).unwrap())
    }
}

/// A process that does not outlive the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a process to end: its exit code. Nothing tells of it within a limit, so it is looked at again and again.
#[track_caller]
fn exit_code(process: &mut Child, limit: Duration) -> Option<i32> {
    let begin = now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        assert!(begin.elapsed() < limit, "the process still runs after {limit:?}");
        thread::yield_now();
    }
}
