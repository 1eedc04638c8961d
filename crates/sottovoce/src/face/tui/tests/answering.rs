//! Requests to talk: asking, being asked, and answering neither by chance nor twice.

use std::time::Duration;

use client::{Command, Ending, ErrorCode, Event, RequestEnding};
use crossterm::event::KeyCode;
use identity::Trust;

use super::{
    super::screen::{Effect, Input},
    stage::{Stage, calling, chat_closed, error, request, users_event},
};

const SETTLED: Duration = Duration::from_secs(1);
const UNSETTLED: Duration = Duration::from_millis(999);

/// Accepting names whose request it is for.
fn yes(name: &str) -> Command {
    Command::Yes(Some(name.parse().unwrap()))
}

fn asked() -> Stage {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.event(request("bob"));
    stage
}

#[test]
fn letters_answer_after_a_second() {
    for (letter, answer) in [('y', yes("bob")), ('n', Command::No)] {
        let mut stage = asked();
        stage.wait(UNSETTLED);
        stage.type_in(&letter.to_string());
        assert_eq!(stage.told(), [], "who types on does not answer");
        assert!(!stage.shows(&format!("search {letter}")), "nor types it");
        stage.wait(SETTLED - UNSETTLED);
        stage.type_in(&letter.to_string());
        assert_eq!(stage.told(), [answer]);
    }
}

#[test]
fn letters_are_typed_when_something_is_typed() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.type_in("car");
    stage.event(request("bob"));
    stage.wait(2 * SETTLED);
    stage.type_in("ny");
    assert_eq!(stage.told(), []);
    stage.expect("search carny");
    stage.expect("bob ASKS TO TALK");
    stage.keys(&[KeyCode::Esc]);
    stage.type_in("n");
    assert_eq!(stage.told(), [Command::No], "the search is empty again");
}

#[test]
fn control_keys_answer_at_once_whatever_is_typed() {
    for (letter, answer) in [('y', yes("bob")), ('n', Command::No)] {
        let mut stage = asked();
        stage.type_in("car");
        stage.ctrl(letter);
        assert_eq!(stage.told(), [answer]);
        stage.expect("search car");
    }
}

#[test]
fn letters_are_typed_when_nobody_asks() {
    let mut stage = Stage::online(&["bob"]);
    stage.type_in("yn");
    stage.expect("search yn");
    stage.ctrl('y');
    stage.ctrl('n');
    assert_eq!(stage.told(), []);
}

#[test]
fn commands_answer() {
    for (line, answer) in [
        ("--y", yes("bob")),
        ("/yes", yes("bob")),
        ("/yes Bob", yes("bob")),
        ("--n", Command::No),
        ("/no", Command::No),
    ] {
        let mut stage = asked();
        stage.enter(line);
        assert_eq!(stage.told(), [answer]);
        stage.expect_no("ASKS TO TALK");
    }
}

/// The client tells nothing of a request that was refused, so the question must not wait for that.
#[test]
fn an_answer_is_given_once() {
    let mut stage = asked();
    stage.ctrl('n');
    stage.expect_no("ASKS TO TALK");
    stage.expect("you refused to talk with bob");
    stage.ctrl('n');
    stage.ctrl('y');
    assert_eq!(stage.told(), [Command::No]);

    let mut stage = asked();
    stage.ctrl('y');
    stage.expect_no("ASKS TO TALK");
    stage.expect("agreeing on keys with bob");
    stage.ctrl('y');
    assert_eq!(stage.told(), [yes("bob")]);
    stage.start_chat("bob", Trust::New);
    stage.expect_no("agreeing on keys");
}

#[test]
fn an_answer_to_somebody_else_leaves_the_question() {
    let mut stage = asked();
    stage.enter("/yes carol");
    assert_eq!(stage.told(), [yes("carol")], "the client says that this is not who asks");
    stage.expect("bob ASKS TO TALK");
}

