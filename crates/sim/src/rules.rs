//! TODO doc

mod action;
mod client;
mod fault;
mod properties;
mod settle;
mod step;
mod world;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{NameError, PublicKey, ServerName, UserName};
use server::session::{Patience, Timer};
use stateright::{Model, Property};

pub use self::{
    action::{Action, Deed, Lie},
    fault::Fault,
    properties::{BOTH_OR_NEITHER, CALLERS_MEET, CHAT_SURVIVES, NOBODY_WAITS, ONE_CHAT, OTHER_PARTY_ALONE, Rule},
    world::{Flight, Left, Person, World},
};
use self::{
    client::Client,
    step::Step,
    world::{Place, Seat, Three},
};

/// Between two looks of a session at whether the other still has the chat (`server/src/session.rs`).
const CHECK: Duration = Duration::from_secs(10);

/// Between two attempts of a session at opening a line (there, too).
const PROBE: Duration = Duration::from_secs(1);

/// How much may happen.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How often what need not happen may.
    pub left: Left,
    /// Who may ask whom to talk, each as often as there are calls left.
    pub pairs: &'static [(Person, Person)],
    /// Whose connections may end, and who may log in again.
    pub movers: &'static [Person],
    /// What the clients want.
    pub will: Will,
    /// Whether clients send messages: one of each client's at a time.
    pub messages: bool,
    /// Frames that may be on their way between clients and sessions at one time; where none may, each is read at once.
    pub frames: usize,
    /// Signals that may be on their way at one time.
    pub flights: usize,
}

/// What the clients of a model want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Will {
    /// Anything.
    Any,
    /// Alice wants to talk to bob and bob to alice, and no timer runs out.
    CallEachOther,
}

/// The model: real sessions of three users, which may be broken on purpose.
#[derive(Clone, Debug)]
pub struct Relay {
    bounds: Bounds,
    fault: Fault,
    sights: bool,
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
            request: Duration::from_secs(5),
            establishment: Duration::from_secs(3),
            // Long enough to ask a second time.
            grace: Duration::from_millis(1500),
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
            sights: false,
            patience,
            names: Three::new(name)?,
            keys: Three::new(key)?,
            server: "chat.example".parse()?,
            start,
        })
    }

    /// The same, which also has to reach the [sights](Property::sometimes) that give the rules a meaning.
    #[must_use]
    pub fn with_sights(self) -> Self {
        Self { sights: true, ..self }
    }

    fn person(&self, name: &UserName) -> Option<Person> {
        Person::ALL.into_iter().find(|person| self.names.of(*person) == name)
    }

    /// The next timer of the session that the model, as it may be broken, runs.
    fn next_timer(&self, seat: &Seat) -> Option<(Timer, Duration)> {
        seat.next_timer().filter(|(timer, _)| self.fault != Fault::IsDeafTo(*timer))
    }

    /// Whether time goes by for the session; it does not for one that a broken machine keeps from seeing its next timer.
    fn has_time(&self, seat: &Seat) -> bool {
        seat.next_timer() == self.next_timer(seat)
    }
}

impl Model for Relay {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let Ok(places) = Three::new(|_| Ok::<_, std::convert::Infallible>(Arc::new(Place::default())));
        let world = World { places, flights: Vec::new(), left: self.bounds.left, breach: None };
        let mut step = Step { relay: self, world };
        for person in Person::ALL {
            let _ = step.log_in(person, Client::default());
        }
        step.flush();
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
        if self.sights {
            properties.extend(Self::sights());
        }
        properties
    }

    fn within_boundary(&self, world: &World) -> bool {
        let frames: usize = world.seats().map(|(_, seat)| seat.frames()).sum();
        world.flights.len() <= self.bounds.flights && frames <= self.bounds.frames
    }
}
