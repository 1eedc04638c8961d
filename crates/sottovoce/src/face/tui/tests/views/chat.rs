use std::time::Duration;

use client::{Ending, ErrorCode, Event};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use identity::Trust;
use jiff::civil::date;

use super::super::{
    super::{screen::Input, style::Theme},
    stage::{Stage, chat_closed, error, snapshot, snapshot_styles},
};

fn chatting(trust: Trust) -> impl Fn((u16, u16)) -> Stage {
    move |size| {
        let mut stage = Stage::sized(size);
        stage.log_in(&["bob", "carol"]);
        stage.start_chat("bob", trust);
        stage
    }
}

/// Some lines of a chat, in each state that a message can have.
fn talk(stage: &mut Stage) {
    stage.enter("hello bob");
    stage.event(Event::Sent { n: 0 });
    stage.event(Event::Delivered { n: 0 });
    stage.hear("hello alice, how are you?");
    stage.wait(Duration::from_secs(70));
    stage.enter("fine, thanks; this one is on its way");
    stage.event(Event::Sent { n: 1 });
    stage.enter("and this one waits");
}

#[test]
fn just_started() {
    snapshot("chat_new", chatting(Trust::New), |_| {});
    snapshot("chat_pinned", chatting(Trust::Pinned), |_| {});
    snapshot("chat_verified", chatting(Trust::Verified), |_| {});
}

#[test]
fn marks_of_messages() {
    snapshot("chat_marks", chatting(Trust::New), talk);
    snapshot("chat_server_unreachable", chatting(Trust::New), |stage| {
        talk(stage);
        stage.event(Event::Reconnecting { in_ms: 4_000 });
    });
    let mut stage = Stage::chatting();
    talk(&mut stage);
    snapshot_styles("chat_styles", stage);
}

#[test]
fn without_colours() {
    let scene = |colour| {
        let mut stage = Stage::with((80, 24), Theme::new(colour), Vec::new(), "chat.example:7478", "alice");
        stage.log_in(&["bob"]);
        stage.start_chat("bob", Trust::Verified);
        talk(&mut stage);
        stage.event(chat_closed("bob", Ending::Lost, 2));
        stage
    };
    assert_eq!(scene(true).words(), scene(false).words(), "the same words");
    snapshot_styles("chat_no_color_styles", scene(false));
}

#[test]
fn days_and_renewals() {
    snapshot("chat_days_and_renewals", chatting(Trust::Verified), |stage| {
        stage.enter("good night");
        stage.event(Event::Sent { n: 0 });
        stage.event(Event::Delivered { n: 0 });
        (1..=3).for_each(|epoch| stage.event(Event::Renewed { epoch }));
        stage.clock(date(2026, 3, 15).at(8, 1, 0, 0));
        stage.event(Event::Renewed { epoch: 4 });
        stage.hear("good morning");
    });
}

#[test]
fn writing_of_all_kinds() {
    snapshot("chat_writing", chatting(Trust::Verified), |stage| {
        stage.hear("a long line of plain words that has to go on in the row below, and is not cut anywhere");
        stage.hear("https://example.org/without/a/space/in/it/so/that/it/has/to/break/somewhere?and=so&it=does#there");
    });
    snapshot("chat_scripts", chatting(Trust::Verified), |stage| {
        stage.hear("日本語の長い文は、単語の間に空白がなくても、画面の端で折り返されなければならない。");
        stage.hear("e\u{301}te\u{301} and 👩‍👩‍👧‍👦 and 👍🏽 and 🇩🇪 end");
        stage.hear("שלום, איך אתה? (bob) 123");
    });
    snapshot("chat_dangerous", chatting(Trust::Verified), |stage| {
        stage.hear("\x1b[2J\x1b]0;owned\x07\u{202e}gnp.exe\u{2066}!");
        stage.hear("first\n12:03   you │ forged\n\nlast");
    });
}

#[test]
fn long_ago() {
    let long = |stage: &mut Stage| {
        for n in 1..=100 {
            stage.hear(&format!("line {n}"));
        }
        stage.keys(&[KeyCode::PageUp, KeyCode::PageUp]);
    };
    snapshot("chat_scrolled_up", chatting(Trust::Verified), long);
    snapshot("chat_scrolled_up_with_newer", chatting(Trust::Verified), |stage| {
        long(stage);
        stage.hear("something new");
        stage.hear("and more");
    });
    snapshot("chat_top", chatting(Trust::Verified), |stage| {
        long(stage);
        stage.input(Input::Key(KeyEvent::new(KeyCode::Home, KeyModifiers::CONTROL)));
    });
}

