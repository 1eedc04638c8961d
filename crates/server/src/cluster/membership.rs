//! What a node makes of what the presence bucket shows, and of what it does not show any more.

use std::time::Instant;

use protocol::UserName;

use super::leases::Leases;
use crate::{
    router::{Lease, Presence, Router},
    signal::NodeId,
};

/// What a key of the bucket is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A user, who is online or not.
    User(UserName, Option<Presence>),
    /// A node, which is there or not.
    Node(NodeId, Option<Lease>),
    /// The bucket itself.
    Owner,
}

/// The attachment has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended(pub String);

/// How a node stands to the others, in one attachment.
#[derive(Debug)]
pub struct Membership {
    home: NodeId,
    leases: Leases,
}

impl Membership {
    /// Of the node `home`, which is about to read the bucket.
    pub fn new(home: NodeId, now: Instant) -> Self {
        Self { home, leases: Leases::new(home, now) }
    }

    /// The bucket has `item` since this revision. The router is told.
    ///
    /// # Errors
    /// [`Ended`]: this node is to attach anew.
    pub fn learn(&mut self, router: &Router, item: Item, revision: u64, now: Instant) -> Result<(), Ended> {
        match item {
            Item::User(user, presence) => {
                if let Some(presence) = &presence {
                    self.leases.mentioned(presence.session.node, now);
                }
                router.learn(&user, presence.as_ref(), revision);
            }
            Item::Node(node, Some(lease)) => {
                self.leases.renewed(node, revision, now);
                router.opens(node, lease.attachment);
            }
            Item::Node(node, None) if node == self.home => {
                return Err(Ended("the other nodes took this one for gone".to_owned()));
            }
            Item::Node(node, None) => {
                self.leases.ended(node);
                self.bury(router, node);
            }
            Item::Owner => {}
        }
        Ok(())
    }

    /// To be called every [`RENEWAL`](super::RENEWAL). Nodes that have not renewed their leases are gone; those whose leases
    /// this node is to take out of the bucket, each with the revision that it must have.
    ///
    /// # Errors
    /// [`Ended`]: this node cannot know what others do, and is to attach anew.
    pub fn tick(&mut self, router: &Router, now: Instant) -> Result<Vec<(NodeId, u64)>, Ended> {
        if self.leases.is_cut_off(now) {
            return Err(Ended("what this node puts into the presence bucket does not come back".to_owned()));
        }
        router.beat();
        let expired = self.leases.expired(now);
        for (node, _) in &expired {
            let users = self.bury(router, *node);
            tracing::warn!(%node, users, "a node is gone");
        }
        let clears_away = self.leases.clears_away();
        let leases = expired.into_iter().filter(|_| clears_away);
        Ok(leases.filter_map(|(node, revision)| Some((node, revision?))).collect())
    }

    /// How many users were there.
    fn bury(&self, router: &Router, node: NodeId) -> usize {
        let gone = router.bury(node);
        let users = gone.len();
        // One node does, of those that are there.
        if self.leases.clears_away() {
            gone.into_iter().for_each(|(user, revision)| router.strike(user, revision));
        }
        users
    }
}
