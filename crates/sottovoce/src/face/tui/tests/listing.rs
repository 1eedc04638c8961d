//! Who is online: asked for at the right times, answered in order, and chosen from.

use std::time::Duration;

use client::{Command, ErrorCode, Event};
use crossterm::event::KeyCode;

use super::{
    super::screen::Input,
    stage::{Stage, calling, error, request, users_event},
};

const FRESH: Duration = Duration::from_secs(4);

fn list(prefix: &str, after: &str) -> Command {
    Command::list(prefix, after).unwrap()
}

#[test]
fn it_keeps_itself_fresh() {
    let mut stage = Stage::online(&["bob"]);
    assert_eq!(stage.commands(), []);
    stage.wait(FRESH - Duration::from_millis(1));
    assert_eq!(stage.commands(), []);
    stage.wait(Duration::from_millis(1));
    assert_eq!(stage.commands(), [list("", "")]);
    stage.wait(10 * FRESH);
    assert_eq!(stage.commands(), [], "one at a time");
    stage.event(users_event(&["bob", "carol"], false));
    stage.expect("  carol");
}

#[test]
fn the_same_answer_draws_nothing() {
    let mut stage = Stage::online(&["bob", "carol"]);
    let drawn = stage.drawn;
    for _ in 0..20 {
        stage.wait(FRESH);
        stage.answer(&["bob", "carol"]);
    }
    stage.input(Input::Focused(false));
    stage.input(Input::Focused(true));
    stage.pins(&[]);
    assert_eq!(stage.drawn, drawn);
    stage.wait(FRESH);
    stage.answer(&["bob", "carol", "dave"]);
    assert_eq!(stage.drawn, drawn + 1);
}

#[test]
fn nothing_is_asked_for_what_is_not_shown() {
    let mut stage = Stage::chatting();
    stage.wait(10 * FRESH);
    assert_eq!(stage.commands(), [], "in a chat");
    stage.key(KeyCode::F(3));
    assert_eq!(stage.commands(), [list("", "")], "at once when it is looked at");
    stage.event(users_event(&["bob"], false));
    stage.event(Event::Reconnecting { in_ms: 60_000 });
    stage.wait(10 * FRESH);
    assert_eq!(stage.commands(), [], "without a connection");
    stage.event(Event::Reconnected);
    assert_eq!(stage.commands(), [list("", "")]);
}

#[test]
fn it_is_not_said_that_nobody_is_there_before_it_is_known() {
    let mut stage = Stage::new();
    stage.event(super::stage::logged_in("alice"));
    stage.expect("looking who is online");
    assert_eq!(stage.commands(), [list("", "")]);
    stage.event(users_event(&[], false));
    stage.expect("nobody else is online");
    stage.type_in("z");
    stage.expect("looking who is online");
    stage.answer(&[]);
    stage.expect("nobody is online whose name begins like that");
}

#[test]
fn a_search_is_asked_while_an_answer_is_on_its_way() {
    let mut stage = Stage::online(&["bob", "carol", "casper"]);
    stage.wait(FRESH);
    assert_eq!(stage.commands(), [list("", "")]);
    stage.type_in("ca");
    assert_eq!(stage.commands(), [], "one at a time");
    stage.expect("> carol");
    stage.expect_no("bob");
    stage.event(users_event(&["bob", "carol", "casper", "dave"], false));
    stage.expect_no("bob");
    stage.expect_no("dave");
    assert_eq!(stage.commands(), [list("ca", "")], "and then for what is typed by now");
    stage.event(users_event(&["carl", "carol", "casper"], false));
    stage.expect("carl");
}

#[test]
fn a_search_is_asked_for_key_by_key() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.type_in("c");
    assert_eq!(stage.commands(), [list("c", "")]);
    stage.event(users_event(&["carol"], false));
    stage.type_in("A");
    assert_eq!(stage.commands(), [list("ca", "")], "names are in lower case");
    stage.event(users_event(&["carol"], false));
    stage.keys(&[KeyCode::Left, KeyCode::Left]);
    assert_eq!(stage.commands(), [], "the cursor alone searches nothing");
    stage.keys(&[KeyCode::End, KeyCode::Backspace, KeyCode::Backspace]);
    assert_eq!(stage.answer(&["bob", "carol"]), []);
    stage.expect("bob");
    stage.type_in("ca");
    stage.key(KeyCode::Esc);
    stage.answer(&["bob", "carol"]);
    stage.expect("bob");
}

