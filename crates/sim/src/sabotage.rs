//! Deliberate faults of the machines' surroundings, which are not in the rules of the game: to show that the rules are
//! watched.

use client::{Ending, Event, Output};
use protocol::Code;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A message is shown twice.
    ShowsTwice,
    /// A message is not shown.
    ShowsNot,
    /// Two messages are shown in the wrong order.
    ShowsLate,
    /// A message is changed before it is shown.
    ShowsOther,
    /// What was sent is told to be delivered at once.
    TellsDeliveredEarly,
    /// What was not delivered is not told.
    TellsNothingUndelivered,
    /// A loss is told as a goodbye.
    TellsGoodbye,
    /// A sealed frame is never sent, nor when it is sent again.
    KeepsAFrame,
    /// Receipts are never sent.
    KeepsReceipts,
    /// No timer of the client's ever rings.
    StopsTheClock,
    /// The word that the line is open again never reaches a client.
    KeepsResume,
    /// A sealed frame goes to everybody.
    SendsToAll,
    /// A log-in that comes late counts as the newest.
    TakesLateForNewest,
    /// A node puts a session into the presence bucket over whatever is there.
    ComparesNothing,
    /// A node does not notice that others are gone.
    NeverBuries,
    /// A node does not notice that words are missing.
    CountsNoWords,
    /// Sessions are not told that words may be missing.
    KeepsLapses,
}

impl Sabotage {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::ShowsTwice,
        Self::ShowsNot,
        Self::ShowsLate,
        Self::ShowsOther,
        Self::TellsDeliveredEarly,
        Self::TellsNothingUndelivered,
        Self::TellsGoodbye,
        Self::KeepsAFrame,
        Self::KeepsReceipts,
        Self::StopsTheClock,
        Self::KeepsResume,
        Self::SendsToAll,
        Self::TakesLateForNewest,
        Self::ComparesNothing,
        Self::NeverBuries,
        Self::CountsNoWords,
        Self::KeepsLapses,
    ];

    /// Whether it takes several nodes to be seen.
    pub fn is_between_nodes(self) -> bool {
        matches!(self, Self::ComparesNothing | Self::NeverBuries | Self::CountsNoWords | Self::KeepsLapses)
    }

    /// What becomes of what a client puts out.
    pub(crate) fn spoil(self, out: &mut Vec<Output>) {
        match self {
            Self::ShowsTwice => {
                let again = out.iter().find(|output| is_message(output)).cloned();
                out.extend(again);
            }
            Self::ShowsNot => {
                if out.iter().any(is_delivered) {
                    out.retain(|output| !is_message(output));
                }
            }
            Self::ShowsOther => {
                for output in out {
                    if let Output::Event(Event::Message { n, .. }) = output
                        && *n == 2
                    {
                        *n += 1;
                    }
                }
            }
            Self::TellsDeliveredEarly => {
                let sent = out.iter().find_map(|output| match output {
                    Output::Event(Event::Sent { n }) => Some(*n),
                    _ => None,
                });
                out.extend(sent.map(|n| Output::Event(Event::Delivered { n })));
            }
            Self::TellsNothingUndelivered | Self::TellsGoodbye => {
                for output in out {
                    if let Output::Event(Event::ChatClosed { undelivered, reason, .. }) = output {
                        match self {
                            Self::TellsGoodbye if *reason == Ending::Lost => *reason = Ending::Goodbye,
                            Self::TellsNothingUndelivered => *undelivered = 0,
                            _ => {}
                        }
                    }
                }
            }
            Self::KeepsAFrame => out.retain(|output| counter(output) != Some(3)),
            Self::KeepsReceipts => {
                let followed = out.iter().skip(1).map(Some).chain([None]);
                let keep: Vec<_> = out
                    .iter()
                    .zip(followed)
                    .map(|(output, next)| {
                        counter(output).is_none()
                            || matches!(next, Some(Output::Event(Event::Sent { .. } | Event::Renewed { .. })))
                    })
                    .collect();
                let mut keep = keep.into_iter();
                out.retain(|_| keep.next().unwrap_or(true));
            }
            Self::ShowsLate
            | Self::StopsTheClock
            | Self::KeepsResume
            | Self::SendsToAll
            | Self::TakesLateForNewest
            | Self::ComparesNothing
            | Self::NeverBuries
            | Self::CountsNoWords
            | Self::KeepsLapses => {}
        }
    }
}

fn is_message(output: &Output) -> bool {
    matches!(output, Output::Event(Event::Message { .. }))
}

fn is_delivered(output: &Output) -> bool {
    matches!(output, Output::Event(Event::Delivered { .. }))
}

/// The counter of a sealed frame.
fn counter(output: &Output) -> Option<u64> {
    match output {
        Output::Send(frame) if frame.first() == Some(&(Code::Message as u8)) => {
            Some(u64::from_be_bytes(frame.get(18..26)?.try_into().ok()?))
        }
        _ => None,
    }
}
