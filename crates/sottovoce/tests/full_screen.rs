//! The face that fills the screen, as a person has it: people, requests, chats, and the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use common::{
    PASSWORD, World,
    screen::{
        ALT_ENTER, CTRL_END, CTRL_HOME, DOWN, ENTER, ESC, F1, F3, F4, PAGE_UP, SHIFT_TAB, Screen, Size, TAB, UP,
        at_each_size, ctrl,
    },
};

at_each_size!(
    the_list_is_fresh_and_is_searched,
    a_request_is_answered,
    a_request_of_ones_own_ends_in_each_way,
    a_chat_both_ways,
    what_was_said_before_is_found_again,
    a_chat_ends_with_a_goodbye,
    the_help_tells_every_key,
);

fn the_list_is_fresh_and_is_searched(size: Size) {
    let world = World::of(["alice", "bob", "bonnie", "carol"]);
    let screen = Screen::logged_in(&world, "alice", size);
    screen.expect("nobody else is online");
    let _bob = world.log_in("bob");
    screen.expect_row("> bob");
    let _bonnie = world.log_in("bonnie");
    let carol = world.log_in("carol");
    screen.expect_row("  carol");
    screen.expect_row("> bob");
    screen.types(DOWN);
    screen.expect_row("> bonnie");
    screen.types("ca");
    screen.expect_gone("bonnie");
    screen.expect_row("> carol");
    screen.expect_row("search ca");
    screen.types("x");
    screen.expect("nobody is online whose name begins like that");
    screen.types("!");
    screen.expect("no name can look like that");
    // Whoever stands first in the list is not who was typed.
    screen.types(ENTER);
    screen.types("!");
    screen.expect_row("search cax!!");
    screen.expect("no name can look like that");
    screen.types(ESC);
    screen.expect_row("  bonnie");
    assert!(!screen.shown().words().contains("asking"), "{}", screen.shown().picture());
    screen.types("--l bo\r");
    screen.expect_row("search bo");
    screen.expect_gone("carol");
    screen.types(ESC);
    screen.expect_row("  carol");
    drop(carol);
    screen.expect_gone("carol");
    screen.types("/nonsense\r");
    screen.expect("no command /nonsense");
}

fn a_request_is_answered(size: Size) {
    let world = World::of(["alice", "bob"]);
    let alice = Screen::logged_in(&world, "alice", size);
    let mut bob = world.log_in("bob");
    let asks = |bob: &mut common::Client| {
        // An answer is sent before the screen shows it.
        alice.expect_gone("ASKS TO TALK");
        bob.types("--r alice");
        alice.expect("bob ASKS TO TALK");
    };
    let bells = alice.bells();
    asks(&mut bob);
    // Whoever was typing has not said yes.
    alice.types("y");
    alice.expect("never talked to before · 2 s");
    alice.expect(if size.1 < 80 {
        "y, Ctrl-Y: accept n, Ctrl-N: refuse"
    } else {
        "y or Ctrl-Y: accept n or Ctrl-N: refuse"
    });
    assert_eq!(alice.bells(), bells + 1);
    alice.types("n");
    bob.expect("refused");
    alice.expect_gone("ASKS TO TALK");

    asks(&mut bob);
    alice.types(&ctrl('n'));
    bob.expect("refused");
    asks(&mut bob);
    alice.types("--n\r");
    bob.expect("refused");
    asks(&mut bob);
    bob.types("--n");
    alice.expect("taken back");
    alice.expect_gone("ASKS TO TALK");

    let mut talks = |accept: &dyn Fn()| {
        asks(&mut bob);
        accept();
        bob.expect("chat_started");
        alice.expect_that("the title of an open chat", |shown| {
            let title = &shown.rows()[0];
            title.starts_with(" bob · not verified") && !title.contains("over")
        });
        bob.types("/leave");
        alice.expect("CHAT CLOSED with a goodbye");
    };
    talks(&|| {
        alice.expect("1 s");
        alice.types("y");
    });
    talks(&|| alice.types(&ctrl('y')));
    talks(&|| alice.types("--y\r"));
    // What is typed when the question comes stays what it is.
    alice.types("why");
    asks(&mut bob);
    alice.expect("key known, not verified · 1 s");
    alice.types("ny");
    alice.expect_row("whyny");
    alice.types(&ctrl('n'));
    bob.expect("refused");
    alice.expect_row("whyny");
}

