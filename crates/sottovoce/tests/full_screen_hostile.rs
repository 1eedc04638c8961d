//! What others say, what is typed and pasted, and what the user asked for in the environment and the profile: nothing of
//! it gets out of its place on the screen.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{fs, time::Duration};

use common::{
    Client, World,
    lines::Lines,
    screen::{
        ALT_ENTER, DOWN, ENTER, ESC, F1, F2, F8, F9, FOCUS_LOST, PAGE_UP, SMALL, Screen, Size, USUAL, at_each_size,
        ctrl,
    },
    terminal::Terminal,
};

at_each_size!(what_a_peer_says_stays_in_its_place, what_is_typed_and_pasted_stays_in_its_place);

/// Texts that would do something to a terminal, or to a person, and what of them may be seen.
const HOSTILE: [(&str, &[&str]); 16] = [
    ("\x1b[2J\x1b[H\x1b[41mred", &["[2J[H[41mred"]),
    ("\x1b]0;owned\x07\x1b]52;c;aGk=\x07title", &["]0;owned]52;c;aGk=title"]),
    ("\x1b#8\x1bc\x1b[?1049l\x1b[?25lreset", &["#8c[?1049l[?25lreset"]),
    ("\u{9b}2J\u{9d}0;x\u{9c}\u{90}c1", &["2J0;xc1"]),
    ("a\x08\x08\x7f\x07\x0b\x0c\x0e\x00b", &["ab"]),
    ("over\rwritten\ttab", &["over written tab"]),
    ("\u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{200f}\u{61c}y", &["gnp.exe x y"]),
    ("שלום עולם 123 (abc)", &["שלום עולם 123 (abc)"]),
    ("مرحبا 12:00 ✓ you │ yes", &["┃ مرحبا 12:00 ✓ you │"]),
    ("👩‍👩‍👧‍👦🇩🇪👍🏽❤️‍🔥 end", &[" end"]),
    ("👨‍👩‍👧‍👦👨‍👩‍👧‍👦👨‍👩‍👧‍👦👨‍👩‍👧‍👦 row", &[" row"]),
    ("日本語とｶﾀｶﾅ한국어", &["日本語"]),
    (
        "Zalgo Z\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}\u{30d}\u{30e} x",
        &[" x"],
    ),
    ("\u{301}\u{20e3}\u{fe0f}\u{200d} marks", &[" marks"]),
    (
        "\n* logged out\n12:00 ✓    you │ I owe you\n┃\n── keys renewed ──",
        &["┃ * logged out", "┃ 12:00 ✓    you", "┃ ──"],
    ),
    ("क्षत्रिय ක්‍ෂ ไม่ කො நி കാ", &["ไม่"]),
];

/// Alice at a screen in a chat with bob, who says whatever a test wants.
fn talk(world: &World, size: Size) -> (Screen, Client) {
    let screen = Screen::logged_in(world, "alice", size);
    let mut bob = world.log_in("bob");
    screen.accepts(&mut bob, " bob · not verified");
    (screen, bob)
}

/// The frame is where it belongs: the chat's title, the field with the cursor in it, the connection.
#[track_caller]
fn frame_stands(screen: &Screen, typed: &str) {
    let rows = screen.rows();
    let is_high = rows.len() > 12;
    assert!(rows[0].starts_with(" bob · not verified"), "{}", screen.shown().picture());
    let below = rows.len() - if is_high { 2 } else { 1 };
    assert!(rows[below].contains("connected to"), "{}", screen.shown().picture());
    assert_eq!(rows[below - 1], format!("> {typed}"), "{}", screen.shown().picture());
    assert_eq!(screen.cursor(), (below - 1, 2 + typed.len()));
    let bar = screen.expect_row(" bob ┃").1;
    let column = bar.chars().position(|c| c == '┃');
    for row in rows[1..below - 1].iter().filter(|row| row.contains('┃')) {
        assert_eq!(row.chars().position(|c| c == '┃'), column, "{}", screen.shown().picture());
    }
}

