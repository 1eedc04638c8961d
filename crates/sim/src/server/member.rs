//! A node among several: what `crates/server/src/cluster.rs` and what is below it do, without tasks and sockets. What is
//! decided there is decided by the same code here.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use protocol::UserName;
use server::{
    cluster::{Claim, Claimed, Found, Membership, Move, RENEWAL},
    router::{Errand, Lease, Router, VERSION, Word},
    signal::NodeId,
};

use crate::{
    around::Around,
    nats::{Answer, Ask, Wire, Wish},
    network::Link,
    sabotage::Sabotage,
};

/// As in `cluster.rs`.
const RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(2);
/// As in `cluster/settings.rs`.
const CONNECT: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(3);
/// As in `cluster/attachment.rs`.
const READING: Duration = Duration::from_secs(3);

/// A node's part in the cluster.
pub(crate) struct Member {
    /// Which of the world's nodes it is.
    index: usize,
    home: NodeId,
    attachment: u32,
    state: State,
    /// Before the next attempt to attach.
    wait: Duration,
    questions: BTreeMap<Ask, Question>,
    asked: Ask,
    claims: BTreeMap<u64, Pending>,
    claimed: u64,
    /// Whether it has ever been attached: it lets nobody in before.
    pub(crate) has_been_attached: bool,
    /// In a thousand: how fast its clock goes.
    rate: u32,
    start: Instant,
    /// What it takes for the numbers of words, where those do not count.
    heard: BTreeMap<(NodeId, u32), u64>,
}

enum State {
    /// Not attached; when it tries to be.
    Out(Instant),
    Attaching {
        wire: Wire,
        until: Instant,
        membership: Option<Membership>,
    },
    Attached {
        wire: Wire,
        membership: Membership,
        ticks_at: Instant,
        /// Unless it waits for the answer to the last.
        renews_at: Option<Instant>,
    },
}

/// What a node waits for.
struct Question {
    what: What,
    until: Instant,
}

enum What {
    Listening,
    Lease,
    Claim(u64),
    /// Where a user is whom the session of this connection asks to talk.
    Whereabouts(Link),
}

struct Pending {
    user: UserName,
    claim: Claim,
    /// Whose log-in waits for it.
    link: Option<Link>,
    wire: Wire,
}

/// What a member can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Attach,
    /// Something takes too long.
    GiveUp,
    Shown,
    Word,
    Answer(Wire),
    Lost,
    Tick,
    Renew,
}

/// What a session has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Whether its user is online.
    Registered(Link, bool),
    Whereabouts(Link, Option<NodeId>),
}

