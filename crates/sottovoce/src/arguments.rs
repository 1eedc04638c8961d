//! The command line. Nothing secret is taken from it.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::{ServerName, UserName};

/// Live, private, one-to-one chat for people who run their own server.
#[derive(Debug, Parser)]
#[command(name = "sottovoce", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A throwaway relay with alice and bob on this machine: chat at once
    Demo,
    /// Set up, run or look at a server
    #[command(subcommand)]
    Server(Server),
    /// Say who may log in to a server, running or not
    #[command(subcommand)]
    User(User),
    /// Make a key and a profile to chat with
    Keygen(Keygen),
    /// Log in and chat
    Chat(Chat),
    /// The keys of people you have talked to
    #[command(subcommand)]
    Pins(Pins),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Server {
    /// Make a directory with a certificate authority, a server certificate, a configuration and no users
    Init {
        /// The directory to make
        #[arg(long)]
        dir: PathBuf,
        /// Host name or IP address that clients reach the server by
        #[arg(long)]
        host: ServerName,
        /// A certificate for HOST, with its chain, from an authority of your own (PEM); no authority is made then
        #[arg(long, requires = "cert_key")]
        cert: Option<PathBuf>,
        /// The key of that certificate (PEM)
        #[arg(long, requires = "cert")]
        cert_key: Option<PathBuf>,
        /// Where to have the directory of users instead of in a file in DIR: the URL of a PostgreSQL database that is empty,
        /// or has the directory of another node. No password in it
        // A text, since what is wrong with it is not to be told by repeating it.
        #[arg(long)]
        directory: Option<String>,
        /// File with PostgreSQL's password in its first line
        #[arg(long, requires = "directory")]
        directory_password_file: Option<PathBuf>,
    },
    /// Run the server; prints `listening on ADDR` once it accepts connections
    Run {
        /// The server's directory
        #[arg(long)]
        dir: PathBuf,
        /// Listen here instead of where the configuration says (IP:PORT)
        #[arg(long)]
        listen: Option<SocketAddr>,
    },
    /// Show what a running server is doing; fails unless it runs and is ready for connections
    Status {
        /// The server's directory
        #[arg(long)]
        dir: PathBuf,
        /// Write one JSON object, for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Register a user
    Add {
        /// The user's name
        name: UserName,
        /// The server's directory
        #[arg(long)]
        dir: PathBuf,
        /// File with the user's public key, an `ssh-ed25519 …` line; - is standard input
        #[arg(long, default_value = "-")]
        key: PathBuf,
    },
    /// List all users, with their public keys
    List {
        /// The server's directory
        #[arg(long)]
        dir: PathBuf,
    },
    /// Remove a user; a connection of theirs ends within seconds
    Remove {
        /// The user's name
        name: UserName,
        /// The server's directory
        #[arg(long)]
        dir: PathBuf,
    },
    /// Register another key for a user; a connection with the old one ends within seconds
    Replace {
        /// The user's name
        name: UserName,
        /// The server's directory
        #[arg(long)]
        dir: PathBuf,
        /// File with the new public key, an `ssh-ed25519 …` line; - is standard input
        #[arg(long)]
        key: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// The profile's directory, which is made
    #[arg(long)]
    pub(crate) profile: PathBuf,
    /// Your name on the server
    #[arg(long)]
    pub(crate) name: UserName,
    /// The server's address (HOST:PORT); HOST must be a name on its certificate
    #[arg(long)]
    pub(crate) server: Option<String>,
    /// The server's ca.pem, which its operator gives you; without it the system's authorities are trusted
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// Take the password from the first line of this file instead of asking
    #[arg(long)]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Chat {
    /// The profile's directory
    #[arg(long)]
    pub(crate) profile: PathBuf,
    /// How to show things; tui on a terminal and line otherwise, if not given
    #[arg(long, value_enum)]
    pub(crate) face: Option<FaceName>,
    /// Log in by this name instead of the profile's
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Take the password from the first line of this file instead of asking
    #[arg(long)]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaceName {
    /// The whole screen of a terminal
    Tui,
    /// Plain lines, for people, pipes and screen readers
    Line,
    /// JSON, an object a line, for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pins {
    /// List them, with safety numbers
    List {
        /// The profile's directory
        #[arg(long)]
        profile: PathBuf,
    },
    /// Mark a key as verified: you have compared the safety number with its owner
    Verify {
        /// The user's name, or NAME@SERVER
        name: String,
        /// The profile's directory
        #[arg(long)]
        profile: PathBuf,
    },
    /// Forget a key; the next chat with its owner pins whatever key there is then
    Forget {
        /// The user's name, or NAME@SERVER
        name: String,
        /// The profile's directory
        #[arg(long)]
        profile: PathBuf,
    },
}
