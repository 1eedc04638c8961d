//! What a person sees and types: the line face through pipes, the prompts and signals at a terminal, and what others on
//! the machine get to see of the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::{Command, Stdio},
};

use common::{Client, PASSWORD, PROGRAM, World, fails, lines::Lines, ok, signal, talk, terminal::Terminal};
use rustix::process::Signal;

/// A line face through pipes, logged in.
fn log_in(world: &World, name: &str) -> Lines {
    let mut command = world.chat(name, "line");
    command.arg("--password-file").arg(world.password_file());
    let mut lines = Lines::start(command);
    let first = format!("* logged in to localhost as {name} (X25519MLKEM768)");
    lines.shows(&[&first, "* /help lists what you can type"]);
    lines
}

#[test]
fn a_conversation_through_pipes() {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (log_in(&world, "alice"), log_in(&world, "bob"));
    alice.types("--l");
    alice.shows(&["* online: bob"]);
    alice.types("--l x");
    alice.shows(&["* nobody is online whose name begins with x"]);
    alice.types("--r nobody");
    alice.shows(&[
        "* asking nobody to talk; --n takes it back",
        "* user not found: nobody is unknown, not online, or busy",
    ]);
    alice.types("--r bob");
    alice.shows(&["* asking bob to talk; --n takes it back"]);
    bob.shows(&["* alice asks to talk: --y accepts, --n refuses"]);
    bob.types("--n");
    alice.shows(&["* bob refused to talk"]);
    bob.types("hello?");
    bob.shows(&["! that was not sent: you are in no chat; --r NAME asks somebody to talk"]);

    alice.types("--r bob");
    alice.shows(&["* asking bob to talk; --n takes it back"]);
    bob.shows(&["* alice asks to talk: --y accepts, --n refuses"]);
    bob.types("--y");
    let mut numbers = Vec::new();
    for (lines, peer) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        lines.shows(&[
            &format!("* you talk to {peer}, sealed with keys that the server does not have"),
            &format!("* this is your first chat, and the key of {peer} is now pinned"),
            &format!("* safety number, to compare with {peer} by another way:"),
        ]);
        let number = [lines.next().unwrap(), lines.next().unwrap()];
        for half in &number {
            let groups: Vec<_> = half.strip_prefix("*     ").unwrap().split(' ').collect();
            assert!(groups.len() == 6 && groups.iter().all(|group| group.len() == 5), "{half}");
        }
        numbers.push(number);
    }
    assert_eq!(numbers[0], numbers[1]);

    alice.types("hello");
    bob.shows(&["alice: hello"]);
    alice.shows(&["* delivered"]);
    bob.types("//quit is what I would type, to leave");
    alice.shows(&["bob: /quit is what I would type, to leave"]);
    bob.shows(&["* delivered"]);
    alice.types("");
    alice.types("/quiet");
    alice.shows(&[
        "! there is no command /quiet; /help lists them, and // at the start sends a line that starts with /",
    ]);
    alice.types("--r carol");
    alice.shows(&["! you are in a chat with bob; /leave ends it"]);
    alice.types("/help");
    for command in ["--l", "--r", "--y", "--n", "/leave", "--ex", "/help"] {
        while !alice.next().unwrap().starts_with(&format!("* {command}")) {}
    }
    alice.types("--ex");
    let rest = alice.rest();
    assert_eq!(rest[rest.len() - 2..], ["* the chat with bob ended with a goodbye", "* logged out"]);
    assert_eq!(alice.ended(), (Some(0), String::new()));
    bob.shows(&["* the chat with alice ended with a goodbye"]);
    assert_eq!(bob.ended(), (Some(0), String::new()));
    assert_eq!(bob.rest(), ["* logged out"]);
}

