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
    /// Whether this node's own lease was seen in the bucket.
    is_there: bool,
}

impl Membership {
    /// Of the node `home`, which is about to read the bucket.
    pub fn new(home: NodeId, now: Instant) -> Self {
        Self { home, leases: Leases::new(home, now), is_there: false }
    }

    /// All that stood in the bucket has been read, however long that took. From now on this node puts its lease there.
    pub fn has_read(&mut self, now: Instant) {
        self.leases.renewed(self.home, 0, now);
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
                self.is_there |= node == self.home;
                self.leases.renewed(node, revision, now);
                router.opens(node, lease.attachment);
            }
            // Until it is there, that tells of how it was lost before.
            Item::Node(node, None) if node == self.home && !self.is_there => {}
            Item::Node(node, None) if node == self.home => {
                return Err(Ended("the other nodes took this one for gone".to_owned()));
            }
            Item::Node(node, None) => {
                self.leases.ended(node);
                Self::bury(router, node);
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
            let users = Self::bury(router, *node);
            tracing::warn!(%node, users, "a node is gone");
        }
        Ok(expired.into_iter().filter_map(|(node, revision)| Some((node, revision?))).collect())
    }

    /// How many users were there.
    fn bury(router: &Router, node: NodeId) -> usize {
        let gone = router.bury(node);
        let users = gone.len();
        // All nodes do, and the first to come takes it out: one that was to do it for all might be gone as well, and the
        // others not know yet.
        gone.into_iter().for_each(|(user, revision)| router.strike(user, revision));
        users
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Attempt, ClientId};

    use super::*;
    use crate::{
        cluster::{LEASE, RENEWAL, leases::OWN_LEASE},
        router::{Errand, VERSION},
        signal::SessionId,
    };

    const HOME: NodeId = NodeId::new(1);

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "where time begins here does not matter")]
        Instant::now()
    }

    #[test]
    fn a_node_that_was_taken_for_gone_before_is_there_again() {
        let (router, now) = (Router::of(HOME, 10), now());
        let mut membership = Membership::new(HOME, now);
        let gone = || Item::Node(HOME, None);
        let there = Item::Node(HOME, Some(Lease { version: VERSION, attachment: 2 }));
        assert_eq!(membership.learn(&router, gone(), 7, now), Ok(()));
        membership.has_read(now);
        assert_eq!(membership.learn(&router, gone(), 8, now), Ok(()));
        assert_eq!(membership.learn(&router, there, 9, now), Ok(()));
        assert!(membership.learn(&router, gone(), 10, now).is_err(), "others have begun to clear away");
    }

    #[test]
    fn who_reads_for_long_is_not_cut_off() {
        let (router, begin) = (Router::of(HOME, 10), now());
        let mut membership = Membership::new(HOME, begin);
        let end = begin + 2 * OWN_LEASE;
        membership.has_read(end);
        assert_eq!(membership.tick(&router, end), Ok(Vec::new()));
        assert!(membership.tick(&router, end + 2 * OWN_LEASE).is_err(), "it does not see its own lease");
    }

    #[test]
    fn of_two_nodes_that_are_gone_one_after_the_other_nothing_is_left() {
        let (router, begin) = (Router::of(HOME, 10), now());
        let mut membership = Membership::new(HOME, begin);
        let lease = || Some(Lease { version: VERSION, attachment: 1 });
        let [lower, higher] = [0, 9].map(NodeId::new);
        let users = [(lower, "alice", 3), (higher, "bob", 4)].map(|(node, user, revision)| {
            let session = SessionId { node, number: 1 };
            let presence = Presence::new(session, Attempt::first(ClientId::from_bytes([1; 16])), None);
            (user.parse::<UserName>().unwrap(), presence, revision)
        });
        router.attach(1);
        membership.learn(&router, Item::Node(lower, lease()), 1, begin).unwrap();
        membership.learn(&router, Item::Node(higher, lease()), 2, begin).unwrap();
        for (user, presence, revision) in users.clone() {
            membership.learn(&router, Item::User(user, Some(presence)), revision, begin).unwrap();
        }
        membership.has_read(begin);
        router.attached();
        let mut revision = 4;
        let (mut leases, mut struck) = (Vec::new(), Vec::new());
        // The higher one has ended at once, the lower one two seconds later: that does not see it go.
        for tick in 1..=10 {
            let time = begin + tick * RENEWAL;
            revision += 1;
            membership.learn(&router, Item::Node(HOME, lease()), revision, time).unwrap();
            if tick <= 2 {
                revision += 1;
                membership.learn(&router, Item::Node(lower, lease()), revision, time).unwrap();
            }
            let taken_out = membership.tick(&router, time).unwrap();
            assert!(taken_out.is_empty() || time > begin + LEASE);
            leases.extend(taken_out.into_iter().map(|(node, _)| node));
            struck.extend(std::iter::from_fn(|| router.next_errand()).filter_map(|errand| match errand {
                Errand::Strike { user, revision } => Some((user, revision)),
                _ => None,
            }));
        }
        assert_eq!(leases, [higher, lower]);
        let [alice, bob] = users.map(|(user, _, revision)| (user, revision));
        assert_eq!(struck, [bob, alice]);
    }
}
