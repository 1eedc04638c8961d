//! What routers of several nodes make of log-ins, losses and news that come late: whatever happens, in the end each user
//! has one session at most, and all nodes agree where.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::{Attempt, ChatId, ClientId, Page, PublicKey, UserName};
use server::{
    mailbox::{Inbox, Order, mailbox},
    router::{Errand, Joined, Presence, Router},
    signal::{NodeId, SessionId, Signal, SignalKind, Undelivered},
};

const NODES: usize = 3;
const KEY: PublicKey = PublicKey::from_bytes([1; 32]);

/// The presence bucket: what each key has, and all that was ever put into it, which nodes are told in this order.
#[derive(Default)]
struct Bucket {
    revision: u64,
    entries: BTreeMap<UserName, (u64, Option<Presence>)>,
    log: Vec<(UserName, Option<Presence>, u64)>,
}

impl Bucket {
    fn put(&mut self, user: &UserName, presence: Option<Presence>) -> u64 {
        self.revision += 1;
        self.entries.insert(user.clone(), (self.revision, presence.clone()));
        self.log.push((user.clone(), presence, self.revision));
        self.revision
    }

    fn get(&self, user: &UserName) -> Option<&Presence> {
        self.entries.get(user)?.1.as_ref()
    }

    /// As `cluster/bucket.rs` claims: whoever finds that another was faster looks again, so a claim is one step.
    fn claim(&mut self, user: &UserName, presence: &Presence, is_again: bool) -> Result<u64, Option<ChatId>> {
        if let Some(found) = self.get(user).filter(|found| found.session != presence.session) {
            let may_go = match is_again {
                false => !presence.attempt.is_before(&found.attempt),
                true => found.attempt.is_before(&presence.attempt),
            };
            if !may_go {
                return Err(found.held);
            }
        }
        Ok(self.put(user, Some(presence.clone())))
    }

    fn strike(&mut self, user: &UserName, revision: u64) {
        if self.entries.get(user).is_some_and(|(found, presence)| *found == revision && presence.is_some()) {
            self.put(user, None);
        }
    }
}

struct Claim {
    user: UserName,
    presence: Presence,
    is_again: bool,
    /// What came of it, once the bucket has heard of it.
    outcome: Option<Result<u64, Option<ChatId>>>,
}

struct Node {
    router: Router,
    attachment: u32,
    is_attached: bool,
    /// How much of the bucket's log it has been told.
    told: usize,
    claims: Vec<Claim>,
    sessions: Vec<Session>,
    opened: u64,
}

struct Session {
    id: SessionId,
    user: UserName,
    inbox: Inbox,
}

