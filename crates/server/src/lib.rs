//! Sottovoce's relay. It sees who is online and who talks to whom, and passes on sealed frames that it has no code to
//! open: this crate never depends on the one that seals.

pub mod admission;
mod buffer;
pub mod census;
pub mod channel;
pub mod cluster;
pub mod config;
mod connection;
pub mod counters;
pub mod directory;
mod drain;
mod fault;
mod gate;
pub mod health;
mod known;
mod listener;
pub mod mailbox;
pub mod operator;
pub mod rate;
pub mod router;
pub mod secret_file;
pub mod session;
pub mod setup;
pub mod signal;
mod tls;
mod transport;
mod turns;
mod watch;

pub use drain::Stop;
pub use fault::log_panics_by_place;
pub use listener::{BindError, Server};
