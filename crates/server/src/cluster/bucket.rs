//! The presence bucket: who is online and where, which all nodes have in the same order.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    kv::{Config, CreateErrorKind, Entry, Operation, Store, UpdateErrorKind},
    stream::StorageType,
};
use protocol::{ServerName, UserName};

use super::{
    ClusterError, Settings,
    claim::{Claim, Claimed, Found, Move},
    membership::Item,
};
use crate::{
    router::{Lease, Misheard, Presence, VERSION},
    signal::NodeId,
};

/// How long it shows that something was taken out. Nodes see it at once, or read all anew.
const SHOWN_AS_GONE: Duration = Duration::from_secs(60);
/// Bytes of the longest value.
const MAX_VALUE: i32 = 1024;
/// Where it says whose bucket it is.
const OWNER: &str = "owner";

/// The bucket, and the connection to it.
#[derive(Clone)]
pub(super) struct Bucket {
    store: Store,
}

impl Bucket {
    /// Opens the bucket, or makes it.
    ///
    /// # Errors
    /// [`ClusterError`] when it cannot, or the bucket is another server's.
    pub(super) async fn open(client: &async_nats::Client, settings: &Settings) -> Result<Self, ClusterError> {
        let unable = |what, reason: String| ClusterError::Unable { servers: settings.servers(), what, reason };
        let jetstream = jetstream::new(client.clone());
        let name = format!("{}_presence", settings.cluster);
        let store = match jetstream.get_key_value(&name).await {
            Ok(store) => store,
            Err(_) => {
                let config = Config {
                    bucket: name,
                    description: "who is online, and where".to_owned(),
                    history: 1,
                    max_value_size: MAX_VALUE,
                    // Nothing of it is to be left when the server of the router is gone.
                    storage: StorageType::Memory,
                    num_replicas: settings.replicas,
                    limit_markers: Some(SHOWN_AS_GONE),
                    ..Config::default()
                };
                let made = jetstream.create_key_value(config).await;
                made.map_err(|error| unable("keep who is online", in_full(&error)))?
            }
        };
        let bucket = Self { store };
        bucket.check_owner(settings).await?;
        Ok(bucket)
    }

    async fn check_owner(&self, settings: &Settings) -> Result<(), ClusterError> {
        let unable = |what, reason: String| ClusterError::Unable { servers: settings.servers(), what, reason };
        let own = [&[VERSION], settings.name.as_str().as_bytes()].concat();
        match self.store.create(OWNER, own.into()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
            Err(error) => return Err(unable("keep whose cluster it is", in_full(&error))),
        }
        let found = self.store.get(OWNER).await.map_err(|error| unable("say whose cluster it is", in_full(&error)))?;
        let found = found.unwrap_or_default();
        match found.split_first() {
            Some((&VERSION, name)) => {
                let name = std::str::from_utf8(name).ok().and_then(|name| name.parse::<ServerName>().ok());
                let name = name.ok_or(ClusterError::Misheard(Misheard::Malformed))?;
                if name == settings.name {
                    return Ok(());
                }
                let (cluster, own) = (settings.cluster.clone(), settings.name.clone());
                Err(ClusterError::Foreign { cluster, found: name, own })
            }
            Some((&other, _)) => Err(ClusterError::Misheard(Misheard::Version(other))),
            None => Err(ClusterError::Misheard(Misheard::Malformed)),
        }
    }

    /// Everything that stands there, and then what changes.
    ///
    /// # Errors
    /// [`ClusterError`] when it cannot be read.
    pub(super) async fn watch(&self, settings: &Settings) -> Result<jetstream::kv::Watch, ClusterError> {
        self.store.watch_with_history(">").await.map_err(|error| ClusterError::Unable {
            servers: settings.servers(),
            what: "say who is online",
            reason: in_full(&error),
        })
    }