struct World {
    bucket: Bucket,
    nodes: Vec<Node>,
    /// The last log-in of each client, by user and client.
    attempts: BTreeMap<(usize, u8), u32>,
}

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Event {
    LogIn { node: usize, user: usize, client: u8, is_late: bool },
    BucketHears(usize, usize),
    NodeHears(usize, usize),
    NodeIsTold(usize),
    Leaves(usize, usize),
    Errand(usize),
    Lost(usize),
    Back(usize),
    BucketLost,
    Buried(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES;
    prop_oneof![
        6 => (node.clone(), 0..3_usize, 0..2_u8, any::<bool>())
            .prop_map(|(node, user, client, is_late)| Event::LogIn { node, user, client, is_late }),
        8 => (node.clone(), 0..8_usize).prop_map(|(node, which)| Event::BucketHears(node, which)),
        8 => (node.clone(), 0..8_usize).prop_map(|(node, which)| Event::NodeHears(node, which)),
        12 => node.clone().prop_map(Event::NodeIsTold),
        3 => (node.clone(), 0..8_usize).prop_map(|(node, which)| Event::Leaves(node, which)),
        4 => node.clone().prop_map(Event::Errand),
        1 => node.clone().prop_map(Event::Lost),
        2 => node.clone().prop_map(Event::Back),
        1 => Just(Event::BucketLost),
        1 => node.prop_map(Event::Buried),
    ]
}

fn user(number: usize) -> UserName {
    ["alice", "bob", "carol"][number].parse().unwrap()
}

fn router(node: usize) -> Router {
    Router::of(NodeId::new(node as u64 + 1), 100)
}

impl World {
    fn new() -> Self {
        let nodes = (0..NODES).map(|node| Node {
            router: router(node),
            attachment: 0,
            is_attached: false,
            told: 0,
            claims: Vec::new(),
            sessions: Vec::new(),
            opened: 0,
        });
        let mut world = Self { bucket: Bucket::default(), nodes: nodes.collect(), attempts: BTreeMap::new() };
        for node in 0..NODES {
            world.nodes[node].router.detach();
            world.attach(node);
        }
        world
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::LogIn { node, user, client, is_late } => self.log_in(node, user, client, is_late),
            Event::BucketHears(node, which) => self.bucket_hears(node, which),
            Event::NodeHears(node, which) => self.node_hears(node, which),
            Event::NodeIsTold(node) => self.node_is_told(node),
            Event::Leaves(node, which) => {
                let sessions = self.nodes[node].sessions.len();
                if sessions > 0 {
                    self.leaves(node, which % sessions);
                }
            }
            Event::Errand(node) => self.errand(node),
            Event::Lost(node) => self.lost(node),
            Event::Back(node) => self.attach(node),
            Event::BucketLost => {
                self.bucket.entries.clear();
                self.bucket.log.clear();
                self.bucket.revision = 0;
                (0..NODES).for_each(|node| self.lost(node));
            }
            Event::Buried(node) => {
                // The others take it for gone, because it is cut off, and it may be back before they have cleared away.
                if self.nodes[node].is_attached {
                    return;
                }
                let home = self.nodes[node].router.home();
                for other in (0..NODES).filter(|other| *other != node) {
                    for (user, revision) in self.nodes[other].router.bury(home) {
                        if self.nodes[other].is_attached {
                            self.bucket.strike(&user, revision);
                        }
                    }
                }
            }
        }
    }

    fn log_in(&mut self, node: usize, number: usize, client: u8, is_late: bool) {
        let last = self.attempts.entry((number, client)).or_default();
        let attempt = if is_late { last.saturating_sub(1) } else { *last + 1 };
        *last = attempt.max(*last);
        let attempt = Attempt { client: ClientId::from_bytes([client; 16]), number: attempt };
        let (mailbox, inbox) = mailbox(200, 1 << 20);
        let Node { router, claims, sessions, opened, .. } = &mut self.nodes[node];
        *opened += 1;
        let (id, user) = (SessionId { node: router.home(), number: *opened }, user(number));
        let held = Some(ChatId::from_bytes([*opened as u8; 16]));
        match router.join(&user, id, attempt, KEY, mailbox, held) {
            Ok(Joined::Claim { presence, .. }) => {
                claims.push(Claim { user: user.clone(), presence, is_again: false, outcome: None });
                sessions.push(Session { id, user, inbox });
            }
            Ok(Joined::Late) => assert!(matches!(inbox.order(), Some(Order::Replaced { .. }))),
            Err(_) => {}
        }
    }

    fn bucket_hears(&mut self, node: usize, which: usize) {
        let Self { bucket, nodes, .. } = self;
        let waiting: Vec<_> = nodes[node].claims.iter_mut().filter(|claim| claim.outcome.is_none()).collect();
        let count = waiting.len();
        if let Some(claim) = waiting.into_iter().nth(if count > 0 { which % count } else { 0 }) {
            claim.outcome = Some(bucket.claim(&claim.user, &claim.presence, claim.is_again));
        }
    }

    fn node_hears(&mut self, node: usize, which: usize) {
        let Node { router, claims, sessions, .. } = &mut self.nodes[node];
        let answered: Vec<_> =
            claims.iter().enumerate().filter(|(_, claim)| claim.outcome.is_some()).map(|(place, _)| place).collect();
        if answered.is_empty() {
            return;
        }
        let claim = claims.remove(answered[which % answered.len()]);
        let id = claim.presence.session;
        match claim.outcome.unwrap() {
            Ok(revision) => {
                let is_there = sessions.iter().any(|session| session.id == id);
                if !router.settle(&claim.user, id, revision) && is_there && !claim.is_again {
                    router.give_up(&claim.user, id);
                    sessions.retain(|session| session.id != id);
                }
            }
            Err(held) => router.replaced(&claim.user, id, held),
        }
    }

    fn node_is_told(&mut self, node: usize) {
        let Node { router, told, is_attached, .. } = &mut self.nodes[node];
        if *is_attached && let Some((user, presence, revision)) = self.bucket.log.get(*told) {
            *told += 1;
            router.learn(user, presence.as_ref(), *revision);
        }
    }

    fn leaves(&mut self, node: usize, place: usize) {
        let Node { router, sessions, .. } = &mut self.nodes[node];
        let session = sessions.remove(place);
        router.unregister(&session.user, session.id);
    }

    fn errand(&mut self, node: usize) {
        if !self.nodes[node].is_attached {
            return;
        }
        match self.nodes[node].router.next_errand() {
            Some(Errand::Strike { user, revision }) => self.bucket.strike(&user, revision),
            Some(Errand::Reattach) => self.lost(node),
            Some(Errand::Tell { .. }) | None => {}
        }
    }

    /// The connection is gone: what was under way to the bucket may have come there, and nobody hears.
    fn lost(&mut self, node: usize) {
        let Node { router, claims, sessions, is_attached, .. } = &mut self.nodes[node];
        *is_attached = false;
        router.detach();
        for (place, claim) in claims.drain(..).enumerate() {
            let id = claim.presence.session;
            if claim.outcome.is_none() && place % 2 == 0 {
                let _ = self.bucket.claim(&claim.user, &claim.presence, claim.is_again);
            }
            if !claim.is_again {
                router.give_up(&claim.user, id);
                sessions.retain(|session| session.id != id);
            }
        }
    }

    fn attach(&mut self, node: usize) {
        let Node { router, attachment, is_attached, told, claims, .. } = &mut self.nodes[node];
        if *is_attached {
            return;
        }
        *attachment += 1;
        router.attach(*attachment);
        let mut entries: Vec<_> = self.bucket.entries.iter().collect();
        entries.sort_by_key(|(_, (revision, _))| *revision);
        for (user, (revision, presence)) in entries {
            router.learn(user, presence.as_ref(), *revision);
        }
        *told = self.bucket.log.len();
        *is_attached = true;
        let again = router.attached().into_iter();
        claims.extend(again.map(|(user, presence)| Claim { user, presence, is_again: true, outcome: None }));
    }

    /// All that is under way arrives, and sessions that are to end do.
    fn settles(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "it never comes to rest");
            let mut is_busy = false;
            for node in 0..NODES {
                is_busy |= !self.nodes[node].is_attached;
                self.attach(node);
                while let Some(errand) = self.nodes[node].router.next_errand() {
                    is_busy = true;
                    match errand {
                        Errand::Strike { user, revision } => self.bucket.strike(&user, revision),
                        Errand::Reattach => {
                            self.lost(node);
                            self.attach(node);
                        }
                        Errand::Tell { .. } => {}
                    }
                }
                while !self.nodes[node].claims.is_empty() {
                    is_busy = true;
                    self.bucket_hears(node, 0);
                    self.node_hears(node, 0);
                }
                while self.nodes[node].told < self.bucket.log.len() {
                    is_busy = true;
                    self.node_is_told(node);
                }
                let is_over = |session: &Session| session.inbox.is_to_end();
                while let Some(place) = self.nodes[node].sessions.iter().position(is_over) {
                    is_busy = true;
                    self.leaves(node, place);
                }
            }
            if !is_busy {
                return;
            }
        }
    }

    /// Where each user is, as the sessions say.
    fn online(&self) -> BTreeMap<UserName, Vec<SessionId>> {
        let mut online: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for session in self.nodes.iter().flat_map(|node| &node.sessions) {
            online.entry(session.user.clone()).or_default().push(session.id);
        }
        online
    }

    fn check(&mut self) {
        let online = self.online();
        for (user, sessions) in &online {
            assert_eq!(sessions.len(), 1, "{user} has {sessions:?}");
            assert_eq!(self.bucket.get(user).map(|presence| presence.session), Some(sessions[0]), "{user}");
        }
        let there: Vec<_> =
            self.bucket.entries.iter().filter(|(_, (_, presence))| presence.is_some()).map(|(user, _)| user).collect();
        assert_eq!(there, online.keys().collect::<Vec<_>>(), "the bucket has whom there is");
        let nobody: UserName = "nobody".parse().unwrap();
        for node in &self.nodes {
            let list = node.router.list(&nobody, &Page::default());
            assert_eq!(list.names, online.keys().cloned().collect::<Vec<_>>(), "node {}", node.router.home());
        }
        // Whoever is asked from anywhere is reached where they are.
        for node in 0..NODES {
            let home = self.nodes[node].router.home();
            for other in 0..NODES {
                let (other_home, attachment) = (self.nodes[other].router.home(), self.nodes[other].attachment);
                self.nodes[node].router.opens(other_home, attachment);
            }
            for (user, sessions) in &online {
                let session = SessionId { node: home, number: 0 };
                let chat = ChatId::from_bytes([7; 16]);
                let signal =
                    Signal { from: "nobody".parse().unwrap(), session, chat, kind: SignalKind::Request { key: KEY } };
                assert_eq!(self.nodes[node].router.send(user, signal), Ok(()));
                while let Some(errand) = self.nodes[node].router.next_errand() {
                    let Errand::Tell { node: to, word, .. } = errand else { panic!("{errand:?}") };
                    let to = self.nodes.iter().find(|other| other.router.home() == to).unwrap();
                    to.router.hear(&word).unwrap();
                }
                let mut all = self.nodes.iter_mut().flat_map(|node| &mut node.sessions);
                let session = all.find(|session| session.id == sessions[0]).unwrap();
                let is_asked = std::iter::from_fn(|| session.inbox.try_receive()).any(|letter| letter.chat == chat);
                assert!(is_asked, "{user} was not asked from {home}");
            }
            let absent = "dave".parse().unwrap();
            let chat = ChatId::from_bytes([7; 16]);
            let signal = Signal { from: nobody.clone(), session: SessionId::new(0), chat, kind: SignalKind::Check };
            assert_eq!(self.nodes[node].router.send(&absent, signal), Err(Undelivered::Absent));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20000, ..ProptestConfig::default() })]

    #[test]
    fn each_user_has_one_session_in_the_end_and_all_nodes_agree_where(events in prop::collection::vec(event(), 0..120)) {
        let mut world = World::new();
        for event in &events {
            world.happens(event);
        }
        world.settles();
        world.check();
    }
}

