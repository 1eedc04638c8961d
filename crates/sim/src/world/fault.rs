//! What goes wrong.

use std::time::Duration;

use super::World;
use crate::{
    network::{Noticed, Way},
    tally::Fault,
    user::NAMES,
};

impl World {
    /// One of the faults that are due happens.
    pub(super) fn fault(&mut self) {
        let Some(place) = self.faults.iter().position(|(at, _)| *at <= self.around.now) else { return };
        let (_, fault) = self.faults.swap_remove(place);
        let around = &mut self.around;
        let now = around.now;
        let victim = around.dice.index(self.users.len());
        let node = if self.servers.nodes.len() > 1 { around.dice.index(self.servers.nodes.len()) } else { 0 };
        let is_alone = self.servers.nodes.len() == 1;
        let server = &mut self.servers.nodes[node];
        let user = &mut self.users[victim];
        let short = around.dice.time(Duration::from_secs(20));
        let long = around.dice.time(Duration::from_secs(150));
        let noticed = match fault {
            Fault::Reset => Some(Noticed::Both),
            Fault::ResetForClient => Some(Noticed::Client),
            Fault::ResetForServer => Some(Noticed::Server),
            Fault::Vanished => Some(Noticed::Neither),
            _ => None,
        };
        // What has no place in the world as it is now does not happen, and does not count.
        match (fault, noticed, user.link()) {
            (_, Some(noticed), Some(link)) => around.network.cut(link, noticed, now),
            (Fault::NetworkChanged, ..) if user.program.is_some() => {
                if let Some(link) = user.link().filter(|_| around.dice.per_mille(700)) {
                    around.network.cut(link, Noticed::Neither, now);
                }
                user.changes_network(now + around.dice.time(Duration::from_secs(1)));
            }
            (Fault::Stall, _, Some(link)) => {
                let way = around.dice.pick(&[Way::Up, Way::Down]);
                around.network.stall(link, way, now, short);
            }
            (Fault::LateLogIn, ..) if user.program.is_some() => {
                // Counted when it is met.
                if let Some(link) = user.link() {
                    around.network.cut(link, Noticed::Client, now);
                }
                user.log_in_takes = Some(Duration::from_secs(1) + short);
                return;
            }
            (Fault::Refused | Fault::Hanging, ..) => {
                // Counted when it is met.
                user.refused_until = now + long.min(Duration::from_secs(60));
                user.is_unanswered = fault == Fault::Hanging;
                return;
            }
            (Fault::ServerKilled | Fault::ServerDark, ..) if server.is_running() => {
                let restart = if around.dice.per_mille(900) { short } else { long };
                server.crash(fault == Fault::ServerDark, now + restart, around);
            }
            (Fault::ServerStopped, ..) if server.is_running() => server.stop(now + short, around),
            (Fault::ServerSuspended, ..) if server.is_running() => server.suspended_until = now + short,
            (Fault::DirectoryBlind, ..) => server.blind_until = now + short,
            (Fault::NodeCutOff, ..) if !is_alone => around.nats.cut(node, now + short),
            (Fault::NodeReset, ..) if !is_alone && around.nats.lose(node, now) => {}
            (Fault::NatsRestarted, ..) if !is_alone && around.nats.is_up(now) => {
                around.nats.restart(now + short.min(Duration::from_secs(10)), now);
            }
            (Fault::NatsSuspended, ..) if !is_alone => around.nats.suspended_until = now + short,
            (Fault::WordsDropped, ..) if !is_alone => {
                let count = 1 + around.dice.below(4);
                around.nats.drop_words(node, count);
            }
            (Fault::ClientSuspended, ..) if user.program.is_some() => user.suspended_until = now + long,
            (Fault::ReaderStopped, ..) if user.program.is_some() => user.unread_until = now + long,
            (Fault::ClientKilled, ..) if user.program.is_some() => user.kill(&mut self.model, around),
            _ => return,
        }
        around.tally.fault(fault);
        around.note(|| format!("*** {} ({}, server {node})", fault.as_str(), NAMES[victim]));
    }
}
