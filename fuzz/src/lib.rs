//! What the fuzz targets do with their bytes. Each target is a function here, so that it can be called without a fuzzer;
//! `README.md` says what each looks for.
#![forbid(unsafe_code)]

mod certificates;
mod channel;
mod client;
mod codec;
mod forge;
mod frames;
mod join;
mod keys;
mod mls;
mod nodes;
mod open;
mod pair;
mod relay;
mod scratch;
mod script;
mod session;
mod settings;
mod time;
mod typed;

// Modules of the program, which is no library, as they stand in its source, with as much around them as they name.
#[allow(dead_code, reason = "the program uses more of it than is called here")]
#[path = "../../crates/sottovoce/src/printable.rs"]
mod printable;
#[allow(dead_code, reason = "the program uses more of it than is called here")]
#[path = "../../crates/sottovoce/src/profile.rs"]
mod profile;
#[path = "../../crates/sottovoce/src/face/tui/text.rs"]
mod text;

#[allow(dead_code, reason = "the program uses more of it than is called here")]
#[path = "../../crates/sottovoce/src/face"]
mod face {
    use std::io;

    use ::client::{Command, Event, Failure};

    pub(crate) use self::json::Json;

    mod json;

    /// As in the program's `face.rs`.
    pub(crate) trait Face: Send {
        fn show(&mut self, event: &Event) -> io::Result<()>;
        fn read(&mut self, line: &str) -> Result<Option<Command>, Failure>;
        fn help(&mut self) -> io::Result<()>;
        fn failed(&mut self, failure: &Failure) -> io::Result<()>;
    }

    /// As in the program's `face/tui.rs`.
    pub(crate) struct Settings {
        pub(crate) bell: bool,
        pub(crate) notices: bool,
    }
}

pub use self::client::client;
pub use certificates::certificates;
pub use channel::channel;
pub use codec::codec;
pub use join::join;
pub use keys::keys;
pub use nodes::nodes;
pub use open::open;
pub use relay::relay;
pub use session::session;
pub use settings::settings;
pub use typed::typed;
