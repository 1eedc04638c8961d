//! The servers that are measured.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{
    connect::Tls,
    fault::Fault,
    figures::Figures,
    load::{Load, Target},
    wire::{irc::Irc, mqtt::Mqtt, nats::Nats, pipe::Pipe, sottovoce::Sottovoce, xmpp::Xmpp},
};

/// A server that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum System {
    /// The relay.
    Sottovoce,
    /// The bare pipe with X25519MLKEM768 and clients' keys, one write for each frame.
    Pipe,
    /// The same, with all that is ready in one write.
    PipeGathering,
    /// The bare pipe with X25519 and without clients' keys, one write for each frame.
    PipeClassical,
    /// IRC, in C.
    Ngircd,
    /// IRC, in C++.
    Inspircd,
    /// MQTT, in C.
    Mosquitto,
    /// NATS, in Go.
    NatsServer,
    /// XMPP, in Erlang.
    Ejabberd,
    /// XMPP, in Lua and C.
    Prosody,
}

impl System {
    /// As the command line has it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The package of Debian that has it, if it is a peer.
    pub(crate) fn package(self) -> Option<&'static str> {
        match self {
            Self::Sottovoce | Self::Pipe | Self::PipeGathering | Self::PipeClassical => None,
            Self::Ngircd => Some("ngircd"),
            Self::Inspircd => Some("inspircd"),
            Self::Mosquitto => Some("mosquitto"),
            Self::NatsServer => Some("nats-server"),
            Self::Ejabberd => Some("ejabberd"),
            Self::Prosody => Some("prosody"),
        }
    }

    /// How many log in at once.
    pub(crate) fn at_a_time(self) -> usize {
        match self {
            // Its listen backlog is 10.
            Self::Ngircd => 8,
            // A timer of a second lets users in.
            Self::Inspircd => 1000,
            _ => 16,
        }
    }

    /// Puts load on a server of this kind.
    ///
    /// # Errors
    /// [`Fault`]: no figures of a run in which anything went wrong.
    pub(crate) fn load(self, target: &Target, load: &Load) -> Result<Figures, Fault> {
        match self {
            Self::Sottovoce => load.run(&Sottovoce, target),
            Self::Pipe | Self::PipeGathering => load.run(&Pipe(Tls::OURS), target),
            Self::PipeClassical => load.run(&Pipe(Tls::CLASSICAL), target),
            Self::Ngircd | Self::Inspircd => load.run(&Irc, target),
            Self::Mosquitto => load.run(&Mqtt, target),
            Self::NatsServer => load.run(&Nats, target),
            Self::Ejabberd | Self::Prosody => load.run(&Xmpp, target),
        }
    }

    /// What it answers with when asked for its version, if it is a peer: program and arguments.
    pub(crate) fn program(self) -> Option<PathBuf> {
        self.package().map(|_| match self {
            Self::Ejabberd => PathBuf::from("/usr/bin/erl"),
            Self::Prosody => PathBuf::from("/usr/bin/prosody"),
            other => PathBuf::from("/usr/sbin").join(other.name()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_come_from_packages_and_have_a_program() {
        for system in System::value_variants() {
            assert_eq!(system.package().is_some(), system.program().is_some(), "{system:?}");
            assert!(system.at_a_time() > 0);
        }
        assert_eq!(System::NatsServer.name(), "nats-server");
        assert_eq!(System::PipeGathering.name(), "pipe-gathering");
    }
}
