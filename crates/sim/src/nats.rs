//! NATS, as nodes get to know it: the presence bucket with its compare and set, what is shown of it to whoever watches, and
//! words for those who listen. What goes one way on one connection keeps its order; how fast it goes is each connection's own
//! affair, and what a connection that is lost has carried may have arrived or not.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::UserName;
use server::{
    cluster::{Found, Item},
    router::{Lease, Presence},
    signal::NodeId,
};

use crate::dice::Dice;

/// Names a connection of a node.
pub(crate) type Wire = u64;

/// Names a question of a node's.
pub(crate) type Ask = u64;

/// As in `cluster/bucket.rs`.
const SHOWN_AS_GONE: Duration = Duration::from_secs(60);

/// What a node wants done.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// To be heard as this attachment.
    Listen {
        node: NodeId,
        attachment: u32,
    },
    /// To be shown what is in the bucket, and what changes.
    Watch,
    Renew(NodeId, Lease),
    Look(UserName),
    Put {
        user: UserName,
        presence: Presence,
        over: u64,
    },
    Strike {
        user: UserName,
        revision: u64,
    },
    Bury {
        node: NodeId,
        revision: u64,
    },
    EndLease(NodeId),
    Tell {
        node: NodeId,
        attachment: u32,
        word: Bytes,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Found(Option<Found>),
    At(u64),
    /// What is in the bucket has another revision.
    Outrun,
}

/// Something that is in the bucket.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) item: Item,
    pub(crate) revision: u64,
    /// What comes after it is news.
    pub(crate) is_last: bool,
}

/// The server, and all that is on its way there and back.
pub(crate) struct Nats {
    revision: u64,
    entries: BTreeMap<Key, Entry>,
    wires: BTreeMap<Wire, Line>,
    made: Wire,
    /// When it is up; it has forgotten everything then.
    up_at: Instant,
    /// Until when it stands still.
    pub(crate) suspended_until: Instant,
    /// Until when nothing passes between each node and it.
    cut_until: BTreeMap<usize, Instant>,
    /// Words that each node is still to miss.
    drops: BTreeMap<usize, u64>,
    dice: Dice,
    /// The longest that something takes, as a rule.
    pace: Duration,
    /// Whether what is put into the bucket is put there whatever is there.
    pub(crate) compares_nothing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Owner,
    User(UserName),
    Node(NodeId),
}

struct Entry {
    item: Item,
    revision: u64,
    since: Instant,
}

/// A connection.
struct Line {
    /// Whose it is, while that process lives.
    node: Option<usize>,
    /// Whether the node has it, and not only questions that it has asked by it.
    is_held: bool,
    wishes: VecDeque<(Instant, Option<Ask>, Wish)>,
    shown: VecDeque<(Instant, Shown)>,
    words: VecDeque<(Instant, Bytes)>,
    answers: VecDeque<(Instant, Ask, Answer)>,
    listens: Option<(NodeId, u32)>,
    watches: bool,
    /// When the node hears that it is gone.
    lost_at: Option<Instant>,
    /// Whether it carries wishes still.
    is_dead: bool,
}

impl Nats {
    pub(crate) fn new(seed: u64, now: Instant) -> Self {
        let mut dice = Dice::new(seed, 2);
        let pace = Duration::from_millis(dice.pick(&[1, 5, 50, 200]));
        Self {
            revision: 0,
            entries: BTreeMap::new(),
            wires: BTreeMap::new(),
            made: 0,
            up_at: now,
            suspended_until: now,
            cut_until: BTreeMap::new(),
            drops: BTreeMap::new(),
            dice,
            pace,
            compares_nothing: false,
        }
    }

    /// Connects a node. `None`: nobody takes the connection.
    pub(crate) fn connect(&mut self, node: usize, now: Instant) -> Option<Wire> {
        if now < self.up_at && !self.is_cut(node, now) {
            return None;
        }
        self.made += 1;
        let line = Line {
            node: Some(node),
            is_held: true,
            wishes: VecDeque::new(),
            shown: VecDeque::new(),
            words: VecDeque::new(),
            answers: VecDeque::new(),
            listens: None,
            watches: false,
            lost_at: None,
            is_dead: false,
        };
        self.wires.insert(self.made, line);
        Some(self.made)
    }

