use std::path::PathBuf;

use protocol::ServerName;

use crate::{router::Misheard, secret_file::SecretFileError};

/// Why a node is not one of several. None has a name of a user in it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// None of the servers takes the connection.
    #[error(
        "the router's server cannot be reached at {servers}: {reason}; see that it runs, and that router in server.toml is right"
    )]
    Unreachable {
        /// The addresses.
        servers: String,
        /// What the last one, or the system, said.
        reason: String,
    },
    /// It does not believe who this is.
    #[error(
        "the router's server at {servers} refuses this node: {reason}; router_credentials in server.toml names the file that it is to be shown"
    )]
    Refused {
        /// The addresses.
        servers: String,
        /// What it said.
        reason: String,
    },
    /// It takes the connection, and does not do what is asked.
    #[error(
        "the router's server at {servers} does not {what}: {reason}; it needs JetStream (nats-server -js, version 2.11 or later), and this node the permissions that docs/operating.md lists"
    )]
    Unable {
        /// The addresses.
        servers: String,
        /// What it was to do.
        what: &'static str,
        /// What it said.
        reason: String,
    },
    /// The nodes of that name are of another server.
    #[error(
        "the cluster {cluster:?} on the router's server is that of {found}, and this server is {own}; give each server a cluster of its own in server.toml"
    )]
    Foreign {
        /// The cluster's name.
        cluster: String,
        /// Whose it is.
        found: ServerName,
        /// This server's name.
        own: ServerName,
    },
    /// The nodes of that name are of another version.
    #[error("what is on the router's server is not understood: {0}")]
    Misheard(#[from] Misheard),
    /// The authority's certificate is of no use.
    #[error("{}, the router_ca of server.toml, is of no use: {reason}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file with the credentials is of no use.
    #[error("the router_credentials of server.toml are of no use: {0}")]
    Secret(#[from] SecretFileError),
    /// It is neither of the two that there are.
    #[error("{} has no credentials for NATS in it: it should be a file that its tools made (.creds), or have two lines, user and password", .0.display())]
    NotCredentials(PathBuf),
    /// The file that NATS's tools made is damaged.
    #[error("the router_credentials of server.toml are damaged; have NATS's tools make the file again")]
    Credentials,
}
