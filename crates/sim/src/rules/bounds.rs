//! Within which bounds the rules are checked.

use std::time::Duration;

use server::session::Timer;

use super::{
    Fault::{self, *},
    properties::*,
    world::{
        Left,
        Person::{self, Alice, Bob, Carol},
    },
};

/// How much may happen.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How often what need not happen may.
    pub left: Left,
    /// Who may ask whom to talk, each as often as there are calls left.
    pub pairs: &'static [(Person, Person)],
    /// Whose connections may end, and who may log in again.
    pub movers: &'static [Person],
    /// What the clients want.
    pub will: Will,
    /// Whether clients send messages: one of each client's at a time.
    pub messages: bool,
    /// Frames that may be on their way between clients and sessions at one time; where none may, each is read at once.
    pub frames: usize,
    /// Signals that may be on their way at one time.
    pub flights: usize,
    /// Whether there are two nodes, with alice and carol at one and bob at the other in the beginning.
    pub nodes: bool,
    /// Whether all nodes know who is online in the beginning.
    pub all_are_known: bool,
    /// Whether alice and bob are in a chat in the beginning.
    pub chatting: bool,
    /// For the answer to a request.
    pub request: Duration,
    /// For the way back.
    pub grace: Duration,
    /// Whether all that is on its way to a session is read before the word that its peer is absent, as it is by the
    /// driver of a session whose mailbox it lies in. Otherwise it comes later, as it does from another machine.
    pub mailboxes_first: bool,
    /// What has to be seen, for the rules to have a meaning.
    pub sights: &'static [&'static str],
}

/// What the clients of a model want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Will {
    /// Anything.
    Any,
    /// To talk to whom they may ask, each asking once at most; and no timer runs out.
    ToMeet,
}

const NOTHING: Left = Left {
    calls: 0,
    cuts: 0,
    logins: 0,
    lates: 0,
    losses: 0,
    gaps: 0,
    crashes: 0,
    fulls: 0,
    lies: 0,
    deaths: 0,
    cut_offs: 0,
};
const ONE_CALL: Bounds = Bounds {
    left: Left { calls: 1, ..NOTHING },
    pairs: &[(Alice, Bob)],
    movers: &[Alice, Bob],
    will: Will::Any,
    messages: false,
    frames: 0,
    flights: 3,
    nodes: false,
    all_are_known: true,
    chatting: false,
    request: Duration::from_secs(5),
    // Long enough to ask a second time.
    grace: Duration::from_millis(1500),
    mailboxes_first: false,
    sights: &[OPENS],
};

/// Anybody asks anybody, twice in all.
const REQUESTS: Bounds = Bounds {
    left: Left { calls: 2, ..NOTHING },
    pairs: &[(Alice, Bob), (Alice, Carol), (Bob, Alice), (Bob, Carol), (Carol, Alice), (Carol, Bob)],
    messages: true,
    sights: &[OPENS, CROSSES, SPEAKS],
    ..ONE_CALL
};
/// Frames take time, so that clients and sessions speak past each other.
const SLOW_FRAMES: Bounds = Bounds {
    left: Left { calls: 2, ..NOTHING },
    pairs: &[(Alice, Bob), (Bob, Alice)],
    messages: true,
    frames: 2,
    sights: &[OPENS, CROSSES, SPEAKS],
    ..ONE_CALL
};
/// Two ask each other, and everything takes time.
const CROSSING: Bounds = Bounds {
    left: Left { calls: 2, ..NOTHING },
    pairs: &[(Alice, Bob), (Bob, Alice)],
    will: Will::ToMeet,
    frames: 8,
    flights: 8,
    sights: &[OPENS, CROSSES],
    ..ONE_CALL
};
/// Connections break.
const BROKEN_CONNECTIONS: Bounds = Bounds {
    left: Left { calls: 1, cuts: 2, logins: 2, ..NOTHING },
    flights: 2,
    sights: &[OPENS, BREAKS, REOPENS, OVERLAPS],
    ..ONE_CALL
};
/// A connection breaks, and frames take time.
const BROKEN_AND_SLOW: Bounds = Bounds {
    left: Left { calls: 1, cuts: 1, logins: 1, ..NOTHING },
    frames: 3,
    sights: &[OPENS, BREAKS, OVERLAPS],
    ..ONE_CALL
};
/// Log-ins come late.
const LATE_LOG_INS: Bounds = Bounds {
    left: Left { calls: 1, cuts: 1, logins: 1, lates: 1, ..NOTHING },
    messages: true,
    sights: &[OPENS, BREAKS, OVERLAPS, OVERTAKES, SPEAKS],
    ..ONE_CALL
};
/// Signals are lost.
const LOSSES: Bounds = Bounds {
    left: Left { calls: 1, cuts: 1, logins: 1, losses: 1, gaps: 1, ..NOTHING },
    messages: true,
    sights: &[OPENS, BREAKS, OVERLAPS, SPEAKS],
    ..ONE_CALL
};
/// What is on its way is read before the word that the peer is absent.
const MAILBOXES_FIRST: Bounds = Bounds {
    left: Left { calls: 1, cuts: 2, logins: 1, ..NOTHING },
    messages: true,
    mailboxes_first: true,
    sights: &[OPENS, BREAKS, OVERLAPS, SPEAKS],
    ..ONE_CALL
};
/// A mailbox is full.
const FULL: Bounds = Bounds {
    left: Left { calls: 1, cuts: 1, logins: 1, fulls: 1, ..NOTHING },
    messages: true,
    sights: &[OPENS, BREAKS, OVERLAPS, SPEAKS],
    ..ONE_CALL
};
/// The server is gone for a moment.
const RESTART: Bounds = Bounds {
    left: Left { calls: 1, logins: 2, losses: 1, crashes: 1, ..NOTHING },
    sights: &[OPENS, BREAKS, REOPENS],
    ..ONE_CALL
};
/// A third user calls while the connection of one of the two breaks.
const THREE: Bounds = Bounds {
    left: Left { calls: 2, cuts: 1, logins: 1, ..NOTHING },
    pairs: &[(Alice, Bob), (Carol, Bob)],
    movers: &[Bob],
    messages: true,
    sights: &[OPENS, BREAKS, OVERLAPS, SPEAKS],
    ..ONE_CALL
};
/// Carol's client lies, and logs in with a chat of others.
const LIES: Bounds = Bounds {
    left: Left { calls: 1, cuts: 1, logins: 1, lies: 1, ..NOTHING },
    movers: &[Carol],
    messages: true,
    sights: &[OPENS, BREAKS, SPEAKS],
    ..ONE_CALL
};
/// Carol's client lies, twice.
const MORE_LIES: Bounds = Bounds { left: Left { calls: 1, lies: 2, ..NOTHING }, messages: true, ..ONE_CALL };

