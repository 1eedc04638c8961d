//! The server: real sessions, with the real router and mailboxes, carried as `crates/server/src/connection.rs` carries
//! them, without tasks and sockets.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use protocol::{
    Attempt, ChatHeader, ClientId, Code, Machine as _, PublicKey, Recording, ServerError, ServerName, UserName,
};
use server::{
    config::Config,
    mailbox::{Inbox, Mailbox, Order, mailbox},
    router::Router,
    session::{Input, Line, Output, Session, State},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

use crate::{
    around::{Around, Frames, put_frame, short},
    model::Id,
    network::{Link, Piece, Way},
    sabotage::Sabotage,
};

/// As in `connection.rs`.
const MAX_UNSENT: usize = 64 * 1024;
const MAX_UNSENT_WITH_ANSWERS: usize = 3 * MAX_UNSENT;
const MAX_LETTERS: usize = 64;

/// The server's process, and what it holds.
pub(crate) struct Server {
    config: Config,
    directory: BTreeMap<UserName, PublicKey>,
    router: Router,
    sessions: u64,
    ends: BTreeMap<Link, End>,
    /// Until when it stands still.
    pub(crate) suspended_until: Instant,
    /// Until when its directory cannot be read.
    pub(crate) blind_until: Instant,
    pub(crate) state: Process,
    /// What the sessions of all of its lives were given.
    pub(crate) recordings: Vec<(SessionId, Recording<Input>)>,
}

/// What the server's process is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Running,
    /// It was told to end, and lets no one in.
    Stopping {
        /// When it ends whoever is still there.
        until: Instant,
        /// When it starts again.
        restart: Instant,
    },
    Down {
        /// When it starts again.
        restart: Instant,
        /// Whether its machine is gone as well, so that nobody answers.
        is_dark: bool,
    },
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtServer {
    Free,
    OnTheWay,
    /// In this chat, with an open line.
    Chatting(Id),
}

/// What the server can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes came.
    Read(Link),
    /// A whole frame is there, or the end of the connection.
    Frame(Link),
    /// Letters are there.
    Letters(Link),
    /// The session is to end.
    End(Link),
    /// It is time.
    Tick(Link),
    /// What is to be written after the end takes too long.
    Close(Link),
    /// The server is up again, or down.
    Process,
}

/// The server's end of a connection.
struct End {
    id: SessionId,
    session: Session,
    key: PublicKey,
    registered: Option<UserName>,
    /// Which log-in it is registered for.
    attempt: Option<Attempt>,
    mailbox: Mailbox,
    inbox: Inbox,
    /// When it will turn to its letters.
    letters_at: Option<Instant>,
    bytes: Frames,
    frames: VecDeque<Bytes>,
    is_read_to_end: bool,
    unsent: BytesMut,
    /// The session has ended; until when what is unsent may still leave.
    closing: Option<Instant>,
    recording: usize,
}

impl Server {
    pub(crate) fn new(directory: BTreeMap<UserName, PublicKey>, now: Instant) -> Self {
        let config = Config::new(server_name());
        Self {
            router: Router::new(config.list_page),
            config,
            directory,
            sessions: 0,
            ends: BTreeMap::new(),
            suspended_until: now,
            blind_until: now,
            state: Process::Running,
            recordings: Vec::new(),
        }
    }

    /// Whether it takes connections.
    pub(crate) fn is_running(&self) -> bool {
        self.state == Process::Running
    }

    /// A client has proved in a handshake to hold `key`.
    pub(crate) fn accept(&mut self, link: Link, key: PublicKey, around: &mut Around) {
        let (mailbox, inbox) = mailbox(self.config.mailbox_frames, self.config.mailbox_bytes);
        let id = SessionId::new(self.sessions);
        self.sessions += 1;
        let patience = self.config.patience();
        let recording = self.recordings.len();
        if around.trace.lines.is_some() {
            self.recordings.push((id, Recording::default()));
        }
        let end = End {
            id,
            session: Session::new(id, key, server_name(), patience, around.now),
            key,
            registered: None,
            attempt: None,
            mailbox,
            inbox,
            letters_at: None,
            bytes: Frames::default(),
            frames: VecDeque::new(),
            is_read_to_end: false,
            unsent: BytesMut::new(),
            closing: None,
            recording,
        };
        self.ends.insert(link, end);
    }

