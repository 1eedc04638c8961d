//! What users and server share: the time, the network, the tally, and the record of it all.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use protocol::{ClientId, ToClient, ToServer, UserName};
use server::signal::{NodeId, SessionId};
use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

use crate::{
    dice::Dice,
    model::Id,
    nats::Nats,
    network::{Link, Network},
    sabotage::Sabotage,
    tally::Tally,
};

/// The surroundings of the machines.
pub(crate) struct Around {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) network: Network,
    /// What nodes have between them.
    pub(crate) nats: Nats,
    pub(crate) dice: Dice,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
    pub(crate) sabotage: Option<Sabotage>,
    /// When the server last passed something of a chat on to one of its clients, or opened its line.
    pub(crate) passed: BTreeMap<Id, Instant>,
    /// Whether the late log-in of a program that is gone has put out a newer one of its user. Nobody can tell that from
    /// somebody who logs in somewhere else.
    pub(crate) is_put_out: bool,
    /// The log-ins whose sessions there are: by which connection, and of whom.
    pub(crate) log_ins: BTreeMap<SessionId, (Link, UserName, ClientId)>,
    /// The first rule that was broken.
    pub(crate) violation: Option<String>,
}

impl Around {
    /// Notes that a rule is broken. The first counts; what comes after it may come of it.
    pub(crate) fn violated(&mut self, rule: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(rule.into());
        }
    }

    /// A session wants to be its user's.
    pub(crate) fn logs_in(&mut self, id: SessionId, link: Link, user: &UserName, client: ClientId) {
        self.log_ins.insert(id, (link, user.clone(), client));
        self.takes_over(id, user, client);
    }

    pub(crate) fn logs_off(&mut self, id: SessionId) {
        self.log_ins.remove(&id);
    }

    /// A node is gone, with its sessions.
    pub(crate) fn is_gone(&mut self, node: NodeId) {
        self.log_ins.retain(|id, _| id.node != node);
    }

    /// A session takes the place of any other of its user, and perhaps of one of a program that was started later.
    pub(crate) fn takes_over(&mut self, id: SessionId, user: &UserName, client: ClientId) {
        let own = self.log_ins.get(&id).map_or(0, |(link, ..)| *link);
        let is_newer = |(link, other, of): &(Link, UserName, ClientId)| *link > own && other == user && *of != client;
        self.is_put_out |= self.log_ins.values().any(is_newer);
    }

    /// How long nothing of a chat has passed.
    pub(crate) fn is_silent_for(&self, chat: Id) -> Duration {
        self.passed.get(&chat).map_or(Duration::MAX, |at| self.now.duration_since(*at))
    }

    /// Whether there has been no fault.
    pub(crate) fn is_calm(&self) -> bool {
        self.tally.faults.iter().all(|count| *count == 0)
    }

    /// Writes a line into the trace, if there is one.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.trace.lines {
            let time = self.now.duration_since(self.start).as_secs_f64();
            lines.push(format!("{time:>11.6}  {}", line()));
        }
    }
}

/// What happened, line by line, if somebody wants to read it.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) lines: Option<Vec<String>>,
}

/// The frames that come out of a stream of bytes, by the product's own codec.
pub(crate) struct Frames {
    codec: LengthDelimitedCodec,
    bytes: BytesMut,
}

impl Default for Frames {
    fn default() -> Self {
        Self { codec: protocol::frame_codec(), bytes: BytesMut::new() }
    }
}

impl Frames {
    /// Takes in what came.
    pub(crate) fn put(&mut self, bytes: &Bytes) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.codec.decode(&mut self.bytes).ok().flatten().map(BytesMut::freeze)
    }
}

/// Puts a frame into bytes for the stream.
pub(crate) fn put_frame(frame: Bytes, bytes: &mut BytesMut) {
    // No machine makes a frame of more than the codec takes.
    let _ = protocol::frame_codec().encode(frame, bytes);
}

/// A frame in short.
pub(crate) fn short(frame: &Bytes, to_server: bool) -> String {
    let text = |frame: &dyn Debug| {
        let mut text = format!("{frame:?}");
        if text.len() > 160 {
            text = text.split("b\"").next().unwrap_or_default().to_owned() + "…";
        }
        text
    };
    let length = frame.len();
    let frame = if to_server {
        ToServer::decode(frame).map(|frame| text(&frame))
    } else {
        ToClient::decode(frame).map(|frame| text(&frame))
    };
    match frame {
        Ok(text) => format!("{text} ({length} bytes)"),
        Err(error) => format!("{error} ({length} bytes)"),
    }
}
