//! Machines that are broken on purpose: the real session with something between it and its driver.

use protocol::{ChatId, Machine as _};
use server::{
    session::{Input, Output, State, Timer},
    signal::{Signal, SignalKind, Undelivered},
};

use super::{
    Relay,
    world::{Person, Seat},
};

/// What is wrong with the machine that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A session in a chat takes a request to talk as if it were free.
    RingsInAChat,
    /// A session is not told that a newer one took its place.
    OlderSessionStays,
    /// A log-in that comes late takes the place of the next one of its client.
    LateLogInWins,
    /// The end of a chat is not told to the other side.
    EndsInSilence,
    /// No session looks whether the other still has the chat.
    NeverChecks,
    /// Nobody who calls looks whether the other still has the request.
    NeverChecksCalls,
    /// No session is told that words of another node may be lost.
    IgnoresLapses,
    /// A node finds nobody of whom the bucket has not told it, though it has heard a word of theirs.
    KnowsNoSpeaker,
    /// A session takes a peer who cannot be reached for one who is not there, so that it never goes elsewhere.
    NeverStrands,
    /// No session learns that the client of the newer one has kept the chat.
    HeldIsForgotten,
    /// A timer never runs out.
    IsDeafTo(Timer),
    /// Whoever sends a signal about a chat is taken for the peer.
    BelievesAnySender,
    /// Whatever chat a signal of the peer's is about is taken for the present one.
    BelievesAnyChat,
    /// Messages are passed on to the client without a look.
    PassesAllOn,
    /// A request that crosses one's own gets no other answer than any request to a busy user.
    RefusesCrossing,
    /// Both of two requests that cross are taken, instead of one.
    TakesBothCrossing,
}

impl Fault {
    /// Gives the session an input, or what the fault makes of it, and takes its outputs, or what the fault leaves of
    /// them.
    pub(super) fn hand(self, relay: &Relay, person: Person, seat: &mut Seat, input: Input, out: &mut Vec<Output>) {
        let start = out.len();
        match (self, input) {
            (Self::PassesAllOn, Input::Signal(Signal { kind: SignalKind::Message(frame), .. })) => {
                out.push(Output::Send(frame));
            }
            (Self::None, input) => seat.session.handle(input, seat.now, out),
            (Self::IgnoresLapses, Input::Signal(Signal { kind: SignalKind::Lapsed(_), .. })) => {}
            (Self::NeverStrands, Input::Undelivered { to, chat, is_repeated, why: Undelivered::Unreachable }) => {
                let why = Undelivered::Absent;
                seat.session.handle(Input::Undelivered { to, chat, is_repeated, why }, seat.now, out);
            }
            (_, Input::Signal(signal)) => self.hand_signal(relay, person, seat, signal, out),
            (_, input) => seat.session.handle(input, seat.now, out),
        }
        let mut place = 0usize;
        let is_calling = matches!(seat.session.state(), Some(State::Calling { .. }));
        out.retain(|output| {
            place = place.saturating_add(1);
            place <= start || !self.swallows(output, is_calling)
        });
    }

    fn hand_signal(self, relay: &Relay, person: Person, seat: &mut Seat, mut signal: Signal, out: &mut Vec<Output>) {
        let is_request = matches!(signal.kind, SignalKind::Request { .. });
        match (self, seat.session.state()) {
            (Self::RingsInAChat, Some(State::Chatting { .. })) if is_request => {
                seat.session = relay.fresh(person, seat.id);
                seat.now = relay.start;
            }
            (Self::TakesBothCrossing, Some(State::Calling { peer, .. })) if is_request && *peer == signal.from => {
                seat.session = relay.fresh(person, seat.id);
                seat.now = relay.start;
            }
            (Self::RefusesCrossing, Some(State::Calling { .. })) if is_request => {
                let Signal { from: to, chat, .. } = signal;
                let (from, session) = (relay.names.of(person).clone(), seat.id);
                let signal = Signal { from, session, chat, kind: SignalKind::Unavailable };
                out.push(Output::Signal { to, signal });
                return;
            }
            (Self::BelievesAnySender, Some(state)) if !is_request => {
                signal.from = state.peer().cloned().unwrap_or(signal.from);
            }
            (Self::BelievesAnyChat, Some(state)) if !is_request => {
                signal.chat = state.chat().unwrap_or(signal.chat);
            }
            _ => {}
        }
        seat.session.handle(Input::Signal(signal), seat.now, out);
    }

    fn swallows(self, output: &Output, is_calling: bool) -> bool {
        let Output::Signal { signal, .. } = output else {
            return false;
        };
        match self {
            Self::EndsInSilence => matches!(signal.kind, SignalKind::Close(_)),
            Self::NeverChecks => matches!(signal.kind, SignalKind::Check),
            Self::NeverChecksCalls => is_calling && matches!(signal.kind, SignalKind::Check),
            _ => false,
        }
    }

    /// What the older session is told of the chat that the newer one's client holds.
    pub(super) fn held(self, held: Option<ChatId>) -> Option<ChatId> {
        held.filter(|_| self != Self::HeldIsForgotten)
    }
}