    /// Where the session of a connection is, once logged in.
    pub(crate) fn place(&self, link: Link) -> Option<AtServer> {
        Some(match self.ends.get(&link)?.session.state()? {
            State::Free => AtServer::Free,
            State::Chatting { chat, line: Line::Open(_), .. } => AtServer::Chatting(*chat.as_bytes()),
            State::Chatting { line: Line::Broken { .. }, .. }
            | State::Calling { .. }
            | State::Ringing { .. }
            | State::Establishing { .. } => AtServer::OnTheWay,
        })
    }

    /// All that can be done, and when.
    pub(crate) fn steps(&self, around: &Around, steps: &mut Vec<(Instant, Step)>) {
        match self.state {
            Process::Running => {}
            Process::Stopping { until, .. } => {
                let at = if self.ends.is_empty() { around.now } else { until };
                steps.push((at.max(self.suspended_until), Step::Process));
            }
            Process::Down { restart, .. } => steps.push((restart, Step::Process)),
        }
        let mut add = |at: Instant, step| steps.push((at.max(self.suspended_until), step));
        for (&link, end) in &self.ends {
            if let Some(until) = end.closing {
                add(if end.unsent.is_empty() { around.now } else { until }, Step::Close(link));
                continue;
            }
            if end.inbox.is_to_end() || matches!(self.state, Process::Stopping { .. }) {
                add(around.now, Step::End(link));
            }
            if let Some(at) = end.letters_at.filter(|_| end.unsent.len() < MAX_UNSENT) {
                add(at, Step::Letters(link));
            }
            if end.unsent.len() < MAX_UNSENT_WITH_ANSWERS {
                if !end.frames.is_empty() || end.is_read_to_end {
                    add(around.now, Step::Frame(link));
                } else if let Some(at) = around.network.arrives(link, Way::Up) {
                    add(at, Step::Read(link));
                }
            }
            if let Some(at) = end.session.deadline() {
                add(at, Step::Tick(link));
            }
        }
    }

    pub(crate) fn step(&mut self, step: Step, around: &mut Around) {
        match step {
            Step::Read(link) => {
                let piece = around.network.read(link, Way::Up);
                let Some(end) = self.ends.get_mut(&link) else { return };
                match piece {
                    Some(Piece::Bytes(bytes)) => {
                        end.bytes.put(&bytes);
                        end.frames.extend(std::iter::from_fn(|| end.bytes.next()));
                    }
                    Some(Piece::End) => end.is_read_to_end = true,
                    None => {}
                }
            }
            Step::Frame(link) => {
                let frame = self.ends.get_mut(&link).and_then(|end| end.frames.pop_front());
                self.input(link, frame.map_or(Input::Lost, Input::Frame), around);
            }
            Step::Letters(link) => self.letters(link, MAX_LETTERS, around),
            Step::End(link) => {
                let Some(end) = self.ends.get(&link) else { return };
                let how = match (self.state, end.inbox.order()) {
                    (Process::Stopping { .. }, _) => Input::End(ServerError::ShuttingDown),
                    (_, Some(Order::End(reason))) => Input::End(reason),
                    (_, Some(Order::Replaced { held })) => Input::Replaced { held },
                    (_, None) => Input::Lost,
                };
                if !matches!(how, Input::Lost) {
                    self.letters(link, MAX_LETTERS, around);
                }
                self.input(link, how, around);
            }
            Step::Tick(link) => self.input(link, Input::Tick, around),
            Step::Close(link) => {
                if let Some(end) = self.ends.remove(&link)
                    && end.unsent.is_empty()
                {
                    around.network.finish(link, Way::Down, around.now);
                }
                around.network.close(link, Way::Down, around.now);
            }
            Step::Process => self.change(around),
        }
        self.wake(around);
        self.flush(around);
    }

    /// Ends the process, or all that it is. `is_dark`: nobody ends its connections either.
    pub(crate) fn crash(&mut self, is_dark: bool, restart: Instant, around: &mut Around) {
        for link in std::mem::take(&mut self.ends).into_keys() {
            if is_dark {
                around.network.cut(link, crate::network::Noticed::Neither, around.now);
            }
            around.network.close(link, Way::Down, around.now);
        }
        self.router = Router::new(self.config.list_page);
        self.sessions = 0;
        self.suspended_until = around.now;
        self.state = Process::Down { restart, is_dark };
    }

    /// Tells the process to end.
    pub(crate) fn stop(&mut self, restart: Instant, around: &Around) {
        self.state = Process::Stopping { until: around.now + self.config.shutdown_timeout, restart };
    }

