//! How much was done, and how much was turned away, by cause. No names and no addresses: what is counted here may be
//! logged and published.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use protocol::{Asked, Code, ServerError, ToClient};
use serde::{Deserialize, Serialize};

/// Why somebody did not get what they wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A connection, for its address had made too many of late.
    ConnectionRate,
    /// A connection, for all that its address may have were logged in.
    AddressFull,
    /// A connection, for all that there may be were logged in.
    Full,
    /// A connection without a log-in, for another of its address.
    CrowdedOutByItsAddress,
    /// A connection without a log-in, for another, of the address with the most of them.
    CrowdedOut,
    /// A connection that the system had no socket for.
    NoSocket,
    /// A connection that ended before its handshake did, mostly because what came was none.
    Handshake,
    /// A handshake that took too long.
    SlowHandshake,
    /// A connection that did not say in time who it was.
    SlowLogIn,
    /// A log-in with an unknown name or another key.
    UnknownUser,
    /// A log-in, or a session, for the directory of users could not be read.
    Unavailable,
    /// A connection that sent what it must not.
    Protocol,
    /// A list.
    List,
    /// A request to talk.
    Request,
    /// A chat of which one side sent more than the other took in, told to each side.
    Overrun,
}

/// All causes, with what each is called.
const CAUSES: [(Refusal, &str); 15] = [
    (Refusal::ConnectionRate, "connection_rate"),
    (Refusal::AddressFull, "address_full"),
    (Refusal::Full, "full"),
    (Refusal::CrowdedOutByItsAddress, "crowded_out_by_its_address"),
    (Refusal::CrowdedOut, "crowded_out"),
    (Refusal::NoSocket, "no_socket"),
    (Refusal::Handshake, "handshake"),
    (Refusal::SlowHandshake, "slow_handshake"),
    (Refusal::SlowLogIn, "slow_log_in"),
    (Refusal::UnknownUser, "unknown_user"),
    (Refusal::Unavailable, "unavailable"),
    (Refusal::Protocol, "protocol"),
    (Refusal::List, "list"),
    (Refusal::Request, "request"),
    (Refusal::Overrun, "overrun"),
];

/// The counters of a server. They only ever go up.
#[derive(Debug, Default)]
pub struct Counters {
    refused: [AtomicU64; CAUSES.len()],
    handshakes: AtomicU64,
    log_ins: AtomicU64,
    /// Side by side, for they change together.
    relayed: [AtomicU64; 4],
}

/// Sealed frames of chats, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// How many frames.
    pub frames: u64,
    /// Their bytes, without what TLS and the stream add.
    pub bytes: u64,
}

/// What was relayed. On one machine both are the same but for what is under way; where there are several, a frame comes
/// in at one and may go out at another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// From clients, for the peers of their chats.
    pub received: Flow,
    /// To clients.
    pub sent: Flow,
}

/// What the counters said at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused([u64; CAUSES.len()]);

impl Counters {
    /// Counts one.
    pub fn count(&self, refusal: Refusal) {
        if let Some(counter) = self.refused.get(refusal as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts what is refused by a frame to a client.
    pub(crate) fn count_frame(&self, frame: &[u8], is_logged_in: bool) {
        const MAY_REFUSE: [u8; 3] = [Code::Error as u8, Code::TooFast as u8, Code::ChatClosed as u8];
        // A look at the code keeps all others, the messages above all, from being decoded.
        if frame.first().is_some_and(|code| MAY_REFUSE.contains(code))
            && let Ok(frame) = ToClient::decode(frame)
            && let Some(refusal) = Refusal::of(&frame, is_logged_in)
        {
            self.count(refusal);
        }
    }

    /// Counts a handshake that came to its end.
    pub(crate) fn count_handshake(&self) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a log-in.
    pub(crate) fn count_log_in(&self) {
        self.log_ins.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what one connection has relayed. To be called once for many frames: all connections share these.
    pub(crate) fn count_relayed(&self, relayed: Relayed) {
        for (counter, count) in self.relayed.iter().zip(relayed.numbers()).filter(|(_, count)| *count > 0) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Handshakes that came to their end.
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// Log-ins.
    pub fn log_ins(&self) -> u64 {
        self.log_ins.load(Ordering::Relaxed)
    }

    /// What has been relayed so far.
    pub fn relayed(&self) -> Relayed {
        let [received_frames, received_bytes, sent_frames, sent_bytes] =
            self.relayed.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        Relayed {
            received: Flow { frames: received_frames, bytes: received_bytes },
            sent: Flow { frames: sent_frames, bytes: sent_bytes },
        }
    }

    /// What has been refused so far.
    pub fn refused(&self) -> Refused {
        Refused(self.refused.each_ref().map(|counter| counter.load(Ordering::Relaxed)))
    }
}

impl Flow {
    /// One more frame.
    pub(crate) fn count(&mut self, frame: &[u8]) {
        self.frames = self.frames.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::try_from(frame.len()).unwrap_or(u64::MAX));
    }
}

impl Relayed {
    fn numbers(&self) -> [u64; 4] {
        let Self { received, sent } = self;
        [received.frames, received.bytes, sent.frames, sent.bytes]
    }
}

impl Refusal {
    /// What a frame to a client refuses it.
    fn of(frame: &ToClient, is_logged_in: bool) -> Option<Self> {
        match frame {
            ToClient::Error(ServerError::Idle) if !is_logged_in => Some(Self::SlowLogIn),
            ToClient::Error(ServerError::UnknownUser) => Some(Self::UnknownUser),
            ToClient::Error(ServerError::Unavailable) => Some(Self::Unavailable),
            ToClient::Error(ServerError::Protocol) => Some(Self::Protocol),
            ToClient::TooFast(too_fast) => Some(match too_fast.asked {
                Asked::List => Self::List,
                Asked::RequestToTalk(_) => Self::Request,
            }),
            ToClient::ChatClosed(close) if close.reason == protocol::CloseReason::Overrun => Some(Self::Overrun),
            _ => None,
        }
    }
}

impl Refused {
    /// Each cause, and how often it was one.
    pub fn by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CAUSES.into_iter().zip(self.0).map(|((_, name), count)| (name, count))
    }

    /// What has been refused since the counters said `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        for (count, before) in since.0.iter_mut().zip(before.0) {
            *count = count.saturating_sub(before);
        }
        since
    }