#[test]
fn typing() {
    snapshot("chat_typing_lines", chatting(Trust::Verified), |stage| {
        stage.hear("go on");
        stage.type_in("first");
        stage.alt(KeyCode::Enter);
        stage.type_in("second");
        stage.ctrl('j');
        stage.type_in("third, which is so long that it goes on in a row below on a narrow screen");
    });
    snapshot("chat_pasted_lines", chatting(Trust::Verified), |stage| {
        stage.paste(&(1..=50).map(|n| format!("pasted line {n}\n")).collect::<String>());
    });
    snapshot("chat_bad_command", chatting(Trust::Verified), |stage| stage.enter("/lsit"));
    snapshot("chat_too_long", chatting(Trust::Verified), |stage| stage.paste(&"x".repeat(20_000)));
}

#[test]
fn the_peer() {
    snapshot("chat_behind", chatting(Trust::Verified), |stage| {
        talk(stage);
        stage.event(Event::PeerBehind { peer: "bob".into() });
    });
    snapshot("chat_away", chatting(Trust::Verified), |stage| {
        talk(stage);
        stage.event(Event::PeerAway { peer: "bob".into() });
    });
    snapshot("chat_away_and_server_unreachable", chatting(Trust::Verified), |stage| {
        talk(stage);
        stage.event(Event::PeerAway { peer: "bob".into() });
        stage.event(Event::Reconnecting { in_ms: 4_000 });
    });
    let mut stage = Stage::chatting();
    stage.event(Event::PeerAway { peer: "bob".into() });
    snapshot_styles("chat_away_styles", stage);
}

#[test]
fn over() {
    let over = |name, reason, undelivered| {
        snapshot(name, chatting(Trust::New), |stage| {
            talk(stage);
            stage.event(chat_closed("bob", reason, undelivered));
        });
    };
    over("chat_goodbye", Ending::Goodbye, 2);
    over("chat_lost", Ending::Lost, 2);
    snapshot("chat_error", chatting(Trust::New), |stage| {
        talk(stage);
        stage.event(error(
            ErrorCode::Protocol,
            "the chat was ended: a frame did not open; bob or the server misbehaves",
            None,
        ));
        stage.event(chat_closed("bob", Ending::Error, 2));
    });
    snapshot("chat_said_after_the_end", chatting(Trust::New), |stage| {
        stage.event(chat_closed("bob", Ending::Goodbye, 0));
        stage.enter("are you there?");
    });
}

#[test]
fn longest_name() {
    snapshot("chat_longest_name", Stage::sized, |stage| {
        stage.log_in(&[]);
        let name = "a-name-of-32-characters-so-it-is";
        stage.start_chat(name, Trust::New);
        stage.hear("hello");
        stage.enter("hello to you");
    });
}

#[test]
fn leaving() {
    snapshot("chat_leaving", chatting(Trust::New), |stage| {
        talk(stage);
        stage.ctrl('q');
    });
    snapshot("chat_ending", chatting(Trust::New), |stage| {
        talk(stage);
        stage.event(Event::PeerAway { peer: "bob".into() });
        stage.key(KeyCode::F(4));
        stage.enter("one thing more");
    });
}

#[test]
fn somebody_else_at_the_address() {
    let foreign = |stage: &mut Stage| {
        stage.event(Event::Reconnecting { in_ms: 0 });
        stage.event(error(
            ErrorCode::UntrustedServer,
            "chat.example:7478 could not prove that it is your server (UnknownIssuer); if its operator has given out a \
             new ca.pem, put it into your profile, otherwise somebody may stand between you and the server",
            None,
        ));
        stage.event(Event::Reconnecting { in_ms: 9_000 });
    };
    snapshot("chat_foreign_server", chatting(Trust::New), |stage| {
        talk(stage);
        foreign(stage);
    });
    snapshot("people_foreign_server", chatting(Trust::New), |stage| {
        stage.key(KeyCode::F(3));
        stage.answer(&["bob", "carol"]);
        foreign(stage);
    });
    let mut stage = Stage::chatting();
    talk(&mut stage);
    foreign(&mut stage);
    snapshot_styles("chat_foreign_server_styles", stage);
}

#[test]
fn said_while_looking_at_people() {
    snapshot("people_with_chat", chatting(Trust::New), |stage| {
        stage.key(KeyCode::F(3));
        stage.answer(&["bob", "carol"]);
        stage.hear("where are you?");
    });
}
