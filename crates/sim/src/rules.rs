//! The rules of the relay, checked in all states that its real session machine can be brought to within written bounds.
//!
//! A [`World`] holds the sessions of alice, bob and carol, as `server::session` has them, their clients, and the
//! signals that are on their way. An [`Action`] is one thing that can happen: a client does something, a connection
//! breaks, a signal arrives or is lost, a timer runs out. The checker follows all of them, in all orders, and looks at
//! each state that it has not been in before ([`stateright`], breadth first). What it looks for stands in
//! `rules/properties.rs`, a function for each rule.
//!
//! **Bounds.** All states can be looked at because some things happen so often and no more: requests to talk,
//! broken connections, log-ins, late ones, lost signals, missed frames, full mailboxes, crashes of the server, lies,
//! and nodes that die or are cut off ([`Left`]); and because only so many signals and frames may be on their way at a time ([`Bounds`]).
//! `rules/bounds.rs` has the [combinations](ALL) that are checked, some 6,650,000 states in all, in about three minutes
//! on two cores. A repeated signal (`Ask`, `Check`) is sent again only once the one before it has arrived or is
//! lost, and each client has at most one message on its way. No session opens its line 16 times, so that the
//! server's limit on that is not met: it would tell apart states that are alike in all else. No state is left out
//! for that within these bounds.
//!
//! **Time.** Each session has a clock of its own, which stands still but for moving on to its next timer: so a timer
//! may run out at any moment, before or after anything else, and however long a signal takes. Only what is left until
//! each timer runs out tells states apart. A request may take 5 s, the welcome 3 s, and a way back 1.5 s, which is long
//! enough for a second attempt (`Probe`, 1 s). That is shorter than on a server, which only makes for fewer attempts:
//! no session has two of these limits running at once. Where a caller is to look after the request (`Check`, 10 s), that
//! may take 12 s; where one is to leave a node that is cut off (`Stranded`, 5 s), the way back 7.5 s.
//!
//! **What a session lives in** (`rules/step.rs`) does what `server/src/connection.rs`, `router.rs` and `mailbox.rs`
//! do: a signal goes to the session that is registered when it is sent, and is gone with it; who is absent is told
//! at once; a newer log-in takes the place of an older session, which hears of it later, unless it is one that its
//! client has given up and another has overtaken: then it is the session of that one which ends; requests in the
//! mailbox of a session that ends are answered. Unlike there, signals between two sessions may overtake each other.
//!
//! **Two nodes** (`rules/nodes.rs` has what they know, `rules/presence.rs` and `rules/between.rs` what they do) share
//! their users as `server/src/router/elsewhere.rs`, `links.rs` and `cluster.rs` have it: a bucket in which a log-in
//! claims its user's place by compare and set, and of whose changes each node is told at its own pace. The bucket
//! hears of a claim when it likes, and the session's node of the answer; until then the session hears nothing, and
//! nothing is heard of it. So a user can have a session in each node for a while. Somebody whom the bucket has not
//! shown is found by asking it, for a request, and where the word of theirs came from, for the rest. Of what one node
//! tells another each word may be lost, and the other has missed it before it hears the next: what comes out of its
//! order is dropped there, so that a word that comes late is a lost one. Words to a user keep their order here, those
//! to different users may overtake each other. A node that dies takes its sessions along and is not there again; what
//! is said to them vanishes until the other takes it for gone, whenever that is. One that is cut off lets nobody in,
//! loses what is told it, and attaches anew at any time or never; the other may have taken it for gone by then. Not
//! here: two nodes that are both cut off, a node that is taken for gone while it is attached, changes of the bucket of
//! which a node is shown but the last, and more words than may wait. `server/tests/nodes.rs` holds the real router to
//! what is here taken for granted of it.
//!
//! **Clients** (`rules/client.rs`) know what they have been told, and do whatever a client may do then; carol's also
//! lies. There is no cryptography: what would be sealed bears the names of who wrote it and for whom, and that is
//! compared wherever it comes out. A connection ends by `Lost` alone, at any moment: the idle limit, an end of the
//! server that is told, and an unreadable directory do the same to a chat. Between nodes, each remembers whether what it
//! said last has come to the other, or it has been told from where to say it again. A device that a newer one has taken the
//! place of says nothing more, and does not come back.
//!
//! **Within a bounded time** is tried rather than proved: each state is run on without further faults until it rests,
//! in an order that the states on the way draw, once with all clients coming back and once with none
//! (`rules/settle.rs`). Every state on the way is itself a state of the model, or like one, and has a run of its own.
//!
//! A rule that cannot fail proves nothing: `BROKEN` has machines that are broken on purpose, from outside, by a
//! [`Fault`] between a session and its driver, and each rule has to fail on those meant for it.

mod action;
mod between;
mod bounds;
mod client;
mod deeds;
mod fault;
mod flight;
mod nodes;
mod presence;
mod properties;
mod settle;
mod step;
mod world;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{NameError, PublicKey, ServerName, UserName};
use server::{
    rate::Rate,
    session::{Patience, Timer},
};
use stateright::{Model, Property};

