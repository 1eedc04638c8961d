//! The server: real sessions, with the real router and mailboxes, carried as `crates/server/src/connection.rs` carries
//! them, without tasks and sockets.

mod member;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use protocol::{
    Attempt, ChatHeader, ClientId, Code, Machine as _, Page, PublicKey, Recording, ServerError, ServerName, UserName,
};
use server::{
    cluster::Claim,
    config::Config,
    mailbox::{Inbox, Mailbox, Order, mailbox},
    router::{Joined, Router},
    session::{Input, Line, Output, Session, State},
    signal::{NodeId, SessionId, Signal, SignalKind, Undelivered},
};

use crate::{
    around::{Around, Frames, put_frame, short},
    model::Id,
    network::{Link, Piece, Way},
    sabotage::Sabotage,
};
use member::{Member, News};

/// As in `connection.rs`.
const MAX_UNSENT: usize = 64 * 1024;
const MAX_UNSENT_WITH_ANSWERS: usize = 3 * MAX_UNSENT;
const MAX_LETTERS: usize = 64;

/// A process of the server's, and what it holds.
pub(crate) struct Server {
    /// Which of the world's nodes it is.
    index: usize,
    config: Config,
    directory: BTreeMap<UserName, PublicKey>,
    router: Router,
    /// If there are others.
    member: Option<Member>,
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
    /// Something of the other nodes.
    Member(member::Step),
}

/// The server's end of a connection.
struct End {
    id: SessionId,
    session: Session,
    key: PublicKey,
    registered: Option<UserName>,
    /// What it waits for before anything else is heard.
    awaited: Option<Awaited>,
    /// What is to be done after that.
    deferred: Vec<Output>,
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

/// As in `connection.rs`.
enum Awaited {
    Registration,
    /// Of somebody who is asked to talk.
    Whereabouts(UserName, Signal),
}

impl Server {
    /// `is_alone`: there are no other nodes.
    pub(crate) fn new(
        index: usize,
        is_alone: bool,
        directory: BTreeMap<UserName, PublicKey>,
        around: &mut Around,
    ) -> Self {
        let config = Config::new(server_name());
        let mut server = Self {
            index,
            router: Router::new(config.list_page),
            member: None,
            config,
            directory,
            sessions: 0,
            ends: BTreeMap::new(),
            suspended_until: around.now,
            blind_until: around.now,
            state: Process::Running,
            recordings: Vec::new(),
        };
        if !is_alone {
            server.joins(around);
        }
        server
    }

    /// Begins as one of several.
    fn joins(&mut self, around: &mut Around) {
        let home = NodeId::new(around.dice.below(u64::MAX));
        self.router = Router::of(home, self.config.list_page);
        self.router.detach();
        self.member = Some(Member::new(self.index, home, around));
        let index = self.index;
        around.note(|| format!("server {index} is node {home}"));
    }

    /// Begins anew, with nothing.
    fn forgets(&mut self, around: &mut Around) {
        self.sessions = 0;
        match self.member {
            Some(_) => self.joins(around),
            None => self.router = Router::new(self.config.list_page),
        }
    }

    /// Whether the process is there, and is not about to end.
    pub(crate) fn is_running(&self) -> bool {
        self.state == Process::Running
    }

    /// Whether it takes connections.
    pub(crate) fn is_listening(&self) -> bool {
        self.is_running() && self.member.as_ref().is_none_or(|member| member.has_been_attached)
    }

    /// Whether it says that it should get connections.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_running() && self.member.as_ref().is_none_or(Member::is_attached)
    }