/// Its newer one was seen before the claim of the older was made again, and nobody tells of it twice.
#[test]
fn whoever_leaves_where_they_were_is_not_forgotten_where_they_are() {
    const CAROL: usize = 2;
    let log_in = |node| Event::LogIn { node, user: CAROL, client: 0, is_late: false };
    let mut world = World::new();
    let comes_online = |node| [log_in(node), Event::BucketHears(node, 0), Event::NodeHears(node, 0)];
    comes_online(0).iter().for_each(|event| world.happens(event));
    [Event::BucketLost, Event::Back(2)].iter().for_each(|event| world.happens(event));
    comes_online(2).iter().for_each(|event| world.happens(event));
    [Event::Back(0), Event::Leaves(0, 0)].iter().for_each(|event| world.happens(event));
    world.settles();
    assert_eq!(world.online().keys().cloned().collect::<Vec<_>>(), [user(CAROL)]);
    world.check();
}

/// Two nodes that know of each other, with alice on the first and bob on the second.
struct Pair {
    routers: [Router; 2],
    inboxes: [Inbox; 2],
    ids: [SessionId; 2],
}

const CHAT: ChatId = ChatId::from_bytes([7; 16]);

impl Pair {
    fn new() -> Self {
        let routers = [0, 1].map(router);
        let attempt = Attempt::first(ClientId::from_bytes([1; 16]));
        let mut inboxes = Vec::new();
        let ids = [0, 1].map(|node: usize| SessionId { node: routers[node].home(), number: 1 });
        for router in &routers {
            router.detach();
            router.attach(1);
            router.attached();
        }
        for node in [0, 1] {
            let (mailbox, inbox) = mailbox(200, 1 << 20);
            let joined = routers[node].join(&user(node), ids[node], attempt, KEY, mailbox, None).unwrap();
            let Joined::Claim { presence, revision: Some(0) } = joined else { panic!("{joined:?}") };
            assert!(routers[node].settle(&user(node), ids[node], 1 + node as u64));
            routers[1 - node].learn(&user(node), Some(&presence), 1 + node as u64);
            inboxes.push(inbox);
        }
        for node in [0, 1] {
            routers[node].opens(routers[1 - node].home(), 1);
        }
        Self { routers, inboxes: inboxes.try_into().unwrap(), ids }
    }

