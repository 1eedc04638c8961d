//! A world: two or three users, a server, a network, a clock, and what a seed makes of them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use client::Command;

use crate::{
    around::{Around, Trace},
    dice::Dice,
    model::{Id, Model},
    network::{Network, Noticed, Way},
    person::Person,
    sabotage::Sabotage,
    server::{self, AtServer, Server},
    story::{Place, Presence},
    tally::{Fault, Tally},
    user::{self, NAMES, User, name},
};

/// From the end of all faults until all is delivered in a chat that both sides still have. A dead connection is noticed
/// within 14 s, a wait between two attempts may take 12.5 s, and an attempt that was begun 10 s.
const DELIVERED_WITHIN: Duration = Duration::from_secs(45);
/// From the end of all faults until nobody is on the way to anything. A server holds a connection that is dead for 90 s,
/// and then the chat for 60 s.
const SETTLED_WITHIN: Duration = Duration::from_secs(200);
/// From a request to the first message of the chat, with everything in order.
const CHATS_WITHIN: Duration = Duration::from_secs(20);
/// A world that takes more steps than this runs in circles.
const MAX_STEPS: u64 = 300_000;

/// How a world went.
pub struct Outcome {
    /// What it came to.
    pub tally: Tally,
    /// The rule that was broken, if one was.
    pub violation: Option<String>,
    /// All that happened, a line each, if it was asked for.
    pub trace: Vec<String>,
    /// What each machine was given, with the time since its first input, if it was asked for.
    pub recordings: Vec<(String, String)>,
}

/// How to run a world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether trace and recordings are wanted. They change nothing.
    pub traced: bool,
    /// What is done wrong on purpose.
    pub sabotage: Option<Sabotage>,
}

/// Runs the world of a seed to its end, or until a rule is broken.
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    world.live();
    world.outcome()
}

struct World {
    around: Around,
    server: Server,
    users: Vec<User>,
    people: Vec<Person>,
    model: Model,
    /// Messages that may still be typed.
    texts: u64,
    /// Faults to come.
    faults: Vec<(Instant, Fault)>,
    /// Kinds of faults that there are in this world.
    kinds: Vec<Fault>,
    /// In a thousand: how often a fault follows a message.
    trouble: u64,
    season: Season,
    steps: u64,
    turns: Turns,
}

/// What a world is at.
#[derive(Debug)]
enum Season {
    /// People do what they like, and faults happen.
    Busy {
        until: Instant,
        ends_in_quiet: bool,
    },
    /// No fault happens, and nobody types.
    Quiet {
        since: Instant,
        open: Vec<Id>,
    },
    /// One more chat, to see that the server is as good as new.
    Proof {
        caller: usize,
        called: usize,
        until: Instant,
        has_asked: bool,
        has_spoken: bool,
    },
    Over,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Server(server::Step),
    User(usize, user::Step),
    Types(usize),
    Fault,
    /// The season changes, or is to be looked at.
    Season,
}

/// Lists that are filled anew for each step.
#[derive(Default)]
struct Turns {
    server: Vec<(Instant, server::Step)>,
    user: Vec<(Instant, user::Step)>,
    all: Vec<(Instant, Turn)>,
}