#[test]
fn a_failure_is_told_once_on_standard_error() {
    let world = World::new();
    world.profile_at("stranger", "stranger", &world.dial());
    let mut command = world.chat("stranger", "line");
    command.arg("--password-file").arg(world.password_file());
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(common::sentence(&String::from_utf8(output.stderr).unwrap()).contains("does not know this user"));

    // Without a terminal there is nobody to ask.
    let command = world.chat("stranger", "line");
    let mut setsid = Command::new("setsid");
    setsid.arg("--wait").arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    if let Ok(output) = setsid.output() {
        assert_eq!(output.status.code(), Some(1));
        let sentence = common::sentence(&String::from_utf8(output.stderr).unwrap());
        assert!(sentence.contains("--password-file"), "{sentence}");
    }
}

#[test]
fn nothing_that_a_peer_says_can_pass_for_another_or_move_the_cursor() {
    let world = World::of(["alice", "bob"]);
    let mut bob = log_in(&world, "bob");
    let mut alice = world.log_in("alice");
    alice.types("--r bob");
    bob.shows(&["* alice asks to talk: --y accepts, --n refuses"]);
    bob.types("--y");
    alice.expect("chat_started");
    for _ in 0..5 {
        assert!(bob.next().unwrap().starts_with("* "));
    }
    let cases: [(&str, &[&str]); 9] = [
        ("hi\n* logged out\n! failed\nbob: me\n\n", &["hi", "* logged out", "! failed", "bob: me", "", ""]),
        ("hi\r\n* logged out\rbob: me", &["hi", "* logged out bob: me"]),
        ("\u{1b}[2J\u{1b}[1;1H\u{1b}]0;title\u{7}\u{9b}31m", &["[2J[1;1H]0;title31m"]),
        ("a\u{8}\u{8}b\u{b}\u{c}\u{0}\u{7f}\u{85}c", &["abc"]),
        ("\u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{200f}\u{200e}\u{61c}", &["gnp.exe x "]),
        ("one\u{2028}two\u{2029}three\tfour", &["one two three four"]),
        ("\u{feff}\u{200b}\u{2060}\u{ad}\u{e0001}\u{fff9}x", &["x"]),
        ("👩‍👩‍👧‍👦 é עברית हिन्दी", &["👩‍👩‍👧‍👦 é עברית हिन्दी"]),
        (" \u{1b}", &[" "]),
    ];
    for (text, shown) in cases {
        alice.says(text);
        for line in shown {
            assert_eq!(bob.next().unwrap(), format!("alice: {line}"), "{text:?}");
        }
    }
    // What one types oneself comes back in an error without its teeth, too.
    bob.types("/\u{1b}[2J\u{202e}");
    let error = bob.next().unwrap();
    assert!(error.starts_with("! there is no command /[2J;"), "{error:?}");
}

#[test]
fn a_key_from_ssh_keygen_works_and_ssh_keygen_reads_one_from_here() {
    let world = World::new();
    let made = world.dir.path().join("made");
    let mut ssh_keygen = Command::new("ssh-keygen");
    ssh_keygen.args(["-q", "-t", "ed25519", "-C", "alice@laptop", "-N", PASSWORD, "-f"]).arg(&made);
    match ssh_keygen.stdin(Stdio::null()).status() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        status => assert!(status.unwrap().success()),
    }
    world.profile_at("alice", "alice", &world.dial());
    fs::rename(&made, world.profile("alice").join("key")).unwrap();
    fs::rename(made.with_extension("pub"), world.profile("alice").join("key.pub")).unwrap();
    world.administer("add", "alice", Some("alice"));
    world.log_in("alice");

    let made = world.profile("bob");
    let mut keygen = Command::new(PROGRAM);
    keygen.args(["keygen", "--name", "bob", "--server", &world.dial(), "--profile"]).arg(&made);
    keygen.arg("--ca").arg(world.server_dir().join("ca.pem")).arg("--password-file").arg(world.password_file());
    let line = String::from_utf8(ok(&mut keygen).stdout).unwrap();
    assert_eq!(line, fs::read_to_string(made.join("key.pub")).unwrap());
    let read = ok(Command::new("ssh-keygen").args(["-y", "-P", PASSWORD, "-f"]).arg(made.join("key"))).stdout;
    assert_eq!(String::from_utf8(read).unwrap().split(' ').nth(1), line.split(' ').nth(1));
    world.administer("add", "bob", Some("bob"));
    world.log_in("bob");
}