impl Member {
    pub(crate) fn new(index: usize, home: NodeId, around: &mut Around) -> Self {
        Self {
            index,
            home,
            attachment: 0,
            state: State::Out(around.now),
            wait: RETRY,
            questions: BTreeMap::new(),
            asked: 0,
            claims: BTreeMap::new(),
            claimed: 0,
            has_been_attached: false,
            rate: around.dice.pick(&[950, 1000, 1000, 1050]),
            start: around.start,
            heard: BTreeMap::new(),
        }
    }

    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.state, State::Attached { .. })
    }

    /// Whether anything is under way that may change who is online.
    pub(crate) fn is_busy(&self) -> bool {
        !self.is_attached() || !self.claims.is_empty()
    }

    pub(crate) fn steps(&self, around: &Around, mut add: impl FnMut(Instant, Step)) {
        for (at, wire) in around.nats.answers(self.index) {
            add(at, Step::Answer(wire));
        }
        if let Some(until) = self.questions.values().map(|question| question.until).min() {
            add(until, Step::GiveUp);
        }
        match &self.state {
            State::Out(at) => add(*at, Step::Attach),
            State::Attaching { wire, until, .. } => {
                add(*until, Step::GiveUp);
                let [shown, _, lost] = around.nats.comes(*wire);
                shown.into_iter().for_each(|at| add(at, Step::Shown));
                lost.into_iter().for_each(|at| add(at, Step::Lost));
            }
            State::Attached { wire, ticks_at, renews_at, .. } => {
                let [shown, word, lost] = around.nats.comes(*wire);
                shown.into_iter().for_each(|at| add(at, Step::Shown));
                word.into_iter().for_each(|at| add(at, Step::Word));
                lost.into_iter().for_each(|at| add(at, Step::Lost));
                add(*ticks_at, Step::Tick);
                renews_at.iter().for_each(|at| add(*at, Step::Renew));
            }
        }
    }

    pub(crate) fn step(&mut self, step: Step, router: &Router, around: &mut Around) -> Option<News> {
        let clock = self.clock(around.now);
        match (step, &mut self.state) {
            (Step::Attach, State::Out(_)) => self.attaches(router, around),
            (Step::GiveUp, _) => return self.gives_up(router, around),
            (
                Step::Shown,
                State::Attaching { wire, membership: Some(membership), .. } | State::Attached { wire, membership, .. },
            ) => {
                let wire = *wire;
                let shown = around.nats.shown(wire)?;
                if membership.learn(router, shown.item, shown.revision, clock).is_err() {
                    self.is_cut_off("it was taken for gone", router, around);
                } else if shown.is_last {
                    membership.has_read(clock);
                    self.renews(wire, around);
                } else if let State::Attaching { until, .. } = &mut self.state {
                    *until = around.now + READING;
                }
            }
            (Step::Word, State::Attached { wire, .. }) => {
                let wire = *wire;
                let word = around.nats.word(wire)?;
                let word = match around.sabotage {
                    Some(Sabotage::CountsNoWords) => self.counted(&word)?,
                    _ => word,
                };
                if let Err(error) = router.hear(&word) {
                    around.violated(format!("nodes of one version understand each other: {error}"));
                }
            }
            (Step::Answer(wire), _) => {
                let (ask, answer) = around.nats.answer(wire)?;
                return self.hears(ask, answer, router, around);
            }
            (Step::Lost, State::Attaching { .. } | State::Attached { .. }) => {
                self.is_cut_off("its connection is lost", router, around);
            }
            (Step::Tick, State::Attached { wire, membership, ticks_at, .. }) => {
                let wire = *wire;
                *ticks_at = around.now + RENEWAL * 1000 / self.rate;
                if around.sabotage == Some(Sabotage::NeverBuries) {
                    router.beat();
                    return None;
                }
                match membership.tick(router, clock) {
                    Ok(leases) => {
                        for (node, revision) in leases {
                            around.nats.wish(wire, None, Wish::Bury { node, revision }, around.now);
                        }
                    }
                    Err(_) => self.is_cut_off("nothing comes back", router, around),
                }
            }
            (Step::Renew, State::Attached { wire, .. }) => {
                let wire = *wire;
                self.renews(wire, around);
            }
            _ => {}
        }
        None
    }

    /// Does what the router wants done.
    pub(crate) fn errands(&mut self, router: &Router, around: &mut Around) {
        while let State::Attached { wire, .. } = self.state
            && let Some(errand) = router.next_errand()
        {
            match errand {
                Errand::Tell { node, attachment, word } => {
                    around.nats.wish(wire, None, Wish::Tell { node, attachment, word }, around.now);
                }
                Errand::Strike { user, revision } => {
                    around.nats.wish(wire, None, Wish::Strike { user, revision }, around.now);
                }
                Errand::Reattach => self.is_cut_off("one of its users was taken for gone", router, around),
            }
        }
    }

    /// A session wants to be its user's.
    pub(crate) fn claim(&mut self, link: Link, user: UserName, (claim, first): (Claim, Move), around: &mut Around) {
        let wire = match self.state {
            State::Attached { wire, .. } => wire,
            // Nobody listens there.
            _ => Wire::MAX,
        };
        self.claims_by(wire, Some(link), user, claim, first, around);
    }

    /// Asks the bucket where a user is.
    pub(crate) fn find(&mut self, link: Link, user: UserName, around: &mut Around) -> bool {
        let State::Attached { wire, .. } = self.state else { return false };
        self.ask(wire, What::Whereabouts(link), Wish::Look(user), around);
        true
    }

    /// Nobody waits for this any more.
    pub(crate) fn forget(&mut self, link: Link) {
        self.questions.retain(|_, question| !matches!(question.what, What::Whereabouts(other) if other == link));
    }

    /// Takes its leave.
    pub(crate) fn leaves(&mut self, router: &Router, around: &mut Around) {
        self.errands(router, around);
        if let State::Attached { wire, .. } = self.state {
            around.nats.wish(wire, None, Wish::EndLease(self.home), around.now);
        }
        around.nats.is_orphaned(self.index, true);
    }

    fn attaches(&mut self, router: &Router, around: &mut Around) {
        self.attachment += 1;
        match around.nats.connect(self.index, around.now) {
            Some(wire) => {
                let until = around.now + CONNECT;
                self.state = State::Attaching { wire, until, membership: None };
                let (node, attachment) = (self.home, self.attachment);
                self.ask(wire, What::Listening, Wish::Listen { node, attachment }, around);
            }
            None => self.tries_again(router, around),
        }
    }

    fn tries_again(&mut self, router: &Router, around: &Around) {
        router.detach();
        self.state = State::Out(around.now + self.wait);
        self.wait = (self.wait * 3 / 2).min(MAX_RETRY);
    }

    /// The attachment has ended.
    fn is_cut_off(&mut self, why: &str, router: &Router, around: &mut Around) {
        around.note(|| format!("node {} is cut off: {why}", self.home));
        let was_attached = self.is_attached();
        if let State::Attaching { wire, .. } | State::Attached { wire, .. } = self.state {
            around.nats.let_go(wire);
        }
        // Log-ins wait for their answers; whatever else was under way is given up.
        self.claims.retain(|_, pending| pending.link.is_some());
        let claims = &self.claims;
        self.questions.retain(|_, question| match &question.what {
            What::Claim(claim) => claims.contains_key(claim),
            What::Whereabouts(_) => true,
            What::Listening | What::Lease => false,
        });
        if was_attached {
            router.detach();
            self.wait = RETRY;
            self.state = State::Out(around.now);
        } else {
            self.tries_again(router, around);
        }
    }

    fn gives_up(&mut self, router: &Router, around: &mut Around) -> Option<News> {
        if let State::Attaching { until, .. } = self.state
            && until <= around.now
        {
            self.is_cut_off("attaching takes too long", router, around);
            return None;
        }
        let (ask, _) = self.questions.iter().find(|(_, question)| question.until <= around.now)?;
        let ask = *ask;
        match self.questions.remove(&ask)?.what {
            What::Listening | What::Lease => {
                self.is_cut_off("there is no answer", router, around);
                None
            }
            What::Claim(claim) => self.is_settled(claim, Claimed::Unknown, router),
            What::Whereabouts(link) => Some(News::Whereabouts(link, None)),
        }
    }

    fn renews(&mut self, wire: Wire, around: &mut Around) {
        if let State::Attached { renews_at, .. } = &mut self.state {
            *renews_at = None;
        }
        let lease = Lease { version: VERSION, attachment: self.attachment };
        self.ask(wire, What::Lease, Wish::Renew(self.home, lease), around);
    }

    fn hears(&mut self, ask: Ask, answer: Answer, router: &Router, around: &mut Around) -> Option<News> {
        let what = self.questions.remove(&ask)?.what;
        let clock = self.clock(around.now);
        match (what, answer) {
            (What::Listening, _) => {
                if let State::Attaching { wire, membership, until } = &mut self.state {
                    router.attach(self.attachment);
                    *membership = Some(Membership::new(self.home, clock));
                    *until = around.now + READING;
                    around.nats.wish(*wire, None, Wish::Watch, around.now);
                }
                None
            }
            (What::Lease, _) => {
                self.is_renewed(router, around);
                None
            }
            (What::Claim(claim), answer) => {
                let pending = self.claims.get_mut(&claim)?;
                let next = match answer {
                    Answer::Found(found) => pending.claim.found(found),
                    Answer::At(revision) => Move::Done(Claimed::At(revision)),
                    Answer::Outrun | Answer::Done => pending.claim.outrun(),
                };
                self.goes_on(claim, next, router, around)
            }
            (What::Whereabouts(link), answer) => {
                let node = match answer {
                    Answer::Found(Some(Found { presence: Some(presence), .. })) => Some(presence.session.node),
                    _ => None,
                };
                Some(News::Whereabouts(link, node))
            }
        }
    }

    fn is_renewed(&mut self, router: &Router, around: &mut Around) {
        match &mut self.state {
            State::Attached { renews_at, .. } => *renews_at = Some(around.now + RENEWAL * 1000 / self.rate),
            State::Attaching { wire, membership, .. } => {
                let (wire, Some(membership)) = (*wire, membership.take()) else { return };
                around.note(|| format!("node {} is attached", self.home));
                self.has_been_attached = true;
                self.wait = RETRY;
                self.state = State::Attached { wire, membership, ticks_at: around.now, renews_at: Some(around.now) };
                for (user, presence) in router.attached() {
                    let (claim, first) = Claim::again(presence);
                    self.claims_by(wire, None, user, claim, first, around);
                }
            }
            State::Out(_) => {}
        }
    }

    fn claims_by(
        &mut self,
        wire: Wire,
        link: Option<Link>,
        user: UserName,
        claim: Claim,
        first: Move,
        around: &mut Around,
    ) {
        self.claimed += 1;
        self.claims.insert(self.claimed, Pending { user, claim, link, wire });
        self.carries_out(self.claimed, first, around);
    }

    fn goes_on(&mut self, claim: u64, next: Move, router: &Router, around: &mut Around) -> Option<News> {
        match next {
            Move::Done(claimed) => self.is_settled(claim, claimed, router),
            next => {
                self.carries_out(claim, next, around);
                None
            }
        }
    }

    fn carries_out(&mut self, claim: u64, next: Move, around: &mut Around) {
        let Some(Pending { user, claim: pending, wire, .. }) = self.claims.get(&claim) else { return };
        let (wire, user) = (*wire, user.clone());
        let wish = match next {
            Move::Put { over } => Wish::Put { user, presence: pending.presence().clone(), over },
            Move::Look | Move::Done(_) => Wish::Look(user),
        };
        self.ask(wire, What::Claim(claim), wish, around);
    }

    fn is_settled(&mut self, claim: u64, claimed: Claimed, router: &Router) -> Option<News> {
        let Pending { user, claim, link, .. } = self.claims.remove(&claim)?;
        let is_online = claim.settle(router, &user, claimed);
        link.map(|link| News::Registered(link, is_online))
    }

    fn ask(&mut self, wire: Wire, what: What, wish: Wish, around: &mut Around) {
        self.asked += 1;
        self.questions.insert(self.asked, Question { what, until: around.now + REQUEST });
        around.nats.wish(wire, Some(self.asked), wish, around.now);
    }

    /// The time by the node's own clock.
    fn clock(&self, now: Instant) -> Instant {
        self.start + now.duration_since(self.start) * self.rate / 1000
    }

    /// A word with the number that is due.
    fn counted(&mut self, word: &[u8]) -> Option<bytes::Bytes> {
        let mut word = Word::decode(word).ok()?;
        let number = self.heard.entry((word.from, word.attachment)).or_default();
        word.number = *number;
        *number += 1;
        word.encode().map(Into::into)
    }
}
