//! One user's program: the real client, driven as `crates/client/src/driver.rs` drives it, without tasks and sockets.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use client::{Client, Command, ErrorCode, Event, Failure, Input, Output};
use identity::{Negotiated, Pin, UserKey};
use protocol::{Code, Machine as _, Recording, ServerName, UserName};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

use crate::{
    around::{Around, Frames, put_frame, short},
    model::{Broken, Id, Model},
    network::{Link, Piece, Way},
    sabotage::Sabotage,
    server::{Server, server_name},
    tally::Fault,
};

/// Names of the users, the first of whom calls the second.
pub(crate) const NAMES: &[&str] = &["alice", "bob", "carol"];

/// As in `driver.rs`.
const MAX_UNSENT: usize = 1024;
const FAREWELL: Duration = Duration::from_secs(2);
/// As in `connect.rs`.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events that a face may leave unread, as in `crates/sottovoce/src/chat.rs`.
const MAX_UNREAD: usize = 64;

/// A user, and the computer with the profile.
pub(crate) struct User {
    pub(crate) index: usize,
    pub(crate) key: Arc<UserKey>,
    pins: BTreeMap<(UserName, ServerName), Pin>,
    seed: u64,
    launches: u64,
    pub(crate) program: Option<Program>,
    /// Until when the program stands still.
    pub(crate) suspended_until: Instant,
    /// Until when the face takes no events.
    pub(crate) unread_until: Instant,
    /// Until when no connection can be made, and whether one is told so at once.
    pub(crate) refused_until: Instant,
    pub(crate) is_unanswered: bool,
    /// What the programs of all launches were given.
    pub(crate) recordings: Vec<Recording<Input>>,
}

/// A run of the program.
pub(crate) struct Program {
    client: Client,
    link: Option<End>,
    connecting: Option<Connecting>,
    inputs: VecDeque<Input>,
    outputs: VecDeque<Output>,
    blocked: Option<Blocked>,
    /// What was typed and not taken.
    pub(crate) typed: VecDeque<Command>,
    /// When the system says that the network is another.
    network_changes: Option<Instant>,
    unread: usize,
    has_quit: bool,
    held_back: Option<Output>,
}

/// The client's end of a connection.
struct End {
    link: Link,
    bytes: Frames,
    frames: VecDeque<Bytes>,
    is_read_to_end: bool,
    unsent: VecDeque<Bytes>,
    is_broken: bool,
}

struct Connecting {
    at: Instant,
    gives_up: Instant,
}

/// What the driver waits for, and does nothing else.
enum Blocked {
    /// The last frames leave, and the server ends the connection.
    Farewell { until: Instant, end: Box<End>, is_finished: bool },
    /// The face takes an event.
    Face,
}

/// What a user's program can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Read,
    Frame,
    Connect,
    Command,
    Tick,
    NetworkChange,
    Unblock,
}