#[test]
fn keygen_makes_a_profile_that_is_its_owners_alone_and_never_a_second_time() {
    let world = World::new();
    let dir = world.profile("alice");
    let mut keygen = Command::new(PROGRAM);
    keygen.args(["keygen", "--name", "alice", "--profile"]).arg(&dir).arg("--password-file").arg(world.password_file());
    ok(&mut keygen);
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    for (file, mode) in [("key", 0o600), ("profile.toml", 0o600), ("key.pub", 0o644)] {
        assert_eq!(fs::metadata(dir.join(file)).unwrap().mode() & 0o777, mode, "{file}");
    }
    let before = fs::read(dir.join("key")).unwrap();
    assert!(fails(&mut keygen).contains("nothing is overwritten"));
    assert_eq!(fs::read(dir.join("key")).unwrap(), before);

    // A mistake leaves nothing behind.
    for arguments in [["--server", "localhost"], ["--ca", "/nowhere/ca.pem"], ["--password-file", "/nowhere/password"]]
    {
        let dir = world.profile("bob");
        let mut keygen = Command::new(PROGRAM);
        keygen.args(["keygen", "--name", "bob", "--profile"]).arg(&dir).args(arguments);
        if !arguments.contains(&"--password-file") {
            keygen.arg("--password-file").arg(world.password_file());
        }
        fails(&mut keygen);
        assert!(!dir.exists(), "{arguments:?}");
    }
}

#[test]
fn the_password_is_asked_until_it_is_right_and_never_shown() {
    let world = World::of(["alice"]);
    let mut alice = Terminal::start(world.chat("alice", "line"));
    let prompt = format!("Password of {}: ", world.profile("alice").join("key").display());
    for (typed, answer) in [("sesame open", "wrong password"), ("", "the password is empty"), ("x", "wrong password")] {
        alice.expect(&prompt);
        alice.expect_no_echo();
        alice.types(&format!("{typed}\n"));
        alice.expect(answer);
    }
    alice.expect(&prompt);
    alice.expect_no_echo();
    alice.types(&format!("{PASSWORD}\n"));
    alice.expect("* logged in to localhost as alice");
    assert!(alice.echoes());
    alice.types("--l\n");
    alice.expect("nobody else is online");
    // End of input at a terminal.
    alice.types("\x04");
    alice.expect("* logged out");
    let (code, seen) = alice.ended();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains("sesame") && !seen.contains(PASSWORD), "{seen}");
}

#[test]
fn a_user_name_is_asked_until_it_is_right() {
    let world = World::of(["alice"]);
    for wrong in ["alcie", "", "al ice"] {
        let mut command = world.chat("alice", "line");
        command.args(["--name", wrong]).arg("--password-file").arg(world.password_file());
        if wrong != "alcie" {
            // With a password from a file there is nobody to ask, or so it seems.
            assert!(fails(&mut command).contains("the user name"));
        }
        let mut command = world.chat("alice", "line");
        command.args(["--name", wrong]);
        let mut alice = Terminal::start(command);
        let gives_password = |alice: &mut Terminal| {
            alice.expect("Password of ");
            alice.expect_no_echo();
            alice.types(&format!("{PASSWORD}\n"));
        };
        if wrong == "alcie" {
            gives_password(&mut alice);
            alice.expect("the server does not know this user");
        }
        alice.expect("User name: ");
        assert!(alice.echoes());
        alice.types("\n");
        alice.expect("a name is needed here");
        alice.expect("User name: ");
        alice.types("b@d\n");
        alice.expect("starts with a letter or digit");
        alice.expect("User name: ");
        alice.types("alice\n");
        if wrong != "alcie" {
            gives_password(&mut alice);
        }
        alice.expect("* logged in to localhost as alice");
        alice.types("--ex\n");
        assert_eq!(alice.ended().0, Some(0));
    }
}

