//! Which nodes are there: each puts its lease into the bucket again and again, and whoever does not is gone.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::signal::NodeId;

/// Between two renewals of a lease.
pub const RENEWAL: Duration = Duration::from_secs(1);
/// From the last renewal that was seen to the end of a lease.
pub const LEASE: Duration = Duration::from_secs(5);
/// From a renewal of its own that a node last saw to its taking itself for cut off. It is shorter than a lease: a node that
/// hears nothing must not take the others for gone.
pub const OWN_LEASE: Duration = Duration::from_secs(3);

/// When each node was last heard of, by this node's clock.
#[derive(Debug)]
pub(super) struct Leases {
    home: NodeId,
    own: Instant,
    others: BTreeMap<NodeId, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    /// What stands in the bucket for it, if something does.
    revision: Option<u64>,
}

impl Leases {
    /// Of a node that has just attached.
    pub(super) fn new(home: NodeId, now: Instant) -> Self {
        Self { home, own: now, others: BTreeMap::new() }
    }

    /// `node` has renewed its lease.
    pub(super) fn renewed(&mut self, node: NodeId, revision: u64, now: Instant) {
        if node == self.home {
            self.own = now;
        } else {
            self.others.insert(node, Seen { at: now, revision: Some(revision) });
        }
    }

    /// Something of `node` stands in the bucket. Without a lease it is gone a while later.
    pub(super) fn mentioned(&mut self, node: NodeId, now: Instant) {
        if node != self.home {
            self.others.entry(node).or_insert(Seen { at: now, revision: None });
        }
    }

    /// `node` has given its lease back, or another has taken it for gone.
    pub(super) fn ended(&mut self, node: NodeId) {
        self.others.remove(&node);
    }

    /// Whether this node has seen nothing of its own renewals for so long that it cannot know what others do.
    pub(super) fn is_cut_off(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.own) > OWN_LEASE
    }

    /// Takes the nodes whose leases have ended, with the revisions of what stands in the bucket for them.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(NodeId, Option<u64>)> {
        let is_over = |seen: &Seen| now.saturating_duration_since(seen.at) > LEASE;
        self.others.extract_if(.., |_, seen| is_over(seen)).map(|(node, seen)| (node, seen.revision)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_renew_is_gone() {
        let start = crate::cluster::now();
        let after = |ms| start.checked_add(Duration::from_millis(ms)).unwrap();
        let [home, one, two] = [5, 1, 9].map(NodeId::new);
        let mut leases = Leases::new(home, start);
        leases.renewed(one, 7, start);
        leases.mentioned(two, start);
        leases.renewed(one, 8, after(4000));
        leases.mentioned(one, after(4000));
        assert_eq!(leases.expired(after(5000)), []);
        assert_eq!(leases.expired(after(5001)), [(two, None)]);
        assert_eq!(leases.expired(after(5001)), []);
        assert_eq!(leases.expired(after(9001)), [(one, Some(8))]);
        assert!(!leases.is_cut_off(after(3000)) && leases.is_cut_off(after(3001)));
        leases.renewed(home, 9, after(3001));
        assert!(!leases.is_cut_off(after(6001)));
        leases.renewed(two, 10, after(9001));
        leases.ended(two);
        assert_eq!(leases.expired(after(99_000)), []);
    }
}
