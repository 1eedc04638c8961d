//! The reference model: a chat is two queues. What the real machines say of it is compared word by word.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use client::{Ending, Event};
use protocol::{
    Text,
    limits::{MAX_TEXT, WINDOW_BYTES, WINDOW_FRAMES},
};

use crate::{
    around::Around,
    story::{Place, Presence, Story},
};

/// What a text is told apart by.
pub(crate) type Digest = (u64, usize);

/// The bytes of a chat's id.
pub(crate) type Id = [u8; 16];

/// Messages that may wait for the window, as in `crates/client/src/machine.rs`.
const MAX_WAITING: usize = 256;

/// From the wish to leave to the end of patience, as there.
const DRAIN: Duration = Duration::from_secs(5);
/// The server's grace period, less the time that its word takes.
const GRACE: Duration = Duration::from_secs(55);

/// A rule that was broken.
pub(crate) type Broken = String;

/// All chats that there have been, and where each user is.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) chats: BTreeMap<Id, Chat>,
    pub(crate) stories: Vec<Story>,
    /// Who has set which chat up, whether or not it came to stand.
    parties: BTreeSet<(usize, Id)>,
}

/// A chat, from its first message to its last: what each of the two has said, and what has come of it.
#[derive(Default)]
pub(crate) struct Chat {
    pub(crate) safety_number: String,
    pub(crate) sides: BTreeMap<usize, Side>,
}

/// One of the two. The chat holds for it until `ended`.
#[derive(Default)]
pub(crate) struct Side {
    pub(crate) said: Vec<Digest>,
    /// The counters under which what was said was sent.
    pub(crate) sent: Vec<u64>,
    /// How much of what was said this side was told to be delivered.
    pub(crate) delivered: usize,
    /// How much of what the other side said was shown here.
    pub(crate) shown: usize,
    /// How often the user wanted to leave, and when first.
    pub(crate) left: u32,
    pub(crate) left_at: Option<Instant>,
    /// Without a reason: the program was killed.
    pub(crate) ended: Option<Option<Ending>>,
}

impl Chat {
    fn both(&mut self, user: usize) -> (Option<&mut Side>, Option<&mut Side>) {
        let (mut own, mut other) = (None, None);
        for (name, side) in &mut self.sides {
            *(if *name == user { &mut own } else { &mut other }) = Some(side);
        }
        (own, other)
    }

    fn shown(&mut self, user: usize, text: Digest, n: u64) -> Result<(), Broken> {
        let (Some(own), Some(other)) = self.both(user) else {
            return Err("a message from a side that does not have the chat".to_owned());
        };
        let expected = (other.said.get(own.shown), other.sent.get(own.shown));
        if expected != (Some(&text), Some(&n)) {
            let place = own.shown;
            return Err(format!(
                "a received stream is a prefix of what was sent: at {place} came {text:?} as {n}, expected {expected:?}"
            ));
        }
        own.shown += 1;
        Ok(())
    }

    fn delivered(&mut self, user: usize, n: u64) -> Result<(), Broken> {
        let (Some(own), Some(other)) = self.both(user) else {
            return Err("delivered to a side that does not have the chat".to_owned());
        };
        let place = own.sent.iter().position(|sent| *sent == n).map(|place| place + 1);
        match place {
            Some(place) if own.delivered < place && place <= other.shown => own.delivered = place,
            _ => {
                let (delivered, shown) = (own.delivered, other.shown);
                return Err(format!(
                    "delivered never lies: {n} is the end of the first {place:?}; {delivered} were delivered before, and \
                     {shown} shown"
                ));
            }
        }
        Ok(())
    }

    fn closed(
        &mut self,
        user: usize,
        reason: Ending,
        undelivered: u64,
        silent: Duration,
        around: &Around,
    ) -> Result<(), Broken> {
        let (Some(own), other) = self.both(user) else {
            return Err("the end of a chat that did not begin".to_owned());
        };
        let rest = own.said.len() - own.delivered;
        if undelivered != rest as u64 {
            return Err(format!("undelivered is told right: {undelivered} told, {rest} in truth"));
        }
        let Some(other) = other else {
            // The other side did not get so far, and may have said why.
            own.ended = Some(Some(reason));
            return Ok(());
        };
        let heard_all = other.left > 0 && own.shown == other.sent.len();
        let is_due = own.left_at.is_none_or(|at| around.now.duration_since(at) >= DRAIN);
        match reason {
            Ending::Goodbye if own.left == 0 && !heard_all => {
                return Err("goodbye only if somebody said it, and after all that was said before".to_owned());
            }
            Ending::Goodbye if own.left == 1 && other.left == 0 && !is_due && other.ended.is_none() => {
                return Err("whoever says goodbye waits until it has arrived".to_owned());
            }
            Ending::Goodbye
                if own.left == 1
                    && other.left == 0
                    && !is_due
                    && other.ended == Some(Some(Ending::Lost))
                    && !around.is_put_out =>
            {
                return Err("a goodbye that has arrived is a goodbye".to_owned());
            }
            Ending::Lost
                if own.left == 0
                    && other.left == 0
                    && other.ended.is_none()
                    && !around.is_put_out
                    && (around.is_calm() || silent < GRACE) =>
            {
                return Err(format!("a chat that both sides have is lost by time alone: {silent:?}"));
            }
            Ending::Error => return Err("an honest chat ends without an error".to_owned()),
            _ => {}
        }
        own.ended = Some(Some(reason));
        Ok(())
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (said, sent) = (self.said.len(), self.sent.len());
        write!(f, "said {said}, sent {sent}, {} of them delivered, was shown {}", self.delivered, self.shown)
    }
}

