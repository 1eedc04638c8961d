//! The face that fills the screen, as a person has it: log-in, people, requests, chats, and the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{fs, net::TcpListener};

use common::{
    PASSWORD, World,
    screen::{
        ALT_ENTER, CTRL_END, CTRL_HOME, DOWN, ENTER, ESC, F1, F3, F4, PAGE_UP, SHIFT_TAB, Screen, Size, TAB, UP,
        at_each_size, ctrl,
    },
};
use rand::rngs::SysRng;
use rand_core::{Rng as _, UnwrapErr};
use ssh_key::{Cipher, Kdf, LineEnding, PrivateKey};

at_each_size!(
    a_log_in_is_mended_where_it_failed,
    a_slow_step_is_seen_and_can_be_given_up,
    the_list_is_fresh_and_is_searched,
    a_request_is_answered,
    a_request_of_ones_own_ends_in_each_way,
    a_chat_both_ways,
    what_was_said_before_is_found_again,
    a_chat_ends_with_a_goodbye,
    the_help_tells_every_key,
);

fn world_of<const N: usize>(names: [&str; N]) -> World {
    let world = World::new();
    for name in names {
        world.user(name);
    }
    world
}

/// The message of a problem stands under the field that caused it, and that field has the cursor.
#[track_caller]
fn problem_at(screen: &Screen, field: &str, problem: &str) {
    screen.expect(problem);
    let (row, _) = screen.expect_row(&format!("> {field}"));
    assert_eq!(screen.cursor().0, row, "{}", screen.shown().picture());
    assert!(screen.rows()[row + 1].starts_with("  ! "), "{}", screen.shown().picture());
}

fn a_log_in_is_mended_where_it_failed(size: Size) {
    let world = world_of(["alice"]);
    let other = World::new();
    let mut screen = Screen::at_log_in(&world, "alice", size);
    let (row, _) = screen.expect_row("> password");
    assert_eq!(screen.cursor().0, row);
    screen.types(ENTER);
    problem_at(&screen, "password", "the password is empty");
    screen.types(&format!("sesame open{ENTER}"));
    problem_at(&screen, "password", "wrong password");

    let name = |name: &str| screen.types(&format!("{SHIFT_TAB}{}{name}{ENTER}{PASSWORD}{ENTER}", ctrl('u')));
    name("");
    problem_at(&screen, "user name", "the user name is empty");
    // The cursor is in the field of the name, and the password is still there.
    screen.types(&format!("al ice{ENTER}{ENTER}"));
    problem_at(&screen, "user name", "the user name: ");
    screen.types(&format!("{}alcie{ENTER}{ENTER}", ctrl('u')));
    screen.expect("the password is empty");
    screen.types(&format!("{PASSWORD}{ENTER}"));
    problem_at(&screen, "user name", "the server does not know this user");
    screen.expect("(the key is unlocked)");
    screen.types(&format!("{}alice", ctrl('u')));

    // Whose key is unlocked needs no password to try another server.
    let server = |dial: &str| screen.types(&format!("{}{dial}{ENTER}{ENTER}{ENTER}", ctrl('u')));
    screen.types(SHIFT_TAB);
    server("");
    problem_at(&screen, "server", "the server's address is empty");
    server("nowhere");
    problem_at(&screen, "server", "is not HOST:PORT");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    server(&format!("localhost:{}", closed.port()));
    problem_at(&screen, "server", "cannot");
    server(&other.dial());
    problem_at(&screen, "server", "certificate");
    server(&world.dial());
    screen.expect("People on localhost");
    screen.expect("connected to localhost as alice");
    let seen = String::from_utf8_lossy(&screen.shown().raw).into_owned();
    assert!(!seen.contains("sesame") && !seen.contains("horse"), "{seen}");
    screen.types(&ctrl('q'));
    screen.leaves_clean(0);
}

fn a_slow_step_is_seen_and_can_be_given_up(size: Size) {
    let world = world_of(["alice"]);
    // Who accepts and then says nothing is waited for.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let screen = Screen::at_log_in(&world, "alice", size);
    screen.types(PASSWORD);
    goes_to_server(&screen);
    screen.types(&format!("{}localhost:{}{ENTER}", ctrl('u'), silent.local_addr().unwrap().port()));
    let (row, _) = screen.expect_row("…     connecting");
    assert!(screen.rows()[row - 1].contains("done  unlocking your key"), "{}", screen.shown().picture());
    screen.expect("(1 s; Esc gives up)");
    screen.types("not while it tries");
    screen.types(ESC);
    screen.expect_gone("connecting");
    screen.expect("(the key is unlocked)");
    assert!(!screen.rows().concat().contains("not while"));
    goes_to_server(&screen);
    screen.types(&format!("{}{}{ENTER}", ctrl('u'), world.dial()));
    screen.expect("People on localhost");

    slow_down(&world);
    let mut screen = Screen::at_log_in(&world, "alice", size);
    screen.types(&format!("{PASSWORD}{ENTER}"));
    screen.expect_row("…     unlocking your key");
    screen.expect("(1 s; Esc gives up)");
    screen.types(ESC);
    screen.expect_gone("unlocking");
    // The screen was never frozen, and one can leave at once.
    screen.types(&ctrl('c'));
    screen.leaves_clean(0);
}

fn goes_to_server(screen: &Screen) {
    while !screen.rows().iter().any(|row| row.starts_with("> server")) {
        let before = screen.cursor();
        screen.types(SHIFT_TAB);
        screen.expect_that("another field", |shown| {
            !shown.screen().hide_cursor() && usize::from(shown.screen().cursor_position().0) != before.0
        });
    }
}

/// Gives alice's key file as many rounds of bcrypt as take some seconds.
fn slow_down(world: &World) {
    let path = world.profile("alice").join("key");
    let key = PrivateKey::read_openssh_file(&path).unwrap().decrypt(PASSWORD).unwrap();
    let mut salt = vec![0; 16];
    UnwrapErr(SysRng).fill_bytes(&mut salt);
    let begin = common::now();
    key.encrypt_with(Cipher::Aes256Ctr, Kdf::Bcrypt { salt: salt.clone(), rounds: 10 }, 7, PASSWORD).unwrap();
    let rounds = u32::try_from(40_000 / begin.elapsed().as_millis().max(1)).unwrap();
    let slow = key.encrypt_with(Cipher::Aes256Ctr, Kdf::Bcrypt { salt, rounds }, 7, PASSWORD).unwrap();
    fs::write(path, slow.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
}

fn the_list_is_fresh_and_is_searched(size: Size) {
    let world = world_of(["alice", "bob", "bonnie", "carol"]);
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
    screen.types(ESC);
    screen.expect_row("  bonnie");
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
    let world = world_of(["alice", "bob"]);
    let alice = Screen::logged_in(&world, "alice", size);
    let mut bob = world.log_in("bob");
    let asks = |bob: &mut common::Client| {
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
        alice.expect_row(" bob · not verified");
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
    bob.types("--r alice");
    screen.expect("bob ASKS TO TALK");
    screen.types(&ctrl('y'));
    bob.expect("chat_started");
    screen.expect_row(" bob · not verified");
    (screen, bob)
}

fn a_chat_both_ways(size: Size) {
    let world = world_of(["alice", "bob"]);
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
    let world = world_of(["alice", "bob"]);
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
    let world = world_of(["alice", "bob"]);
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
    let world = world_of(["alice"]);
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