fn a_request_of_ones_own_ends_in_each_way(size: Size) {
    let world = World::with("request_timeout = \"2s\"");
    for name in ["alice", "bob"] {
        world.user(name);
    }
    let alice = Screen::logged_in(&world, "alice", size);
    let mut bob = world.log_in("bob");
    alice.expect_row("> bob");
    alice.types(ENTER);
    alice.expect("asking bob to talk, for 0 s");
    assert_eq!(bob.expect("request")["from"], "alice");
    alice.expect("asking bob to talk, for 1 s");
    alice.expect("not answered in time");
    alice.expect_gone("asking bob");
    // Until then he would answer.
    bob.expect("request_ended");
    bob.types("--r alice");
    alice.expect("bob ASKS TO TALK");
    alice.expect("not answered in time");
    alice.expect_gone("ASKS TO TALK");

    bob.expect("request_ended");
    alice.types(ENTER);
    bob.expect("request");
    alice.expect("asking bob");
    alice.types(ESC);
    bob.expect("request_ended");
    alice.expect_gone("asking bob");

    alice.types(ENTER);
    bob.expect("request");
    bob.types("--n");
    alice.expect("bob refused to talk");
    alice.types("--r nobody\r");
    alice.expect("user not found: nobody");
    alice.types("bob\r");
    bob.expect("request");
    bob.types("--y");
    alice.expect_row(" bob · not verified");
}

/// Alice at a screen in a chat with bob, who says whatever a test wants.
fn talk(world: &World, size: Size) -> (Screen, common::Client) {
    let screen = Screen::logged_in(world, "alice", size);
    let mut bob = world.log_in("bob");
    screen.accepts(&mut bob, " bob · not verified");
    (screen, bob)
}

fn a_chat_both_ways(size: Size) {
    let world = World::of(["alice", "bob"]);
    let alice = Screen::logged_in(&world, "alice", size);
    let bob = Screen::logged_in(&world, "bob", size);
    alice.expect_row("> bob");
    alice.types(ENTER);
    bob.expect("alice ASKS TO TALK");
    bob.types(&ctrl('y'));
    for screen in [&alice, &bob] {
        screen.expect("F2");
        screen.expect_row(if size.1 < 80 { "PQ" } else { "post-quantum: yes" });
    }
    alice.types("hello bob\r");
    bob.expect_row(" alice ┃ hello bob");
    alice.expect_row("✓ ");
    let (_, row) = alice.expect_row("you │ hello bob");
    assert!(row.contains(" ✓ "), "{row}");
    alice.expect(if size.1 < 80 { "delivered · connected" } else { "last message: delivered" });
    bob.types("hello alice\r");
    alice.expect_row(" bob ┃ hello alice");

    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    alice.types(&format!("one{ALT_ENTER}two{}three", ctrl('j')));
    let (row, _) = alice.expect_row("  three");
    assert_eq!(alice.cursor(), (row, 7));
    assert!(alice.rows()[row - 1].ends_with(" two"), "{}", alice.shown().picture());
    alice.types(ENTER);
    for line in ["alice ┃ one", "┃ two", "┃ three"] {
        bob.expect_row(line);
    }
    assert_eq!(letters(&bob.expect_row("┃ two").1), "┃two");
    let many: Vec<_> = (0..40).map(|n| format!("--ex {n}")).collect();
    alice.pastes(&many.join("\r\n"));
    alice.expect_row("  --ex 39");
    alice.types(ENTER);
    bob.expect_row("┃ --ex 39");
    alice.expect_row("│ --ex 39");
    // One line of the same is what it says.
    alice.types("/nonsense\r");
    alice.expect("there is no command /nonsense");
    alice.types(&ctrl('u'));
    alice.types("//slash\r");
    bob.expect_row("┃ /slash");
    alice.types("--l\r");
    alice.expect("online: bob");
}