    /// Whether nothing was.
    pub fn is_nothing(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Refused {
    /// The causes that there were: `connection_rate:7,list:2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (name, count) in self.by_cause().filter(|(_, count)| *count > 0) {
            write!(f, "{before}{name}:{count}")?;
            before = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ChatId, Close, CloseReason, TooFast};

    use super::*;

    #[test]
    fn each_cause_has_a_counter_of_its_own() {
        let counters = Counters::default();
        for (place, (refusal, _)) in CAUSES.into_iter().enumerate() {
            for _ in 0..=place {
                counters.count(refusal);
            }
        }
        let counts: Vec<_> = counters.refused().by_cause().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=15).collect::<Vec<_>>());
    }

    #[test]
    fn each_number_of_what_is_relayed_has_a_counter_of_its_own() {
        let counters = Counters::default();
        let relayed = Relayed { received: Flow { frames: 1, bytes: 2 }, sent: Flow { frames: 3, bytes: 4 } };
        counters.count_relayed(relayed);
        assert_eq!(counters.relayed(), relayed);
        let mut sent = Flow::default();
        sent.count(b"frame");
        counters.count_relayed(Relayed { sent, ..Relayed::default() });
        assert_eq!(counters.relayed(), Relayed { sent: Flow { frames: 4, bytes: 9 }, ..relayed });
    }

    #[test]
    fn each_cause_is_explained_to_operators() {
        let page = include_str!("../../../docs/protocol.md");
        let table = page.split_once("### What a server counts").unwrap().1.split_once("\n### ").unwrap().0;
        let explained: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(explained, CAUSES.map(|(_, name)| name));
    }

    #[test]
    fn what_a_client_is_told_counts_and_nothing_else() {
        let counters = Counters::default();
        let chat = ChatId::from_bytes([7; 16]);
        let tell = |frame: ToClient| counters.count_frame(&frame.encode().unwrap(), true);
        let too_fast = |asked| ToClient::TooFast(TooFast { asked, retry_in_ms: 1 });
        let closed = |reason| ToClient::ChatClosed(Close { chat, reason });
        for frame in [
            ToClient::Pong,
            ToClient::PeerAway(chat),
            closed(CloseReason::Left),
            ToClient::Error(ServerError::Idle),
            ToClient::Error(ServerError::ShuttingDown),
            ToClient::Error(ServerError::Replaced),
        ] {
            tell(frame);
        }
        let before = counters.refused();
        assert!(before.is_nothing());
        assert_eq!(before.to_string(), "");
        for frame in [
            too_fast(Asked::List),
            too_fast(Asked::List),
            too_fast(Asked::RequestToTalk(chat)),
            closed(CloseReason::Overrun),
            ToClient::Error(ServerError::UnknownUser),
            ToClient::Error(ServerError::Protocol),
            ToClient::Error(ServerError::Unavailable),
        ] {
            tell(frame);
        }
        let refused = counters.refused();
        assert_eq!(refused.to_string(), "unknown_user:1,unavailable:1,protocol:1,list:2,request:1,overrun:1");
        counters.count_frame(&ToClient::Error(ServerError::Idle).encode().unwrap(), false);
        assert_eq!(counters.refused().since(&refused).to_string(), "slow_log_in:1");
    }
}