    /// Ends all that faults have left behind, soon.
    pub(crate) fn heal(&mut self, around: &Around) {
        let soon = around.now + Duration::from_millis(100);
        self.suspended_until = self.suspended_until.min(soon);
        self.blind_until = self.blind_until.min(soon);
        match &mut self.state {
            Process::Stopping { restart, .. } | Process::Down { restart, .. } => *restart = (*restart).min(soon),
            Process::Running => {}
        }
    }

    /// Checks what must hold at any time, and writes what can be written.
    pub(crate) fn flush(&mut self, around: &mut Around) {
        let (letters, bytes) = (self.config.mailbox_frames, self.config.mailbox_bytes);
        for (&link, end) in &mut self.ends {
            let most = MAX_UNSENT_WITH_ANSWERS + bytes + MAX_LETTERS * protocol::limits::MAX_FRAME;
            if end.inbox.len() > letters || end.unsent.len() > most {
                let (letters, unsent) = (end.inbox.len(), end.unsent.len());
                around.violated(format!("memory bounded: {letters} letters, {unsent} bytes unsent"));
            }
            if self.suspended_until > around.now {
                continue;
            }
            while !end.unsent.is_empty() && around.network.has_room(link, Way::Down) {
                let part = end.unsent.split_to(end.unsent.len().min(16 * 1024)).freeze();
                around.network.write(link, Way::Down, part, around.now);
            }
        }
    }

    fn change(&mut self, around: &mut Around) {
        match self.state {
            Process::Stopping { restart, .. } => {
                for link in std::mem::take(&mut self.ends).into_keys() {
                    around.network.close(link, Way::Down, around.now);
                }
                self.router = Router::new(self.config.list_page);
                self.sessions = 0;
                around.note(|| "server has stopped".to_owned());
                self.state = Process::Down { restart: restart.max(around.now), is_dark: false };
            }
            Process::Down { .. } => {
                around.note(|| "server is up".to_owned());
                self.state = Process::Running;
            }
            Process::Running => {}
        }
    }

    /// Whoever has new letters turns to them soon.
    fn wake(&mut self, around: &mut Around) {
        for end in self.ends.values_mut() {
            if end.inbox.is_empty() {
                end.letters_at = None;
            } else if end.letters_at.is_none() {
                end.letters_at = Some(around.now + around.dice.time(Duration::from_millis(1)));
            }
        }
    }

    fn letters(&mut self, link: Link, most: usize, around: &mut Around) {
        for _ in 0..most {
            let Some(end) = self.ends.get_mut(&link) else { return };
            if end.closing.is_some() || end.unsent.len() >= MAX_UNSENT {
                return;
            }
            let Some(signal) = end.inbox.try_receive() else { return };
            self.input(link, Input::Signal(signal), around);
        }
    }

    fn input(&mut self, link: Link, input: Input, around: &mut Around) {
        let mut pending: VecDeque<Output> = self.handle(link, input, around).into();
        while let Some(output) = pending.pop_front() {
            let Some(answer) = self.carry_out(link, output, around) else {
                continue;
            };
            let mut out = Vec::new();
            if matches!(answer, Input::Undelivered { why: Undelivered::Absent, .. }) {
                while !out.contains(&Output::Disconnect)
                    && let Some(letter) = self.ends.get_mut(&link).and_then(|end| end.inbox.try_receive())
                {
                    out.extend(self.handle(link, Input::Signal(letter), around));
                }
            }
            out.extend(self.handle(link, answer, around));
            pending.extend(out);
        }
    }

    fn handle(&mut self, link: Link, input: Input, around: &mut Around) -> Vec<Output> {
        let mut out = Vec::new();
        let Some(end) = self.ends.get_mut(&link) else { return out };
        around.tally.inputs += 1;
        if let Some((_, recording)) = self.recordings.get_mut(end.recording) {
            recording.note(&input, around.now);
            around.note(|| format!("session {:?} <- {}", end.id, describe(&input)));
        }
        end.session.handle(input, around.now, &mut out);
        if end.session.deadline().is_some_and(|at| at <= around.now) {
            around.violated("no one stuck past a timer: a session's deadline has passed and stays");
        }
        out
    }

