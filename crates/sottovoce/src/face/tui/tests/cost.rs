//! What a long chat costs.

use std::time::{Duration, Instant};

use client::Event;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    super::screen::Input,
    stage::{Stage, message},
};

const MESSAGES: u64 = 10_000;
/// For one key with its drawing. A hundredth of that is usual; the rest is for a machine that is busy with other tests,
/// in a build that is not optimized.
const BOUND: Duration = Duration::from_millis(50);

#[expect(clippy::disallowed_methods, reason = "this measures")]
fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Half of them one's own, of 80 bytes each.
fn long_chat() -> Stage {
    let mut stage = Stage::chatting();
    let text = "0123456789".repeat(8);
    let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
    for n in 0..MESSAGES / 2 {
        let sent = [Event::Sent { n }, Event::Delivered { n }, message("bob", &text)];
        let typed = [Input::Pasted(text.clone()), Input::Key(enter)];
        // Not drawn: a flood is not either.
        for input in typed.into_iter().chain(sent.map(Input::Event)) {
            stage.screen.handle(input, stage.now, &mut stage.effects);
        }
        stage.commands();
    }
    stage.input(Input::Resized);
    stage
}

/// The median, which interruptions do not change.
fn usual(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn typing_in_a_long_chat_is_instant() {
    let mut stage = long_chat();
    let measure = |stage: &mut Stage, what: &str, act: &dyn Fn(&mut Stage)| {
        let times = (0..50).map(|_| time(|| act(stage))).collect();
        let usual = usual(times);
        println!("{what}: {usual:?}");
        assert!(usual < BOUND, "{what} takes {usual:?}");
    };
    measure(&mut stage, "a key", &|stage| stage.type_in("x"));
    measure(&mut stage, "a message that comes", &|stage| stage.hear("hello"));
    measure(&mut stage, "a message that is sent", &|stage| {
        stage.key(KeyCode::Enter);
        stage.type_in("y");
    });
    measure(&mut stage, "a page up", &|stage| stage.key(KeyCode::PageUp));
    measure(&mut stage, "a key, far up", &|stage| stage.type_in("x"));
    measure(&mut stage, "another size", &|stage| {
        stage.resize(200, 60);
        stage.resize(40, 10);
    });
}

/// The longest messages, of which each fills many screens.
#[test]
fn typing_after_long_messages_is_instant() {
    let mut stage = Stage::chatting();
    for _ in 0..20 {
        stage.hear(&"word ".repeat(3_276));
    }
    for (what, key) in [("a key", KeyCode::Char('x')), ("a page up", KeyCode::PageUp), ("a row down", KeyCode::Down)] {
        let usual = usual((0..20).map(|_| time(|| stage.key(key))).collect());
        println!("{what}, after long messages: {usual:?}");
        assert!(usual < 4 * BOUND, "{what} takes {usual:?}");
    }
    stage.paste(&"word ".repeat(3_200));
    let usual = usual((0..20).map(|_| time(|| stage.type_in("x"))).collect());
    println!("a key, in a long message: {usual:?}");
    assert!(usual < 4 * BOUND, "a key takes {usual:?}");
}
