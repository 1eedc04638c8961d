//! Whatever comes, in whatever order and at whatever size, the screen stays whole.

use std::time::Duration;

use client::{Ending, ErrorCode, Event, RequestEnding};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use identity::Trust;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::{screen::Input, sign_in::Step},
    stage::{Stage, calling, chat_closed, chat_started, error, logged_in, message, request, users_event},
};

/// Those that may wait, the exit, and the next page of a list.
const MAX_COMMANDS: usize = 2 * 64 + 2;

#[derive(Clone, Debug)]
enum Move {
    Key(KeyEvent),
    Paste(String),
    Focus(bool),
    Resize(u16, u16),
    At(Step),
    Event(Box<Event>),
    Pins(Vec<(&'static str, bool)>),
    Ended(Option<ErrorCode>),
    Wait(Duration),
    /// The client takes so many commands.
    Take(usize),
    /// A list is answered.
    Answer,
}

const NAMES: [&str; 5] = ["bob", "carol", "dave", "x", "a-name-of-32-characters-so-it-is"];

const TEXTS: [&str; 8] = [
    "hello",
    "日本語 and some more words that go on until the row must end somewhere",
    "👩‍👩‍👧‍👦 e\u{301} 🇩🇪",
    "שלום עולם",
    "\u{202e}gnp.exe\x1b[2J\x07",
    "one\ntwo\n\nthree",
    "\t",
    "https://example.org/a/very/long/address/without/any/space/that/could/be/broken/and/more/of/it",
];

fn name() -> impl Strategy<Value = String> {
    select(NAMES.to_vec()).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![8 => select(TEXTS.to_vec()).prop_map(str::to_owned), 1 => any::<String>(), 1 => Just("x ".repeat(4000))]
}

fn keys() -> impl Strategy<Value = KeyEvent> {
    use KeyCode as K;
    let codes = [
        K::Enter,
        K::Enter,
        K::Esc,
        K::Tab,
        K::BackTab,
        K::Up,
        K::Down,
        K::Left,
        K::Right,
        K::PageUp,
        K::PageDown,
        K::Home,
        K::End,
        K::Backspace,
        K::Delete,
        K::F(1),
        K::F(2),
        K::F(3),
        K::F(4),
        K::F(5),
        K::F(7),
        K::F(8),
        K::F(9),
    ];
    let chars: Vec<_> = "aebcdfhjklnqyuwz?-/ 0日\u{301}\u{5d0}".chars().map(K::Char).collect();
    let code = prop_oneof![3 => select(codes.to_vec()), 3 => select(chars), 1 => any::<char>().prop_map(K::Char)];
    let modifiers = select(vec![
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::SHIFT,
        KeyModifiers::CONTROL,
        KeyModifiers::ALT,
    ]);
    (code, modifiers).prop_map(|(code, modifiers)| KeyEvent::new(code, modifiers))
}

fn events() -> impl Strategy<Value = Event> {
    let trust = || select(vec![Trust::New, Trust::Pinned, Trust::Verified]);
    let ending = || select(vec![Ending::Goodbye, Ending::Lost, Ending::Error]);
    prop_oneof![
        1 => Just(Event::Connecting),
        1 => Just(Event::Connected),
        3 => select(vec!["alice", "alice", "alice", "zoe"]).prop_map(logged_in),
        3 => (vec(name(), 0..5), any::<bool>()).prop_map(|(names, more)| {
            users_event(&names.iter().map(String::as_str).collect::<Vec<_>>(), more)
        }),
        3 => name().prop_map(|name| request(&name)),
        2 => name().prop_map(|name| calling(&name)),
        1 => name().prop_map(|peer| Event::Refused { peer }),
        1 => name().prop_map(|peer| Event::UserNotFound { peer }),
        1 => (name(), select(vec![RequestEnding::Expired, RequestEnding::CalledOff, RequestEnding::Lost]))
            .prop_map(|(peer, reason)| Event::RequestEnded { peer, reason }),
        4 => (name(), trust()).prop_map(|(name, trust)| chat_started(&name, trust)),
        2 => (name(), ending(), 0..3u64).prop_map(|(name, reason, n)| chat_closed(&name, reason, n)),
        6 => (name(), text()).prop_filter_map("no text", |(name, text)| {
            protocol::Text::try_from(text.clone()).is_ok().then(|| message(&name, &text))
        }),
        2 => (0..20u64).prop_map(|n| Event::Sent { n }),
        2 => (0..20u64).prop_map(|n| Event::Delivered { n }),
        1 => name().prop_map(|peer| Event::PeerBehind { peer }),
        1 => name().prop_map(|peer| Event::PeerCaughtUp { peer }),
        1 => name().prop_map(|peer| Event::PeerAway { peer }),
        1 => name().prop_map(|peer| Event::PeerBack { peer }),
        2 => (0..20u64).prop_map(|epoch| Event::Renewed { epoch }),
        1 => name().prop_map(|peer| Event::Verified { peer }),
        1 => name().prop_map(|peer| Event::Forgotten { peer }),
        2 => (0..20_000u64).prop_map(|in_ms| Event::Reconnecting { in_ms }),
        2 => Just(Event::Reconnected),
        1 => Just(Event::LoggedOut),
        1 => name().prop_map(|name| error(ErrorCode::KeyChanged, "the key changed", Some(&name))),
        1 => text().prop_map(|text| error(ErrorCode::Busy, &text, None)),
        1 => (text(), prop::option::of(name()))
            .prop_map(|(text, name)| error(ErrorCode::TooFast, &text, name.as_deref())),
        1 => text().prop_map(|text| error(ErrorCode::UntrustedServer, &text, None)),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let sizes = prop_oneof![
        (1..200u16, 1..60u16),
        select(vec![(1, 1), (1, 60), (200, 1), (2, 2), (40, 10), (80, 24), (200, 60)]),
    ];
    let steps = select(vec![Step::Unlocking, Step::Connecting, Step::LoggingIn]);
    let codes = select(vec![ErrorCode::Unreachable, ErrorCode::WrongPassword, ErrorCode::Replaced, ErrorCode::BadFile]);
    let one = prop_oneof![
        12 => keys().prop_map(Move::Key),
        2 => text().prop_map(Move::Paste),
        1 => any::<bool>().prop_map(Move::Focus),
        2 => sizes.prop_map(|(columns, rows)| Move::Resize(columns, rows)),
        1 => steps.prop_map(Move::At),
        12 => events().prop_map(|event| Move::Event(Box::new(event))),
        1 => vec((select(NAMES.to_vec()), any::<bool>()), 0..4).prop_map(Move::Pins),
        1 => proptest::option::weighted(0.9, codes).prop_map(Move::Ended),
        5 => (0..6_000u64).prop_map(|ms| Move::Wait(Duration::from_millis(ms))),
        3 => (0..4usize).prop_map(Move::Take),
        3 => Just(Move::Answer),
    ];
    vec(one, 0..80)
}

fn play(stage: &mut Stage, one: Move) {
    match one {
        Move::Key(key) => stage.input(Input::Key(key)),
        Move::Paste(text) => stage.paste(&text),
        Move::Focus(is_focused) => stage.input(Input::Focused(is_focused)),
        Move::Resize(columns, rows) => stage.resize(columns, rows),
        Move::At(step) => stage.input(Input::At(step)),
        Move::Event(event) => stage.event(*event),
        Move::Pins(pins) => stage.pins(&pins),
        Move::Ended(Some(code)) => stage.fail(code, "it did not work; try again"),
        Move::Ended(None) => stage.input(Input::Ended(None)),
        Move::Wait(time) => stage.wait(time),
        Move::Take(count) => (0..count).for_each(|_| drop(stage.screen.next_command())),
        Move::Answer => stage.event(users_event(&["bob", "carol", "dave"], true)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// Nothing panics; what is seen is what there is to be seen, without the drawing of anything else; the cursor is on
    /// the screen; a tick at the deadline leaves a later one, or none; and no more commands wait than may.
    #[test]
    fn it_stays_whole(logged_in_first in any::<bool>(), moves in moves()) {
        let mut stage = if logged_in_first { Stage::online(&["bob", "carol", "dave"]) } else { Stage::new() };
        for one in moves {
            play(&mut stage, one);
            let seen = stage.seen();
            if let Some(cursor) = stage.cursor() {
                prop_assert!(seen.area.contains(cursor), "{cursor:?}");
            }
            if let Some(deadline) = stage.screen.deadline(stage.now.instant) {
                let wait = deadline.saturating_duration_since(stage.now.instant);
                prop_assert!(wait <= Duration::from_secs(60));
                stage.advance(wait);
                stage.input(Input::Tick);
                let next = stage.screen.deadline(stage.now.instant);
                prop_assert!(next.is_none_or(|next| next > stage.now.instant), "the loop spins");
                stage.seen();
            }
        }
        let waiting = stage.commands().len();
        prop_assert!(waiting <= MAX_COMMANDS, "{waiting} wait");
    }
}
