//! Putting a session into the presence bucket, step by step: what is asked of the bucket next, by what it has answered.

use protocol::{ChatId, UserName};

use crate::router::{Presence, Router};

/// Times that a session is put there. Each but the last was in vain because others were faster.
const ATTEMPTS: u32 = 32;

/// The claim of a session to be its user's.
#[derive(Clone, Debug)]
pub struct Claim {
    presence: Presence,
    /// It was its user's before the node was cut off.
    is_again: bool,
    attempts: u32,
}

/// What is to be done next for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Look what the bucket has for the user, and come back with it by [`Claim::found`].
    Look,
    /// Put the session there if what stands there has this revision, 0 for nothing, and come back by [`Claim::outrun`] if it
    /// has another. Done otherwise, as [`Claimed::At`] the new revision.
    Put {
        /// The revision.
        over: u64,
    },
    /// Nothing.
    Done(Claimed),
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The session stands in the bucket since this revision.
    At(u64),
    /// Another does, which is newer, and has come back with this chat.
    Late(Option<ChatId>),
    /// Nothing is known of it.
    Unknown,
}

/// What the bucket has for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its revision.
    pub revision: u64,
    /// The session. What nobody understands, and that there was one, is in nobody's way.
    pub presence: Option<Presence>,
}

impl Claim {
    /// Of a session that has just logged in: it is its user's from then on, unless its client has logged in again since.
    /// `revision`: of what stands there now, if that is known and may go. With what is to be done first.
    pub fn new(presence: Presence, revision: Option<u64>) -> (Self, Move) {
        let mut claim = Self { presence, is_again: false, attempts: 0 };
        let first = revision.map_or(Move::Look, |over| claim.put(over));
        (claim, first)
    }

    /// Of a session that was its user's before the node was cut off: it still is, unless there is another. Of two that were,
    /// and none stands there now, either may be faster.
    pub fn again(presence: Presence) -> (Self, Move) {
        (Self { presence, is_again: true, attempts: 0 }, Move::Look)
    }

    /// What is to stand in the bucket.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The bucket has this for the user.
    pub fn found(&mut self, found: Option<Found>) -> Move {
        match found {
            None => self.put(0),
            Some(Found { revision, presence: Some(found) }) => {
                // What is this session's own is put there anew: others may have forgotten it.
                if found.session == self.presence.session || self.may_go(&found) {
                    self.put(revision)
                } else {
                    Move::Done(Claimed::Late(found.held))
                }
            }
            Some(Found { revision, presence: None }) => self.put(revision),
        }
    }

    /// The bucket has something else for the user by now.
    pub fn outrun(&self) -> Move {
        if self.attempts < ATTEMPTS { Move::Look } else { Move::Done(Claimed::Unknown) }
    }

    /// Tells the router what came of it. Whether `user` is online with this session now, or was until a newer one came.
    pub fn settle(&self, router: &Router, user: &UserName, claimed: Claimed) -> bool {
        let id = self.presence.session;
        let is_online = match claimed {
            Claimed::At(revision) => router.settle(user, id, revision),
            Claimed::Late(held) => {
                router.replaced(user, id, held);
                true
            }
            Claimed::Unknown => false,
        };
        // Without an answer a session that was online stays so: the attachment is about to end.
        if !is_online && !self.is_again {
            router.give_up(user, id);
        }
        is_online
    }

    fn may_go(&self, found: &Presence) -> bool {
        let (own, other) = (&self.presence.attempt, &found.attempt);
        if self.is_again { other.is_before(own) } else { !own.is_before(other) }
    }

    fn put(&mut self, over: u64) -> Move {
        self.attempts = self.attempts.saturating_add(1);
        Move::Put { over }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Attempt, ClientId};

    use super::*;
    use crate::signal::SessionId;

    fn presence(session: u64, client: u8, number: u32) -> Presence {
        let attempt = Attempt { client: ClientId::from_bytes([client; 16]), number };
        Presence::new(SessionId::new(session), attempt, Some(ChatId::from_bytes([client; 16])))
    }

    fn found(presence: Presence) -> Option<Found> {
        Some(Found { revision: 7, presence: Some(presence) })
    }

    #[test]
    fn what_stands_there_goes_unless_its_client_sent_it_later() {
        let late = Move::Done(Claimed::Late(Some(ChatId::from_bytes([1; 16]))));
        let (over, nothing) = (Move::Put { over: 7 }, Move::Put { over: 0 });
        let (mut claim, first) = Claim::new(presence(1, 1, 5), None);
        assert_eq!(first, Move::Look);
        assert_eq!(claim.found(None), nothing);
        assert_eq!(claim.found(Some(Found { revision: 7, presence: None })), over);
        for other in [presence(2, 1, 4), presence(2, 1, 5), presence(2, 2, 9), presence(1, 1, 6)] {
            assert_eq!(claim.found(found(other)), over);
        }
        assert_eq!(claim.found(found(presence(2, 1, 6))), late);
        let (mut again, first) = Claim::again(presence(1, 1, 5));
        assert_eq!(first, Move::Look);
        assert_eq!(again.found(None), nothing);
        for other in [presence(2, 1, 4), presence(1, 1, 5)] {
            assert_eq!(again.found(found(other)), over);
        }
        for other in [presence(2, 1, 5), presence(2, 1, 6)] {
            assert_eq!(again.found(found(other)), late);
        }
        assert!(matches!(again.found(found(presence(2, 2, 0))), Move::Done(Claimed::Late(_))), "another client's");
    }

    #[test]
    fn whoever_is_outrun_looks_again_and_at_last_gives_up() {
        let (mut claim, first) = Claim::new(presence(1, 1, 0), Some(3));
        assert_eq!(first, Move::Put { over: 3 });
        for _ in 1..ATTEMPTS {
            assert_eq!(claim.outrun(), Move::Look);
            assert_eq!(claim.found(None), Move::Put { over: 0 });
        }
        assert_eq!(claim.outrun(), Move::Done(Claimed::Unknown));
    }
}
