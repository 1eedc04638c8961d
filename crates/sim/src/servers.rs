//! The server of a world: one process, or several that share their users.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ::server::{session::Input, signal::SessionId};
use protocol::{PublicKey, Recording, UserName};

use crate::{
    around::Around,
    nats::Wire,
    network::Link,
    server::{self, AtServer, Server},
};

/// How long nodes have to find each other before anybody comes.
const BEGINNING: Duration = Duration::from_secs(10);

/// All nodes.
pub(crate) struct Servers {
    pub(crate) nodes: Vec<Server>,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Node(usize, server::Step),
    /// NATS turns to what came by this connection.
    Nats(Wire),
}

impl Servers {
    pub(crate) fn new(count: usize, directory: &BTreeMap<UserName, PublicKey>, around: &mut Around) -> Self {
        let node = |index| Server::new(index, count == 1, directory.clone(), around);
        Self { nodes: (0..count).map(node).collect() }
    }

    /// Lets the nodes find each other.
    pub(crate) fn begin(&mut self, around: &mut Around) {
        let until = around.now + BEGINNING;
        let (mut node, mut all) = (Vec::new(), Vec::new());
        while !self.nodes.iter().all(Server::is_ready) {
            all.clear();
            self.steps(around, &mut node, &mut all);
            match all.iter().min_by_key(|(at, _)| *at) {
                Some((at, step)) if *at <= until => {
                    around.now = around.now.max(*at);
                    self.step(*step, around);
                }
                _ => return around.violated("nodes find each other"),
            }
        }
    }

    /// Where a balancer sends a connection: to a node that is ready, as far as it has noticed.
    pub(crate) fn choose(&self, around: &mut Around) -> usize {
        if self.nodes.len() == 1 {
            return 0;
        }
        let ready: Vec<_> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_ready()).collect();
        if ready.is_empty() || around.dice.per_mille(50) {
            around.dice.index(self.nodes.len())
        } else {
            around.dice.pick(&ready)
        }
    }

    pub(crate) fn steps(
        &self,
        around: &Around,
        node: &mut Vec<(Instant, server::Step)>,
        all: &mut Vec<(Instant, Step)>,
    ) {
        for (index, server) in self.nodes.iter().enumerate() {
            node.clear();
            server.steps(around, node);
            all.extend(node.iter().map(|(at, step)| (*at, Step::Node(index, *step))));
        }
        all.extend(around.nats.steps().map(|(at, wire)| (at, Step::Nats(wire))));
    }

    pub(crate) fn step(&mut self, step: Step, around: &mut Around) {
        match step {
            Step::Node(node, step) => self.nodes[node].step(step, around),
            Step::Nats(wire) => {
                if let Some((user, presence)) = around.nats.step(wire, around.now) {
                    around.note(|| format!("the bucket has {user}: {:?} {:?}", presence.session, presence.attempt));
                    around.takes_over(presence.session, &user, presence.attempt.client);
                }
            }
        }
    }

    pub(crate) fn flush(&mut self, around: &mut Around) {
        self.nodes.iter_mut().for_each(|server| server.flush(around));
    }

    pub(crate) fn heal(&mut self, around: &mut Around) {
        around.nats.heal(around.now);
        self.nodes.iter_mut().for_each(|server| server.heal(around));
    }

    /// Where the session of a connection is, once logged in.
    pub(crate) fn place(&self, link: Link) -> Option<AtServer> {
        self.nodes.iter().find_map(|server| server.place(link))
    }

    /// What is not as it should be when nothing happens any more: each user has one session at most, and all nodes and the
    /// bucket agree who is online.
    pub(crate) fn disagreement(&self, around: &Around) -> Option<String> {
        let mut online: BTreeMap<UserName, Vec<SessionId>> = BTreeMap::new();
        for (user, session) in self.nodes.iter().flat_map(Server::registered) {
            online.entry(user.clone()).or_default().push(session);
        }
        if let Some((user, sessions)) = online.iter().find(|(_, sessions)| sessions.len() > 1) {
            return Some(format!("{user} has {sessions:?}"));
        }
        let names: Vec<_> = online.keys().cloned().collect();
        for server in &self.nodes {
            match server.list() {
                None => return Some("a node is not attached".to_owned()),
                Some(list) if list != names => return Some(format!("a node has {list:?}, there are {names:?}")),
                Some(_) => {}
            }
        }
        if self.nodes.len() > 1 {
            if around.nats.is_busy() {
                return Some("there is news".to_owned());
            }
            let bucket = around.nats.online();
            let bucket: BTreeMap<_, _> =
                bucket.into_iter().map(|(user, presence)| (user, vec![presence.session])).collect();
            if bucket != online {
                return Some(format!("the bucket has {bucket:?}, there are {online:?}"));
            }
        }
        None
    }

    /// What the sessions of all nodes were given.
    pub(crate) fn recordings(&self) -> impl Iterator<Item = &(SessionId, Recording<Input>)> {
        self.nodes.iter().flat_map(|server| &server.recordings)
    }
}
