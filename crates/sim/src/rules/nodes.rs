//! What nodes know of each other: the presence bucket, what each has been told of it, and how the two stand.

use protocol::{Attempt, ChatId};
use server::signal::{NodeId, SessionId};

use super::world::{Place, Seat, World};

/// The nodes of a model, one or two; whatever is kept for each stands in this order.
pub(super) const HOMES: [usize; 2] = [0, 1];

/// The other one.
pub(super) const fn other(home: usize) -> usize {
    1_usize.saturating_sub(home)
}

/// One of two nodes. One that is alone is attached, and that is all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) status: Status,
    /// Which of its attachments it is at. What it says bears the number.
    pub(super) attachment: u8,
    /// The way to the other node.
    pub(super) way: Way,
    /// A word to it was lost, which it has yet to notice.
    pub(super) has_missed: bool,
}

/// How a node stands to the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Status {
    Attached,
    /// It hears nothing and is not heard.
    CutOff,
    /// It ended, with all its sessions and without a word.
    Gone,
}

/// How what a node says gets to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Open,
    /// To where the other listened before it attached anew: nobody hears it.
    Stale,
    /// Nowhere: it has taken the other for gone, or has heard that it attached anew, and not where.
    Shut,
}

/// What stands in the bucket for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Standing {
    pub(super) session: SessionId,
    pub(super) attempt: Attempt,
    pub(super) held: Option<ChatId>,
    /// Of the node that has put it there.
    pub(super) attachment: u8,
}

/// A user's key in the bucket. Only changes of one key have an order that anybody looks at, so each counts its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bucket {
    pub(super) revision: u8,
    pub(super) stands: Option<Standing>,
    /// The changes that a node has yet to be told, in their order.
    log: Vec<(u8, Option<Standing>)>,
}

/// A user, as a node has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct View {
    /// The user's session in this node.
    pub(super) here: Option<Here>,
    /// The revision of the bucket up to which the node has been told.
    pub(super) told: u8,
    /// What stood there then.
    pub(super) known: Option<Standing>,
    /// Whether the other node has said something of the user's since, so that it can be answered.
    pub(super) is_spoken_for: bool,
}

/// The session that a node has for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Here {
    pub(super) id: SessionId,
    /// What stands in the bucket for it, if that is known in this attachment.
    pub(super) revision: Option<u8>,
}

/// What a session's node does so that it be its user's in all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    /// It was before its node attached.
    pub(super) is_again: bool,
    /// The revision at which it stands in the bucket, or the chat of the one that stays there; `None` as long as the
    /// bucket has not heard of it.
    pub(super) outcome: Option<Result<u8, Option<ChatId>>>,
}

impl Node {
    pub(super) const NEW: Self = Self { status: Status::Attached, attachment: 1, way: Way::Open, has_missed: false };
    /// In place of a second one where there is none.
    pub(super) const NONE: Self = Self { status: Status::Gone, attachment: 0, way: Way::Shut, has_missed: false };

    pub(super) fn is_attached(&self) -> bool {
        self.status == Status::Attached
    }
}

impl Bucket {
    pub(super) fn put(&mut self, standing: Option<Standing>) -> u8 {
        self.revision = self.revision.saturating_add(1);
        self.stands = standing;
        self.log.push((self.revision, standing));
        self.revision
    }

    /// What it was at this revision, as far as anybody has yet to be told.
    pub(super) fn at(&self, revision: u8) -> Option<Standing> {
        self.log.iter().find(|(at, _)| *at == revision).and_then(|(_, standing)| *standing)
    }

    /// Whether a node that has been told so far is about to be told of another session than this, with another chat.
    pub(super) fn will_end(&self, told: u8, id: SessionId, chat: ChatId) -> bool {
        let ends = |standing: &Standing| standing.session != id && standing.held != Some(chat);
        self.log.iter().any(|(revision, standing)| *revision > told && standing.as_ref().is_some_and(ends))
    }

    /// The change after this one.
    pub(super) fn after(&self, told: u8) -> Option<(u8, Option<Standing>)> {
        self.log.iter().find(|(revision, _)| *revision > told).copied()
    }

    /// What all have been told nobody has to remember.
    pub(super) fn forget(&mut self, told: u8) {
        self.log.retain(|(revision, _)| *revision > told);
    }
}

impl Seat {
    /// Where it is, of the nodes of its model.
    pub(super) fn home(&self) -> usize {
        usize::from(self.id.node == NodeId::new(2))
    }

    /// Whether it waits for its user to be online: until then it hears nothing.
    pub(super) fn is_joining(&self) -> bool {
        self.claim.is_some_and(|claim| !claim.is_again)
    }
}

impl Place {
    /// Whether a node has this session for the user.
    pub(super) fn is_current(&self, id: SessionId) -> bool {
        self.views.iter().any(|view| view.here.is_some_and(|here| here.id == id))
    }

    /// The one that has taken the session's place, though its node may not have been told so, or that still has it.
    pub(super) fn instead_of(&self, seat: &Seat) -> Option<Standing> {
        self.bucket.stands.filter(|standing| standing.session != seat.id)
    }

    /// Whether this node takes the user to be in the other.
    pub(super) fn is_there(&self, home: usize) -> bool {
        let view = &self.views[home];
        view.here.is_none() && view.known.is_some_and(|standing| home_of(standing.session) != home)
    }
}

impl World {
    /// The session is in a node that cannot reach the other, for as long as that may be.
    pub(super) fn is_cut_off(&self, seat: &Seat) -> bool {
        self.nodes[seat.home()].status == Status::CutOff
    }
}

/// Where a session is.
pub(super) fn home_of(session: SessionId) -> usize {
    usize::from(session.node == NodeId::new(2))
}

/// The node of a model that has two, or one.
pub(super) fn node(home: usize, is_alone: bool) -> NodeId {
    match (is_alone, home) {
        (true, _) => NodeId::ALONE,
        (false, 0) => NodeId::new(1),
        (false, _) => NodeId::new(2),
    }
}
