use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use bytes::Bytes;
use protocol::{Attempt, ChatId, ClientId, Page, UserName};
use server::{
    cluster::{Claim, Claimed, Item, Membership},
    mailbox::{Inbox, mailbox},
    router::{Body, Errand, Joined, Lease, Presence, Returned, Router, VERSION, Word},
    signal::{NodeId, SessionId, Signal, SignalKind},
};

use crate::{
    frames::{USERS, chat, key, name, user},
    script::{Script, edited},
    session,
    time::{start, wait},
};

const HOME: NodeId = NodeId::new(1);
/// Of this node.
const MAX_SESSIONS: usize = 8;
/// Small, so that they fill.
const LETTERS: usize = 160;
const BYTES: usize = 4000;

/// One node among several, with the real router and membership: words of other nodes, what the presence bucket shows,
/// genuine, changed and made up, log-ins of its own and what becomes of them, time.
///
/// What is taken for a word or an entry is written again as the same bytes. A session hears what was said to its user, and
/// nothing that is said in its own node's name; of what came back, what it said itself. A user has one session here at
/// most; nobody is listed who is nowhere. What is told to a node is a word, numbered, and only while that node is there;
/// nothing is struck that was never seen.
pub fn nodes(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut node = Node::new();
    while !script.is_over() {
        node.step(&mut script);
        node.holds();
    }
    node.router.detach();
    node.membership = None;
    node.elsewhere.clear();
    node.holds();
}

struct Node {
    router: Router,
    now: Instant,
    attachment: u32,
    /// While it reads the bucket, and then while it is attached.
    membership: Option<Membership>,
    revision: u64,
    /// What was seen to stand in the bucket, ever.
    seen: BTreeSet<(UserName, u64)>,
    /// Users whom the bucket has shown at another node, in this attachment.
    elsewhere: BTreeSet<UserName>,
    claims: Vec<(UserName, Claim)>,
    sessions: Vec<Session>,
    ids: u64,
    /// Words that others have told, by node.
    told: BTreeMap<NodeId, u64>,
    /// The last number told to a node, in both attachments.
    numbers: BTreeMap<(u32, NodeId, u32), u64>,
}

struct Session {
    id: SessionId,
    user: UserName,
    inbox: Inbox,
    was_online: bool,
}

