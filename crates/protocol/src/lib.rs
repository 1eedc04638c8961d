//! What travels between Sottovoce's clients and its server: command codes, frames, limits, names.
//!
//! Nothing here does I/O or holds a secret. Every structure derives its bytes from its declaration, in the
//! presentation language of TLS (RFC 8446 section 3); `docs/protocol.md` has the same structures in prose.

mod attempt;
mod code;
mod codec;
mod content;
mod error;
mod frame;
mod header;
mod key;
pub mod limits;
mod machine;
mod name;
mod timers;
mod vector;

pub use attempt::{Attempt, ClientId};
pub use code::Code;
pub use codec::{first_frame, frame_codec};
pub use content::{Content, Text, TextError};
pub use error::DecodeError;
pub use frame::{
    Accept, Accepted, Asked, Close, CloseReason, Establish, Established, Held, List, Login, Message, Page, Request,
    Resume, ServerError, ToClient, ToServer, TooFast,
};
pub use header::{ChatHeader, ChatId, PROTOCOL_VERSION};
pub use key::PublicKey;
pub use machine::{Machine, Recording};
pub use name::{NameError, NamePrefix, ServerName, UserName};
pub use timers::Timers;
pub use vector::opaque;

/// Application-layer protocol name of this version of the protocol (RFC 7301).
pub const ALPN: &[u8] = b"sottovoce/1";
