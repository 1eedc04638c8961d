//! One user of Sottovoce: a state machine without I/O, and the driver that connects it to a server and to a face.

mod command;
mod connect;
mod conversation;
mod driver;
mod event;
mod machine;
mod network;
mod stream;

pub use command::{Command, HELP};
pub use connect::{Account, Connection, NoConnection, connect};
pub use driver::run;
pub use event::{Ending, ErrorCode, Event, Failure, RequestEnding};
pub use machine::{Client, Input, Output};