impl Node {
    fn new() -> Self {
        let router = Router::of(HOME, 10);
        router.detach();
        Self {
            router,
            now: start(),
            attachment: 0,
            membership: None,
            revision: 0,
            seen: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            claims: Vec::new(),
            sessions: Vec::new(),
            ids: 0,
            told: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.choice(16) {
            0..5 => self.hears(script),
            5..8 => self.learns(script),
            8 => self.attaches(),
            9 => {
                if self.membership.is_some() {
                    let own = self.router.attached();
                    self.claims.extend(own.into_iter().map(|(user, presence)| (user, Claim::again(presence).0)));
                }
            }
            10 => self.logs_in(script),
            11 => self.settles(script),
            12 => {
                if !self.sessions.is_empty() {
                    let Session { id, user, .. } = self.sessions.remove(script.choice(self.sessions.len()));
                    self.router.unregister(&user, id);
                }
            }
            13 => self.says(script),
            14 => self.runs_errands(),
            _ => {
                self.now += wait(script);
                self.runs_errands();
                if let Some(membership) = &mut self.membership
                    && membership.tick(&self.router, self.now).is_err()
                {
                    self.is_cut_off();
                }
                // Who is gone and comes back is told anew.
                self.runs_errands();
                self.numbers.clear();
            }
        }
        self.receives(None);
    }

    fn hears(&mut self, script: &mut Script<'_>) {
        let bytes = word(&mut self.told, script);
        match Word::decode(&bytes) {
            Ok(word) => {
                assert_eq!(word.encode().as_deref(), Some(&*bytes), "another word");
                self.router.hear(&bytes).expect("a word");
                self.receives(Some(&word));
            }
            Err(error) => {
                assert_eq!(self.router.hear(&bytes), Err(error));
                for session in &mut self.sessions {
                    assert_eq!(session.inbox.try_receive(), None, "of what is no word");
                }
            }
        }
    }

    /// What sessions have in their mailboxes, which comes from `word` or is the router's own.
    fn receives(&mut self, word: Option<&Word>) {
        let mut letters = 0;
        for Session { id, user, inbox, .. } in &mut self.sessions {
            while let Some(letter) = inbox.try_receive() {
                match (&letter.kind, word.map(|word| &word.body)) {
                    (SignalKind::Lapsed(node), _) => assert!(*node != HOME && letter.session.node == *node),
                    (SignalKind::Undelivered { is_repeated, why }, Some(Body::Undelivered(returned))) => {
                        let Returned { from, session, to, chat, is_repeated: repeated, why: reason } = returned;
                        assert_eq!((from, session, is_repeated, why), (&*user, &*id, repeated, reason));
                        assert_eq!((&letter.from, &letter.chat), (to, chat));
                        letters += 1;
                    }
                    (_, Some(Body::Signal { to, signal })) => {
                        assert_eq!((&letter, &*user), (signal, to));
                        assert_ne!(letter.session.node, HOME, "{letter:?} in this node's name");
                        letters += 1;
                    }
                    _ => panic!("{letter:?} out of nowhere"),
                }
            }
        }
        assert!(letters <= 1, "one word was heard by {letters}");
    }

    fn learns(&mut self, script: &mut Script<'_>) {
        let item = match script.choice(8) {
            0 => {
                let node = any_node(script);
                self.runs_errands();
                self.numbers.retain(|(_, told, _), _| *told != node);
                Item::Node(node, None)
            }
            1 | 2 => match lease(script) {
                Some(lease) => Item::Node(any_node(script), Some(lease)),
                None => return,
            },
            3 => Item::User(user(script), None),
            4 => Item::Owner,
            _ => match presence(script) {
                Some(presence) => Item::User(user(script), Some(presence)),
                None => return,
            },
        };
        let Some(membership) = &mut self.membership else { return };
        self.revision += 1;
        if let Item::User(user, presence) = &item {
            self.seen.insert((user.clone(), self.revision));
            match presence {
                Some(presence) if presence.session.node != HOME => drop(self.elsewhere.insert(user.clone())),
                // Something of this node's own that is nobody's: until it is struck, what was there before may count.
                Some(_) => {}
                None => drop(self.elsewhere.remove(user)),
            }
        }
        if membership.learn(&self.router, item, self.revision, self.now).is_err() {
            self.is_cut_off();
        }
    }

    fn attaches(&mut self) {
        self.is_cut_off();
        self.attachment += 1;
        self.router.attach(self.attachment);
        self.membership = Some(Membership::new(HOME, self.now));
        self.told.clear();
    }

    fn is_cut_off(&mut self) {
        self.router.detach();
        self.membership = None;
        self.elsewhere.clear();
    }

    fn logs_in(&mut self, script: &mut Script<'_>) {
        let (user, how) = (user(script), script.byte());
        if self.sessions.len() >= MAX_SESSIONS {
            return;
        }
        self.ids += 1;
        let id = SessionId { node: HOME, number: self.ids };
        let held = (how & 1 == 1).then(|| chat(script));
        let attempt = attempt(how);
        let (mailbox, inbox) = mailbox(LETTERS, BYTES);
        match self.router.join(&user, id, attempt, key(&user), mailbox, held) {
            Ok(Joined::Claim { presence, revision }) => {
                assert_eq!((presence.session, presence.attempt, presence.held), (id, attempt, held));
                let (claim, _) = Claim::new(presence, revision);
                self.claims.push((user.clone(), claim));
            }
            Ok(Joined::Late) => assert!(inbox.is_to_end(), "nobody tells it"),
            Err(_) => return,
        }
        self.sessions.push(Session { id, user, inbox, was_online: false });
    }

    fn settles(&mut self, script: &mut Script<'_>) {
        if self.claims.is_empty() {
            return;
        }
        let (user, claim) = self.claims.remove(script.choice(self.claims.len()));
        let claimed = match script.choice(4) {
            0 => Claimed::Late(script.flag().then(|| chat(script))),
            1 => Claimed::Unknown,
            _ => {
                self.revision += 1;
                self.seen.insert((user.clone(), self.revision));
                Claimed::At(self.revision)
            }
        };
        let is_online = claim.settle(&self.router, &user, claimed);
        let id = claim.presence().session;
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) {
            session.was_online |= is_online;
        }
    }

    /// A session of this node says something.
    fn says(&mut self, script: &mut Script<'_>) {
        let (to, signal) = (user(script), session::signal(script));
        let Some(speaker) = self.sessions.first() else { return };
        if matches!(signal.kind, SignalKind::Undelivered { .. } | SignalKind::Lapsed(_)) {
            // Routers say that.
            return;
        }
        let signal = Signal { from: speaker.user.clone(), session: speaker.id, ..signal };
        let sent = self.router.send(&to, signal.clone());
        let mut heard = 0;
        for Session { user, inbox, .. } in &mut self.sessions {
            while let Some(letter) = inbox.try_receive() {
                assert_eq!((&letter, &*user), (&signal, &to));
                heard += 1;
            }
        }
        assert!(heard <= usize::from(sent.is_ok()));
        if heard == 0 && sent.is_ok() {
            assert!(self.membership.is_some(), "to a node that is not there");
        }
    }