fn what_a_peer_says_stays_in_its_place(size: Size) {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = talk(&world, size);
    alice.types("draft");
    alice.expect_row("> draft");
    for (n, (text, shown)) in HOSTILE.iter().enumerate() {
        bob.says(text);
        bob.says(&format!("said {n}."));
        alice.expect_row(&format!("┃ said {n}."));
        for shown in *shown {
            // Narrow rows break it.
            if size != SMALL || shown.chars().count() < 12 {
                alice.expect_row(shown);
            }
        }
        frame_stands(&alice, "draft");
    }
    for unit in ["x", "日", "👩‍👩‍👧‍👦", "e\u{301}\u{302}", "ש", "\u{301}", "क्", "🇩🇪", "\n", "a\n", " ", "ﷺ"]
    {
        let text = unit.repeat(16_384 / unit.len());
        bob.says(&text);
        bob.says("after the flood");
        alice.expect_row("┃ after the flood");
        frame_stands(&alice, "draft");
        alice.types(PAGE_UP);
        alice.expect("Esc goes to the end");
        alice.resize(if size == USUAL { SMALL } else { USUAL });
        alice.expect("Esc goes to the end");
        alice.resize(size);
        alice.types(ESC);
        alice.expect_gone("Esc goes to the end");
        frame_stands(&alice, "draft");
    }
    alice.types(" is sent\r");
    assert_eq!(bob.expect("message")["text"], "draft is sent");
    // Colours are the terminal's own sixteen, and nothing but the program has changed any.
    let raw = String::from_utf8_lossy(&alice.shown().raw).into_owned();
    for code in codes(&raw) {
        assert!(matches!(code, 0..=4 | 7 | 30..=37 | 40..=47 | 90..=97 | 100..=107), "{code}");
    }
    alice.types(&ctrl('q'));
    alice.leaves_clean(0);
}

/// The numbers in all sequences that set colours and attributes.
fn codes(raw: &str) -> Vec<u8> {
    raw.split("\x1b[")
        .filter_map(|part| {
            let (codes, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit() && c != ';')?);
            rest.starts_with('m').then_some(codes)
        })
        .flat_map(|codes| codes.split(';').map(|code| code.parse().unwrap_or(0)))
        .collect()
}

fn what_is_typed_and_pasted_stays_in_its_place(size: Size) {
    let world = World::of(["alice", "bob"]);
    let (alice, mut bob) = talk(&world, size);
    // A paste cannot end itself and press a key, and what it tells the terminal is taken out.
    alice.pastes("one\x1b[2J\x1b]0;x\x07 \u{9b}31m\u{202e}two\x00\x03");
    alice.expect_row("two");
    alice.types(ENTER);
    let said = bob.expect("message")["text"].as_str().unwrap().to_owned();
    assert!(said.starts_with("one") && said.ends_with("two") && !said.chars().any(char::is_control), "{said:?}");

    for (n, (text, _)) in HOSTILE.into_iter().enumerate() {
        let end = format!(" END{n}");
        // What ends a paste is a matter between the terminal and who copies; terminals take it out.
        alice.pastes(text);
        alice.types(&end);
        alice.expect_row(&end);
        let (row, column) = alice.cursor();
        assert!(alice.rows()[row].ends_with(&end), "{}", alice.shown().picture());
        assert!(column < usize::from(size.1));
        for (key, times) in [("\x1b[D", 40), ("\x1b[C", 40)] {
            alice.types(&key.repeat(times));
        }
        alice.types("!");
        alice.expect_row(&format!("{end}!"));
        alice.types(ENTER);
        let said = bob.expect("message")["text"].as_str().unwrap().to_owned();
        assert!(said.ends_with(&format!("{end}!")) && !said.contains('\x1b'), "{said:?}");
    }
    for character in "שלום 日本 👍🏽 é".chars() {
        alice.types(character.encode_utf8(&mut [0; 4]));
    }
    alice.types(ENTER);
    assert_eq!(bob.expect("message")["text"], "שלום 日本 👍🏽 é");

    // As long as a message can be, and one byte more.
    for unit in ["x", "日本", "word ", "\nline"] {
        let most = unit.repeat(16_384 / unit.len());
        let rest = 16_384 - most.len();
        alice.pastes(&format!("{}{most}", "y".repeat(rest)));
        alice.types("z");
        alice.expect("too long by 1 byte");
        alice.resize(if size == USUAL { SMALL } else { USUAL });
        alice.resize(size);
        alice.types(ENTER);
        assert_eq!(bob.expect("message")["text"].as_str().unwrap().len(), 16_384);
        alice.expect_row("delivered");
    }
    alice.pastes(&"x".repeat(16_385));
    alice.expect("too long by 1 byte");
    alice.types(&format!("still{ALT_ENTER}here{ENTER}"));
    assert_eq!(bob.expect("message")["text"], "still\nhere");
}

