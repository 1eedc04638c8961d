//! The log-in form of the full screen: what went wrong beside the field that caused it, and each step as it goes on.
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
    screen::{ENTER, ESC, SHIFT_TAB, Screen, Size, at_each_size, ctrl},
};
use rand::rngs::SysRng;
use rand_core::{Rng as _, UnwrapErr};
use ssh_key::{Cipher, Kdf, LineEnding, PrivateKey};

at_each_size!(a_log_in_is_mended_where_it_failed, a_slow_step_is_seen_and_can_be_given_up);

/// The message of a problem stands under the field that caused it, and that field has the cursor.
#[track_caller]
fn problem_at(screen: &Screen, field: &str, problem: &str) {
    screen.expect(problem);
    let (row, _) = screen.expect_row(&format!("> {field}"));
    assert_eq!(screen.cursor().0, row, "{}", screen.shown().picture());
    assert!(screen.rows()[row + 1].starts_with("  ! "), "{}", screen.shown().picture());
}

fn a_log_in_is_mended_where_it_failed(size: Size) {
    let world = World::of(["alice"]);
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
    let world = World::of(["alice"]);
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
