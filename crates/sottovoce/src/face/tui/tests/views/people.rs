use std::time::Duration;

use client::{ErrorCode, Event};
use crossterm::event::KeyCode;
use identity::Trust;

use super::super::{
    super::style::Theme,
    stage::{Stage, calling, chat_closed, error, request, snapshot, snapshot_styles, users_event},
};

fn online(people: &'static [&'static str]) -> impl Fn((u16, u16)) -> Stage {
    move |size| {
        let mut stage = Stage::sized(size);
        stage.log_in(people);
        stage
    }
}

/// Some of whom things are known.
fn marked(size: (u16, u16)) -> Stage {
    let mut stage = online(&["bob", "carol", "dave", "eve"])(size);
    stage.pins(&[("carol", false), ("dave", true), ("eve", true)]);
    stage.event(error(ErrorCode::KeyChanged, "the key of eve has changed", Some("eve")));
    stage.key(KeyCode::Esc);
    stage
}

fn crowd(size: (u16, u16)) -> Stage {
    let names: Vec<_> = (0..80).map(|n| format!("user-{n:02}")).collect();
    let mut stage = Stage::sized(size);
    stage.log_in(&[]);
    stage.wait(Duration::from_secs(4));
    stage.event(users_event(&names.iter().map(String::as_str).collect::<Vec<_>>(), true));
    stage
}

#[test]
fn before_the_first_answer() {
    let stage = |size| {
        let mut stage = Stage::sized(size);
        stage.event(super::super::stage::logged_in("alice"));
        stage
    };
    snapshot("people_unknown", stage, |_| {});
}

#[test]
fn nobody() {
    snapshot("people_nobody", online(&[]), |_| {});
}

#[test]
fn few_with_marks() {
    snapshot("people_marks", marked, |stage| stage.key(KeyCode::Down));
    let mut stage = marked((80, 24));
    stage.key(KeyCode::Down);
    snapshot_styles("people_styles", stage);
}

#[test]
fn longest_name() {
    snapshot("people_longest_name", online(&["a-name-of-32-characters-so-it-is", "bob"]), |stage| {
        stage.pins(&[("a-name-of-32-characters-so-it-is", true)]);
    });
}

#[test]
fn many() {
    snapshot("people_many", crowd, |_| {});
    snapshot("people_many_further_down", crowd, |stage| (0..70).for_each(|_| stage.key(KeyCode::Down)));
}

#[test]
fn searching() {
    snapshot("people_search", marked, |stage| {
        stage.type_in("ca");
        stage.answer(&["carol", "casper"]);
    });
    snapshot("people_search_nobody", marked, |stage| {
        stage.type_in("zz");
        stage.answer(&[]);
    });
    snapshot("people_search_on_its_way", marked, |stage| stage.type_in("zz"));
    snapshot("people_search_no_name", marked, |stage| stage.type_in("who?"));
}

#[test]
fn command() {
    snapshot("people_command", marked, |stage| stage.type_in("/forget ev"));
    snapshot("people_bad_command", marked, |stage| stage.enter("/forgive eve"));
}

#[test]
fn welcome_of_the_demo() {
    let stage = |size| {
        let lines = [
            "a relay runs at 127.0.0.1:43121 until you leave, and leaves nothing behind",
            "you are alice; bob is a companion who accepts and answers: --r bob asks him to talk",
            "a third person joins from another terminal (password: demo):",
            "    /home/someone/sottovoce/target/release/sottovoce chat --profile /tmp/sottovoce-demo-Xy12ab/carol",
        ];
        let welcome = lines.map(str::to_owned).into();
        let mut stage = Stage::with(size, Theme::new(true), welcome, "127.0.0.1:43121", "alice");
        stage.log_in(&["bob"]);
        stage
    };
    snapshot("people_welcome", stage, |_| {});
}

#[test]
fn asking() {
    snapshot("people_calling", marked, |stage| {
        stage.event(calling("carol"));
        stage.wait(Duration::from_secs(7));
    });
    let ends = |name, event: Event| {
        snapshot(name, marked, |stage| {
            stage.event(calling("carol"));
            stage.event(event.clone());
        });
    };
    ends("people_refused", Event::Refused { peer: "carol".into() });
    ends("people_not_found", Event::UserNotFound { peer: "carol".into() });
    ends("people_not_answered", Event::RequestEnded { peer: "carol".into(), reason: client::RequestEnding::Expired });
}

#[test]
fn asked() {
    let asked = |name, who: &str| {
        snapshot(name, marked, |stage| {
            stage.event(request(who));
            stage.wait(Duration::from_secs(12));
        });
    };
    asked("question_new", "bob");
    asked("question_pinned", "carol");
    asked("question_verified", "dave");
    asked("question_changed", "eve");
    asked("question_longest_name", "a-name-of-32-characters-so-it-is");
    let mut stage = marked((80, 24));
    stage.event(request("bob"));
    snapshot_styles("question_styles", stage);
}

#[test]
fn asked_over_a_chat_that_is_closed() {
    snapshot("question_over_chat", marked, |stage| {
        stage.start_chat("bob", Trust::New);
        stage.hear("see you");
        stage.event(chat_closed("bob", client::Ending::Goodbye, 0));
        stage.type_in("I was about to say");
        stage.event(request("dave"));
    });
}

#[test]
fn accepted() {
    snapshot("question_accepted", marked, |stage| {
        stage.event(request("bob"));
        stage.wait(Duration::from_secs(2));
        stage.key(KeyCode::Char('y'));
    });
}

#[test]
fn not_connected() {
    snapshot("people_reconnecting", marked, |stage| {
        stage.event(error(
            ErrorCode::Unreachable,
            "the server has gone silent; if that happens again, check the network",
            None,
        ));
        stage.event(Event::Reconnecting { in_ms: 8_200 });
        stage.wait(Duration::from_secs(3));
    });
    snapshot("people_reconnecting_now", marked, |stage| {
        stage.event(Event::Reconnecting { in_ms: 2_000 });
        stage.wait(Duration::from_secs(20));
    });
    let mut stage = marked((80, 24));
    stage.event(Event::Reconnecting { in_ms: 2_000 });
    snapshot_styles("reconnecting_styles", stage);
}