    fn carry_out(&mut self, link: Link, output: Output, around: &mut Around) -> Option<Input> {
        let end = self.ends.get_mut(&link)?;
        match output {
            Output::Send(frame) => {
                around.note(|| format!("session {:?} -> {}", end.id, short(&frame, false)));
                let code = frame.first().copied();
                if (code == Some(Code::Message as u8) || code == Some(Code::Resume as u8))
                    && let Some(chat) = frame.get(chat_place(code)).and_then(|id| id.try_into().ok())
                {
                    around.passed.insert(chat, around.now);
                }
                if around.sabotage == Some(Sabotage::SendsToAll) && frame.first() == Some(&(Code::Message as u8)) {
                    self.ends.values_mut().for_each(|end| put_frame(frame.clone(), &mut end.unsent));
                } else {
                    put_frame(frame, &mut end.unsent);
                }
                None
            }
            Output::Signal { to, signal } => {
                let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
                around.note(|| format!("session {:?} => {to}: {}", end.id, kind(&signal)));
                let result = self.router.send(&to, signal);
                result.err().map(|why| Input::Undelivered { to, chat, is_repeated, why })
            }
            Output::LookUp(user) => {
                let is_blind = around.now < self.blind_until;
                Some(Input::Registered((!is_blind).then(|| self.directory.get(&user).copied())))
            }
            Output::Register { user, attempt, held } => {
                end.registered = Some(user.clone());
                end.attempt = Some(attempt);
                let is_newer = |newer: &End| {
                    newer.registered.as_ref() == Some(&user)
                        && newer.attempt.is_some_and(|other| other.client != attempt.client)
                };
                around.is_put_out |= self.ends.range(link + 1..).any(|(_, newer)| is_newer(newer));
                let end = self.ends.get(&link)?;
                let attempt = match around.sabotage {
                    // As if each log-in were that of another client.
                    Some(Sabotage::TakesLateForNewest) => {
                        Attempt::first(ClientId::from_bytes(u128::from(around.tally.inputs).to_be_bytes()))
                    }
                    _ => attempt,
                };
                self.router.register(user, end.id, attempt, end.key, end.mailbox.clone(), held);
                None
            }
            Output::List(page) => {
                let user = end.session.user()?;
                Some(Input::Listed(self.router.list(user, &page)))
            }
            Output::Disconnect => {
                end.closing = Some(around.now + self.config.shutdown_timeout);
                end.frames.clear();
                let (id, user) = (end.id, end.registered.take());
                if let Some(user) = user {
                    self.router.unregister(&user, id);
                    self.turn_away(link, &user);
                }
                None
            }
        }
    }

    fn turn_away(&mut self, link: Link, user: &UserName) {
        let Some(end) = self.ends.get_mut(&link) else { return };
        while let Some(letter) = end.inbox.try_receive() {
            if let Signal { from, chat, kind: SignalKind::Request { .. }, .. } = letter {
                let (session, kind) = (end.id, SignalKind::Unavailable);
                let _ = self.router.send(&from, Signal { from: user.clone(), session, chat, kind });
            }
        }
    }
}

/// Where the chat's id stands in a frame: a sealed one has its version first.
pub(crate) fn chat_place(code: Option<u8>) -> std::ops::Range<usize> {
    if code == Some(Code::Message as u8) { 2..18 } else { 1..17 }
}

/// What the server of a world calls itself.
pub(crate) fn server_name() -> ServerName {
    #[expect(clippy::expect_used, reason = "a constant")]
    "chat.example".parse().expect("a name")
}

fn kind(signal: &Signal) -> String {
    match &signal.kind {
        SignalKind::Message(frame) => {
            let header = frame.get(1..).and_then(|rest| ChatHeader::chat_of(frame).ok().map(|chat| (chat, rest.len())));
            format!("Message({header:?})")
        }
        SignalKind::Accept { .. } => format!("Accept {:?}", signal.chat),
        SignalKind::Establish { .. } => format!("Establish {:?}", signal.chat),
        SignalKind::Request { .. } => format!("Request {:?}", signal.chat),
        kind => format!("{kind:?} {:?}", signal.chat),
    }
}

/// An input in short.
pub(crate) fn describe(input: &Input) -> String {
    match input {
        Input::Frame(frame) => short(frame, true),
        Input::Signal(signal) => format!("{} {:?}: {}", signal.from, signal.session, kind(signal)),
        Input::Registered(answer) => format!("Registered({:?})", answer.map(|key| key.is_some())),
        input => format!("{input:?}"),
    }
}
