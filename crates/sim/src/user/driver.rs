//! What the driver does with what happens, and with what the client wants done.

use std::{collections::VecDeque, time::Duration};

use client::{ErrorCode, Event, Failure, Input, Output};
use identity::{Negotiated, Pin};
use protocol::Machine as _;

use super::{Blocked, Connecting, End, NAMES, User, watch};
use crate::{
    around::{Around, Frames, short},
    model::Model,
    network::Way,
    sabotage::Sabotage,
    server::{Process, server_name},
    servers::Servers,
    tally::Fault,
};

/// As in `driver.rs`.
const MAX_UNSENT: usize = 1024;
const FAREWELL: Duration = Duration::from_secs(2);
/// As in `connect.rs`.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events that a face may leave unread, as in `crates/sottovoce/src/chat.rs`.
const MAX_UNREAD: usize = 64;

impl User {
    pub(super) fn connect(&mut self, servers: &mut Servers, model: &mut Model, around: &mut Around) {
        let Some(program) = &mut self.program else { return };
        let Some(connecting) = &mut program.connecting else { return };
        let node = *connecting.node.get_or_insert_with(|| servers.choose(around));
        let server = &mut servers.nodes[node];
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
        if is_refused || waits.is_some() || !server.is_listening() {
            let failure = Failure::new(ErrorCode::Unreachable, "it is so in this world");
            // Whoever refuses is there, and so is a server that is suspended: its system answers.
            let is_there = server.is_listening() && !(is_refused && self.is_unanswered);
            let input = if is_there { Input::NotConnected } else { Input::Unanswered };
            return self.input(input(failure), model, around);
        }
        let takes = program.has_been_in.then(|| self.log_in_takes.take()).flatten();
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
        if let Some(takes) = takes {
            self.flush(around);
            around.network.strand(link, around.now, takes);
            around.tally.fault(Fault::LateLogIn);
            around.note(|| format!("*** {} ({}): {takes:?}", Fault::LateLogIn.as_str(), NAMES[self.index]));
        }
    }

    pub(super) fn abandon(&mut self, around: &mut Around) {
        let Some(program) = &mut self.program else { return };
        program.connecting = None;
        if let Some(end) = program.link.take() {
            around.network.close(end.link, Way::Up, around.now);
        }
    }

    pub(super) fn unblock(&mut self, model: &mut Model, around: &mut Around) {
        let Some(program) = &mut self.program else { return };
        if let Some(Blocked::Farewell { end, .. }) = program.blocked.take() {
            around.network.close(end.link, Way::Up, around.now);
        }
        program.unread = 0;
        self.go_on(model, around);
    }

    pub(super) fn input(&mut self, input: Input, model: &mut Model, around: &mut Around) {
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
        if let Some(command) = command
            && let Err(broken) = watch::commanded(model, self.index, &command, &out, around.now)
        {
            around.violated(broken);
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
                program.connecting = Some(Connecting { node: None, at, gives_up: around.now + PATIENCE });
            }
            Output::Send(frame) => {
                around.note(|| format!("{} -> {}", NAMES[self.index], short(&frame, true)));
                if let Err(broken) = watch::sent(model, self.index, &frame) {
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
                program.has_been_in |= matches!(event, Event::LoggedIn { .. });
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
                let may_be =
                    |code| code == ErrorCode::Unreachable || (around.is_put_out && code == ErrorCode::Replaced);
                if let Some(failure) = failure.filter(|failure| !may_be(failure.code)) {
                    around.violated(format!("an honest world ends no client: {failure}"));
                }
                program.has_quit = true;
            }
        }
        None
    }
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