    /// The user on `from` says something to the other; the words that go out.
    fn says(&self, from: usize, kind: SignalKind) -> Vec<bytes::Bytes> {
        let signal = Signal { from: user(from), session: self.ids[from], chat: CHAT, kind };
        assert_eq!(self.routers[from].send(&user(1 - from), signal), Ok(()));
        self.words(from)
    }

    fn words(&self, from: usize) -> Vec<bytes::Bytes> {
        let errands = std::iter::from_fn(|| self.routers[from].next_errand());
        let word = |errand| match errand {
            Errand::Tell { word, .. } => word,
            other => panic!("{other:?}"),
        };
        errands.map(word).collect()
    }

    fn hears(&self, node: usize, words: &[bytes::Bytes]) {
        words.iter().for_each(|word| self.routers[node].hear(word).unwrap());
    }

    /// What the user on `node` was told.
    fn told(&mut self, node: usize) -> Vec<SignalKind> {
        std::iter::from_fn(|| self.inboxes[node].try_receive()).map(|letter| letter.kind).collect()
    }
}

#[test]
fn words_come_in_their_order_and_what_is_lost_is_known_with_the_next() {
    let mut pair = Pair::new();
    let there = pair.routers[0].home();
    let (first, lost, third) =
        (pair.says(0, SignalKind::Ask(1)), pair.says(0, SignalKind::Ask(2)), pair.says(0, SignalKind::Ask(3)));
    pair.hears(1, &first);
    assert_eq!(pair.told(1), [SignalKind::Ask(1)]);
    pair.hears(1, &third);
    assert_eq!(pair.told(1), [SignalKind::Lapsed(there), SignalKind::Ask(3)]);
    pair.hears(1, &lost);
    pair.hears(1, &third);
    assert_eq!(pair.told(1), [], "what comes late or twice does not count");
    // The last of what is said shows with the next beat.
    let _lost = pair.says(0, SignalKind::Ask(4));
    pair.routers[0].beat();
    let beat = pair.words(0);
    pair.hears(1, &beat);
    assert_eq!(pair.told(1), [SignalKind::Lapsed(there)]);
    pair.routers[0].beat();
    let beat = pair.words(0);
    pair.hears(1, &beat);
    assert_eq!(pair.told(1), [], "nothing since");
}