#[test]
fn a_question_goes_with_the_request() {
    for end in [
        Event::RequestEnded { peer: "bob".into(), reason: RequestEnding::CalledOff },
        Event::ChatClosed { peer: "bob".into(), reason: Ending::Lost, undelivered: 0 },
        error(ErrorCode::KeyChanged, "the key of bob has changed", Some("bob")),
        Event::Reconnecting { in_ms: 1000 },
        Event::LoggedOut,
    ] {
        let mut stage = asked();
        stage.event(end.clone());
        stage.wait(SETTLED);
        stage.expect_no("ASKS TO TALK");
        stage.ctrl('y');
        assert_eq!(stage.told(), [], "{end:?}");
    }
    let mut stage = asked();
    stage.fail(ErrorCode::Replaced, "a newer log-in took over");
    stage.ctrl('y');
    stage.expect_no("ASKS TO TALK");
    assert_eq!(stage.told(), []);
}

#[test]
fn a_question_counts_its_seconds() {
    let mut stage = asked();
    for seconds in 0..130 {
        stage.expect(&format!("· {seconds} s"));
        let drawn = stage.drawn;
        stage.wait(Duration::from_secs(1));
        assert_eq!(stage.drawn, drawn + 1, "once a second");
    }
}

#[test]
fn a_question_rings() {
    let mut stage = asked();
    assert!(matches!(stage.effects[..], [Effect::Bell]), "who looks at it needs no notification");
    stage.effects.clear();
    stage.input(Input::Focused(false));
    stage.advance(Duration::from_secs(2));
    stage.event(request("carol"));
    assert!(matches!(stage.effects[..], [Effect::Bell, Effect::Notify(what)] if !what.contains("carol")));
    stage.effects.clear();
    stage.keys(&[KeyCode::F(8), KeyCode::F(9)]);
    stage.advance(Duration::from_secs(60));
    stage.event(request("bob"));
    assert!(stage.effects.is_empty(), "both were turned off");
}

#[test]
fn nobody_can_ring_without_end() {
    let mut stage = asked();
    stage.input(Input::Focused(false));
    stage.effects.clear();
    for _ in 0..600 {
        stage.event(request("mallory"));
        stage.event(Event::RequestEnded { peer: "mallory".into(), reason: RequestEnding::CalledOff });
        stage.advance(Duration::from_millis(100));
    }
    let bells = stage.effects.iter().filter(|effect| matches!(effect, Effect::Bell)).count();
    let notices = stage.effects.iter().filter(|effect| matches!(effect, Effect::Notify(_))).count();
    assert!((25..=31).contains(&bells), "{bells} in a minute");
    assert!((2..=3).contains(&notices), "{notices} in a minute");
}

#[test]
fn an_answer_is_not_for_who_has_taken_the_place_of_another() {
    for answer in ['y', 'n'] {
        let mut stage = asked();
        stage.wait(Duration::from_secs(2));
        stage.event(Event::RequestEnded { peer: "bob".into(), reason: RequestEnding::CalledOff });
        stage.event(request("mallory"));
        stage.ctrl(answer);
        assert_eq!(stage.told(), [], "pressed for bob");
        stage.enter("--y");
        assert_eq!(stage.told(), [], "typed for bob");
        stage.wait(Duration::from_secs(1));
        stage.ctrl(answer);
        let mallory = Command::Yes(Some("mallory".parse().unwrap()));
        assert_eq!(stage.told(), [if answer == 'y' { mallory } else { Command::No }]);
    }
}

#[test]
fn who_has_searched_and_asked_can_type_at_once_when_the_chat_begins() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.enter("bob");
    stage.event(calling("bob"));
    stage.start_chat("bob", Trust::New);
    stage.told();
    stage.enter("hello bob");
    assert_eq!(stage.told(), [Command::say("hello bob".into()).unwrap()]);
}

#[test]
fn what_is_typed_for_the_search_is_not_said_in_a_chat_that_begins() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.event(calling("bob"));
    stage.type_in("--r carol-sec");
    stage.start_chat("bob", Trust::New);
    stage.told();
    stage.type_in("ret-friend");
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), []);
    stage.expect("was dropped");
    stage.expect_no("ret-friend");
    stage.wait(Duration::from_secs(1));
    stage.enter("hello bob");
    assert_eq!(stage.told(), [Command::say("hello bob".into()).unwrap()]);
}