impl Side {
    fn said(&mut self, text: Digest) -> Result<(), Broken> {
        self.said.push(text);
        let waiting = self.said.len() - self.sent.len();
        if waiting > MAX_WAITING + 1 { Err(format!("memory bounded: {waiting} messages wait")) } else { Ok(()) }
    }

    fn sent(&mut self, n: u64) -> Result<(), Broken> {
        if self.sent.len() >= self.said.len() || self.sent.last().is_some_and(|last| *last >= n) {
            return Err(format!("each message is sent once, counters go up: {n} after {:?}", self.sent.last()));
        }
        self.sent.push(n);
        let flying = self.said.get(self.delivered..self.sent.len()).unwrap_or_default();
        let bytes: usize = flying.iter().map(|(_, length)| *length).sum();
        if flying.len() > WINDOW_FRAMES || bytes > WINDOW_BYTES + MAX_TEXT {
            return Err(format!("memory bounded: {} messages of {bytes} bytes unconfirmed", flying.len()));
        }
        Ok(())
    }
}

impl Model {
    /// A world of so many users.
    pub(crate) fn new(users: usize) -> Self {
        let stories = (0..users).map(|_| Story::default()).collect();
        Self { chats: BTreeMap::new(), stories, parties: BTreeSet::new() }
    }

    /// Whether the user has set this chat up, with somebody.
    pub(crate) fn is_party(&self, user: usize, chat: Id) -> bool {
        self.parties.contains(&(user, chat))
    }

    /// The chat that a user is in.
    pub(crate) fn chat_of(&self, user: usize) -> Option<Id> {
        self.stories[user].chat()
    }

    /// A text was taken in for the chat that the user is in.
    pub(crate) fn says(&mut self, user: usize, text: &Text) -> Result<(), Broken> {
        self.own(user)?.said(digest(text))
    }

    /// The user wants to leave.
    pub(crate) fn leaves(&mut self, user: usize, now: Instant) {
        let story = &mut self.stories[user];
        story.is_leaving |=
            story.presence == Presence::Online || matches!(story.place, Place::SettingUp(..) | Place::Chatting(..));
        if let Ok(side) = self.own(user) {
            side.left += 1;
            side.left_at.get_or_insert(now);
        }
    }

    /// The user refuses, or takes back, a request.
    pub(crate) fn refuses(&mut self, user: usize) {
        let place = &mut self.stories[user].place;
        if matches!(place, Place::Ringing(_)) {
            *place = Place::Free;
        }
    }

    /// The program was killed.
    pub(crate) fn killed(&mut self, user: usize) {
        if let Ok(side) = self.own(user) {
            side.ended = Some(None);
        }
        self.stories[user] = Story::default();
    }

    /// The program ended by itself.
    pub(crate) fn quit(&mut self, user: usize) -> Result<(), Broken> {
        let story = std::mem::take(&mut self.stories[user]);
        if (story.presence, &story.place) == (Presence::Offline, &Place::Free) {
            Ok(())
        } else {
            Err(format!("whoever leaves has ended chat and log-in before: {:?}, {:?}", story.presence, story.place))
        }
    }

    /// A client set a chat up: it accepted (`is_caller` false), or let the accepter in.
    pub(crate) fn sets_up(&mut self, user: usize, chat: Id, is_caller: bool) -> Result<(), Broken> {
        self.parties.insert((user, chat));
        let story = &mut self.stories[user];
        story.place = match std::mem::take(&mut story.place) {
            Place::Calling(peer) => Place::SettingUp(peer, chat),
            Place::Ringing(peer) if !is_caller => Place::SettingUp(peer, chat),
            place => return Err(format!("a chat is set up out of a request: {place:?}")),
        };
        Ok(())
    }

    /// A user was told something.
    pub(crate) fn event(&mut self, names: &[&str], user: usize, event: &Event, around: &Around) -> Result<(), Broken> {
        let story = &mut self.stories[user];
        let before = story.chat();
        story.event(event)?;
        let id = story.chat().or(before).unwrap_or_default();
        let is_leaving = story.is_leaving;
        match event {
            Event::ChatStarted { peer, safety_number, .. } => {
                let chat = self.chats.entry(id).or_default();
                if chat.sides.is_empty() {
                    chat.safety_number.clone_from(safety_number);
                }
                let is_known = chat.sides.insert(user, Side { left: is_leaving.into(), ..Side::default() }).is_some();
                let peer = names.iter().position(|name| name == peer);
                let are_the_two = chat.sides.keys().all(|side| *side == user || Some(*side) == peer);
                if is_known || !are_the_two || chat.safety_number != *safety_number {
                    return Err("a chat is of two, begins once for each, and has one safety number".to_owned());
                }
            }
            Event::Message { text, n, .. } => return self.chats.entry(id).or_default().shown(user, digest(text), *n),
            Event::Sent { n } => return self.own(user)?.sent(*n),
            Event::Delivered { n } => return self.chats.entry(id).or_default().delivered(user, *n),
            Event::ChatClosed { reason, undelivered, .. } if before.is_some() => {
                let silent = around.is_silent_for(id);
                return self.chats.entry(id).or_default().closed(user, *reason, *undelivered, silent, around);
            }
            _ => {}
        }
        Ok(())
    }

    fn own(&mut self, user: usize) -> Result<&mut Side, Broken> {
        let chat = self.chat_of(user).ok_or("only who is in a chat says something")?;
        let side = self.chats.get_mut(&chat).and_then(|chat| chat.sides.get_mut(&user));
        Ok(side.ok_or("the chat that one is in is there")?)
    }
}

/// What tells a text from others.
pub(crate) fn digest(text: &Text) -> Digest {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.as_str().hash(&mut hasher);
    (hasher.finish(), text.as_str().len())
}