    /// Sends a wish. With `ask` it is answered, if all goes well.
    pub(crate) fn wish(&mut self, wire: Wire, ask: Option<Ask>, wish: Wish, now: Instant) {
        let delay = self.delay();
        let cut_until = self.cut_until(wire, now);
        if let Some(line) = self.wires.get_mut(&wire).filter(|line| !line.is_dead) {
            // A node hears that its connection is lost before its client has made another.
            let latest = line.wishes.back().map(|(at, ..)| *at).max(line.lost_at).unwrap_or(now);
            line.wishes.push_back((latest.max(cut_until + delay), ask, wish));
        }
    }

    /// Wishes that it can turn to, and when.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (Instant, Wire)> {
        let from = self.up_at.max(self.suspended_until);
        self.wires.iter().filter_map(move |(wire, line)| Some((line.wishes.front()?.0.max(from), *wire)))
    }

    /// Turns to the next wish of a connection. The presence that has been put into the bucket, if that was it.
    pub(crate) fn step(&mut self, wire: Wire, now: Instant) -> Option<(UserName, Presence)> {
        self.entries.retain(|_, entry| !entry.is_over(now));
        let (_, ask, wish) = self.wires.get_mut(&wire)?.wishes.pop_front()?;
        let mut put = None;
        let answer = match wish {
            Wish::Listen { node, attachment } => {
                if !self.entries.contains_key(&Key::Owner) {
                    self.put(Key::Owner, Item::Owner, now);
                }
                if let Some(line) = self.wires.get_mut(&wire) {
                    line.listens = Some((node, attachment));
                }
                Answer::Done
            }
            Wish::Watch => {
                self.show_all(wire, now);
                Answer::Done
            }
            Wish::Renew(node, lease) => Answer::At(self.put(Key::Node(node), Item::Node(node, Some(lease)), now)),
            Wish::Look(user) => Answer::Found(self.entries.get(&Key::User(user)).map(Entry::found)),
            Wish::Put { user, presence, over } => {
                let key = Key::User(user.clone());
                if self.revision_of(&key) == over || self.compares_nothing {
                    put = Some((user.clone(), presence.clone()));
                    Answer::At(self.put(key, Item::User(user, Some(presence)), now))
                } else {
                    Answer::Outrun
                }
            }
            Wish::Strike { user, revision } => {
                let key = Key::User(user.clone());
                if self.revision_of(&key) == revision {
                    self.put(key, Item::User(user, None), now);
                }
                Answer::Done
            }
            Wish::Bury { node, revision } => {
                if self.revision_of(&Key::Node(node)) == revision {
                    self.put(Key::Node(node), Item::Node(node, None), now);
                }
                Answer::Done
            }
            Wish::EndLease(node) => Answer::At(self.put(Key::Node(node), Item::Node(node, None), now)),
            Wish::Tell { node, attachment, word } => {
                self.tell((node, attachment), word, now);
                Answer::Done
            }
        };
        if let Some(ask) = ask {
            let (delay, cut_until) = (self.delay(), self.cut_until(wire, now));
            if let Some(line) = self.wires.get_mut(&wire).filter(|line| line.node.is_some()) {
                line.answers.push_back((cut_until + delay, ask, answer));
            }
        }
        self.wires.retain(|_, line| line.is_of_use());
        put
    }

    /// Connections of a node on which it has an answer, and when it gets there.
    pub(crate) fn answers(&self, node: usize) -> impl Iterator<Item = (Instant, Wire)> {
        let own = self.wires.iter().filter(move |(_, line)| line.node == Some(node));
        own.filter_map(|(wire, line)| Some((line.answers.iter().map(|(at, ..)| *at).min()?, *wire)))
    }

    /// Takes the answer that [`Self::answers`] is about.
    pub(crate) fn answer(&mut self, wire: Wire) -> Option<(Ask, Answer)> {
        let answers = &mut self.wires.get_mut(&wire)?.answers;
        let place = (0..answers.len()).min_by_key(|place| answers[*place].0)?;
        answers.remove(place).map(|(_, ask, answer)| (ask, answer))
    }

    /// When the node is shown the next of what is in the bucket, has the next word, and hears that the connection is gone.
    pub(crate) fn comes(&self, wire: Wire) -> [Option<Instant>; 3] {
        let Some(line) = self.wires.get(&wire) else { return [None; 3] };
        [line.shown.front().map(|(at, _)| *at), line.words.front().map(|(at, _)| *at), line.lost_at]
    }

    pub(crate) fn shown(&mut self, wire: Wire) -> Option<Shown> {
        self.wires.get_mut(&wire)?.shown.pop_front().map(|(_, shown)| shown)
    }

    pub(crate) fn word(&mut self, wire: Wire) -> Option<Bytes> {
        self.wires.get_mut(&wire)?.words.pop_front().map(|(_, word)| word)
    }

    /// The node has no more use for a connection but for answers. What it has sent may still arrive.
    pub(crate) fn let_go(&mut self, wire: Wire) {
        if let Some(line) = self.wires.get_mut(&wire) {
            line.hears_no_more();
            (line.lost_at, line.is_held) = (None, false);
        }
        self.wires.retain(|_, line| line.is_of_use());
    }

    /// The process of a node is gone. What it has sent may still arrive, or the first of it.
    pub(crate) fn is_orphaned(&mut self, node: usize, all_arrives: bool) {
        let Self { wires, dice, .. } = self;
        for line in wires.values_mut().filter(|line| line.node == Some(node)) {
            line.hears_no_more();
            line.answers.clear();
            (line.node, line.is_held, line.is_dead) = (None, false, true);
            if !all_arrives {
                line.wishes.truncate(dice.index(line.wishes.len() + 1));
            }
        }
        self.wires.retain(|_, line| line.is_of_use());
    }

    /// The connection that a node listens on is lost. Whether there was one.
    pub(crate) fn lose(&mut self, node: usize, now: Instant) -> bool {
        let Self { wires, dice, .. } = self;
        let line = wires.values_mut().find(|line| line.node == Some(node) && line.listens.is_some());
        let Some(line) = line.filter(|line| line.lost_at.is_none()) else { return false };
        let arrives = dice.index(line.wishes.len() + 1);
        line.is_lost(arrives, dice, now);
        true
    }

    /// Ends, and starts again with nothing.
    pub(crate) fn restart(&mut self, up_at: Instant, now: Instant) {
        let Self { wires, dice, .. } = self;
        for line in wires.values_mut().filter(|line| !line.is_dead && line.lost_at.is_none()) {
            line.is_lost(0, dice, now);
        }
        (self.revision, self.up_at, self.suspended_until) = (0, up_at, now);
        self.entries.clear();
    }

    /// Whether it runs.
    pub(crate) fn is_up(&self, now: Instant) -> bool {
        now >= self.up_at
    }

    /// Holds up all that is between a node and it.
    pub(crate) fn cut(&mut self, node: usize, until: Instant) {
        self.cut_until.insert(node, until);
        for line in self.wires.values_mut().filter(|line| line.node == Some(node)) {
            line.times().for_each(|at| *at = (*at).max(until));
        }
    }

    /// Has a node miss so many words.
    pub(crate) fn drop_words(&mut self, node: usize, count: u64) {
        self.drops.insert(node, count);
    }

    /// Ends what faults have left behind.
    pub(crate) fn heal(&mut self, now: Instant) {
        let soon = now + Duration::from_millis(100);
        self.up_at = self.up_at.min(soon);
        self.suspended_until = self.suspended_until.min(soon);
        self.cut_until.clear();
        self.drops.clear();
        for line in self.wires.values_mut() {
            line.times().for_each(|at| *at = (*at).min(soon));
        }
    }

    /// Who is online, as the bucket has it.
    pub(crate) fn online(&self) -> BTreeMap<UserName, Presence> {
        let user = |entry: &Entry| match &entry.item {
            Item::User(user, Some(presence)) => Some((user.clone(), presence.clone())),
            _ => None,
        };
        self.entries.values().filter_map(user).collect()
    }

    /// Whether anything is on its way that changes who is online, or says so.
    pub(crate) fn is_busy(&self) -> bool {
        let changes = |wish: &Wish| matches!(wish, Wish::Put { .. } | Wish::Strike { .. } | Wish::Watch);
        self.wires.values().any(|line| {
            line.wishes.iter().any(|(_, _, wish)| changes(wish))
                || line.shown.iter().any(|(_, shown)| matches!(shown.item, Item::User(..)))
        })
    }

    fn is_cut(&self, node: usize, now: Instant) -> bool {
        self.cut_until.get(&node).is_some_and(|until| *until > now)
    }

    fn cut_until(&self, wire: Wire, now: Instant) -> Instant {
        let node = self.wires.get(&wire).and_then(|line| line.node);
        node.and_then(|node| self.cut_until.get(&node)).map_or(now, |until| now.max(*until))
    }

    fn revision_of(&self, key: &Key) -> u64 {
        self.entries.get(key).map_or(0, |entry| entry.revision)
    }

    fn put(&mut self, key: Key, item: Item, now: Instant) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        self.entries.insert(key, Entry { item: item.clone(), revision, since: now });
        let watching: Vec<_> = self.wires.iter().filter(|(_, line)| line.watches).map(|(wire, _)| *wire).collect();
        for wire in watching {
            self.show(wire, Shown { item: item.clone(), revision, is_last: false }, now);
        }
        revision
    }

    fn show_all(&mut self, wire: Wire, now: Instant) {
        let mut all: Vec<_> = self.entries.values().map(|entry| (entry.revision, entry.item.clone())).collect();
        all.sort_by_key(|(revision, _)| *revision);
        let count = all.len();
        for (place, (revision, item)) in all.into_iter().enumerate() {
            self.show(wire, Shown { item, revision, is_last: place + 1 == count }, now);
        }
        if let Some(line) = self.wires.get_mut(&wire) {
            line.watches = line.listens.is_some();
        }
    }

    fn show(&mut self, wire: Wire, shown: Shown, now: Instant) {
        let (delay, cut_until) = (self.delay(), self.cut_until(wire, now));
        if let Some(line) = self.wires.get_mut(&wire) {
            let latest = line.shown.back().map_or(now, |(at, _)| *at);
            line.shown.push_back((latest.max(cut_until + delay), shown));
        }
    }

    fn tell(&mut self, to: (NodeId, u32), word: Bytes, now: Instant) {
        let listening = self.wires.iter().find(|(_, line)| line.listens == Some(to));
        let Some((wire, node)) = listening.and_then(|(wire, line)| Some((*wire, line.node?))) else { return };
        if let Some(left) = self.drops.get_mut(&node).filter(|left| **left > 0) {
            *left -= 1;
            return;
        }
        let (delay, cut_until) = (self.delay(), self.cut_until(wire, now));
        if let Some(line) = self.wires.get_mut(&wire) {
            let latest = line.words.back().map_or(now, |(at, _)| *at);
            line.words.push_back((latest.max(cut_until + delay), word));
        }
    }

    fn delay(&mut self) -> Duration {
        let most = if self.dice.per_mille(5) { Duration::from_millis(400) } else { self.pace };
        Duration::from_micros(50) + self.dice.time(most)
    }
}