#[test]
fn a_node_that_attaches_anew_may_have_said_things_that_got_lost() {
    for hears_of_it_first in [false, true] {
        let mut pair = Pair::new();
        let there = pair.routers[0].home();
        let before = pair.says(0, SignalKind::Ask(1));
        pair.routers[0].detach();
        pair.routers[0].attach(2);
        pair.routers[0].attached();
        let presence = Presence::new(pair.ids[1], Attempt::first(ClientId::from_bytes([1; 16])), None);
        pair.routers[0].learn(&user(1), Some(&presence), 2);
        pair.routers[0].opens(pair.routers[1].home(), 1);
        let lapsed = SignalKind::Lapsed(pair.routers[1].home());
        assert_eq!(pair.told(0), [lapsed], "nor has it heard what was said to it");
        let after = pair.says(0, SignalKind::Ask(2));
        if hears_of_it_first {
            pair.routers[1].opens(there, 2);
            assert_eq!(pair.told(1), [SignalKind::Lapsed(there)]);
        }
        pair.hears(1, &after);
        let told = pair.told(1);
        let all = [SignalKind::Lapsed(there), SignalKind::Ask(2)];
        assert_eq!(told, all[usize::from(hears_of_it_first)..]);
        pair.routers[1].opens(there, 2);
        pair.routers[1].opens(there, 1);
        pair.hears(1, &before);
        assert_eq!(pair.told(1), [], "news of before");
        // It listens elsewhere now.
        let signal = Signal { from: user(1), session: pair.ids[1], chat: CHAT, kind: SignalKind::Away };
        assert_eq!(pair.routers[1].send(&user(0), signal), Ok(()));
        let errand = pair.routers[1].next_errand();
        assert!(matches!(errand, Some(Errand::Tell { attachment: 2, .. })), "{errand:?}");
    }
}