#[test]
fn what_is_typed_elsewhere_stays_in_its_place() {
    let world = World::of(["alice", "bob"]);
    let screen = Screen::at_log_in(&world, "alice", SMALL);
    for (text, _) in HOSTILE {
        for _ in 0..3 {
            screen.types("\t");
            screen.pastes(text);
        }
    }
    screen.pastes(&"x".repeat(600));
    screen.expect("too long by");
    screen.types(ENTER);
    // Whatever was typed, all fields stay in sight.
    screen.expect_row("> server");
    screen.expect_row("  user name");
    screen.expect_row("  password");
    for _ in 0..3 {
        screen.types(&format!("\t{}{}", ctrl('e'), ctrl('u')));
    }
    screen.types(&ENTER.repeat(3));
    screen.expect("is empty");
    drop(screen);

    let screen = Screen::logged_in(&world, "alice", SMALL);
    for (text, _) in HOSTILE {
        screen.pastes(text);
        screen.types(&format!("!{ENTER}"));
        screen.expect_row("!");
        screen.types(&ctrl('u'));
        screen.expect("search");
        screen.pastes(&format!("/{text}"));
        screen.types(ENTER);
        screen.expect("no command");
        screen.types(ESC);
        screen.expect_gone("command");
        screen.types(&ctrl('u'));
    }
    let bob = world.log_in("bob");
    screen.expect_row("> bob");
    drop(bob);
}

#[test]
fn no_colour_is_used_where_none_is_wanted() {
    let world = World::with("grace_period = \"3s\"");
    ["alice", "bob"].iter().for_each(|name| world.user(name));
    let mut command = world.chat("alice", "tui");
    command.arg("--password-file").arg(world.password_file()).env("NO_COLOR", "1");
    let alice = Screen::start(command, USUAL);
    let mut bob = world.log_in("bob");
    alice.expect_row("> bob");
    alice.accepts(&mut bob, " bob · not verified");
    bob.says("hello");
    alice.expect_row("┃ hello");
    alice.types("hello\r");
    alice.expect_row("✓");
    alice.types(F2);
    alice.expect("Is it the same?");
    alice.types("1");
    alice.types(F1);
    alice.expect("Help");
    alice.types(DOWN);
    drop(bob);
    alice.types("q");
    alice.expect_row("paste: 1");
    alice.types(F2);
    alice.expect("bob IS AWAY");
    alice.expect("CHAT LOST");
    let raw = String::from_utf8_lossy(&alice.shown().raw).into_owned();
    let codes = codes(&raw);
    assert!(codes.contains(&7) && codes.contains(&1), "attributes tell things apart");
    assert!(codes.iter().all(|code| matches!(code, 0..=4 | 7)), "{codes:?}");
}

#[test]
fn a_terminal_that_can_do_little_gets_lines() {
    let world = World::of(["alice"]);
    for (term, face) in [("dumb", None), ("", None), ("xterm", Some("line"))] {
        let mut command = std::process::Command::new(common::PROGRAM);
        command.args(["chat", "--profile"]).arg(world.profile("alice")).env("TERM", term);
        if let Some(face) = face {
            command.args(["--face", face]);
        }
        let mut alice = Terminal::start(command);
        alice.expect("Password of ");
        alice.expect_no_echo();
        alice.types(&format!("{}\n", common::PASSWORD));
        alice.expect("* logged in to localhost as alice");
        alice.types("--ex\n");
        let (code, seen) = alice.ended();
        assert_eq!(code, Some(0), "{seen}");
        assert!(!seen.contains('\x1b'), "{seen:?}");
    }
    let mut command = world.chat("alice", "tui");
    command.arg("--password-file").arg(world.password_file());
    let mut lines = Lines::start(command);
    let (code, stderr) = lines.ended();
    assert_eq!(code, Some(1));
    assert!(common::sentence(&stderr).contains("--face line"), "{stderr}");
}

