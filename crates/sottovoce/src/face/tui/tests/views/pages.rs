use client::{ErrorCode, Event};
use crossterm::event::KeyCode;
use identity::Trust;

use super::super::{
    super::style::Theme,
    stage::{SAFETY_NUMBER, Stage, error, request, snapshot, snapshot_styles},
};

fn verifying(size: (u16, u16)) -> Stage {
    let mut stage = Stage::sized(size);
    stage.log_in(&["bob"]);
    stage.start_chat("bob", Trust::Pinned);
    stage.key(KeyCode::F(2));
    stage
}

#[test]
fn comparing() {
    snapshot("verify_nothing_pasted", verifying, |_| {});
    snapshot("verify_so_far", verifying, |stage| stage.paste(&SAFETY_NUMBER[..29]));
    snapshot("verify_same", verifying, |stage| stage.paste(&SAFETY_NUMBER.replace(' ', "-")));
    snapshot("verify_different", verifying, |stage| stage.paste(&SAFETY_NUMBER.replace("41877", "41878")));
    snapshot("verify_different_and_f5", verifying, |stage| {
        stage.paste("12345");
        stage.key(KeyCode::F(5));
    });
    snapshot("verify_noted", verifying, |stage| {
        stage.key(KeyCode::F(5));
        stage.event(Event::Verified { peer: "bob".into() });
    });
}

#[test]
fn sizes_of_the_code() {
    let mut all = String::new();
    for size in [(79, 24), (80, 21), (80, 19), (120, 30), (60, 40), (40, 40), (80, 14)] {
        let words = verifying(size).words();
        all.push_str(&format!("=== {}×{}\n{}", size.0, size.1, words));
    }
    super::super::stage::accept("verify_sizes", &all);
}

#[test]
fn code_in_colours() {
    let stage = |colour, turned| {
        let mut stage = Stage::with((120, 40), Theme::new(colour), Vec::new(), "chat.example:7478", "alice");
        stage.log_in(&["bob"]);
        stage.start_chat("bob", Trust::Pinned);
        stage.key(KeyCode::F(2));
        if turned {
            stage.key(KeyCode::F(7));
        }
        stage
    };
    assert_eq!(stage(true, false).words(), stage(true, true).words());
    snapshot_styles("verify_styles", stage(true, false));
    snapshot_styles("verify_turned_styles", stage(true, true));
    snapshot_styles("verify_no_color_styles", stage(false, false));
    snapshot_styles("verify_no_color_turned_styles", stage(false, true));
}

fn changed(size: (u16, u16)) -> Stage {
    let mut stage = Stage::sized(size);
    stage.log_in(&["bob", "carol"]);
    stage.event(error(ErrorCode::KeyChanged, "the key of bob has changed", Some("bob")));
    stage
}

#[test]
fn changed_key() {
    snapshot("changed", changed, |_| {});
    snapshot("changed_forgetting", changed, |stage| stage.type_in("/forget bob"));
    snapshot("changed_bad_command", changed, |stage| stage.enter("forget bob"));
    snapshot("changed_forgotten", changed, |stage| {
        stage.enter("/forget bob");
        stage.event(Event::Forgotten { peer: "bob".into() });
    });
    snapshot("changed_and_asked", changed, |stage| stage.event(request("carol")));
    snapshot_styles("changed_styles", changed((80, 24)));
}

fn helped(size: (u16, u16)) -> Stage {
    let mut stage = Stage::sized(size);
    stage.log_in(&["bob"]);
    stage.key(KeyCode::Char('?'));
    stage
}

#[test]
fn help() {
    snapshot("help", helped, |_| {});
    snapshot("help_further_down", helped, |stage| stage.keys(&[KeyCode::PageDown, KeyCode::PageDown]));
    snapshot("help_end", helped, |stage| stage.keys(&[KeyCode::PageDown; 40]));
    snapshot("help_and_asked", helped, |stage| stage.event(request("bob")));
    snapshot_styles("help_styles", helped((80, 24)));
}

#[test]
fn notices() {
    snapshot(
        "notice_bell",
        |size| {
            let mut stage = Stage::sized(size);
            stage.log_in(&["bob"]);
            stage
        },
        |stage| stage.key(KeyCode::F(8)),
    );
}