#[test]
fn the_answer_to_another_search_is_shown_from_its_beginning() {
    let mut stage = Stage::online(&["bob"]);
    stage.type_in("z");
    stage.answer(&["zoe"]);
    stage.expect("> zoe");
    stage.key(KeyCode::Backspace);
    let many: Vec<_> = (0..50).map(|number| format!("member-{number:02}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    stage.answer(&many);
    stage.expect("> member-00");
    // Of the same list, the mark stays about where it was.
    stage.key(KeyCode::Down);
    stage.wait(FRESH);
    stage.answer(&["zoe"]);
    stage.expect("> zoe");
}

#[test]
fn a_list_that_was_asked_for_too_fast_is_asked_for_when_it_is_to_be_fresh() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.type_in("c");
    assert_eq!(stage.commands(), [list("c", "")]);
    stage.type_in("a");
    stage.event(error(ErrorCode::TooFast, "only so often; try again in 2 s", None));
    stage.expect_no("only so often");
    assert_eq!(stage.commands(), [], "not at once, also for something else");
    stage.wait(FRESH - Duration::from_millis(1));
    assert_eq!(stage.commands(), []);
    stage.wait(Duration::from_millis(1));
    assert_eq!(stage.commands(), [list("ca", "")]);
    stage.event(users_event(&["carol"], false));
    stage.expect("carol");
    // What the user asked for is not passed over in silence.
    stage.type_in("x");
    assert_eq!(stage.commands(), [list("cax", "")]);
    stage.expect("looking who is online");
    stage.event(error(ErrorCode::TooFast, "only so often; try again in 2 s", None));
    stage.expect("the server was asked too often");
    stage.wait(FRESH);
    assert_eq!(stage.commands(), [list("cax", "")]);
    stage.event(users_event(&[], false));
    stage.expect("nobody is online whose name begins like that");
    let mut stage = Stage::chatting();
    stage.enter("/list b");
    assert_eq!(stage.commands(), [list("b", "")]);
    stage.event(error(ErrorCode::TooFast, "only so often; try again in 2 s", None));
    stage.expect("only so often; try again in 2 s");
}

#[test]
fn an_answer_to_what_is_typed_no_more_ends_the_wait_that_is_shown() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.type_in("x");
    assert_eq!(stage.commands(), [list("x", "")]);
    stage.event(error(ErrorCode::TooFast, "only so often; try again in 2 s", None));
    stage.expect("the server was asked too often");
    stage.wait(FRESH);
    assert_eq!(stage.commands(), [list("x", "")]);
    stage.type_in("y");
    stage.event(users_event(&[], false));
    stage.expect("looking who is online");
    assert_eq!(stage.commands(), [list("xy", "")]);
}

#[test]
fn a_request_that_was_made_too_fast_is_over() {
    let mut stage = Stage::online(&["bob"]);
    stage.event(calling("bob"));
    stage.expect("asking bob to talk");
    stage.event(error(ErrorCode::TooFast, "bob was not asked to talk: only so often; try again in 2 s", Some("bob")));
    stage.expect("try again in 2 s");
    stage.expect_no("asking bob to talk");
}

#[test]
fn what_is_no_name_asks_for_everybody() {
    let mut stage = Stage::online(&["bob"]);
    stage.type_in("/t");
    assert_eq!(stage.commands(), [list("", "")]);
    stage.event(users_event(&["bob"], false));
    stage.expect("command /t");
    stage.expect("bob");
}

#[test]
fn enter_asks_the_person_on_the_marked_line() {
    let mut stage = Stage::online(&["bob", "carol", "dave"]);
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [Command::talk("bob").unwrap()]);
    stage.keys(&[KeyCode::Down, KeyCode::Enter, KeyCode::Down, KeyCode::Down, KeyCode::Enter]);
    assert_eq!(stage.told(), [Command::talk("carol").unwrap(), Command::talk("dave").unwrap()]);
    stage.keys(&[KeyCode::PageUp, KeyCode::Enter]);
    assert_eq!(stage.told(), [Command::talk("bob").unwrap()]);
}

#[test]
fn enter_asks_who_was_typed_while_the_list_does_not_answer() {
    let mut stage = Stage::online(&["bob", "bobby"]);
    stage.type_in("bobb");
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [Command::talk("bobb").unwrap()], "as typed");
    let mut stage = Stage::online(&["bob", "bobby"]);
    stage.type_in("bobb");
    stage.answer(&["bob", "bobby"]);
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [Command::talk("bobby").unwrap()], "who begins like that");
    let mut stage = Stage::online(&["bob"]);
    stage.type_in("zoe");
    stage.answer(&[]);
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [Command::talk("zoe").unwrap()], "who may have come by now");
    let mut stage = Stage::online(&[]);
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [], "nobody");
}

/// A name that is typed in full is meant, whoever else begins like it.
#[test]
fn enter_asks_who_was_typed_in_full() {
    let mut stage = Stage::online(&["bob", "bobby"]);
    stage.type_in("bob");
    stage.answer(&["bob", "bobby"]);
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [Command::talk("bob").unwrap()]);
}

