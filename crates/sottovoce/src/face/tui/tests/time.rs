//! What changes by itself, and that nothing else does.

use std::time::Duration;

use client::{ErrorCode, Event};
use crossterm::event::KeyCode;

use super::stage::{Stage, error};

const NOTICE: Duration = Duration::from_secs(15);

#[test]
fn notices_go() {
    let mut stage = Stage::chatting();
    stage.enter("/hlep");
    stage.wait(NOTICE - Duration::from_millis(1));
    stage.expect("there is no command");
    stage.wait(Duration::from_millis(1));
    stage.expect_no("there is no command");
    stage.key(KeyCode::Enter);
    stage.expect("there is no command");
    stage.key(KeyCode::Esc);
    stage.expect_no("there is no command");
}

/// A list is asked for without drawing; what goes at the same time must be seen to go.
#[test]
fn a_notice_goes_at_the_time_of_a_list() {
    let mut stage = Stage::online(&["bob"]);
    for late in 0..5 {
        stage.event(error(ErrorCode::Busy, "you are busy", None));
        stage.wait(Duration::from_millis(10_900 + late * 25));
        stage.answer(&["bob"]);
        // The loop may come late, and find both due.
        stage.advance(Duration::from_secs(8));
        stage.input(super::super::screen::Input::Tick);
        stage.expect_no("you are busy");
        stage.answer(&["bob"]);
    }
}

#[test]
fn the_age_of_keys_is_told_by_the_second_and_then_by_the_minute() {
    let mut stage = Stage::chatting();
    stage.expect("keys renewed 0 s ago");
    let drawn = stage.drawn;
    stage.wait(Duration::from_secs(59));
    stage.expect("keys renewed 59 s ago");
    assert_eq!(stage.drawn, drawn + 59);
    stage.wait(Duration::from_secs(61));
    stage.expect("keys renewed 2 min ago");
    assert_eq!(stage.drawn, drawn + 61, "each draws once");
    stage.wait(Duration::from_secs(3600));
    stage.expect("keys renewed 62 min ago");
    assert_eq!(stage.drawn, drawn + 121);
    stage.event(Event::Renewed { epoch: 1 });
    stage.expect("keys renewed 0 s ago");
}

#[test]
fn nothing_is_to_be_done_where_nothing_changes() {
    let mut stage = Stage::new();
    assert_eq!(stage.screen.deadline(stage.now.instant), None, "the form");
    stage.log_in(&["bob"]);
    stage.event(Event::Reconnecting { in_ms: 0 });
    assert_eq!(stage.screen.deadline(stage.now.instant), None, "people, and no connection");
    let mut stage = Stage::chatting();
    stage.event(super::stage::chat_closed("bob", client::Ending::Lost, 0));
    assert_eq!(stage.screen.deadline(stage.now.instant), None, "a chat that is over");
    let mut stage = Stage::chatting();
    stage.key(KeyCode::F(1));
    assert_eq!(stage.screen.deadline(stage.now.instant), None, "help");
}

/// Found at random: the words changed a millisecond before they were drawn.
#[test]
fn seconds_are_counted_down_to_the_end() {
    let mut stage = Stage::online(&["bob"]);
    stage.event(Event::Reconnecting { in_ms: 2_001 });
    for (wait, what) in [(0, "in 3 s"), (1, "in 2 s"), (999, "in 2 s"), (1, "in 1 s"), (999, "in 1 s")] {
        stage.wait(Duration::from_millis(wait));
        stage.expect(&format!("RECONNECTING {what}"));
    }
    stage.wait(Duration::from_micros(500));
    stage.expect("RECONNECTING in 1 s");
    stage.wait(Duration::from_micros(500));
    stage.expect("RECONNECTING now");
    assert_eq!(stage.screen.deadline(stage.now.instant), None);
}

#[test]
fn a_slow_step_is_seen_to_be_slow() {
    let mut stage = Stage::new();
    stage.enter("correct horse");
    stage.expect("unlocking your key");
    stage.expect_no("Esc gives up)");
    stage.wait(Duration::from_millis(1000));
    stage.expect("(1 s; Esc gives up)");
    stage.wait(Duration::from_secs(29));
    stage.expect("(30 s; Esc gives up)");
    stage.key(KeyCode::Esc);
    assert!(matches!(stage.effects.last(), Some(super::super::screen::Effect::GiveUp)));
    stage.expect_no("unlocking");
}