/// Tells whether the window is looked at, and sees to it that this is known.
fn looks(screen: &Screen, focus: &str) {
    screen.types(&format!("{focus}x"));
    screen.expect_row("search x");
    screen.types("\x7f");
    screen.expect_gone("search x");
}

#[test]
fn a_bell_rings_and_a_notification_comes_as_wanted() {
    let world = World::of(["alice", "bob"]);
    let kinds = [
        ("xterm-256color", "9;"),
        ("foot", "777;notify;Sottovoce;"),
        ("rxvt-unicode-256color", "777;notify;Sottovoce;"),
    ];
    for (term, start) in kinds {
        let mut command = world.chat("alice", "tui");
        command.arg("--password-file").arg(world.password_file()).env("TERM", term);
        let alice = Screen::start(command, USUAL);
        let mut bob = world.log_in("bob");
        alice.expect_row("> bob");
        let mut asks = || {
            let before = (alice.bells(), alice.notifications().len());
            bob.types("--r alice");
            alice.expect("bob ASKS TO TALK");
            alice.types(&ctrl('n'));
            bob.expect("refused");
            alice.expect_gone("ASKS TO TALK");
            (alice.bells() - before.0, alice.notifications().len() - before.1)
        };
        // Whoever looks needs no notification.
        assert_eq!(asks(), (1, 0));
        looks(&alice, FOCUS_LOST);
        // Nobody can ring twice in a moment.
        assert_eq!(asks(), (0, 1));
        assert_eq!(asks(), (0, 0));
        looks(&alice, FOCUS_LOST);
        alice.types(F8);
        alice.expect("the bell is off");
        assert_eq!(asks(), (0, 1));
        alice.types(F9);
        alice.expect("desktop notifications are off");
        assert_eq!(asks(), (0, 0));
        alice.types(F8);
        alice.expect("the bell is on");
        // Nobody can ring twice in a moment; this is another.
        alice.is_quiet_for(Duration::from_secs(2), usize::MAX);
        assert_eq!(asks(), (1, 0));
        alice.types(F9);
        alice.expect("desktop notifications are on");
        alice.accepts(&mut bob, " bob · not verified");
        let before = (alice.bells(), alice.notifications().len());
        bob.says("a secret word");
        alice.expect_row("a secret word");
        assert_eq!((alice.bells() - before.0, alice.notifications().len() - before.1), (1, 1));
        bob.types("/leave");
        alice.expect("CHAT CLOSED");
        for notification in alice.notifications() {
            assert!(notification.starts_with(start), "{notification}");
            for word in ["bob", "alice", "secret", "localhost"] {
                assert!(!notification.contains(word), "{notification}");
            }
        }
    }

    let path = world.profile("alice").join("profile.toml");
    let settings = fs::read_to_string(&path).unwrap();
    for (setting, expected) in [("bell = false", (0, 1)), ("notifications = false", (1, 0))] {
        fs::write(&path, format!("{settings}{setting}\n")).unwrap();
        let alice = Screen::logged_in(&world, "alice", USUAL);
        looks(&alice, FOCUS_LOST);
        let mut bob = world.log_in("bob");
        bob.types("--r alice");
        alice.expect("bob ASKS TO TALK");
        assert_eq!((alice.bells(), alice.notifications().len()), expected, "{setting}");
    }
}

#[test]
fn nothing_is_drawn_when_nothing_happens() {
    let world = World::of(["alice", "bob"]);
    let alice = Screen::at_log_in(&world, "alice", USUAL);
    alice.is_quiet_for(Duration::from_secs(1), 0);
    drop(alice);
    let alice = Screen::logged_in(&world, "alice", USUAL);
    let mut bob = world.log_in("bob");
    alice.expect_row("> bob");
    // Longer than from one look at who is online to the next.
    alice.is_quiet_for(Duration::from_secs(5), 0);
    alice.accepts(&mut bob, " bob · not verified");
    bob.says("hello");
    alice.expect_row("┃ hello");
    // The age of the keys, a second each.
    let written = alice.is_quiet_for(Duration::from_secs(3), 400);
    assert!(written > 0, "the age of the keys is fresh");
    bob.types("/leave");
    alice.expect("CHAT CLOSED");
    alice.is_quiet_for(Duration::from_secs(2), 0);
}