#[test]
fn the_mark_stays_with_the_name() {
    let mut stage = Stage::online(&["bob", "carol", "dave"]);
    stage.key(KeyCode::Down);
    stage.expect("> carol");
    for (people, marked) in [
        (&["abe", "bob", "carol", "dave"][..], "> carol"),
        (&["carol"], "> carol"),
        (&["bob", "dave"], "> dave"),
        (&["bob"], "> bob"),
        (&[], "nobody else is online"),
        (&["abe", "zoe"], "> abe"),
    ] {
        stage.wait(FRESH);
        stage.answer(people);
        stage.expect(marked);
    }
}

#[test]
fn more_pages_are_asked_for_one_by_one_when_one_goes_down() {
    let names = |from: usize| (from..from + 10).map(|n| format!("user-{n:03}")).collect::<Vec<_>>();
    let page = |from| Event::Users { users: names(from), more: true };
    let mut stage = Stage::online(&[]);
    stage.wait(FRESH);
    assert_eq!(stage.commands(), [list("", "")]);
    stage.event(page(0));
    stage.expect("10 shown, and there are more");
    assert_eq!(stage.commands(), []);
    stage.key(KeyCode::Down);
    assert_eq!(stage.commands(), [list("", "")]);
    stage.event(page(0));
    assert_eq!(stage.commands(), [list("", "user-009")]);
    stage.event(page(10));
    stage.expect("20 shown");
}

#[test]
fn a_typed_list_is_a_search_among_people_and_a_note_in_a_chat() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.enter("--l ca");
    assert_eq!(stage.commands(), [list("", "")], "a command searches for nobody");
    stage.expect("search ca");
    stage.event(users_event(&["bob", "carol"], false));
    assert_eq!(stage.commands(), [list("ca", "")]);
    stage.expect("> carol");

    let mut stage = Stage::chatting();
    stage.enter("--l ca");
    assert_eq!(stage.commands(), [list("ca", "")]);
    stage.event(users_event(&["carol", "casper"], true));
    stage.expect("* online: carol casper …");
    stage.enter("--l x");
    assert_eq!(stage.commands(), [list("x", "")]);
    stage.event(users_event(&[], false));
    stage.expect("* online: nobody");
}

/// The client answers lists in the order in which they were asked for, and says not which is which.
#[test]
fn each_list_is_for_whom_it_was_asked() {
    let mut stage = Stage::chatting();
    stage.key(KeyCode::F(3));
    stage.key(KeyCode::F(3));
    stage.enter("--l z");
    assert_eq!(stage.commands(), [list("", ""), list("z", "")]);
    stage.event(users_event(&["bob", "carol", "dave"], false));
    stage.expect_no("online:");
    stage.event(users_event(&["zoe"], false));
    stage.expect("* online: zoe");
    stage.key(KeyCode::F(3));
    stage.expect("dave");
    stage.expect_no("zoe");
}

#[test]
fn lists_that_a_lost_connection_owes_are_not_waited_for() {
    let mut stage = Stage::chatting();
    stage.enter("--l z");
    assert_eq!(stage.commands(), [list("z", "")]);
    stage.event(Event::Reconnecting { in_ms: 100 });
    stage.event(Event::Reconnected);
    stage.key(KeyCode::F(3));
    assert_eq!(stage.commands(), [list("", "")]);
    stage.event(users_event(&["erin"], false));
    stage.expect("> erin");
}

/// The client refuses a list without a connection, so no answer would come, and each later one would be taken for that
/// of the list before.
#[test]
fn a_list_is_not_asked_for_without_a_connection() {
    let mut stage = Stage::chatting();
    stage.event(Event::Reconnecting { in_ms: 100 });
    stage.enter("--l z");
    assert_eq!(stage.commands(), []);
    stage.expect("not connected");
    stage.event(Event::Reconnected);
    stage.key(KeyCode::F(3));
    assert_eq!(stage.commands(), [list("", "")]);
    stage.event(users_event(&["erin"], false));
    stage.expect("> erin");
}

#[test]
fn lists_that_wait_when_the_connection_goes_are_not_asked_for_later() {
    let mut stage = Stage::chatting();
    stage.enter("--l z");
    stage.enter("hello");
    stage.event(Event::Reconnecting { in_ms: 100 });
    assert_eq!(stage.commands(), [Command::say("hello".into()).unwrap()]);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut stage = Stage::online(&["bob"]);
    stage.event(users_event(&["mallory"], true));
    stage.expect_no("mallory");
}

#[test]
fn a_request_does_not_disturb_the_list() {
    let mut stage = Stage::online(&["bob", "carol"]);
    stage.type_in("ca");
    stage.event(request("bob"));
    stage.answer(&["bob", "carol", "casper"]);
    stage.expect("casper");
    stage.expect("search ca");
}

#[test]
fn who_logs_in_as_somebody_else_sees_nothing_of_who_was_here() {
    let mut stage = Stage::chatting();
    stage.hear("for alice alone");
    stage.fail(ErrorCode::Replaced, "a newer log-in took over");
    stage.event(super::stage::logged_in("zoe"));
    stage.key(KeyCode::F(3));
    stage.expect("People on");
    stage.expect_no("for alice alone");
}