fn what_was_said_before_is_found_again(size: Size) {
    let world = World::of(["alice", "bob"]);
    let (alice, mut bob) = talk(&world, size);
    for n in 0..100 {
        bob.says(&format!("line {n:03}."));
    }
    alice.expect_row("┃ line 099.");
    alice.types(UP);
    alice.expect("earlier messages");
    alice.expect_gone("line 099.");
    alice.types(DOWN);
    alice.expect_row("┃ line 099.");
    alice.expect_gone("earlier messages");
    alice.types(PAGE_UP);
    alice.expect_gone("line 099.");
    // Whoever reads keeps what there is to be read.
    let rows = |screen: &Screen| screen.rows().into_iter().filter(|row| row.contains("line 0")).collect::<Vec<_>>();
    let before = rows(&alice);
    bob.says("something new");
    bob.says("and more");
    alice.expect("2 newer below");
    assert_eq!(rows(&alice), before);
    alice.types(CTRL_HOME);
    alice.expect("* you talk to bob, sealed");
    alice.expect("2 newer below");
    alice.types(CTRL_END);
    alice.expect_row("┃ and more");
    alice.expect_gone("newer below");
    alice.types(PAGE_UP);
    alice.expect("earlier messages");
    alice.types(ESC);
    alice.expect_row("┃ and more");
    alice.types(CTRL_HOME);
    alice.expect("* you talk to bob, sealed");
    alice.types("an answer\r");
    alice.expect_row("you │ an answer");
    alice.expect_gone("newer below");
}

fn a_chat_ends_with_a_goodbye(size: Size) {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = talk(&world, size);
    for how in [F4, "/leave\r"] {
        alice.types(how);
        assert_eq!(bob.expect_closed(), "goodbye");
        alice.expect("CHAT CLOSED with a goodbye");
        alice.expect("chat over");
        // What is said now goes nowhere, and is not lost from the field.
        alice.types("too late\r");
        alice.expect("that was not sent: this chat is over");
        alice.expect_row("> too late");
        alice.types(ESC);
        alice.expect_row(" People");
        alice.expect_row("> bob");
        alice.types(F3);
        alice.expect("CHAT CLOSED");
        alice.types(F3);
        alice.expect_row("> bob");
        alice.types(ENTER);
        bob.expect("request");
        bob.types("--y");
        bob.expect("chat_started");
        alice.expect_row(" bob · not verified");
        alice.expect_row("the key of bob is the one of");
    }
    alice.types("the last word\r--ex\r");
    assert_eq!(bob.expect("message")["text"], "the last word");
    assert_eq!(bob.expect_closed(), "goodbye");
    let words = alice.leaves_clean(0);
    assert_eq!(words, "", "nothing of a chat is left on the screen");

    for how in [ctrl('q'), ctrl('c'), "--ex\r".to_owned()] {
        let (mut alice, _bob) = (Screen::logged_in(&world, "alice", size), ());
        alice.types(&how);
        alice.leaves_clean(0);
    }
}

fn the_help_tells_every_key(size: Size) {
    let world = World::of(["alice"]);
    let screen = Screen::at_log_in(&world, "alice", size);
    screen.types(F1);
    let read = |screen: &Screen| {
        let mut seen = String::new();
        loop {
            let before = screen.rows();
            seen.push_str(&screen.shown().words());
            seen.push(' ');
            if before.iter().any(|row| row.trim_start().starts_with("--ex")) {
                return seen;
            }
            screen.types(DOWN);
            screen.expect_that("the next row", |shown| shown.rows() != before);
        }
    };
    screen.expect("Help");
    let seen = read(&screen);
    for word in ["Ctrl-Y", "Ctrl-N", "F1", "F2", "F3", "F4", "F5", "F7", "F8", "F9", "Ctrl-Q", "Ctrl-Z", "Alt-Enter"] {
        assert!(seen.contains(word), "{word}: {seen}");
    }
    for command in ["--l", "--r", "--y", "--n", "/leave", "/verify", "/forget", "--ex"] {
        assert!(seen.contains(command), "{command}: {seen}");
    }
    screen.types(ESC);
    screen.expect("Sottovoce: log in");
    // In the form, ? may be the start of a password.
    screen.types(&format!("?{TAB}{SHIFT_TAB}"));
    screen.expect_row("> password   *");
    screen.types(&format!("{}{PASSWORD}{ENTER}", ctrl('u')));
    screen.expect("People on localhost");
    screen.types("?");
    screen.expect("Everywhere");
    screen.types("q");
    screen.expect("People on localhost");
}
