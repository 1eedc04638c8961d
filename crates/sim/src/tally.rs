//! What a world, or many, came to.

use std::fmt;

use client::{Ending, Event};

macro_rules! counted {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What it is, in words.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

counted! {
    /// The faults that a world can meet.
    Fault {
        /// Both ends hear at once.
        Reset = "connection reset at any byte, noticed by both",
        /// The session lives on.
        ResetForClient = "connection reset at any byte, noticed by the client alone",
        /// The client takes the server for alive.
        ResetForServer = "connection reset at any byte, noticed by the server alone",
        /// Until a timer of either.
        Vanished = "connection dead, noticed by neither",
        /// The client's system says so, and the old connection is dead.
        NetworkChanged = "network of a client changed",
        /// Nothing moves for a while, then all comes.
        Stall = "connection held up",
        /// Its client gives it up, and logs in again before it arrives.
        LateLogIn = "log-in that comes late",
        /// For a while.
        Refused = "attempt to connect refused",
        /// No answer until the client's patience is over.
        Hanging = "attempt to connect unanswered",
        /// Its system ends the connections.
        ServerKilled = "server killed and started again",
        /// Nobody ends the connections.
        ServerDark = "server gone without a word and started again",
        /// Its clients are told.
        ServerStopped = "server stopped in order and started again",
        /// All of its sessions stand still.
        ServerSuspended = "server suspended and continued",
        /// Until it knows that the others have taken it for gone.
        NodeCutOff = "node cut off from NATS for a while",
        /// What it was told, or told others, at that moment may be lost.
        NodeReset = "connection of a node to NATS lost",
        /// It has forgotten who is online.
        NatsRestarted = "NATS ended and started again",
        /// Nothing is answered meanwhile.
        NatsSuspended = "NATS suspended and continued",
        /// More comes than a node takes in.
        WordsDropped = "words between nodes lost",
        /// Nobody can be looked up.
        DirectoryBlind = "directory not readable for a while",
        /// Its clock jumps.
        ClientSuspended = "client suspended and continued",
        /// A face that takes no events.
        ReaderStopped = "client that reads nothing for a while",
        /// It starts again without the chat.
        ClientKilled = "client killed, without its chat",
    }
}

/// Sums over worlds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Worlds that were run to their end.
    pub worlds: u64,
    /// Chats that stood on both sides.
    pub chats: u64,
    /// Messages that were shown to their receivers.
    pub messages: u64,
    /// Bytes of text in them.
    pub bytes: u64,
    /// Times that a chat's line was broken and opened again.
    pub resumed: u64,
    /// Chats that ended by a goodbye, seen from each side.
    pub goodbyes: u64,
    /// Chats that were lost, seen from each side.
    pub lost: u64,
    /// Messages that were told to be undelivered.
    pub undelivered: u64,
    /// Worlds that ended in quiet, with everything delivered.
    pub quiet: u64,
    /// Worlds of several nodes.
    pub several: u64,
    /// Worlds in which the late log-in of a program that was gone has ended a newer one.
    pub put_out: u64,
    /// Inputs that machines were given.
    pub inputs: u64,
    /// Simulated milliseconds.
    pub milliseconds: u64,
    /// Faults injected, by kind, as in [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
}

impl Tally {
    /// Counts a fault.
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// Adds what another world, or many, came to.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.worlds, other.worlds),
            (&mut self.chats, other.chats),
            (&mut self.messages, other.messages),
            (&mut self.bytes, other.bytes),
            (&mut self.resumed, other.resumed),
            (&mut self.goodbyes, other.goodbyes),
            (&mut self.lost, other.lost),
            (&mut self.undelivered, other.undelivered),
            (&mut self.quiet, other.quiet),
            (&mut self.several, other.several),
            (&mut self.put_out, other.put_out),
            (&mut self.inputs, other.inputs),
            (&mut self.milliseconds, other.milliseconds),
        ];
        for (sum, other) in sums.into_iter().chain(self.faults.iter_mut().zip(other.faults)) {
            *sum += other;
        }
    }

    /// Counts what a user was told.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Message { text, .. } => {
                self.messages += 1;
                self.bytes += text.as_str().len() as u64;
            }
            Event::ChatClosed { reason, undelivered, .. } => {
                self.undelivered += undelivered;
                match reason {
                    Ending::Goodbye => self.goodbyes += 1,
                    Ending::Lost => self.lost += 1,
                    Ending::Error => {}
                }
            }
            _ => {}
        }
    }

    /// How often a fault was injected.
    pub fn count(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("worlds, a seed each", self.worlds),
            ("of these of several nodes", self.several),
            ("chats", self.chats),
            ("messages carried", self.messages),
            ("bytes of text in them", self.bytes),
            ("broken lines opened again", self.resumed),
            ("ends by a goodbye", self.goodbyes),
            ("ends by loss", self.lost),
            ("messages told to be undelivered", self.undelivered),
            ("worlds that ended in quiet, all delivered", self.quiet),
            ("worlds in which a program that was gone ended a newer one", self.put_out),
            ("inputs to machines", self.inputs),
            ("simulated hours", self.milliseconds / 3_600_000),
            ("faults", self.faults.iter().sum()),
        ];
        let faults = Fault::ALL.iter().map(|fault| (fault.as_str(), self.count(*fault)));
        for (what, count) in rows.into_iter().chain(faults) {
            writeln!(f, "{count:>13}  {what}")?;
        }
        Ok(())
    }
}