impl User {
    pub(crate) fn new(index: usize, seed: u64, now: Instant) -> Self {
        Self {
            index,
            key: keys()[index].clone(),
            pins: BTreeMap::new(),
            seed,
            launches: 0,
            program: None,
            suspended_until: now,
            unread_until: now,
            refused_until: now,
            is_unanswered: false,
            recordings: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> UserName {
        name(self.index)
    }

    /// Starts the program.
    pub(crate) fn launch(&mut self, model: &mut Model, around: &mut Around) {
        self.launches += 1;
        let rng = ChaCha20Rng::seed_from_u64(
            self.seed.wrapping_mul(1009).wrapping_add(self.launches * 3 + self.index as u64),
        );
        self.program = Some(Program {
            client: Client::new(self.name(), self.key.clone(), Box::new(rng)),
            link: None,
            connecting: None,
            inputs: VecDeque::new(),
            outputs: VecDeque::new(),
            blocked: None,
            typed: VecDeque::new(),
            network_changes: None,
            unread: 0,
            has_quit: false,
            held_back: None,
        });
        if around.trace.lines.is_some() {
            self.recordings.push(Recording::default());
        }
        self.input(Input::Start, model, around);
    }

    /// Ends the program from outside.
    pub(crate) fn kill(&mut self, model: &mut Model, around: &mut Around) {
        if let Some(program) = self.program.take() {
            let farewell = match program.blocked {
                Some(Blocked::Farewell { end, .. }) => Some(*end),
                _ => None,
            };
            for end in program.link.into_iter().chain(farewell) {
                around.network.close(end.link, Way::Up, around.now);
            }
            model.killed(self.index);
        }
        (self.suspended_until, self.unread_until) = (around.now, around.now);
    }

    /// Ends what faults have left behind.
    pub(crate) fn heal(&mut self, around: &Around) {
        for until in [&mut self.suspended_until, &mut self.unread_until, &mut self.refused_until] {
            *until = (*until).min(around.now);
        }
    }

    /// The connection that the program has.
    pub(crate) fn link(&self) -> Option<Link> {
        self.program.as_ref()?.link.as_ref().map(|end| end.link)
    }

    /// The system will say that the network is another.
    pub(crate) fn changes_network(&mut self, at: Instant) {
        if let Some(program) = &mut self.program {
            program.network_changes = Some(at);
        }
    }

    /// Whether the program does nothing but wait for what others do.
    pub(crate) fn is_idle(&self) -> bool {
        self.program
            .as_ref()
            .is_none_or(|program| program.blocked.is_none() && program.connecting.is_none() && program.typed.is_empty())
    }

    /// All that can be done, and when.
    pub(crate) fn steps(&self, around: &Around, steps: &mut Vec<(Instant, Step)>) {
        let Some(program) = &self.program else { return };
        let mut add = |at: Instant, step| steps.push((at.max(self.suspended_until), step));
        match &program.blocked {
            Some(Blocked::Farewell { until, end, .. }) => {
                add(*until, Step::Unblock);
                if let Some(at) = around.network.arrives(end.link, Way::Down) {
                    add(at, Step::Read);
                }
                return;
            }
            Some(Blocked::Face) => return add(self.unread_until, Step::Unblock),
            None => {}
        }
        if let Some(end) = &program.link {
            if !end.frames.is_empty() || end.is_read_to_end || end.is_broken {
                add(around.now, Step::Frame);
            } else if let Some(at) = around.network.arrives(end.link, Way::Down) {
                add(at, Step::Read);
            }
        }
        if let Some(connecting) = &program.connecting {
            add(connecting.at, Step::Connect);
        }
        if let Some(at) = program.network_changes {
            add(at, Step::NetworkChange);
        }
        if !program.typed.is_empty() && program.client.is_ready() {
            add(around.now, Step::Command);
        }
        if around.sabotage != Some(Sabotage::StopsTheClock)
            && let Some(at) = program.client.deadline()
        {
            add(at, Step::Tick);
        }
    }

    pub(crate) fn step(&mut self, step: Step, server: &mut Server, model: &mut Model, around: &mut Around) {
        let Some(program) = &mut self.program else { return };
        match step {
            Step::Read => {
                if let Some(Blocked::Farewell { end, .. }) = &program.blocked {
                    if matches!(around.network.read(end.link, Way::Down), Some(Piece::End)) {
                        self.unblock(model, around);
                    }
                    return;
                }
                let Some(end) = &mut program.link else { return };
                match around.network.read(end.link, Way::Down) {
                    Some(Piece::Bytes(bytes)) => {
                        end.bytes.put(&bytes);
                        end.frames.extend(std::iter::from_fn(|| end.bytes.next()));
                    }
                    Some(Piece::End) => end.is_read_to_end = true,
                    None => {}
                }
            }
            Step::Frame => {
                let frame = program.link.as_mut().filter(|end| !end.is_broken).and_then(|end| end.frames.pop_front());
                match frame {
                    Some(frame) => {
                        if frame.first() == Some(&(Code::Resume as u8)) {
                            if around.sabotage == Some(Sabotage::KeepsResume) {
                                return;
                            }
                            around.tally.resumed += 1;
                        }
                        if let Err(broken) = reached(model, self.index, &frame) {
                            around.violated(broken);
                        }
                        self.input(Input::Frame(frame), model, around);
                    }
                    None => {
                        self.abandon(around);
                        self.input(Input::Lost, model, around);
                    }
                }
            }
            Step::Connect => self.connect(server, model, around),
            Step::Command => {
                let Some(command) = program.typed.pop_front() else { return };
                // So that what the command brings is told from what time brings.
                if program.client.deadline().is_some_and(|at| at <= around.now) {
                    program.typed.push_front(command);
                    return self.input(Input::Tick, model, around);
                }
                self.input(Input::Command(command), model, around);
            }
            Step::Tick => self.input(Input::Tick, model, around),
            Step::NetworkChange => {
                program.network_changes = None;
                self.input(Input::NetworkChanged, model, around);
            }
            Step::Unblock => self.unblock(model, around),
        }
    }

    /// Writes what can be written.
    pub(crate) fn flush(&mut self, around: &mut Around) {
        let Some(program) = &mut self.program else { return };
        if self.suspended_until > around.now {
            return;
        }
        let is_farewell = matches!(program.blocked, Some(Blocked::Farewell { .. }));
        let end = match &mut program.blocked {
            Some(Blocked::Farewell { end, is_finished: false, .. }) => end,
            _ => match &mut program.link {
                Some(end) => end,
                None => return,
            },
        };
        while !end.unsent.is_empty() && around.network.has_room(end.link, Way::Up) {
            let mut bytes = BytesMut::new();
            // The writer feeds all that is ready, and the socket takes it in one go.
            while bytes.len() < 8 * 1024
                && let Some(frame) = end.unsent.pop_front()
            {
                put_frame(frame, &mut bytes);
            }
            around.network.write(end.link, Way::Up, bytes.freeze(), around.now);
        }
        if is_farewell && end.unsent.is_empty() {
            around.network.finish(end.link, Way::Up, around.now);
            if let Some(Blocked::Farewell { is_finished, .. }) = &mut program.blocked {
                *is_finished = true;
            }
        }
    }

    fn connect(&mut self, server: &mut Server, model: &mut Model, around: &mut Around) {
        use crate::server::Process;
        let Some(program) = &mut self.program else { return };
        let Some(connecting) = &mut program.connecting else { return };
        let is_refused = self.refused_until > around.now;
        let is_dark = matches!(server.state, Process::Down { is_dark: true, .. });
        if is_refused && !connecting.gives_up.eq(&connecting.at) {
            around.tally.fault(if self.is_unanswered { Fault::Hanging } else { Fault::Refused });
        }
        let waits = if is_refused && self.is_unanswered || is_dark {
            Some(connecting.gives_up)
        } else {
            (server.suspended_until > around.now).then_some(server.suspended_until.min(connecting.gives_up))
        };
        if let Some(at) = waits
            && connecting.gives_up > around.now
        {
            connecting.at = at;
            return;
        }
        program.connecting = None;
        if is_refused || waits.is_some() || !server.is_running() {
            let failure = Failure::new(ErrorCode::Unreachable, "it is so in this world");
            return self.input(Input::NotConnected(failure), model, around);
        }
        let link = around.network.connect(around.now);
        server.accept(link, self.key.public(), around);
        program.link = Some(End {
            link,
            bytes: Frames::default(),
            frames: VecDeque::new(),
            is_read_to_end: false,
            unsent: VecDeque::new(),
            is_broken: false,
        });
        let negotiated = Negotiated { group: "simulated".to_owned(), suite: "simulated".to_owned() };
        self.input(Input::Connected { negotiated }, model, around);
    }

    fn abandon(&mut self, around: &mut Around) {
        let Some(program) = &mut self.program else { return };
        program.connecting = None;
        if let Some(end) = program.link.take() {
            around.network.close(end.link, Way::Up, around.now);
        }
    }

    fn unblock(&mut self, model: &mut Model, around: &mut Around) {
        let Some(program) = &mut self.program else { return };
        if let Some(Blocked::Farewell { end, .. }) = program.blocked.take() {
            around.network.close(end.link, Way::Up, around.now);
        }
        program.unread = 0;
        self.go_on(model, around);
    }

    fn input(&mut self, input: Input, model: &mut Model, around: &mut Around) {
        if let Some(program) = &mut self.program {
            program.inputs.push_back(input);
            self.go_on(model, around);
        }
    }

    /// Does what is to be done, until there is nothing more or the driver has to wait.
    fn go_on(&mut self, model: &mut Model, around: &mut Around) {
        loop {
            let Some(program) = &mut self.program else { return };
            if program.blocked.is_some() {
                return;
            }
            if let Some(output) = program.outputs.pop_front() {
                let answer = self.carry_out(output, model, around);
                if let Some(program) = &mut self.program {
                    program.inputs.extend(answer);
                }
            } else if let Some(input) = program.inputs.pop_front() {
                self.handle(input, model, around);
            } else {
                if program.has_quit {
                    if let Err(broken) = model.quit(self.index) {
                        around.violated(broken);
                    }
                    self.abandon(around);
                    self.program = None;
                }
                return;
            }
        }
    }

    fn handle(&mut self, input: Input, model: &mut Model, around: &mut Around) {
        let Some(program) = &mut self.program else { return };
        around.tally.inputs += 1;
        if let Some(recording) = self.recordings.last_mut() {
            recording.note(&input, around.now);
            around.note(|| format!("{} <- {}", NAMES[self.index], describe(&input)));
        }
        let command = match &input {
            Input::Command(command) => Some(command.clone()),
            _ => None,
        };
        let mut out = Vec::new();
        program.client.handle(input, around.now, &mut out);
        if program.client.deadline().is_some_and(|at| at <= around.now) {
            around.violated("no one stuck past a timer: a client's deadline has passed and stays");
        }
        if let Some(command) = command {
            let is_refused = out.iter().any(|output| matches!(output, Output::Event(Event::Error { .. })));
            if let Err(broken) = commanded(model, self.index, &command, is_refused, around.now) {
                around.violated(broken);
            }
        }
        match around.sabotage {
            Some(Sabotage::ShowsLate) => {
                let place = out.iter().position(|output| matches!(output, Output::Event(Event::Message { .. })));
                if let Some(place) = place {
                    match program.held_back.take() {
                        Some(before) => out.insert(place + 1, before),
                        None => program.held_back = Some(out.remove(place)),
                    }
                }
            }
            Some(sabotage) => sabotage.spoil(&mut out),
            None => {}
        }
        program.outputs.extend(out);
    }

    fn carry_out(&mut self, output: Output, model: &mut Model, around: &mut Around) -> Option<Input> {
        let program = self.program.as_mut()?;
        match output {
            Output::Connect => {
                let at = around.now + around.network.handshake();
                program.connecting = Some(Connecting { at, gives_up: around.now + PATIENCE });
            }
            Output::Send(frame) => {
                around.note(|| format!("{} -> {}", NAMES[self.index], short(&frame, true)));
                if let Err(broken) = sent(model, self.index, &frame) {
                    around.violated(broken);
                }
                if let Some(end) = &mut program.link {
                    if end.unsent.len() >= MAX_UNSENT {
                        end.is_broken = true;
                    } else {
                        end.unsent.push_back(frame);
                    }
                }
            }
            Output::Disconnect => {
                program.connecting = None;
                if let Some(end) = program.link.take() {
                    let (until, end) = (around.now + FAREWELL, Box::new(end));
                    program.blocked = Some(Blocked::Farewell { until, end, is_finished: false });
                }
            }
            Output::Abandon => self.abandon(around),
            Output::CheckServerName(name) => {
                let checked = if name == server_name() {
                    Ok(())
                } else {
                    Err(Failure::new(ErrorCode::UntrustedServer, "another name"))
                };
                return Some(Input::ServerNameChecked(checked));
            }
            Output::LookUpPin(user, server) => return Some(Input::Pin(self.pins.get(&(user, server)).cloned())),
            Output::StorePin(member) => {
                self.pins.insert((member.user, member.server), Pin { key: member.key, verified: false });
            }
            Output::MarkVerified(member) => {
                let pin = self.pins.get_mut(&(member.user.clone(), member.server)).filter(|pin| pin.key == member.key);
                let changed = Failure::new(ErrorCode::KeyChanged, "another key");
                let result = pin.map(|pin| pin.verified = true).ok_or(changed);
                return Some(Input::Marked(member.user, result));
            }
            Output::ForgetPin(user, server) => {
                let none = Failure::new(ErrorCode::BadName, "no key");
                let result = self.pins.remove(&(user.clone(), server)).map(drop).ok_or(none);
                return Some(Input::Forgotten(user, result));
            }
            Output::Event(event) => {
                around.note(|| format!("{} :: {}", NAMES[self.index], tell(&event)));
                program.unread += 1;
                if self.unread_until <= around.now {
                    program.unread = 0;
                } else if program.unread > MAX_UNREAD {
                    program.blocked = Some(Blocked::Face);
                }
                if let Err(broken) = model.event(NAMES, self.index, &event, around) {
                    around.violated(format!("{}: {broken}", NAMES[self.index]));
                }
                around.tally.event(&event);
            }
            Output::Quit(failure) => {
                around.note(|| format!("{} quits: {failure:?}", NAMES[self.index]));
                if let Some(failure) = failure.filter(|failure| failure.code != ErrorCode::Unreachable) {
                    around.violated(format!("an honest world ends no client: {failure}"));
                }
                program.has_quit = true;
            }
        }
        None
    }
}

/// A command was taken in by the client.
fn commanded(model: &mut Model, user: usize, command: &Command, is_refused: bool, now: Instant) -> Result<(), Broken> {
    match command {
        Command::Say(text) if !is_refused => model.says(user, text),
        Command::Say(_) if model.chat_of(user).is_some() && !model.stories[user].is_leaving => {
            Err("who is in a chat can say something".to_owned())
        }
        // What is told with it may be about what waited for it, or about a goodbye that could not be said.
        Command::Exit | Command::Leave => {
            model.leaves(user, now);
            Ok(())
        }
        // Whoever is leaving is heard when they are back.
        Command::No if !is_refused && !model.stories[user].is_leaving => {
            model.refuses(user);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A client sends a frame.
fn sent(model: &mut Model, user: usize, frame: &Bytes) -> Result<(), Broken> {
    let code = frame.first().copied();
    let is_caller = code == Some(Code::SessionEstablishment as u8);
    match chat_at_start(frame) {
        Some(chat) if is_caller || code == Some(Code::Accept as u8) => model.sets_up(user, chat, is_caller),
        _ => Ok(()),
    }
}

/// A frame has reached a client.
fn reached(model: &Model, user: usize, frame: &Bytes) -> Result<(), Broken> {
    if frame.first() == Some(&(Code::Message as u8))
        && let Some(chat) = frame.get(2..18).and_then(|id| id.try_into().ok())
        && !model.is_party(user, chat)
    {
        return Err("a frame of a chat reaches only the other party".to_owned());
    }
    Ok(())
}

fn chat_at_start(frame: &Bytes) -> Option<Id> {
    frame.get(1..17)?.try_into().ok()
}

/// The name of a user.
pub(crate) fn name(user: usize) -> UserName {
    #[expect(clippy::expect_used, reason = "constants")]
    NAMES[user].parse().expect("a name")
}

fn keys() -> &'static [Arc<UserKey>] {
    static KEYS: OnceLock<Vec<Arc<UserKey>>> = OnceLock::new();
    KEYS.get_or_init(|| (0..NAMES.len()).map(|user| Arc::new(UserKey::from_seed(&[user as u8 + 1; 32]))).collect())
}

/// An input in short.
fn describe(input: &Input) -> String {
    match input {
        Input::Frame(frame) => short(frame, false),
        input => format!("{input:?}"),
    }
}

/// An event in short.
fn tell(event: &Event) -> String {
    match event {
        Event::ChatStarted { peer, trust, .. } => format!("ChatStarted {peer} {trust}"),
        event => format!("{event:?}"),
    }
}