    /// Does what a claim wants done, beginning with `next`, until it comes to an end.
    pub(super) async fn carry_out(&self, claim: &mut Claim, mut next: Move, user: &UserName) -> Claimed {
        let key = key_of(user);
        let Some(value) = claim.presence().encode() else { return Claimed::Unknown };
        loop {
            next = match next {
                Move::Done(claimed) => return claimed,
                Move::Look => match self.store.entry(&key).await {
                    Ok(entry) => claim.found(entry.map(found)),
                    Err(_) => return Claimed::Unknown,
                },
                Move::Put { over } => match self.store.update(&key, value.clone().into(), over).await {
                    Ok(revision) => return Claimed::At(revision),
                    Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => claim.outrun(),
                    Err(_) => return Claimed::Unknown,
                },
            }
        }
    }

    /// The node where a user is online, if one is known.
    pub(super) async fn node_of(&self, user: &UserName) -> Option<NodeId> {
        let entry = self.store.entry(&key_of(user)).await.ok()??;
        Some(found(entry).presence?.session.node)
    }

    /// Takes out what stands there for a user, if it still has this revision.
    pub(super) async fn strike(&self, user: &UserName, revision: u64) {
        self.take_out(&key_of(user), revision).await;
    }

    /// Renews the lease of this node.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn renew(&self, node: NodeId, attachment: u32) -> Result<(), String> {
        let lease = Lease { version: VERSION, attachment }.encode().ok_or_else(|| "it is too long".to_owned())?;
        self.store.put(key_of_node(node), lease.into()).await.map(drop).map_err(|error| in_full(&error))
    }

    /// Takes out the lease of a node that is gone.
    pub(super) async fn bury(&self, node: NodeId, revision: u64) {
        self.take_out(&key_of_node(node), revision).await;
    }

    /// Gives this node's lease back.
    pub(super) async fn end_lease(&self, node: NodeId) {
        // If it does not arrive, the lease ends by itself.
        let _ = self.store.purge_with_ttl(key_of_node(node), SHOWN_AS_GONE).await;
    }

    async fn take_out(&self, key: &str, revision: u64) {
        // With another revision it is no longer the same. Whatever else fails: when the connection is there again, what
        // stands there for nobody is struck, by this node or by those who take it for gone.
        let _ = self.store.purge_expect_revision_with_ttl(key, revision, SHOWN_AS_GONE).await;
    }
}

/// What an entry for a user says.
fn found(Entry { operation, value, revision, .. }: Entry) -> Found {
    let presence = (operation == Operation::Put).then(|| Presence::decode(&value).ok());
    Found { revision, presence: presence.flatten() }
}

/// What an entry of the bucket says. Nothing of it is trusted to be ours.
pub(super) fn item(entry: &Entry) -> Result<Item, Misheard> {
    let value = (entry.operation == Operation::Put).then_some(&entry.value);
    if entry.key == OWNER {
        return Ok(Item::Owner);
    }
    match entry.key.split_once('.') {
        Some(("user", name)) => {
            let user =
                unhex(name).and_then(|name| String::from_utf8(name).ok()?.parse().ok()).ok_or(Misheard::Malformed)?;
            Ok(Item::User(user, value.map(|value| Presence::decode(value)).transpose()?))
        }
        Some(("node", id)) if id.len() == 16 => {
            let node = u64::from_str_radix(id, 16).map(NodeId::new).map_err(|_| Misheard::Malformed)?;
            Ok(Item::Node(node, value.map(|value| Lease::decode(value)).transpose()?))
        }
        _ => Err(Misheard::Malformed),
    }
}

/// The key of a user: the name in hexadecimal digits, for not all characters of names may stand in a key.
fn key_of(user: &UserName) -> String {
    let mut key = "user.".to_owned();
    for byte in user.as_str().bytes() {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

fn key_of_node(node: NodeId) -> String {
    format!("node.{node}")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)?.checked_mul(16)?.saturating_add(digit(*low)?));
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// An error with all that caused it, in one line.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_key_and_back() {
        for name in ["a", "alice", "a..b.", "0-_.", "z".repeat(32).as_str()] {
            let user: UserName = name.parse().unwrap();
            let key = key_of(&user);
            assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{key}");
            assert_eq!(unhex(key.strip_prefix("user.").unwrap()).unwrap(), name.as_bytes());
        }
        assert_eq!([unhex("6"), unhex("6g"), unhex("é1")], [None, None, None]);
    }
}
