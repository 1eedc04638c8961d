//! What the attacks do with what passes, each a small machine of its own.

mod connection;
mod held_back;
mod in_the_middle;
mod lists;
mod made_up;
mod requests;
mod sealed;
mod set_up;
mod sizes;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use protocol::{CloseReason, ServerError, ServerName, ToClient, ToServer};

use super::{
    Attack,
    notes::{Link, Notes},
};

/// Something that is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Hand a client's session this frame, as if the client had sent it.
    Up(Link, Bytes),
    /// Send a client this frame.
    Down(Link, Bytes),
    /// Send a client these bytes, in no frame.
    Raw(Link, Bytes),
    /// End a client's connection.
    Cut(Link),
    /// Do this later.
    After(Duration, Box<Act>),
    /// Tell the relay's owner.
    Tell(String),
    /// Call the trick that put this off.
    Wake,
}

/// What is to be done, in order.
#[derive(Default)]
pub(crate) struct Acts(pub(crate) Vec<Act>);

impl Acts {
    fn up(&mut self, link: Link, frame: Bytes) {
        self.0.push(Act::Up(link, frame));
    }

    fn down(&mut self, link: Link, frame: Bytes) {
        self.0.push(Act::Down(link, frame));
    }

    fn say(&mut self, link: Link, frame: &ToClient) {
        // What cannot be encoded is none of these attacks.
        if let Ok(frame) = frame.encode() {
            self.down(link, frame);
        }
    }

    fn say_up(&mut self, link: Link, frame: &ToServer) {
        if let Ok(frame) = frame.encode() {
            self.up(link, frame);
        }
    }

    fn raw(&mut self, link: Link, bytes: impl Into<Bytes>) {
        self.0.push(Act::Raw(link, bytes.into()));
    }

    fn later(&mut self, delay: Duration, act: Act) {
        self.0.push(Act::After(delay, Box::new(act)));
    }

    fn wake(&mut self, delay: Duration) {
        self.later(delay, Act::Wake);
    }

    fn tell(&mut self, line: String) {
        self.0.push(Act::Tell(line));
    }
}

/// When something can be made up about a connection; also told of those that are there when an attack begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The TLS handshake is over.
    Connected,
    /// The client has been let in.
    LoggedIn,
    /// A sealed frame of the client's chat has passed, or the client has come back with a chat.
    Chatting,
}

/// What a relay that means ill does with the frames that pass it: by itself, nothing.
pub(crate) trait Trick: Send {
    /// A client's frame is on its way to its session.
    fn up(&mut self, _notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        acts.up(link, frame);
    }

    /// A session's frame is on its way to its client.
    fn down(&mut self, _notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        acts.down(link, frame);
    }

    /// It has put this off until now.
    fn wake(&mut self, _acts: &mut Acts) {}

    /// Something can be made up.
    fn moment(&mut self, _notes: &Notes, _link: Link, _moment: Moment, _acts: &mut Acts) {}
}