    fn runs_errands(&mut self) {
        while let Some(errand) = self.router.next_errand() {
            match errand {
                Errand::Tell { node, attachment, word } => {
                    let word = Word::decode(&word).expect("a word of this node's");
                    assert_eq!(word.from, HOME);
                    assert!(node != HOME && word.attachment <= self.attachment);
                    let last = self.numbers.insert((word.attachment, node, attachment), word.number);
                    assert!(last.is_none_or(|last| word.number == last + 1), "{last:?}, {word:?}");
                }
                Errand::Strike { user, revision } => {
                    assert!(self.seen.contains(&(user, revision)), "what nobody has put there is struck");
                }
                Errand::Reattach => self.is_cut_off(),
            }
        }
    }

    /// What is so at any time.
    fn holds(&self) {
        let everybody = self.router.list(&name("nobody"), &Page::default()).names;
        assert!(everybody.is_sorted() && everybody.windows(2).all(|pair| pair[0] != pair[1]));
        for user in USERS.map(name) {
            let own = self.sessions.iter().filter(|session| session.user == user && session.was_online);
            assert!(own.clone().filter(|session| !session.inbox.is_to_end()).count() <= 1, "{user} is here twice");
            let is_somewhere = own.count() > 0 || self.elsewhere.contains(&user);
            assert!(is_somewhere || !everybody.contains(&user), "{user} is nowhere");
        }
        assert!(self.membership.is_some() || self.router.is_cut_off());
    }
}

/// What another node tells: as a rule the next word, now and then one that is changed, and any bytes.
fn word(told: &mut BTreeMap<NodeId, u64>, script: &mut Script<'_>) -> Bytes {
    let how = script.choice(8);
    if how == 0 {
        return Bytes::copy_from_slice(script.bytes());
    }
    let from = any_node(script);
    let next = told.entry(from).or_default();
    let number = if script.flag() { *next } else { script.number() };
    *next = number.saturating_add(1);
    let body = match script.choice(8) {
        0 => Body::Beat,
        1 => {
            let session = SessionId { node: HOME, number: u64::from(script.byte() % 8) };
            let Signal { from, chat, .. } = session::signal(script);
            let (to, why) = (user(script), session::why(script));
            Body::Undelivered(Returned { from, session, to, chat, is_repeated: script.flag(), why })
        }
        _ => {
            let signal = session::signal(script);
            let session = SessionId { node: if how == 1 { HOME } else { from }, ..signal.session };
            Body::Signal { to: user(script), signal: Signal { session, ..signal } }
        }
    };
    let attachment = u32::from(script.byte() % 4);
    let word = Word { version: VERSION, from, attachment, number, body }.encode().unwrap();
    if how == 2 { edited(&word, script).into() } else { word.into() }
}

fn any_node(script: &mut Script<'_>) -> NodeId {
    NodeId::new(script.pick(&[2, 3, 2, 1]))
}

fn attempt(how: u8) -> Attempt {
    Attempt { client: ClientId::from_bytes([how >> 1 & 1; 16]), number: u32::from(how >> 2 & 3) }
}

fn lease(script: &mut Script<'_>) -> Option<Lease> {
    let lease = Lease { version: VERSION, attachment: u32::from(script.byte() % 4) };
    let bytes = changed(lease.encode().unwrap(), script);
    let lease = Lease::decode(&bytes).ok()?;
    assert_eq!(lease.encode(), Some(bytes));
    Some(lease)
}

fn presence(script: &mut Script<'_>) -> Option<Presence> {
    let session = SessionId { node: any_node(script), number: u64::from(script.byte() % 8) };
    let how = script.byte();
    let held: Option<ChatId> = (how & 1 == 1).then(|| chat(script));
    let bytes = changed(Presence::new(session, attempt(how), held).encode().unwrap(), script);
    let presence = Presence::decode(&bytes).ok()?;
    assert_eq!(presence.encode(), Some(bytes));
    Some(presence)
}

fn changed(bytes: Vec<u8>, script: &mut Script<'_>) -> Vec<u8> {
    if script.choice(8) == 7 { edited(&bytes, script) } else { bytes }
}