/// Two nodes, one call.
const APART: Bounds = Bounds { flights: 2, nodes: true, messages: true, sights: &[OPENS, SPANS, SPEAKS], ..ONE_CALL };
/// Anybody asks anybody, at two nodes, and words between these are lost.
const REQUESTS_APART: Bounds = Bounds {
    left: Left { calls: 2, losses: 1, ..NOTHING },
    pairs: REQUESTS.pairs,
    request: Duration::from_secs(12),
    sights: &[OPENS, SPANS, CROSSES, LAPSES, SPEAKS],
    ..APART
};
/// Two ask each other from two nodes, neither of which has heard of the other's log-in, and everything takes time.
const CROSSING_APART: Bounds =
    Bounds { nodes: true, all_are_known: false, sights: &[OPENS, SPANS, CROSSES], ..CROSSING };
/// Connections break, and clients come back through either node.
const MOVING: Bounds = Bounds {
    left: Left { calls: 1, cuts: 1, logins: 1, ..NOTHING },
    sights: &[OPENS, SPANS, BREAKS, OVERLAPS, PARTS, RETURNS, SPEAKS],
    ..APART
};
/// Log-ins come late, through either node.
const LATE_APART: Bounds = Bounds {
    left: Left { cuts: 1, logins: 1, lates: 1, ..NOTHING },
    movers: &[Bob],
    flights: 1,
    messages: false,
    chatting: true,
    sights: &[OPENS, SPANS, BREAKS, OVERLAPS, PARTS, OVERTAKES, RETURNS],
    ..APART
};
/// Words between nodes are lost. A request may take so long that a caller looks after it.
const LOST_WORDS: Bounds = Bounds {
    left: Left { calls: 1, cuts: 1, losses: 1, ..NOTHING },
    request: Duration::from_secs(12),
    sights: &[OPENS, SPANS, BREAKS, LAPSES, SPEAKS],
    ..APART
};
/// Words are lost while clients come back through either node.
const LOST_AND_MOVING: Bounds = Bounds {
    left: Left { cuts: 1, logins: 1, losses: 1, ..NOTHING },
    movers: &[Bob],
    chatting: true,
    sights: &[OPENS, SPANS, BREAKS, LAPSES, PARTS, RETURNS, SPEAKS],
    ..APART
};
/// A mailbox at the other node is full.
const FULL_APART: Bounds =
    Bounds { left: Left { calls: 1, cuts: 1, fulls: 1, ..NOTHING }, sights: &[OPENS, SPANS, RETURNS, SPEAKS], ..APART };