/// A line face at a terminal, logged in.
fn sit_down(world: &World, name: &str) -> Terminal {
    let mut terminal = Terminal::start(world.chat(name, "line"));
    terminal.expect("Password of ");
    terminal.expect_no_echo();
    terminal.types(&format!("{PASSWORD}\n"));
    terminal.expect("* logged in");
    terminal
}

#[test]
fn who_is_put_out_is_not_asked_for_another_name() {
    let world = World::of(["alice"]);
    let mut alice = sit_down(&world, "alice");
    world.administer("remove", "alice", None);
    let (code, seen) = alice.ended();
    assert_eq!(code, Some(1));
    assert!(seen.contains("operator") && !seen.contains("User name: "), "{seen}");
    assert!(alice.echoes());
}

#[test]
fn an_interrupt_at_a_prompt_leaves_the_terminal_as_it_was() {
    let world = World::of(["alice"]);
    let mut keygen = Command::new(PROGRAM);
    keygen.args(["keygen", "--name", "bob", "--profile"]).arg(world.profile("bob"));
    let mut renamed = world.chat("alice", "line");
    renamed.args(["--name", ""]);
    for (command, prompt, code) in [
        (world.chat("alice", "line"), "Password of ", Some(0)),
        (keygen, "New password for your key: ", Some(1)),
        (renamed, "User name: ", Some(0)),
    ] {
        let mut terminal = Terminal::start(command);
        terminal.expect(prompt);
        if prompt != "User name: " {
            terminal.expect_no_echo();
            terminal.types("half a passw");
        }
        terminal.types("\x03");
        let (ended, seen) = terminal.ended();
        assert_eq!(ended, code, "{prompt}: {seen}");
        assert!(!seen.contains("half"), "{seen}");
        assert!(terminal.echoes(), "{prompt}");
    }
    assert!(!world.profile("bob").exists());

    let mut command = world.chat("alice", "line");
    command.args(["--name", "alcie"]);
    let mut terminal = Terminal::start(command);
    terminal.expect("Password of ");
    terminal.expect_no_echo();
    terminal.types(&format!("{PASSWORD}\n"));
    terminal.expect("User name: ");
    terminal.types("\x03");
    let (code, seen) = terminal.ended();
    assert_eq!(code, Some(0), "{seen}");
    assert!(terminal.echoes());
}

#[test]
fn a_new_password_is_typed_twice_the_same() {
    let world = World::new();
    let mut keygen = Command::new(PROGRAM);
    keygen.args(["keygen", "--name", "alice", "--server", &world.dial(), "--profile"]).arg(world.profile("alice"));
    keygen.arg("--ca").arg(world.server_dir().join("ca.pem"));
    let mut keygen = Terminal::start(keygen);
    let mut types = |prompt: &str, password: &str| {
        keygen.expect(prompt);
        keygen.expect_no_echo();
        keygen.types(&format!("{password}\n"));
    };
    types("New password for your key: ", PASSWORD);
    types("The same again: ", "correct house");
    types("New password for your key: ", "");
    types("New password for your key: ", PASSWORD);
    types("The same again: ", PASSWORD);
    let (code, seen) = keygen.ended();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("not the same") && seen.contains("empty") && seen.contains("ssh-ed25519 "), "{seen}");
    assert!(!seen.contains("correct"), "{seen}");
    world.administer("add", "alice", Some("alice"));
    world.log_in("alice");
}

#[test]
fn an_interrupt_in_a_chat_says_goodbye() {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = talk_at_a_terminal(&world);
    alice.types("half a sent\x03");
    assert_eq!(bob.expect_closed(), "goodbye");
    let (code, seen) = alice.ended();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("ended with a goodbye") && alice.echoes());
}

#[test]
fn every_signal_to_end_says_goodbye() {
    let world = World::of(["alice", "bob"]);
    let mut bob = world.log_in("bob");
    for end in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut alice = world.log_in("alice");
        talk(&mut alice, &mut bob, "bob");
        signal(&alice.process, end);
        assert_eq!(bob.expect_closed(), "goodbye", "{end:?}");
        assert_eq!(alice.rest().pop().unwrap()["event"], "logged_out");
        assert_eq!(alice.ended(), (Some(0), String::new()));
    }
}