    /// A client has proved in a handshake to hold `key`.
    pub(crate) fn accept(&mut self, link: Link, key: PublicKey, around: &mut Around) {
        let (mailbox, inbox) = mailbox(self.config.mailbox_frames, self.config.mailbox_bytes);
        let id = SessionId { node: self.router.home(), number: self.sessions };
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
            awaited: None,
            deferred: Vec::new(),
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
        if let Some(member) = self.member.as_ref().filter(|_| !matches!(self.state, Process::Down { .. })) {
            member.steps(around, |at, step| add(at, Step::Member(step)));
        }
        for (&link, end) in &self.ends {
            if let Some(until) = end.closing {
                add(if end.unsent.is_empty() { around.now } else { until }, Step::Close(link));
                continue;
            }
            let is_stopping = matches!(self.state, Process::Stopping { .. });
            if is_stopping || (end.inbox.is_to_end() && end.awaited.is_none()) {
                add(around.now, Step::End(link));
            }
            if end.awaited.is_some() {
                continue;
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
                let Some(end) = self.ends.get_mut(&link) else { return };
                // The order to end waits for nobody.
                if let Some(Awaited::Whereabouts(..)) = end.awaited {
                    self.knows_where(link, None, around);
                } else if let Some(Awaited::Registration) = end.awaited.take() {
                    let id = end.id;
                    if let Some(user) = end.registered.take() {
                        self.goes_offline(link, id, &user, around);
                    }
                }
                let Some(end) = self.ends.get_mut(&link) else { return };
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
            Step::Member(step) => {
                let Self { member: Some(member), router, .. } = self else { return };
                let news = member.step(step, router, around);
                self.hears(news, around);
            }
        }
        if let Some(member) = self.member.as_mut().filter(|_| self.state == Process::Running) {
            member.errands(&self.router, around);
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
        around.nats.is_orphaned(self.index, false);
        around.is_gone(self.router.home());
        self.forgets(around);
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
                if let Some(member) = &mut self.member {
                    member.leaves(&self.router, around);
                }
                around.is_gone(self.router.home());
                self.forgets(around);
                let index = self.index;
                around.note(|| format!("server {index} has stopped"));
                self.state = Process::Down { restart: restart.max(around.now), is_dark: false };
            }
            Process::Down { .. } => {
                let index = self.index;
                around.note(|| format!("server {index} is up"));
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
            if end.closing.is_some() || end.awaited.is_some() || end.unsent.len() >= MAX_UNSENT {
                return;
            }
            let Some(signal) = end.inbox.try_receive() else { return };
            if around.sabotage == Some(Sabotage::KeepsLapses) && matches!(signal.kind, SignalKind::Lapsed(_)) {
                continue;
            }
            self.input(link, Input::Signal(signal), around);
        }
    }

    fn input(&mut self, link: Link, input: Input, around: &mut Around) {
        let outputs = self.handle(link, input, around);
        self.carry_out_all(link, outputs, around);
    }

    fn carry_out_all(&mut self, link: Link, outputs: Vec<Output>, around: &mut Around) {
        let mut pending: VecDeque<Output> = outputs.into();
        while let Some(output) = pending.pop_front() {
            if let Some(end) = self.ends.get_mut(&link).filter(|end| end.awaited.is_some()) {
                end.deferred.push(output);
                continue;
            }
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
                let request = matches!(signal.kind, SignalKind::Request { .. }).then(|| signal.clone());
                let why = self.router.send(&to, signal).err()?;
                if let (Undelivered::Absent, Some(request), Some(member)) = (why, request, &mut self.member)
                    && member.find(link, to.clone(), around)
                {
                    end.awaited = Some(Awaited::Whereabouts(to, request));
                    return None;
                }
                Some(Input::Undelivered { to, chat, is_repeated, why })
            }
            Output::LookUp(user) => {
                let is_blind = around.now < self.blind_until;
                Some(Input::Registered((!is_blind).then(|| self.directory.get(&user).copied())))
            }
            Output::Register { user, attempt, held } => {
                end.registered = Some(user.clone());
                around.logs_in(end.id, link, &user, attempt.client);
                let attempt = match around.sabotage {
                    // As if each log-in were that of another client.
                    Some(Sabotage::TakesLateForNewest) => {
                        Attempt::first(ClientId::from_bytes(u128::from(around.tally.inputs).to_be_bytes()))
                    }
                    _ => attempt,
                };
                let (id, key, mailbox) = (end.id, end.key, end.mailbox.clone());
                let Some(member) = &mut self.member else {
                    self.router.register(user, id, attempt, key, mailbox, held);
                    return None;
                };
                end.awaited = Some(Awaited::Registration);
                match self.router.join(&user, id, attempt, key, mailbox, held) {
                    Ok(Joined::Claim { presence, revision }) => {
                        member.claim(link, user, Claim::new(presence, revision), around);
                    }
                    Ok(Joined::Late) => self.is_registered(link, true, around),
                    Err(_) => self.is_registered(link, false, around),
                }
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
                    self.goes_offline(link, id, &user, around);
                }
                None
            }
        }
    }

    /// What a session has waited for is known.
    fn hears(&mut self, news: Option<News>, around: &mut Around) {
        match news {
            Some(News::Registered(link, is_online)) => self.is_registered(link, is_online, around),
            Some(News::Whereabouts(link, node)) => self.knows_where(link, node, around),
            None => {}
        }
    }

    fn is_registered(&mut self, link: Link, is_online: bool, around: &mut Around) {
        let Some(end) = self.ends.get_mut(&link).filter(|end| matches!(end.awaited, Some(Awaited::Registration)))
        else {
            return;
        };
        end.awaited = None;
        let deferred = std::mem::take(&mut end.deferred);
        if is_online {
            return self.carry_out_all(link, deferred, around);
        }
        let id = end.id;
        if let Some(user) = end.registered.take() {
            self.goes_offline(link, id, &user, around);
        }
        // It is not to be told that it is logged in.
        self.input(link, Input::End(ServerError::Unavailable), around);
    }

    /// Passes on a request to somebody of whom this node had not heard.
    fn knows_where(&mut self, link: Link, node: Option<NodeId>, around: &mut Around) {
        let Some(end) = self.ends.get_mut(&link) else { return };
        let Some(Awaited::Whereabouts(to, request)) = end.awaited.take() else { return };
        let mut outputs = Vec::new();
        let chat = request.chat;
        let sent = node.ok_or(Undelivered::Absent).and_then(|node| self.router.send_by(node, &to, request));
        if let Err(why) = sent {
            outputs = self.handle(link, Input::Undelivered { to, chat, is_repeated: false, why }, around);
        }
        if let Some(end) = self.ends.get_mut(&link) {
            outputs.append(&mut end.deferred);
        }
        self.carry_out_all(link, outputs, around);
    }

    fn goes_offline(&mut self, link: Link, id: SessionId, user: &UserName, around: &mut Around) {
        around.logs_off(id);
        if let Some(member) = &mut self.member {
            member.forget(link);
        }
        self.router.unregister(user, id);
        self.turn_away(link, user);
    }

    /// Who is online by the sessions that there are.
    pub(crate) fn registered(&self) -> impl Iterator<Item = (&UserName, SessionId)> {
        self.ends.values().filter_map(|end| Some((end.registered.as_ref()?, end.id)))
    }

    /// Who is online by what it tells its users. `None`: it cannot know, or is about to hear more.
    pub(crate) fn list(&self) -> Option<Vec<UserName>> {
        let nobody: UserName = "nobody".parse().ok()?;
        let is_sure = self.is_running() && self.member.as_ref().is_none_or(|member| !member.is_busy());
        is_sure.then(|| self.router.list(&nobody, &Page::default()).names)
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