/// A node dies.
const DEATH: Bounds = Bounds {
    left: Left { calls: 1, logins: 1, deaths: 1, ..NOTHING },
    request: Duration::from_secs(12),
    sights: &[OPENS, SPANS, BREAKS, LAPSES, SPEAKS],
    ..APART
};
/// A node is cut off from the other. There is time to go elsewhere.
const CUT_OFF: Bounds = Bounds {
    left: Left { calls: 1, cut_offs: 1, ..NOTHING },
    grace: Duration::from_millis(7500),
    sights: &[OPENS, SPANS, BREAKS, LAPSES, STRANDS, SPEAKS],
    ..APART
};
/// All bounds, by name.
pub const ALL: [(&str, Bounds); 22] = [
    ("requests", REQUESTS),
    ("slow frames", SLOW_FRAMES),
    ("crossing", CROSSING),
    ("broken connections", BROKEN_CONNECTIONS),
    ("broken and slow", BROKEN_AND_SLOW),
    ("late log-ins", LATE_LOG_INS),
    ("losses", LOSSES),
    ("mailboxes first", MAILBOXES_FIRST),
    ("full", FULL),
    ("restart", RESTART),
    ("three", THREE),
    ("lies", LIES),
    ("more lies", MORE_LIES),
    ("requests between nodes", REQUESTS_APART),
    ("crossing between nodes", CROSSING_APART),
    ("moving between nodes", MOVING),
    ("late log-ins at two nodes", LATE_APART),
    ("lost words", LOST_WORDS),
    ("lost words and moving", LOST_AND_MOVING),
    ("full at the other node", FULL_APART),
    ("death of a node", DEATH),
    ("cut off", CUT_OFF),
];

/// Wider ones, which take many minutes.
pub const WIDE: [(&str, Bounds); 8] = [
    (
        "more losses",
        Bounds { left: Left { calls: 1, cuts: 2, logins: 2, losses: 1, ..NOTHING }, messages: true, ..ONE_CALL },
    ),
    ("more frames", Bounds { frames: 4, messages: true, ..BROKEN_AND_SLOW }),
    (
        "lies of one who comes back",
        Bounds { left: Left { calls: 1, cuts: 1, logins: 2, lies: 2, ..NOTHING }, flights: 2, ..LIES },
    ),
    ("more requests", Bounds { left: Left { calls: 3, ..NOTHING }, ..REQUESTS }),
    ("both move", Bounds { left: Left { cuts: 2, logins: 2, ..NOTHING }, chatting: true, messages: false, ..MOVING }),
    ("more late log-ins at two nodes", Bounds { flights: 2, ..LATE_APART }),
    (
        "cut off and moving",
        Bounds {
            left: Left { logins: 1, cut_offs: 1, ..NOTHING },
            movers: &[Bob],
            chatting: true,
            messages: false,
            sights: &[OPENS, SPANS, BREAKS, LAPSES, STRANDS, PARTS],
            ..CUT_OFF
        },
    ),
    ("death of a node, and more log-ins", Bounds { left: Left { calls: 1, logins: 2, deaths: 1, ..NOTHING }, ..DEATH }),
];

/// The rules, each with the broken machines that it has to be seen to fail on.
pub const BROKEN: [(&str, Fault, Bounds); 19] = [
    (ONE_CHAT, RingsInAChat, REQUESTS),
    (
        ONE_CHAT,
        OlderSessionStays,
        Bounds { left: Left { calls: 2, logins: 1, ..NOTHING }, pairs: &[(Alice, Bob), (Alice, Carol)], ..ONE_CALL },
    ),
    (BOTH_OR_NEITHER, EndsInSilence, ONE_CALL),
    (BOTH_OR_NEITHER, NeverChecks, Bounds { left: Left { calls: 1, losses: 1, ..NOTHING }, ..ONE_CALL }),
    (BOTH_OR_NEITHER, OlderSessionStays, MOVING),
    (NOBODY_WAITS, IsDeafTo(Timer::Request), ONE_CALL),
    (NOBODY_WAITS, IsDeafTo(Timer::Establishment), ONE_CALL),
    (NOBODY_WAITS, IsDeafTo(Timer::Grace), Bounds { left: Left { calls: 1, cuts: 1, ..NOTHING }, ..ONE_CALL }),
    (OTHER_PARTY_ALONE, BelievesAnySender, LIES),
    (OTHER_PARTY_ALONE, BelievesAnyChat, Bounds { left: Left { calls: 2, ..NOTHING }, messages: true, ..ONE_CALL }),
    (OTHER_PARTY_ALONE, PassesAllOn, Bounds { messages: true, ..ONE_CALL }),
    (CALLERS_MEET, RefusesCrossing, CROSSING),
    (CALLERS_MEET, TakesBothCrossing, CROSSING),
    (CALLERS_MEET, KnowsNoSpeaker, CROSSING_APART),
    (CHAT_SURVIVES, HeldIsForgotten, BROKEN_CONNECTIONS),
    (CHAT_SURVIVES, LateLogInWins, LATE_LOG_INS),
    (CALLERS_HEAR, NeverChecksCalls, LOST_WORDS),
    (ALL_IS_SAID, IgnoresLapses, LOST_WORDS),
    (CHAT_SURVIVES, NeverStrands, CUT_OFF),
];