#[test]
fn what_finds_nobody_comes_back_and_what_cannot_go_out_is_known_at_once() {
    let mut pair = Pair::new();
    pair.routers[1].unregister(&user(1), pair.ids[1]);
    assert_eq!(pair.routers[1].next_errand(), Some(Errand::Strike { user: user(1), revision: 2 }));
    let words = pair.says(0, SignalKind::Ask(1));
    pair.hears(1, &words);
    let back = pair.words(1);
    pair.hears(0, &back);
    let why = Undelivered::Absent;
    assert_eq!(pair.told(0), [SignalKind::Undelivered { is_repeated: true, why }]);

    // Its node is gone, and then this one is cut off.
    let signal = |kind| Signal { from: user(0), session: pair.ids[0], chat: CHAT, kind };
    assert_eq!(pair.routers[0].bury(pair.routers[1].home()), [(user(1), 2)]);
    assert_eq!(pair.routers[0].send(&user(1), signal(SignalKind::Away)), Err(Undelivered::Absent));
    pair.routers[0].detach();
    assert_eq!(pair.routers[0].send(&user(1), signal(SignalKind::Away)), Err(Undelivered::Unreachable));
    assert_eq!(pair.routers[0].send(&user(0), signal(SignalKind::Away)), Ok(()), "one's own users are reached");
    let (mailbox, _inbox) = mailbox(200, 1);
    let attempt = Attempt::first(ClientId::from_bytes([2; 16]));
    let id = SessionId { node: pair.routers[0].home(), number: 9 };
    assert!(pair.routers[0].join(&user(2), id, attempt, KEY, mailbox, None).is_err(), "nobody is let in");
}

#[test]
fn more_than_can_wait_is_not_told_and_what_ends_chats_still_is() {
    let pair = Pair::new();
    let message = || SignalKind::Message(vec![5; 65_000].into());
    let send = |kind| {
        let signal = Signal { from: user(0), session: pair.ids[0], chat: CHAT, kind };
        pair.routers[0].send(&user(1), signal)
    };
    let told = (0..1000).take_while(|_| send(message()) == Ok(())).count();
    assert_eq!(told, (28 << 20) / 65_200, "28 MiB, with what stands around each");
    assert_eq!(send(message()), Err(Undelivered::Unreachable));
    assert_eq!(send(SignalKind::Away), Ok(()));
    assert!(pair.routers[0].next_errand().is_some());
    assert_eq!(send(message()), Ok(()), "there is room again");
}