#[test]
fn asking_can_be_called_off() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.keys(&[KeyCode::Down, KeyCode::Enter]);
    assert_eq!(stage.told(), [Command::talk("carol").unwrap()]);
    stage.event(calling("carol"));
    stage.wait(Duration::from_secs(75));
    stage.expect("asking carol to talk, for 75 s");
    stage.type_in("x");
    stage.key(KeyCode::Esc);
    assert_eq!(stage.told(), [Command::No], "as the row says, whatever is in the search");
    stage.event(Event::RequestEnded { peer: "carol".into(), reason: RequestEnding::CalledOff });
    stage.expect_no("asking carol");
    stage.expect("was taken back");
}

/// The client's own request gives way to one that the server had passed on before.
#[test]
fn asked_while_asking() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.event(calling("carol"));
    stage.event(error(ErrorCode::Busy, "carol was not asked to talk: bob asked you first", None));
    stage.event(request("bob"));
    stage.expect("bob ASKS TO TALK");
    stage.ctrl('n');
    stage.expect_no("asking carol");
    stage.event(calling("carol"));
    stage.event(Event::Refused { peer: "carol".into() });
    stage.expect("carol refused to talk");
}

#[test]
fn trust_is_told_with_the_question() {
    let mut stage = Stage::online(&["bob", "carol", "dave"]);
    stage.pins(&[("carol", false), ("dave", true)]);
    for (who, what) in [("bob", "never talked to before"), ("carol", "key known, not verified"), ("dave", "verified")] {
        stage.event(request(who));
        stage.expect(&format!("{who} ASKS TO TALK · {what}"));
    }
    stage.event(error(ErrorCode::KeyChanged, "the key of dave has changed", Some("dave")));
    stage.event(request("dave"));
    stage.expect("dave ASKS TO TALK · KEY CHANGED");
}

#[test]
fn pins_of_another_server_say_nothing() {
    let mut stage = Stage::online(&["bob"]);
    let pin = identity::Pin { key: protocol::PublicKey::from_bytes([7; 32]), verified: true };
    stage.input(Input::Pins(vec![("bob".parse().unwrap(), "other.example".parse().unwrap(), pin)]));
    stage.expect_no("verified");
    stage.pins(&[("bob", true)]);
    stage.expect("verified");
}

#[test]
fn what_is_typed_stays_when_somebody_asks_over_a_closed_chat() {
    let mut stage = Stage::chatting();
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    stage.type_in("yes, and");
    stage.event(request("carol"));
    stage.wait(2 * SETTLED);
    stage.type_in(" yn");
    stage.expect("> yes, and yn");
    assert_eq!(stage.told(), []);
    stage.ctrl('y');
    assert_eq!(stage.told(), [yes("carol")]);
}

#[test]
fn a_changed_key_fills_the_screen_until_it_is_settled() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.event(calling("bob"));
    stage.event(error(ErrorCode::KeyChanged, "the key of bob has changed", Some("bob")));
    stage.expect("THE KEY OF BOB HAS CHANGED");
    stage.expect_no("asking bob");
    stage.keys(&[KeyCode::F(3), KeyCode::Tab, KeyCode::Enter]);
    stage.expect("THE KEY OF BOB HAS CHANGED");
    stage.enter("/forget bob");
    assert_eq!(stage.told(), [Command::Forget("bob".parse().unwrap())]);
    stage.expect("THE KEY OF BOB HAS CHANGED");
    stage.event(Event::Forgotten { peer: "bob".into() });
    stage.expect("People on");
    stage.expect_no("KEY CHANGED");

    let mut stage = Stage::online(&["bob", "carol"]);
    stage.event(error(ErrorCode::KeyChanged, "the key of bob has changed", Some("bob")));
    stage.key(KeyCode::Esc);
    stage.event(users_event(&["bob", "carol"], false));
    stage.expect("KEY CHANGED");
    stage.expect("People on");
}