impl Entry {
    fn found(&self) -> Found {
        let presence = match &self.item {
            Item::User(_, presence) => presence.clone(),
            _ => None,
        };
        Found { revision: self.revision, presence }
    }

    /// It only says that something was taken out, and has done so long enough.
    fn is_over(&self, now: Instant) -> bool {
        let is_gone = matches!(self.item, Item::User(_, None) | Item::Node(_, None));
        is_gone && now.duration_since(self.since) >= SHOWN_AS_GONE
    }
}

impl Line {
    fn hears_no_more(&mut self) {
        (self.listens, self.watches) = (None, false);
        self.shown.clear();
        self.words.clear();
    }

    /// Is lost. The first so many wishes arrive all the same; others do if the client, which connects once more by itself,
    /// had not sent them yet.
    fn is_lost(&mut self, arrives: usize, dice: &mut Dice, now: Instant) {
        self.hears_no_more();
        let lost_at = now + dice.time(Duration::from_millis(20));
        self.lost_at = Some(lost_at);
        self.answers.clear();
        let connects_again = dice.per_mille(500);
        let mut place = 0;
        self.wishes.retain_mut(|(at, ask, wish)| {
            place += 1;
            if place <= arrives {
                // Nobody hears the answer.
                *ask = None;
                return true;
            }
            *at = (*at).max(lost_at) + dice.time(Duration::from_secs(2));
            connects_again && !matches!(wish, Wish::Tell { .. } | Wish::Listen { .. } | Wish::Watch)
        });
        self.wishes.make_contiguous().sort_by_key(|(at, ..)| *at);
        self.is_dead = !connects_again;
    }

    /// Whether anything is still to come of it.
    fn is_of_use(&self) -> bool {
        self.is_held || !self.wishes.is_empty() || !self.answers.is_empty()
    }

    fn times(&mut self) -> impl Iterator<Item = &mut Instant> {
        let wishes = self.wishes.iter_mut().map(|(at, ..)| at);
        let shown = self.shown.iter_mut().map(|(at, _)| at);
        let words = self.words.iter_mut().map(|(at, _)| at);
        wishes.chain(shown).chain(words).chain(self.answers.iter_mut().map(|(at, ..)| at))
    }
}
