//! Both state machines in a simulated network, the rules of the relay checked in all reachable states, and a relay that
//! means ill. Tests only: no program of the project is built with this.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "nobody runs this but tests; a world that panics has failed"
)]

mod around;
mod dice;
pub mod hostile_relay;
mod model;
mod nats;
mod network;
mod person;
pub mod rules;
mod sabotage;
mod server;
mod servers;
mod story;
mod tally;
mod user;
mod world;

pub use sabotage::Sabotage;
pub use tally::{Fault, Tally};
pub use world::{Options, Outcome, run};