pub use self::{
    action::{Action, Deed, Lie},
    bounds::{ALL, BROKEN, Bounds, WIDE, Will},
    fault::Fault,
    flight::Flight,
    properties::*,
    world::{Left, Person, World},
};
use self::{
    client::Client,
    nodes::Node,
    step::Step,
    world::{Place, Seat, Three},
};

/// Between two looks of a session at whether the other still has the chat (`server/src/session.rs`).
const CHECK: Duration = Duration::from_secs(10);

/// From the first sign that a session cannot reach its peer's node to its end (there, too).
const STRANDED: Duration = Duration::from_secs(5);

/// Between two attempts of a session at opening a line (there, too).
const PROBE: Duration = Duration::from_secs(1);

/// Openings of a line within a time at which a session begins to put them off (there, too).
const MAX_OPENINGS: u8 = 16;

/// The model: real sessions of three users, which may be broken on purpose.
#[derive(Clone, Debug)]
pub struct Relay {
    bounds: Bounds,
    fault: Fault,
    /// The one rule that is checked, if not all.
    rule: Option<&'static str>,
    patience: Patience,
    names: Three<UserName>,
    keys: Three<PublicKey>,
    server: ServerName,
    start: Instant,
}

impl Relay {
    /// A model within these bounds, of machines with this fault.
    ///
    /// # Errors
    /// None that can be met: the users' names are proper ones.
    pub fn new(bounds: Bounds, fault: Fault) -> Result<Self, NameError> {
        #[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; the model moves it")]
        let start = Instant::now();
        let year = Duration::from_secs(365 * 24 * 3600);
        let patience = Patience {
            login: year,
            refusal: Duration::ZERO,
            idle: year,
            request: bounds.request,
            establishment: Duration::from_secs(3),
            grace: bounds.grace,
            // The model has no place for them: its users ask less often than that.
            lists: Rate::new(1, 100),
            requests: Rate::new(1, 100),
        };
        let name = |person| match person {
            Person::Alice => "alice".parse(),
            Person::Bob => "bob".parse(),
            Person::Carol => "carol".parse(),
        };
        let key = |person: Person| Ok::<_, NameError>(PublicKey::from_bytes([person.digit(); 32]));
        Ok(Self {
            bounds,
            fault,
            rule: None,
            patience,
            names: Three::new(name)?,
            keys: Three::new(key)?,
            server: "chat.example".parse()?,
            start,
        })
    }

    /// The same, for one rule alone: its check ends with the first state that breaks it, which is one of those that are
    /// reached in the fewest steps.
    #[must_use]
    pub fn only(self, rule: &'static str) -> Self {
        Self { rule: Some(rule), ..self }
    }

    /// Whether there is more than one process.
    fn has_nodes(&self) -> bool {
        self.bounds.nodes
    }

    fn person(&self, name: &UserName) -> Option<Person> {
        Person::ALL.into_iter().find(|person| self.names.of(*person) == name)
    }

    /// The next timer of the session that the model, as it may be broken, runs.
    fn next_timer(&self, seat: &Seat) -> Option<(Timer, Duration)> {
        seat.next_timer().filter(|(timer, _)| self.fault != Fault::IsDeafTo(*timer))
    }

    /// Whether time goes by for the session; it does not for one that a broken machine keeps from seeing its next
    /// timer.
    fn has_time(&self, seat: &Seat) -> bool {
        seat.next_timer() == self.next_timer(seat)
    }
}

impl Model for Relay {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let Ok(places) = Three::new(|_| Ok::<_, std::convert::Infallible>(Arc::new(Place::default())));
        let nodes = [Node::NEW, if self.has_nodes() { Node::NEW } else { Node::NONE }];
        let world = World { places, nodes, flights: Vec::new(), left: self.bounds.left, breach: None };
        let mut step = Step { relay: self, world };
        // Who has no part in anything is there all the same, but where there are nodes they would have much to do with it.
        let has_part = |person: &Person| {
            let Bounds { pairs, movers, .. } = &self.bounds;
            !self.has_nodes()
                || pairs.iter().any(|(one, other)| [one, other].contains(&person))
                || movers.contains(person)
        };
        for person in Person::ALL.into_iter().filter(has_part) {
            let home = usize::from(self.has_nodes() && person == Person::Bob);
            let _ = step.log_in(person, home, Client::default());
        }
        // Everybody is there.
        step.all_arrive();
        if self.bounds.chatting {
            let deeds = [Deed::Call(Person::Bob), Deed::Accept, Deed::Establish];
            for (person, deed) in [Person::Alice, Person::Bob, Person::Alice].into_iter().zip(deeds) {
                let _ = step.does(person, deed);
                step.all_arrive();
            }
        }
        vec![step.world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.possible(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut step = Step { relay: self, world: world.clone() };
        step.world.breach = None;
        step.act(&action)?;
        Some(step.world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = Self::rules();
        if let Some(rule) = self.rule {
            properties.retain(|property| property.name == rule);
        }
        properties
    }

    fn within_boundary(&self, world: &World) -> bool {
        let frames: usize = world.seats().map(|(_, seat)| seat.frames()).sum();
        world.flights.len() <= self.bounds.flights
            && frames <= self.bounds.frames
            && world.seats().all(|(_, seat)| seat.openings < MAX_OPENINGS)
    }
}