#[test]
fn the_end_of_whoever_reads_the_output_ends_the_client() {
    let world = World::of(["alice", "bob"]);
    let mut bob = world.log_in("bob");
    let mut command = world.chat("alice", "json");
    command.arg("--password-file").arg(world.password_file());
    let mut alice = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bob.lists_at_last(&["alice"]);
    drop(alice.stdout.take());
    // Whatever is to be shown next cannot be.
    bob.types("--r alice");
    let stderr = common::read_to_end(alice.stderr.take().unwrap()).recv_timeout(common::PATIENCE).unwrap();
    assert_eq!(alice.wait().unwrap().code(), Some(1), "{stderr}");
    assert!(common::sentence(&stderr).contains("standard output"), "{stderr}");
}

#[test]
fn help_shows_every_command() {
    let help = |arguments: &[&str]| {
        let output = ok(Command::new(PROGRAM).args(arguments).arg("--help"));
        assert!(output.stderr.is_empty());
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |text: &str, words: &[&str]| {
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    };
    has(&help(&[]), &["demo", "server", "user", "keygen", "chat", "pins"]);
    has(&help(&["server"]), &["init", "run"]);
    has(&help(&["server", "init"]), &["--dir", "--host", "--cert", "--cert-key"]);
    has(&help(&["server", "run"]), &["--dir", "--listen"]);
    has(&help(&["user"]), &["add", "list", "remove", "replace"]);
    has(&help(&["keygen"]), &["--profile", "--name", "--server", "--ca", "--password-file"]);
    has(&help(&["chat"]), &["--profile", "--face", "line", "json", "--name", "--password-file"]);
    has(&help(&["pins"]), &["list", "verify", "forget"]);
    assert!(!help(&["chat"]).contains("--password "), "nothing secret is taken from the command line");
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_keeps_no_secret_of_a_client() {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");
    let proc = |file: &str| fs::read(format!("/proc/{}/{file}", alice.process.id()));
    let limits = String::from_utf8(proc("limits").unwrap()).unwrap();
    let core: Vec<_> =
        limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    // A process that cannot be dumped is nobody's to look into but root's.
    let own = fs::metadata(format!("/proc/{}", bob.process.id())).unwrap();
    assert_eq!((own.uid(), own.gid()), (0, 0));
    for file in ["environ", "cmdline", "comm", "status"] {
        // Whoever may not read it is none the wiser.
        let Ok(bytes) = proc(file) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(PASSWORD) && !text.contains("OPENSSH"), "{file}: {text}");
    }
    // No open file is the key or the password.
    for link in fs::read_dir(format!("/proc/{}/fd", alice.process.id())).into_iter().flatten() {
        let target = fs::read_link(link.unwrap().path()).unwrap_or_default();
        assert!(!target.starts_with(world.profile("alice")) && target != world.password_file(), "{}", target.display());
    }
    let pins = fs::metadata(world.profile("alice").join("pins")).unwrap();
    assert_eq!(pins.permissions().mode() & 0o777, 0o600);
}

/// The kernel passes on the start of a longer line and drops the rest, so what is left is not what was meant.
#[test]
fn a_line_that_the_terminal_cuts_is_not_sent() {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = talk_at_a_terminal(&world);
    alice.types(&format!("{}\n", "y".repeat(5000)));
    alice.expect("was not sent");
    alice.types("short\n");
    assert_eq!(bob.expect("message")["text"], "short");
}

/// Alice at a terminal, in a chat with bob.
fn talk_at_a_terminal(world: &World) -> (Terminal, Client) {
    let mut bob = world.log_in("bob");
    let mut alice = sit_down(world, "alice");
    bob.types("--r alice");
    alice.expect("bob asks to talk");
    alice.types("--y\n");
    alice.expect("safety number");
    bob.expect("chat_started");
    (alice, bob)
}