/// The trick behind an attack.
pub(crate) fn trick(attack: Attack, server: &ServerName) -> Box<dyn Trick> {
    use connection::{
        AwayForEver, Cut, Early, Flapping, LogIn, NoPong, Over, PutOut, ResumeTooHigh, ResumeTooLow, Silent,
    };
    use held_back::{
        Delay, Drop, DropAll, DropOne, HoldLast, Reorder, ReorderReceipts, Replay, ReplayAfterReturn, ReplayOldChat,
        Splice,
    };
    use in_the_middle::{Impersonate, SwapKeys};
    use lists::{Lie, Lists, Unasked};
    use made_up::{ForgeFrame, ForgeGroup, RaiseAck, Renumber};
    use requests::{Answer, Ask, Calls, Hold, NoWelcome, Who};
    use sealed::Change;
    use set_up::{Anew, Exchange, Redirect, Rename, Wrong};
    use sizes::{EveryCode, EveryCodeInChat, Largest, NoFrame, WrongLength};
    use watch::Watch;

    let exchange = |wrong| -> Box<dyn Trick> { Box::new(Exchange::new(wrong, server)) };
    let list = |lie| -> Box<dyn Trick> { Box::new(Lists::new(lie)) };
    let calls = |answer| -> Box<dyn Trick> { Box::new(Calls::new(answer, server)) };
    match attack {
        Attack::Watch => Box::new(Watch),
        Attack::Drop => Box::new(Drop::default()),
        Attack::DropOne => Box::new(DropOne::default()),
        Attack::DropAll => Box::new(DropAll),
        Attack::HoldLast => Box::new(HoldLast::default()),
        Attack::Delay => Box::new(Delay),
        Attack::Reorder => Box::new(Reorder::default()),
        Attack::ReorderReceipts => Box::new(ReorderReceipts::default()),
        Attack::Duplicate => Box::new(held_back::Duplicate),
        Attack::Replay => Box::new(Replay),
        Attack::Reflect => Box::new(held_back::Reflect),
        Attack::ReplayOldChat => Box::new(ReplayOldChat { renamed: false }),
        Attack::ReplayOldChatRenamed => Box::new(ReplayOldChat { renamed: true }),
        Attack::ReplayAfterReturn => Box::new(ReplayAfterReturn),
        Attack::Splice => Box::new(Splice { renamed: false }),
        Attack::SpliceRenamed => Box::new(Splice { renamed: true }),
        Attack::TruncateFrame => Box::new(Change(sealed::truncate_frame)),
        Attack::ExtendFrame => Box::new(Change(sealed::extend_frame)),
        Attack::TruncateSealed => Box::new(Change(sealed::truncate_sealed)),
        Attack::ExtendSealed => Box::new(Change(sealed::extend_sealed)),
        Attack::FlipCode => Box::new(Change(sealed::flip_code)),
        Attack::FlipVersion => Box::new(Change(sealed::flip_version)),
        Attack::FlipChat => Box::new(Change(sealed::flip_chat)),
        Attack::FlipCounter => Box::new(Change(sealed::flip_counter)),
        Attack::FlipAck => Box::new(Change(sealed::flip_ack)),
        Attack::FlipSealed => Box::new(Change(sealed::flip_sealed)),
        Attack::RaiseAck => Box::new(RaiseAck),
        Attack::Renumber => Box::new(Renumber::default()),
        Attack::ForgeFrame => Box::new(ForgeFrame::new(server)),
        Attack::ForgeGroup => Box::new(ForgeGroup::text(server)),
        Attack::ForgeGoodbye => Box::new(ForgeGroup::goodbye(server)),
        Attack::SwapKeys => Box::new(SwapKeys::new(server)),
        Attack::SwapAcceptersKey => exchange(Wrong::AcceptersKey),
        Attack::SwapCallersKey => exchange(Wrong::CallersKey),
        Attack::ForgePackage => exchange(Wrong::Package),
        Attack::ForgeWelcome => exchange(Wrong::Welcome),
        Attack::SwapInChat => Box::new(Anew::in_chat(server)),
        Attack::SwapOnReturn => Box::new(Anew::on_return(server)),
        Attack::Impersonate => Box::new(Impersonate::new(server)),
        Attack::OthersPackage => exchange(Wrong::OthersPackage),
        Attack::OthersPackageTrueKey => exchange(Wrong::OthersPackageTrueKey),
        Attack::OthersWelcome => exchange(Wrong::OthersWelcome),
        Attack::OldPackage => exchange(Wrong::OldPackage),
        Attack::OldWelcome => exchange(Wrong::OldWelcome),
        Attack::OwnPackage => exchange(Wrong::OwnPackage),
        Attack::ReflectSetUp => Box::new(set_up::Reflect),
        Attack::DuplicateSetUp => Box::new(set_up::Duplicate),
        Attack::Redirect => Box::new(Redirect),
        Attack::RenameRequest => Box::new(Rename),
        Attack::FlipSetUp => exchange(Wrong::FlippedBit),
        Attack::ListInvented => list(Lie::Invented),
        Attack::ListOneself => list(Lie::Oneself),
        Attack::ListTwice => list(Lie::Twice),
        Attack::ListUnsorted => list(Lie::Unsorted),
        Attack::ListOtherPart => list(Lie::OtherPart),
        Attack::ListEscapes => list(Lie::Escapes),
        Attack::ListBidi => list(Lie::Bidi),
        Attack::ListGiant => list(Lie::Giant),
        Attack::ListEndless => list(Lie::Endless),
        Attack::ListUnasked => Box::new(Unasked),
        Attack::ListWithheld => list(Lie::Withheld),
        Attack::RequestFromOneself => Box::new(Ask::new(Who::Oneself, server)),
        Attack::RequestFromPeer => Box::new(Ask::new(Who::Peer, server)),
        Attack::RequestFlood => Box::new(Ask::new(Who::Many, server)),
        Attack::RequestFromCalled => calls(Answer::Mutual),
        Attack::RequestWhileCalling => calls(Answer::Crossed),
        Attack::FakeRefuse => calls(Answer::Refused),
        Attack::FakeNotFound => calls(Answer::NotFound),
        Attack::FakeAccept => calls(Answer::Accepted),
        Attack::TooFast => Box::new(Hold),
        Attack::DropRequests => calls(Answer::Nothing),
        Attack::DropWelcomes => Box::new(NoWelcome),
        Attack::ResumeTooHigh => Box::new(ResumeTooHigh),
        Attack::ResumeTooLow => Box::new(ResumeTooLow::default()),
        Attack::AwayFlapping => Box::new(Flapping),
        Attack::AwayForEver => Box::new(AwayForEver),
        Attack::CloseLeft => Box::new(Over(CloseReason::Left)),
        Attack::CloseCalledOff => Box::new(Over(CloseReason::CalledOff)),
        Attack::CloseExpired => Box::new(Over(CloseReason::Expired)),
        Attack::CloseBusy => Box::new(Over(CloseReason::Busy)),
        Attack::CloseFailed => Box::new(Over(CloseReason::Failed)),
        Attack::CloseOverrun => Box::new(Over(CloseReason::Overrun)),
        Attack::ErrorUnknownUser => Box::new(PutOut(ServerError::UnknownUser)),
        Attack::ErrorReplaced => Box::new(PutOut(ServerError::Replaced)),
        Attack::ErrorRemoved => Box::new(PutOut(ServerError::Removed)),
        Attack::ErrorShuttingDown => Box::new(PutOut(ServerError::ShuttingDown)),
        Attack::ErrorIdle => Box::new(PutOut(ServerError::Idle)),
        Attack::ErrorProtocol => Box::new(PutOut(ServerError::Protocol)),
        Attack::ErrorUnavailable => Box::new(PutOut(ServerError::Unavailable)),
        Attack::OtherName => Box::new(LogIn::OtherName),
        Attack::NoLogIn => Box::new(LogIn::Nothing),
        Attack::LogInTwice => Box::new(LogIn::Twice),
        Attack::EarlyFrames => Box::new(Early),
        Attack::NoPong => Box::new(NoPong),
        Attack::Silent => Box::new(Silent::default()),
        Attack::Cut => Box::new(Cut::default()),
        Attack::EveryCode => Box::new(EveryCode::new(server)),
        Attack::EveryCodeInChat => Box::new(EveryCodeInChat::new(server)),
        Attack::WrongDirection => Box::new(NoFrame(sizes::wrong_direction)),
        Attack::UnknownCode => Box::new(NoFrame(sizes::unknown_code)),
        Attack::EmptyFrame => Box::new(NoFrame(sizes::empty)),
        Attack::OneByteFrame => Box::new(NoFrame(sizes::one_byte)),
        Attack::LargestFrame => Box::new(Largest::new(server)),
        Attack::LengthTooHigh => Box::new(WrongLength { high: true }),
        Attack::LengthTooLow => Box::new(WrongLength { high: false }),
    }
}

fn is_sealed(frame: &[u8]) -> bool {
    frame.first() == Some(&(protocol::Code::Message as u8))
}

/// The fields of a sealed frame's head.
fn head(frame: &[u8]) -> Option<protocol::ChatHeader> {
    match ToClient::decode(frame).ok()? {
        ToClient::Message(message) => Some(message.header),
        _ => None,
    }
}

/// A sealed frame with another head.
fn with_head(frame: &[u8], header: protocol::ChatHeader) -> Bytes {
    let mut bytes = frame.to_vec();
    if let Ok(aad) = header.aad()
        && let Some(place) = bytes.get_mut(..aad.len())
    {
        place.copy_from_slice(&aad);
    }
    bytes.into()
}
