//! Log-ins that fail, and sessions that the server ends: each with its code for programs, its sentence for people, and
//! exit code 1.
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
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use common::{Client, PROGRAM, World, now, talk};
use protocol::{ServerError, ToClient};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How fast a removed user's connection has to end.
const SOON: Duration = Duration::from_secs(5);

const MINUTE: Duration = Duration::from_secs(60);

/// Tries to log in with the profile in `folder`, which fails before anybody is let in: the code and the sentence.
fn refused(world: &World, folder: &str, arguments: &[&str]) -> (String, String) {
    let mut client = world.client_with(folder, arguments);
    let mut first = client.next().expect("an event tells of the failure");
    for progress in ["connecting", "connected"] {
        if first["event"] == progress {
            first = client.next().expect("an event tells of the failure");
        }
    }
    assert_eq!(first["event"], "error", "{first}");
    assert_eq!(client.next(), None, "the error is all that there is");
    let (code, stderr) = client.ended();
    assert_eq!(code, Some(1), "{stderr}");
    let (code, message) = (first["code"].as_str().unwrap().to_owned(), first["message"].as_str().unwrap().to_owned());
    assert_eq!(common::sentence(&stderr), format!("sottovoce: {}", common::printed(&message)));
    (code, message)
}

/// Changes the text of a file.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_blank_name_or_password_is_a_blank_field() {
    let world = World::of(["alice"]);
    assert_eq!(refused(&world, "alice", &["--name", ""]).0, "blank_field");
    edit(&world.profile("alice").join("profile.toml"), "name = \"alice\"\n", "");
    let (code, message) = refused(&world, "alice", &[]);
    assert_eq!(code, "blank_field");
    assert!(message.contains("user name"), "{message}");
    for empty in ["", "\n", "\ncorrect horse\n"] {
        fs::write(world.password_file(), empty).unwrap();
        let (code, message) = refused(&world, "alice", &["--name", "alice"]);
        assert_eq!(code, "blank_field");
        assert!(message.contains("password"), "{message}");
    }
}

#[test]
fn a_name_that_none_can_have_is_a_bad_name() {
    let world = World::of(["alice"]);
    for name in ["al ice", "álice", "@", "_alice", &"x".repeat(33), "alice\n", "\u{1b}[2Jalice"] {
        let (code, message) = refused(&world, "alice", &["--name", name]);
        assert_eq!(code, "bad_name", "{name:?}");
        assert!(message.contains("user name"), "{message}");
    }
    // Upper case is another way to write the same name.
    world.client_with("alice", &["--name", "ALICE"]).expect("logged_in");
}

#[test]
fn an_unknown_name_and_a_wrong_key_are_one_answer() {
    let world = World::of(["alice"]);
    world.profile_at("stranger", "stranger", &world.dial());
    world.profile_at("impostor", "alice", &world.dial());
    let unknown = refused(&world, "stranger", &[]);
    assert_eq!(unknown.0, "unknown_user");
    assert_eq!(refused(&world, "impostor", &[]), unknown);
    assert_eq!(refused(&world, "alice", &["--name", "bob"]), unknown, "a registered key, by another name");
    world.log_in("alice");
}

#[test]
fn an_unknown_name_and_a_wrong_key_take_the_same_time() {
    const DELAY: Duration = Duration::from_millis(500);
    let world = World::with(r#"refusal_delay = "500ms""#);
    world.user("alice");
    world.profile_at("stranger", "stranger", &world.dial());
    world.profile_at("impostor", "alice", &world.dial());
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        // Both at the same time, so that whatever else the machine does slows both.
        let begin = now();
        let time = |folder: &'static str| {
            let world = &world;
            move || {
                assert_eq!(refused(world, folder, &[]).0, "unknown_user");
                begin.elapsed()
            }
        };
        thread::scope(|scope| {
            let both = [scope.spawn(time("stranger")), scope.spawn(time("impostor"))];
            for (one, all) in both.into_iter().zip(&mut took) {
                all.push(one.join().unwrap());
            }
        });
    }
    let [unknown, wrong] = took.map(|mut all| {
        all.sort();
        assert!(all[0] >= DELAY, "{all:?}");
        all[2]
    });
    assert!(unknown.abs_diff(wrong) < DELAY, "{unknown:?} {wrong:?}");
}

