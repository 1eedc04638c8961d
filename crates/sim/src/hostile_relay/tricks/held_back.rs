//! Sealed frames held back, sent again, and put elsewhere; none is changed but for its head.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use protocol::{ChatHeader, ChatId, UserName};

use super::{Act, Acts, Moment, Trick, head, is_sealed, with_head};
use crate::hostile_relay::notes::{Id, Link, Notes};

/// How late a frame is.
const LATE: Duration = Duration::from_millis(1500);
/// How long a frame waits for another to change places with.
const ALONE: Duration = Duration::from_millis(200);

/// Each third counter's frame is left out the first time.
#[derive(Default)]
pub(super) struct Drop(BTreeSet<(Link, Id, u64)>);

impl Trick for Drop {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match head(&frame) {
            Some(head) if head.counter % 3 == 1 && self.0.insert((link, *head.chat.as_bytes(), head.counter)) => {}
            _ => acts.down(link, frame),
        }
    }
}

/// One counter's frames are left out for ever: those after the first that passed.
#[derive(Default)]
pub(super) struct DropOne(BTreeMap<(Option<UserName>, Id), u64>);

impl Trick for DropOne {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if let Some(head) = head(&frame) {
            let key = (notes.user(link).cloned(), *head.chat.as_bytes());
            if *self.0.entry(key).or_insert(head.counter + 1) == head.counter {
                return;
            }
        }
        acts.down(link, frame);
    }
}

/// Nothing sealed passes.
pub(super) struct DropAll;

impl Trick for DropAll {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !is_sealed(&frame) {
            acts.down(link, frame);
        }
    }
}

/// Each sealed frame waits for the next.
#[derive(Default)]
pub(super) struct HoldLast(BTreeMap<Link, Bytes>);

impl Trick for HoldLast {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if !is_sealed(&frame) {
            acts.down(link, frame);
        } else if let Some(before) = self.0.insert(link, frame) {
            acts.down(link, before);
        }
    }
}

/// Each sealed frame comes late.
pub(super) struct Delay;

impl Trick for Delay {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if is_sealed(&frame) {
            acts.later(LATE, Act::Down(link, frame));
        } else {
            acts.down(link, frame);
        }
    }
}

/// Of each two sealed frames the second comes first, if their counters are different.
#[derive(Default)]
pub(super) struct Reorder(BTreeMap<Link, Bytes>);

impl Trick for Reorder {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let Some(now) = head(&frame) else { return acts.down(link, frame) };
        match self.0.remove(&link) {
            Some(first) if head(&first).is_some_and(|first| first.counter != now.counter) => {
                acts.down(link, frame);
                acts.down(link, first);
            }
            first => {
                first.into_iter().for_each(|first| acts.down(link, first));
                self.0.insert(link, frame);
                acts.wake(ALONE);
            }
        }
    }

    /// What has waited for a second has waited for long enough.
    fn wake(&mut self, acts: &mut Acts) {
        std::mem::take(&mut self.0).into_iter().for_each(|(link, frame)| acts.down(link, frame));
    }
}

/// Of each two frames to the caller with one counter, which are receipts, the second comes first.
#[derive(Default)]
pub(super) struct ReorderReceipts(BTreeMap<Link, Bytes>);

impl Trick for ReorderReceipts {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let is_to_caller =
            |chat: ChatId| notes.chats.get(chat.as_bytes()).is_some_and(|[caller, _]| Some(caller) == notes.user(link));
        let Some(now) = head(&frame).filter(|now| is_to_caller(now.chat)) else { return acts.down(link, frame) };
        match self.0.remove(&link) {
            Some(first) if head(&first).is_some_and(|first| first.counter == now.counter) => {
                acts.down(link, frame);
                acts.down(link, first);
            }
            first => {
                first.into_iter().for_each(|first| acts.down(link, first));
                self.0.insert(link, frame);
            }
        }
    }
}

/// Each sealed frame passes twice.
pub(super) struct Duplicate;

impl Trick for Duplicate {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if is_sealed(&frame) {
            acts.down(link, frame.clone());
        }
        acts.down(link, frame);
    }
}

/// Behind each sealed frame come all older ones.
pub(super) struct Replay;

impl Trick for Replay {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        acts.down(link, frame.clone());
        let Some(now) = head(&frame) else { return };
        for old in of_chat(notes, link, now.chat).filter(|old| head(old).is_some_and(|old| old.counter < now.counter)) {
            acts.down(link, old);
        }
    }
}

/// Each sealed frame comes back to its sender, and what the other says does not come.
pub(super) struct Reflect;

impl Trick for Reflect {
    fn up(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if is_sealed(&frame) { acts.down(link, frame) } else { acts.up(link, frame) }
    }
}

/// Frames of earlier chats come before each of this one, or in its place with its head.
pub(super) struct ReplayOldChat {
    pub(super) renamed: bool,
}

impl Trick for ReplayOldChat {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if let Some(now) = head(&frame) {
            let user = notes.user(link);
            let mut old = notes.sealed.iter().filter(|old| {
                let pair = notes.chats.get(old.chat.as_bytes());
                old.chat != now.chat
                    && Some(&old.from) != user
                    && pair.is_some_and(|pair| pair.iter().any(|of| Some(of) == user))
            });
            if self.renamed {
                if let Some(old) = old.next_back() {
                    return acts.down(link, with_head(&old.frame, now));
                }
            } else {
                old.for_each(|old| acts.down(link, old.frame.clone()));
            }
        }
        acts.down(link, frame);
    }
}

/// Whoever comes back with a chat is sent all of it again.
pub(super) struct ReplayAfterReturn;

impl Trick for ReplayAfterReturn {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::Chatting
            && let Some(chat) = notes.chat(link)
        {
            of_chat(notes, link, chat).for_each(|old| acts.down(link, old));
        }
    }
}

/// What is for one accepter gets to the accepter of another chat.
pub(super) struct Splice {
    pub(super) renamed: bool,
}

impl Trick for Splice {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let is_accepter = |chat: ChatId, user: Option<&UserName>| {
            notes.chats.get(chat.as_bytes()).is_some_and(|[_, accepter]| Some(accepter) == user)
        };
        if let Some(now) = head(&frame).filter(|now| is_accepter(now.chat, notes.user(link))) {
            for (other, known) in &notes.links {
                let Some(chat) = known.chat.filter(|chat| *chat != now.chat && known.is_chatting) else { continue };
                if let Some(user) = known.user.as_ref().filter(|user| is_accepter(chat, Some(user))) {
                    let head = ChatHeader::new(chat, notes.expected(chat, user), 0);
                    let frame = if self.renamed { with_head(&frame, head) } else { frame.clone() };
                    acts.down(*other, frame);
                }
            }
            return;
        }
        acts.down(link, frame);
    }
}

/// All that was ever sent to a user in a chat.
fn of_chat<'a>(notes: &'a Notes, link: Link, chat: ChatId) -> impl Iterator<Item = Bytes> + 'a {
    let user = notes.user(link);
    notes.sealed.iter().filter(move |old| old.chat == chat && Some(&old.from) != user).map(|old| old.frame.clone())
}
