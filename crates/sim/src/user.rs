//! One user's program: the real client, driven as `crates/client/src/driver.rs` drives it, without tasks and sockets.

mod driver;
mod watch;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use client::{Client, Command, Input, Output};
use identity::{Pin, UserKey};
use protocol::{Code, Machine as _, Recording, ServerName, UserName};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

use crate::{
    around::{Around, Frames, put_frame},
    model::Model,
    network::{Link, Piece, Way},
    sabotage::Sabotage,
    servers::Servers,
};

/// Names of the users, the first of whom calls the second.
pub(crate) const NAMES: &[&str] = &["alice", "bob", "carol"];

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
    /// How long the next log-in takes to arrive, which its client does not wait for.
    pub(crate) log_in_takes: Option<Duration>,
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
    /// Whether it has been logged in, so that it does not end with the next log-in that fails.
    has_been_in: bool,
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
    /// To which node.
    node: Option<usize>,
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
            log_in_takes: None,
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
            has_been_in: false,
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
        self.log_in_takes = None;
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

    pub(crate) fn step(&mut self, step: Step, servers: &mut Servers, model: &mut Model, around: &mut Around) {
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
                        if let Err(broken) = watch::reached(model, self.index, &frame) {
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
            Step::Connect => self.connect(servers, model, around),
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