#[test]
fn a_wrong_password_is_told_from_a_damaged_key() {
    let world = World::of(["alice"]);
    fs::write(world.password_file(), "incorrect horse\n").unwrap();
    assert_eq!(refused(&world, "alice", &[]).0, "wrong_password");
    // The password is the first line, with whatever is in it.
    fs::write(world.password_file(), " correct horse\n").unwrap();
    assert_eq!(refused(&world, "alice", &[]).0, "wrong_password");
    fs::write(world.password_file(), "correct horse\r\nsecond line\n").unwrap();
    world.client("alice").expect("logged_in");
    let key = world.profile("alice").join("key");
    let text = fs::read_to_string(&key).unwrap();
    fs::write(&key, text.get(..text.len() / 2).unwrap()).unwrap();
    let (code, message) = refused(&world, "alice", &[]);
    assert_eq!(code, "bad_file");
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn a_server_that_cannot_prove_itself_is_not_trusted() {
    let (world, other) = (World::of(["alice"]), World::new());
    fs::copy(other.server_dir().join("ca.pem"), world.profile("alice").join("ca.pem")).unwrap();
    let (code, message) = refused(&world, "alice", &[]);
    assert_eq!(code, "untrusted_server");
    assert!(message.contains("could not prove"), "{message}");
    // No authority in the profile: those of the system, which know nothing of this server.
    edit(&world.profile("alice").join("profile.toml"), "ca = ", "# ca = ");
    let (code, message) = refused(&world, "alice", &[]);
    assert!(code == "untrusted_server" || code == "bad_file" && message.contains("system"), "{code}: {message}");

    // The right authority, and a name that is not on the certificate.
    let elsewhere = World::at("chat.example", "");
    elsewhere.user("bob");
    for host in ["localhost", "127.0.0.1"] {
        let profile = elsewhere.profile("bob").join("profile.toml");
        let port = elsewhere.dial().rsplit_once(':').unwrap().1.to_owned();
        fs::write(&profile, format!("name = \"bob\"\nserver = \"{host}:{port}\"\nca = \"ca.pem\"\n")).unwrap();
        assert_eq!(refused(&elsewhere, "bob", &[]).0, "untrusted_server", "{host}");
    }
}

/// Plays a server, once, and gives the address to dial.
fn server(play: impl FnOnce(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dial = format!("localhost:{}", listener.local_addr().unwrap().port());
    thread::spawn(move || play(listener.accept().unwrap().0));
    dial
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hangs_up = server(drop);
    let reads_and_hangs_up = server(|mut socket| drop(socket.read(&mut [0; 100])));
    let cases = [format!("localhost:{}", free.port()), "nowhere.invalid:7478".into(), hangs_up, reads_and_hangs_up];
    for (n, dial) in cases.iter().enumerate() {
        let folder = format!("alice{n}");
        world.profile_at(&folder, "alice", dial);
        let (code, message) = refused(&world, &folder, &[]);
        assert_eq!(code, "unreachable", "{dial}: {message}");
        assert!(message.contains(dial), "{message}");
    }
}

/// Plays a server that has the real one's certificate, with a configuration of its own, and what it says after `Login`.
fn tls_server(world: &World, change: impl FnOnce(&mut ServerConfig), answer: Vec<u8>) -> String {
    let file = |name| fs::read(world.server_dir().join(name)).unwrap();
    let mut config = (*identity::server_config(&file("server.pem"), &file("server.key")).unwrap()).clone();
    change(&mut config);
    server(move |socket| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.into()).unwrap(), socket);
        // A client that does not like the handshake says so by ending it.
        if stream.read(&mut [0; 100]).is_ok() {
            let _ = stream.write_all(&answer);
        }
        let _ = stream.sock.shutdown(Shutdown::Write);
        let _ = stream.sock.read_to_end(&mut Vec::new());
    })
}

/// A frame with its length before it.
fn framed(frame: &[u8]) -> Vec<u8> {
    [&u16::try_from(frame.len()).unwrap().to_be_bytes(), frame].concat()
}