impl World {
    fn new(seed: u64, Options { traced, sabotage }: Options) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "an Instant can only be had from the clock; the world turns it on"
        )]
        let now = Instant::now();
        let mut dice = Dice::new(seed, 0);
        let count = 2 + dice.index(2);
        let users: Vec<_> = (0..count).map(|user| User::new(user, seed, now)).collect();
        let people = (0..count).map(|user| Person::new(user, &mut dice, now)).collect();
        let directory: BTreeMap<_, _> = users.iter().map(|user| (user.name(), user.key.public())).collect();
        let length = Duration::from_secs(2) + dice.time(Duration::from_secs(150));
        let texts = if dice.per_mille(5) { 300 + dice.below(500) } else { 10 + dice.below(35) };
        // Some worlds know one kind of trouble, and much of it; others a bit of everything, or none.
        let kinds: Vec<_> = match dice.below(4) {
            0 => Fault::ALL.to_vec(),
            kinds => (0..=kinds).map(|_| dice.pick(Fault::ALL)).collect(),
        };
        let faults = (0..dice.pick(&[0, 0, 1, 2, 6]))
            .map(|_| (now + Duration::from_millis(50) + dice.time(length), dice.pick(&kinds)))
            .collect();
        let trouble = dice.pick(&[0, 20, 60, 150]);
        let season = Season::Busy { until: now + length, ends_in_quiet: dice.per_mille(600) };
        let trace = Trace { lines: traced.then(Vec::new) };
        Self {
            around: Around {
                now,
                start: now,
                network: Network::new(seed),
                dice,
                tally: Tally::default(),
                trace,
                sabotage,
                passed: BTreeMap::new(),
                violation: None,
            },
            kinds,
            trouble,
            server: Server::new(directory, now),
            users,
            people,
            model: Model::new(count),
            texts,
            faults,
            season,
            steps: 0,
            turns: Turns::default(),
        }
    }

    fn live(&mut self) {
        for user in &mut self.users {
            user.launch(&mut self.model, &mut self.around);
        }
        while self.around.violation.is_none() && !matches!(self.season, Season::Over) {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                self.around.violated("no one runs in circles");
            }
            self.step();
        }
    }

    /// Lets the next thing happen: of those that are due at the same time, any.
    fn step(&mut self) {
        self.look_ahead();
        let Some(at) = self.turns.all.iter().map(|(at, _)| *at).min() else {
            return self.around.violated("something is always to come");
        };
        let now = self.around.now.max(at);
        self.around.now = now;
        self.turns.all.retain(|(at, _)| *at <= now);
        let place = self.around.dice.index(self.turns.all.len());
        match self.turns.all[place].1 {
            Turn::Server(step) => self.server.step(step, &mut self.around),
            Turn::User(user, step) => {
                self.users[user].step(step, &mut self.server, &mut self.model, &mut self.around);
            }
            Turn::Types(user) => self.types(user),
            Turn::Fault => self.fault(),
            Turn::Season => self.change(),
        }
        for user in &mut self.users {
            user.flush(&mut self.around);
        }
        self.server.flush(&mut self.around);
        if matches!(self.season, Season::Quiet { .. } | Season::Proof { .. }) {
            self.look_around();
        }
    }

    fn look_ahead(&mut self) {
        let Turns { server, user: steps, all } = &mut self.turns;
        all.clear();
        server.clear();
        self.server.steps(&self.around, server);
        all.extend(server.iter().map(|(at, step)| (*at, Turn::Server(*step))));
        for user in &self.users {
            steps.clear();
            user.steps(&self.around, steps);
            all.extend(steps.iter().map(|(at, step)| (*at, Turn::User(user.index, *step))));
        }
        let types = self.people.iter().enumerate().map(|(user, person)| (person.types_at, Turn::Types(user)));
        match &self.season {
            Season::Busy { until, .. } => {
                all.extend(types);
                all.extend(self.faults.iter().map(|(at, _)| (*at, Turn::Fault)));
                all.push((*until, Turn::Season));
            }
            Season::Quiet { since, .. } => {
                let look = if self.around.now < *since + DELIVERED_WITHIN { DELIVERED_WITHIN } else { SETTLED_WITHIN };
                all.push((*since + look, Turn::Season));
            }
            Season::Proof { until, .. } => {
                all.extend(types);
                all.push((*until, Turn::Season));
            }
            Season::Over => {}
        }
    }

    fn types(&mut self, user: usize) {
        let Self { around, model, users, people, .. } = self;
        let (person, count) = (&mut people[user], users.len());
        person.pauses(&mut around.dice, around.now);
        let is_proof = matches!(self.season, Season::Proof { .. });
        let Some(program) = &mut users[user].program else {
            if is_proof || around.dice.per_mille(300) {
                users[user].launch(model, around);
            }
            return;
        };
        if !program.typed.is_empty() {
            return;
        }
        let story = &model.stories[user];
        let commands = if let Season::Proof { caller, called, has_asked, has_spoken, .. } = &mut self.season {
            match &story.place {
                Place::Free if user == *caller && story.presence == Presence::Online => {
                    let is_there = model.stories[*called].presence == Presence::Online;
                    if std::mem::replace(has_asked, is_there) || !is_there {
                        Vec::new()
                    } else {
                        vec![Command::Talk(name(*called))]
                    }
                }
                Place::Ringing(_) => vec![Command::Yes(None)],
                Place::Chatting(..) if user == *caller && !std::mem::replace(has_spoken, true) => {
                    vec![Command::Say(person.text(user, &mut around.dice))]
                }
                _ => Vec::new(),
            }
        } else {
            person.types(user, count, story, &mut self.texts, &mut around.dice)
        };
        let says_something = commands.iter().any(|command| matches!(command, Command::Say(_)));
        if says_something && !is_proof && around.dice.per_mille(self.trouble) {
            let soon = around.dice.time(Duration::from_secs(1));
            self.faults.push((around.now + soon, around.dice.pick(&self.kinds)));
        }
        for command in &commands {
            around.note(|| format!("{} types {command:?}", NAMES[user]));
        }
        program.typed.extend(commands);
    }

    /// One of the faults that are due happens.
    fn fault(&mut self) {
        let Some(place) = self.faults.iter().position(|(at, _)| *at <= self.around.now) else { return };
        let (_, fault) = self.faults.swap_remove(place);
        let around = &mut self.around;
        let now = around.now;
        let victim = around.dice.index(self.users.len());
        let user = &mut self.users[victim];
        let short = around.dice.time(Duration::from_secs(20));
        let long = around.dice.time(Duration::from_secs(150));
        let noticed = match fault {
            Fault::Reset => Some(Noticed::Both),
            Fault::ResetForClient => Some(Noticed::Client),
            Fault::ResetForServer => Some(Noticed::Server),
            Fault::Vanished => Some(Noticed::Neither),
            _ => None,
        };
        // What has no place in the world as it is now does not happen, and does not count.
        match (fault, noticed, user.link()) {
            (_, Some(noticed), Some(link)) => around.network.cut(link, noticed, now),
            (Fault::NetworkChanged, ..) if user.program.is_some() => {
                if let Some(link) = user.link().filter(|_| around.dice.per_mille(700)) {
                    around.network.cut(link, Noticed::Neither, now);
                }
                user.changes_network(now + around.dice.time(Duration::from_secs(1)));
            }
            (Fault::Stall, _, Some(link)) => {
                let way = around.dice.pick(&[Way::Up, Way::Down]);
                around.network.stall(link, way, now, short);
            }
            (Fault::Refused | Fault::Hanging, ..) => {
                // Counted when it is met.
                user.refused_until = now + long.min(Duration::from_secs(60));
                user.is_unanswered = fault == Fault::Hanging;
                return;
            }
            (Fault::ServerKilled | Fault::ServerDark, ..) if self.server.is_running() => {
                let restart = if around.dice.per_mille(900) { short } else { long };
                self.server.crash(fault == Fault::ServerDark, now + restart, around);
            }
            (Fault::ServerStopped, ..) if self.server.is_running() => self.server.stop(now + short, around),
            (Fault::ServerSuspended, ..) if self.server.is_running() => self.server.suspended_until = now + short,
            (Fault::DirectoryBlind, ..) => self.server.blind_until = now + short,
            (Fault::ClientSuspended, ..) if user.program.is_some() => user.suspended_until = now + long,
            (Fault::ReaderStopped, ..) if user.program.is_some() => user.unread_until = now + long,
            (Fault::ClientKilled, ..) if user.program.is_some() => user.kill(&mut self.model, around),
            _ => return,
        }
        around.tally.fault(fault);
        around.note(|| format!("*** {} ({})", fault.as_str(), NAMES[victim]));
    }

    /// The time of a season is over.
    fn change(&mut self) {
        let now = self.around.now;
        match &self.season {
            Season::Busy { ends_in_quiet: false, .. } | Season::Over => self.season = Season::Over,
            Season::Busy { ends_in_quiet: true, .. } => {
                self.around.note(|| "*** quiet".to_owned());
                self.faults.clear();
                self.around.network.heal(now);
                self.server.heal(&self.around);
                for user in &mut self.users {
                    user.heal(&self.around);
                    if matches!(self.model.stories[user.index].place, Place::Ringing(_))
                        && let Some(program) = &mut user.program
                    {
                        program.typed.push_back(Command::No);
                    }
                }
                self.season = Season::Quiet { since: now, open: self.open() };
            }
            Season::Quiet { open, since } => {
                let open: Vec<_> = open.iter().filter(|chat| self.open().contains(chat)).collect();
                let late = open.iter().find(|chat| !self.is_delivered(***chat));
                if let Some(chat) = late {
                    let chat = format!(
                        "{:?}",
                        self.model.chats[*chat]
                            .sides
                            .iter()
                            .map(|(user, side)| {
                                format!(
                                    "{} said {} sent {} delivered {} shown {}",
                                    NAMES[*user],
                                    side.said.len(),
                                    side.sent.len(),
                                    side.delivered,
                                    side.shown
                                )
                            })
                            .collect::<Vec<_>>()
                    );
                    self.around.violated(format!("all is delivered once both stay connected: {chat}"));
                } else if now >= *since + SETTLED_WITHIN {
                    let places: Vec<_> = self
                        .model
                        .stories
                        .iter()
                        .map(|story| {
                            format!(
                                "{:?} {:?} leaving {} away {} silent {}",
                                story.presence,
                                story.place,
                                story.is_leaving,
                                story.is_peer_away,
                                story.is_server_silent
                            )
                        })
                        .collect();
                    self.around.violated(format!("no one stuck past a timer: {places:?}"));
                }
            }
            Season::Proof { .. } => {
                self.around.violated("after all faults two free users can chat");
            }
        }
    }

    /// Chats that both sides have.
    fn open(&self) -> Vec<Id> {
        let has = |user| self.model.chat_of(user);
        let all = (0..self.users.len()).filter_map(has);
        all.filter(|chat| (0..self.users.len()).filter(|user| has(*user) == Some(*chat)).count() == 2).collect()
    }

    fn is_delivered(&self, chat: Id) -> bool {
        let Some(chat) = self.model.chats.get(&chat) else { return false };
        let sides: Vec<_> = chat.sides.values().collect();
        match sides[..] {
            [one, other] => [(one, other), (other, one)]
                .iter()
                .all(|(from, to)| from.delivered == from.said.len() && to.shown == from.said.len()),
            _ => false,
        }
    }

    /// Whether nobody waits for anything, and the server sees it as the clients do.
    fn is_settled(&self) -> bool {
        let open = self.open();
        self.users.iter().filter(|user| user.program.is_some()).all(|user| {
            let story = &self.model.stories[user.index];
            let link = user.link().filter(|link| self.around.network.is_alive(*link));
            let at_server = link.and_then(|link| self.server.place(link));
            let is_at_rest = match &story.place {
                Place::Free => at_server == Some(AtServer::Free),
                Place::Chatting(_, chat) => {
                    let is_there = at_server == Some(AtServer::Chatting(*chat)) && open.contains(chat);
                    is_there && self.is_delivered(*chat) && !story.is_peer_away
                }
                Place::Calling(_) | Place::Ringing(_) | Place::SettingUp(..) => false,
            };
            let is_online = story.presence == Presence::Online && !story.is_server_silent && !story.is_leaving;
            is_at_rest && is_online && user.is_idle()
        })
    }

    /// In quiet: whether what was waited for has come.
    fn look_around(&mut self) {
        match &self.season {
            Season::Quiet { .. } if self.is_settled() => {
                self.around.tally.quiet += 1;
                let free: Vec<_> = (0..self.users.len())
                    .filter(|user| {
                        self.users[*user].program.is_none() || self.model.stories[*user].place == Place::Free
                    })
                    .collect();
                match free[..] {
                    [caller, called, ..] if self.around.dice.per_mille(300) => {
                        self.around.note(|| "*** one more chat".to_owned());
                        let now = self.around.now;
                        for person in &mut self.people {
                            person.pauses(&mut self.around.dice, now);
                            person.types_at = person.types_at.min(now + Duration::from_millis(50));
                        }
                        let until = now + CHATS_WITHIN;
                        self.season = Season::Proof { caller, called, until, has_asked: false, has_spoken: false };
                    }
                    _ => self.season = Season::Over,
                }
            }
            Season::Proof { caller, has_spoken: true, .. } => {
                if let Some(chat) = self.model.chat_of(*caller)
                    && self
                        .model
                        .chats
                        .get(&chat)
                        .is_some_and(|chat| chat.sides.values().any(|side| side.delivered > 0))
                {
                    self.season = Season::Over;
                }
            }
            _ => {}
        }
    }

    fn outcome(self) -> Outcome {
        let Self { around, server, users, model, .. } = self;
        let mut tally = around.tally;
        tally.worlds = 1;
        tally.chats = model.chats.values().filter(|chat| chat.sides.len() == 2).count() as u64;
        tally.milliseconds = around.now.duration_since(around.start).as_millis() as u64;
        let clients = users.iter().flat_map(|user| {
            user.recordings.iter().map(|recording| (NAMES[user.index].to_owned(), format!("{recording:?}")))
        });
        let sessions = server.recordings.iter().map(|(id, recording)| (format!("{id:?}"), format!("{recording:?}")));
        Outcome {
            tally,
            violation: around.violation,
            recordings: clients.chain(sessions).collect(),
            trace: around.trace.lines.unwrap_or_default(),
        }
    }
}