#[test]
fn who_says_something_can_be_answered_before_the_bucket_has_shown_where_they_are() {
    let pair = Pair::new();
    let (carol, node) = (user(2), pair.routers[0].home());
    let session = SessionId { node, number: 2 };
    let says = || {
        let signal = Signal { from: carol.clone(), session, chat: CHAT, kind: SignalKind::Request { key: KEY } };
        assert_eq!(pair.routers[0].send(&user(1), signal), Ok(()));
        pair.hears(1, &pair.words(0));
    };
    let answer = || {
        let signal = Signal { from: user(1), session: pair.ids[1], chat: CHAT, kind: SignalKind::Refuse };
        pair.routers[1].send(&carol, signal)
    };
    assert_eq!(answer(), Err(Undelivered::Absent));
    says();
    assert_eq!(answer(), Ok(()));
    assert!(matches!(pair.routers[1].next_errand(), Some(Errand::Tell { node: to, .. }) if to == node));
    let nobody = "nobody".parse().unwrap();
    assert_eq!(
        pair.routers[1].list(&nobody, &Page::default()).names,
        [user(0), user(1)],
        "it is not known that she is"
    );
    // It counts until the bucket has shown something, or the node is gone.
    pair.routers[1].learn(&carol, None, 9);
    assert_eq!(answer(), Err(Undelivered::Absent));
    says();
    assert_eq!(answer(), Ok(()));
    pair.routers[1].bury(node);
    assert_eq!(answer(), Err(Undelivered::Absent));
}

/// A session whose claim the bucket has heard of, and its node knows that from the bucket alone.
fn joining() -> (Router, SessionId) {
    let router = router(0);
    router.detach();
    router.attach(1);
    router.attached();
    let (mailbox, _inbox) = mailbox(200, 1 << 20);
    let id = SessionId { node: router.home(), number: 1 };
    let attempt = Attempt::first(ClientId::from_bytes([1; 16]));
    let Ok(Joined::Claim { presence, .. }) = router.join(&user(0), id, attempt, KEY, mailbox, None) else { panic!() };
    router.learn(&user(0), Some(&presence), 5);
    assert_eq!(router.next_errand(), None, "it may still be told so");
    (router, id)
}

#[test]
fn a_session_that_stands_in_the_bucket_and_does_not_come_online_is_struck() {
    let strike = |revision| Some(Errand::Strike { user: user(0), revision });
    // There is no answer.
    let (router, id) = joining();
    router.give_up(&user(0), id);
    assert_eq!(router.next_errand(), strike(5));
    // It ends meanwhile, and then there is one.
    let (router, id) = joining();
    router.unregister(&user(0), id);
    assert_eq!(router.next_errand(), strike(5));
    assert!(!router.settle(&user(0), id, 5));
    assert_eq!(router.next_errand(), strike(5));
    // The answer comes after the attachment in which it was asked for.
    let (router, id) = joining();
    router.detach();
    router.attach(2);
    let presence = Presence::new(id, Attempt::first(ClientId::from_bytes([1; 16])), None);
    router.learn(&user(0), Some(&presence), 7);
    router.attached();
    assert_eq!(router.next_errand(), None);
    assert!(!router.settle(&user(0), id, 7));
    assert_eq!(router.next_errand(), strike(7));
}

#[test]
fn nobody_speaks_for_another_node() {
    let mut pair = Pair::new();
    let words = pair.says(0, SignalKind::Ask(1));
    assert_eq!(pair.routers[0].hear(&words[0]), Ok(()), "one's own word, come back");
    assert_eq!(pair.told(0), []);
    let mut forged = words[0].to_vec();
    forged[1] ^= 1;
    assert!(pair.routers[1].hear(&forged).is_err());
    assert!(pair.routers[1].hear(&[]).is_err());
    assert!(pair.routers[1].hear(&forged[..forged.len() - 1]).is_err());
    assert_eq!(pair.told(1), []);
}
