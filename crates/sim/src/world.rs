//! A world: two or three users, a server of one node or more, a network, a clock, and what a seed makes of them.

mod fault;
mod quiet;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use client::Command;

use crate::{
    around::{Around, Trace},
    dice::Dice,
    model::{Id, Model},
    nats::Nats,
    network::Network,
    person::Person,
    sabotage::Sabotage,
    server,
    servers::{self, Servers},
    story::{Place, Presence},
    tally::{Fault, Tally},
    user::{self, NAMES, User, name},
};

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
    /// How many nodes the server has; without it, the seed says.
    pub nodes: Option<usize>,
}

/// Runs the world of a seed to its end, or until a rule is broken.
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    world.live();
    world.outcome()
}

struct World {
    around: Around,
    servers: Servers,
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
    Servers(servers::Step),
    User(usize, user::Step),
    Types(usize),
    Fault,
    /// The season changes, or is to be looked at.
    Season,
}

/// Lists that are filled anew for each step.
#[derive(Default)]
struct Turns {
    servers: Vec<(Instant, servers::Step)>,
    server: Vec<(Instant, server::Step)>,
    user: Vec<(Instant, user::Step)>,
    all: Vec<(Instant, Turn)>,
}

impl World {
    fn new(seed: u64, Options { traced, sabotage, nodes }: Options) -> Self {
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
        let mut around = Around {
            now,
            start: now,
            network: Network::new(seed),
            nats: Nats::new(seed, now),
            dice,
            tally: Tally::default(),
            trace,
            sabotage,
            passed: BTreeMap::new(),
            is_put_out: false,
            log_ins: BTreeMap::new(),
            violation: None,
        };
        around.nats.compares_nothing = sabotage == Some(Sabotage::ComparesNothing);
        let several = if around.dice.per_mille(250) { 2 + around.dice.index(2) } else { 1 };
        let servers = Servers::new(nodes.unwrap_or(several).max(1), &directory, &mut around);
        Self {
            around,
            kinds,
            trouble,
            servers,
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
        self.servers.begin(&mut self.around);
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
            Turn::Servers(step) => self.servers.step(step, &mut self.around),
            Turn::User(user, step) => {
                self.users[user].step(step, &mut self.servers, &mut self.model, &mut self.around);
            }
            Turn::Types(user) => self.types(user),
            Turn::Fault => self.fault(),
            Turn::Season => self.change(),
        }
        for user in &mut self.users {
            user.flush(&mut self.around);
        }
        self.servers.flush(&mut self.around);
        if matches!(self.season, Season::Quiet { .. } | Season::Proof { .. }) {
            self.look_around();
        }
    }

    fn look_ahead(&mut self) {
        let Turns { servers, server, user: steps, all } = &mut self.turns;
        all.clear();
        servers.clear();
        self.servers.steps(&self.around, server, servers);
        all.extend(servers.iter().map(|(at, step)| (*at, Turn::Servers(*step))));
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
                all.push((quiet::next_look(*since, self.around.now), Turn::Season));
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
            // The late log-in of a program that was gone before has ended this one, and the request with it.
            if let Season::Proof { caller, called, has_asked, has_spoken, .. } = &mut self.season
                && [*caller, *called].contains(&user)
            {
                (*has_asked, *has_spoken) = (false, false);
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
                    let may_ask = is_there && (!*has_asked || story.was_too_fast);
                    *has_asked = is_there;
                    if may_ask { vec![Command::Talk(name(*called))] } else { Vec::new() }
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

    fn outcome(self) -> Outcome {
        let Self { around, servers, users, model, .. } = self;
        let mut tally = around.tally;
        tally.worlds = 1;
        tally.several = u64::from(servers.nodes.len() > 1);
        tally.put_out = u64::from(around.is_put_out);
        tally.chats = model.chats.values().filter(|chat| chat.sides.len() == 2).count() as u64;
        tally.milliseconds = around.now.duration_since(around.start).as_millis() as u64;
        let clients = users.iter().flat_map(|user| {
            user.recordings.iter().map(|recording| (NAMES[user.index].to_owned(), format!("{recording:?}")))
        });
        let sessions = servers.recordings().map(|(id, recording)| (format!("{id:?}"), format!("{recording:?}")));
        Outcome {
            tally,
            violation: around.violation,
            recordings: clients.chain(sessions).collect(),
            trace: around.trace.lines.unwrap_or_default(),
        }
    }
}