#[test]
fn a_server_that_speaks_something_else_is_a_fault_of_protocol() {
    let world = World::new();
    let web = server(|mut socket| {
        let _ = socket.read(&mut [0; 2000]);
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = socket.shutdown(Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let logged_in = ToClient::LoggedIn("localhost".parse().unwrap()).encode().unwrap();
    let cases = [
        ("not TLS", web),
        ("another application", tls_server(&world, |config| config.alpn_protocols = vec![b"h2".to_vec()], vec![])),
        ("no application", tls_server(&world, |config| config.alpn_protocols.clear(), vec![])),
        ("no frame", tls_server(&world, |_| {}, framed(&[0xff; 100]))),
        ("an empty frame", tls_server(&world, |_| {}, framed(&[]))),
        ("a frame and more", tls_server(&world, |_| {}, framed(&[&logged_in[..], &[0]].concat()))),
        ("another answer", tls_server(&world, |_| {}, framed(&ToClient::Pong.encode().unwrap()))),
        ("refusal", tls_server(&world, |_| {}, framed(&ToClient::Error(ServerError::Protocol).encode().unwrap()))),
    ];
    for (n, (what, dial)) in cases.into_iter().enumerate() {
        let folder = format!("alice{n}");
        world.profile_at(&folder, "alice", &dial);
        let (code, message) = refused(&world, &folder, &[]);
        assert_eq!(code, "protocol", "{what}: {message}");
    }
}

#[test]
fn a_server_that_gives_itself_another_name_is_not_trusted() {
    let world = World::new();
    let lies = ToClient::LoggedIn("chat.example".parse().unwrap()).encode().unwrap();
    world.profile_at("alice", "alice", &tls_server(&world, |_| {}, framed(&lies)));
    assert_eq!(refused(&world, "alice", &[]).0, "untrusted_server");
}

#[test]
fn the_newest_log_in_wins() {
    let world = World::of(["alice", "bob"]);
    let (mut older, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut older, &mut bob, "bob");
    let mut newer = world.log_in("alice");
    let (code, message) = older.failed();
    assert_eq!(code, "replaced");
    assert!(message.contains("somewhere else"), "{message}");
    assert_eq!(bob.expect_closed(), "lost");
    // The end of the older session takes nothing from the newer one.
    assert_eq!(bob.lists(), ["alice"]);
    talk(&mut bob, &mut newer, "alice");
    bob.says("which one are you?");
    assert_eq!(newer.expect("message")["text"], "which one are you?");
}

#[test]
fn who_is_removed_or_given_another_key_is_put_out_soon() {
    let world = World::of(["alice", "bob", "carol", "dave", "erin"]);
    let mut clients = ["alice", "bob", "carol", "dave", "erin"].map(|name| world.log_in(name));
    let [alice, bob, carol, dave, _] = &mut clients;
    talk(alice, bob, "bob");
    talk(carol, dave, "dave");
    world.profile_at("new-carol", "carol", &world.dial());
    let begin = now();
    world.administer("remove", "alice", None);
    world.administer("replace", "carol", Some("new-carol"));
    for (gone, peer) in [(alice, bob), (carol, dave)] {
        let (code, message) = gone.failed();
        assert_eq!(code, "unknown_user");
        assert!(message.contains("operator"), "{message}");
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        assert_eq!(peer.expect_closed(), "lost");
    }
    for (folder, name) in [("alice", "alice"), ("carol", "carol")] {
        assert_eq!(refused(&world, folder, &[]).0, "unknown_user", "{name}'s old key");
    }
    // Nobody else noticed, and the new key is let in.
    let [_, bob, _, dave, erin] = &mut clients;
    let mut carol = world.log_in("new-carol");
    assert_eq!(erin.lists(), ["bob", "carol", "dave"]);
    talk(bob, dave, "dave");
    talk(&mut carol, erin, "erin");
}

#[test]
fn who_is_added_while_the_server_runs_can_log_in() {
    let world = World::new();
    world.profile_at("alice", "alice", &world.dial());
    assert_eq!(refused(&world, "alice", &[]).0, "unknown_user");
    world.administer("add", "alice", Some("alice"));
    world.log_in("alice");
    world.administer("remove", "alice", None);
    assert_eq!(refused(&world, "alice", &[]).0, "unknown_user");
}

/// A log-in of somebody who was let in before does not ask the directory, unless it has been written to.
#[test]
fn who_is_removed_or_given_another_key_is_refused_at_once_however_well_known() {
    let world = World::of(["alice", "bob"]);
    let dir = world.server_dir();
    // As if nobody had written for a minute, whatever was written.
    let a_minute_ago = fs::metadata(dir.join("directory.db")).unwrap().modified().unwrap() - MINUTE;
    let ages = || {
        let files =
            ["directory.db", "directory.db-wal"].map(|file| fs::File::options().write(true).open(dir.join(file)));
        files.into_iter().flatten().for_each(|file| file.set_modified(a_minute_ago).unwrap());
    };
    ages();
    for known in ["alice", "bob", "alice", "bob"] {
        world.log_in(known);
    }
    world.administer("remove", "alice", None);
    ages();
    assert_eq!(refused(&world, "alice", &[]).0, "unknown_user");
    world.administer("replace", "bob", Some("alice"));
    ages();
    assert_eq!(refused(&world, "bob", &[]).0, "unknown_user");
    edit(&world.profile("alice").join("profile.toml"), "alice", "bob");
    world.log_in("alice");
}

#[test]
fn files_that_are_missing_or_loose_or_damaged_are_named() {
    let world = World::of(["alice"]);
    let dir = world.profile("alice");
    let bad = |what: &str, words: &[&str]| {
        let (code, message) = refused(&world, "alice", &[]);
        assert_eq!(code, "bad_file", "{what}: {message}");
        for word in words {
            assert!(message.contains(word), "{what}: {message}");
        }
    };
    let (code, message) = refused(&world, "nobody", &[]);
    assert_eq!(code, "bad_file");
    assert!(message.contains("sottovoce keygen"), "{message}");

    let settings = dir.join("profile.toml");
    let good = fs::read_to_string(&settings).unwrap();
    for (damage, words) in [
        ("name = ", &["profile.toml"][..]),
        ("\0\u{1b}[2J", &["profile.toml"]),
        ("nmae = \"alice\"\nserver = \"localhost:1\"", &["profile.toml", "nmae"]),
        ("name = 7\nserver = \"localhost:1\"", &["profile.toml"]),
        ("name = \"alice\"", &["profile.toml", "server = \"chat.example:7478\""]),
        ("name = \"alice\"\nserver = \"localhost\"", &["profile.toml", "HOST:PORT"]),
    ] {
        fs::write(&settings, damage).unwrap();
        bad(damage, words);
    }
    fs::write(&settings, [0xff, 0xfe]).unwrap();
    bad("not UTF-8", &["profile.toml"]);
    fs::write(&settings, good).unwrap();

    let authority = dir.join("ca.pem");
    let good = fs::read(&authority).unwrap();
    for damage in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(&authority, damage).unwrap();
        bad(damage, &["certificate"]);
    }
    fs::remove_file(&authority).unwrap();
    bad("no ca.pem", &["ca.pem"]);
    fs::write(&authority, good).unwrap();

    let key = dir.join("key");
    for mode in [0o644, 0o640, 0o604, 0o660, 0o620] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        bad("a loose mode", &["chmod 600", "key"]);
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(dir.join("key.pub"), dir.join("other")).unwrap();
    fs::rename(&key, dir.join("good")).unwrap();
    bad("no key", &["sottovoce keygen", "ssh-keygen"]);
    fs::rename(dir.join("other"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    bad("a public key", &["not a private key"]);
    fs::rename(dir.join("good"), &key).unwrap();

    fs::remove_file(world.password_file()).unwrap();
    bad("no password file", &["password file"]);
    fs::write(world.password_file(), [0xff]).unwrap();
    bad("a password that is no text", &["UTF-8"]);
    fs::write(world.password_file(), common::PASSWORD).unwrap();
    world.log_in("alice");

    fs::write(dir.join("pins"), "x y z\n").unwrap();
    bad("damaged pins", &["pins"]);
}

#[test]
fn an_authority_that_others_could_exchange_is_refused_wherever_it_is() {
    let world = World::of(["alice"]);
    let dir = world.profile("alice");
    let open = world.profile("open");
    fs::create_dir(&open).unwrap();
    fs::copy(dir.join("ca.pem"), open.join("authority.pem")).unwrap();
    std::os::unix::fs::symlink("../open/authority.pem", dir.join("link.pem")).unwrap();
    let modes = |folder, file| {
        fs::set_permissions(&open, fs::Permissions::from_mode(folder)).unwrap();
        fs::set_permissions(open.join("authority.pem"), fs::Permissions::from_mode(file)).unwrap();
    };
    let settings = dir.join("profile.toml");
    let mut named = "ca.pem".to_owned();
    for ca in ["../open/authority.pem".to_owned(), "link.pem".into(), open.join("authority.pem").display().to_string()]
    {
        edit(&settings, &format!("ca = \"{named}\""), &format!("ca = \"{ca}\""));
        for (folder, file, words) in [
            (0o755, 0o666, "authority.pem"),
            (0o755, 0o620, "authority.pem"),
            (0o777, 0o644, "open"),
            (0o730, 0o644, "open"),
        ] {
            modes(folder, file);
            let (code, message) = refused(&world, "alice", &[]);
            assert_eq!(code, "bad_file", "{ca} {folder:o} {file:o}: {message}");
            let is_named = message.contains("chmod go-w") && message.contains(&format!("/{words} can be changed"));
            assert!(is_named, "{ca} {folder:o} {file:o}: {message}");
        }
        modes(0o755, 0o644);
        world.log_in("alice");
        named = ca;
    }
}

#[test]
fn a_key_without_a_password_is_refused_with_the_command_that_gives_it_one() {
    let world = World::of(["alice"]);
    let key = world.profile("alice").join("key");
    let pair = ssh_key::private::Ed25519Keypair {
        public: ssh_key::public::Ed25519PublicKey(*identity::UserKey::from_seed(&[7; 32]).public().as_bytes()),
        private: ssh_key::private::Ed25519PrivateKey::from_bytes(&[7; 32]),
    };
    let plain = ssh_key::PrivateKey::new(pair.into(), "alice").unwrap();
    fs::write(&key, plain.to_openssh(ssh_key::LineEnding::LF).unwrap().as_bytes()).unwrap();
    let (code, message) = refused(&world, "alice", &[]);
    assert_eq!(code, "bad_file");
    assert!(message.contains(&format!("ssh-keygen -p -f {}", key.display())), "{message}");
}

#[test]
fn a_wrong_use_of_the_command_line_is_exit_code_2() {
    let uses = [
        "",
        "dance",
        "chat",
        "chat --profile p --face sings",
        "chat --profile p --password secret",
        "chat --profile p extra",
        "server",
        "server run",
        "server init --dir d",
        "server run --dir d --listen nowhere",
        "user add --dir d",
        "user add b@d --dir d",
        "user replace alice --dir d",
        "keygen --profile p",
        "keygen --profile p --name -x",
        "pins verify --profile p",
        "demo now",
    ];
    let empty = tempfile::tempdir().unwrap();
    for arguments in uses {
        let mut command = Command::new(PROGRAM);
        command.args(arguments.split_whitespace()).current_dir(empty.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        assert!(
            output.stdout.is_empty() && (stderr.contains("error: ") || stderr.contains("Usage: ")),
            "{arguments}: {stderr}"
        );
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn what_is_typed_before_the_log_in_is_not_lost() {
    let world = World::of(["alice", "bob"]);
    let mut bob = world.log_in("bob");
    let mut alice: Client = world.client("alice");
    alice.types("--l");
    alice.types("--r bob");
    for event in ["connecting", "connected", "logged_in"] {
        assert_eq!(alice.next().unwrap()["event"], event);
    }
    assert_eq!(alice.expect("users")["users"][0], "bob");
    bob.expect("request");

    // The end of input does not come before the log-in, either.
    let run = |folder: &str| {
        let mut command = world.chat(folder, "json");
        command.arg("--password-file").arg(world.password_file()).stdin(Stdio::null()).output().unwrap()
    };
    let output = run("bob");
    assert_eq!(output.status.code(), Some(0));
    let events = String::from_utf8(output.stdout).unwrap();
    assert!(events.contains("logged_in") && events.contains("logged_out"), "{events}");
    world.profile_at("stranger", "stranger", &world.dial());
    assert_eq!(run("stranger").status.code(), Some(1));
}
