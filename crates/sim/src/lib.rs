//! Both state machines in a simulated network, and the rules of the relay checked in all reachable states. Tests only:
//! nothing depends on this.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "nobody runs this but tests; a world that panics has failed"
)]

mod around;
mod dice;
mod model;
mod network;
mod person;
pub mod rules;
mod sabotage;
mod server;
mod story;
mod tally;
mod user;
mod world;

pub use sabotage::Sabotage;
pub use tally::{Fault, Tally};
pub use world::{Options, Outcome, run};
