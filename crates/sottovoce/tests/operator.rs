//! What an operator does and gets to see: setting up, registering, stopping.
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
    collections::BTreeMap,
    fs, io,
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use common::{PATIENCE, PROGRAM, World, fails, now, ok, read_to_end, run_server_telling, signal, talk};
use rustix::process::Signal;
use serde_json::json;

/// How fast a server has to stop.
const SOON: Duration = Duration::from_secs(5);

/// Name, mode and content of everything in a folder.
fn content(dir: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let found = entry.metadata().unwrap();
        let mode = found.permissions().mode() & 0o7777;
        // A running server's socket has no content.
        let content = if found.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        (entry.file_name().into_string().unwrap(), (mode, content))
    };
    fs::read_dir(dir).unwrap().map(entry).collect()
}

fn init(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["server", "init", "--host", "localhost", "--dir"]).arg(dir).args(arguments);
    command
}

fn user(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("user").args(arguments).arg("--dir").arg(dir);
    command
}

/// A server of the world's directory whose log the test reads, and which is killed if the test ends early.
struct Server {
    process: Child,
    dial: String,
    log: mpsc::Receiver<String>,
}

impl Server {
    fn run(dir: &Path) -> Self {
        let (mut process, address) = run_server_telling(dir, "127.0.0.1:0", Stdio::piped());
        let log = read_to_end(process.stderr.take().unwrap());
        Self { process, dial: format!("localhost:{}", address.rsplit_once(':').unwrap().1), log }
    }

    /// Tells it to stop, and waits until it has: what it logged.
    fn stop(&mut self, order: Signal) -> String {
        let begin = now();
        signal(&self.process, order);
        let log = self.log.recv_timeout(PATIENCE).expect("the server stops");
        assert_eq!(self.process.wait().unwrap().code(), Some(0), "{log}");
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn init_makes_all_that_a_server_needs_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new/server");
    let told = String::from_utf8(ok(&mut init(&target, &[])).stdout).unwrap();
    let made = content(&target);
    let modes: Vec<_> = made.iter().map(|(name, (mode, _))| (name.as_str(), *mode)).collect();
    let expected = [
        ("ca.key", 0o600),
        ("ca.pem", 0o644),
        ("directory.db", 0o600),
        ("server.key", 0o600),
        ("server.pem", 0o644),
        ("server.toml", 0o600),
    ];
    assert_eq!(modes, expected);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o700);
    for (name, _) in expected {
        assert!(told.contains(name), "{told}");
    }
    let refusal = fails(&mut init(&target, &[]));
    assert!(refusal.contains("not to overwrite") && refusal.contains("ca.key"), "{refusal}");
    assert_eq!(content(&target), made);

    // One file in the way is enough, and nothing is put beside it.
    for (name, _) in expected {
        let target = dir.path().join(name);
        fs::create_dir(&target).unwrap();
        fs::write(target.join(name), "mine").unwrap();
        let refusal = fails(&mut init(&target, &[]));
        assert!(refusal.contains(name), "{refusal}");
        assert_eq!(content(&target).into_keys().collect::<Vec<_>>(), [name]);
        assert_eq!(fs::read(target.join(name)).unwrap(), b"mine");
    }
}

/// Makes an authority and a certificate for `localhost` with `openssl`, if the machine has it: `ca.pem`,
/// `fullchain.pem` and `privkey.pem`.
fn certificate_of_another_authority(dir: &Path) -> Option<()> {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        match command.args(arguments.split(' ')).current_dir(dir).stdin(Stdio::null()).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            output => {
                let output = output.unwrap();
                assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
                Some(())
            }
        }
    };
    fs::write(
        dir.join("leaf.ext"),
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n",
    )
    .unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=Another -keyout ca.key -out ca.pem")?;
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=relay -keyout privkey.pem -out leaf.csr",
    )?;
    openssl(
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile leaf.ext -out fullchain.pem",
    )
}

#[test]
fn a_certificate_of_another_authority_serves_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let Some(()) = certificate_of_another_authority(dir.path()) else { return };
    let path = |name: &str| dir.path().join(name).into_os_string().into_string().unwrap();
    let (target, chain, key) = (dir.path().join("server"), path("fullchain.pem"), path("privkey.pem"));

    // The key of another, the certificate of another, and what is neither.
    for (chain, key) in [(&chain, &path("ca.key")), (&path("ca.pem"), &path("ca.key")), (&key, &chain)] {
        fails(&mut init(&target, &["--cert", chain, "--cert-key", key]));
        assert!(!target.exists());
    }
    let mut elsewhere = Command::new(PROGRAM);
    elsewhere.args(["server", "init", "--host", "chat.example", "--cert", &chain, "--cert-key", &key, "--dir"]);
    assert!(fails(elsewhere.arg(&target)).contains("not for chat.example"));
    let missing = path("nothing.pem");
    assert!(fails(&mut init(&target, &["--cert", &missing, "--cert-key", &key])).contains("nothing.pem"));

    ok(&mut init(&target, &["--cert", &chain, "--cert-key", &key]));
    let names: Vec<_> = content(&target).into_iter().map(|(name, (mode, _))| (name, mode)).collect();
    let expected = [("directory.db", 0o600), ("server.key", 0o600), ("server.pem", 0o644), ("server.toml", 0o600)];
    assert_eq!(names, expected.map(|(name, mode)| (name.to_owned(), mode)));

    let world = World::new();
    let server = Server::run(&target);
    world.profile_at("alice", "alice", &server.dial);
    let public = world.profile("alice").join("key.pub");
    ok(user(&target, &["add", "alice"]).arg("--key").arg(&public));
    assert_eq!(world.client("alice").failed().0, "untrusted_server");
    fs::copy(path("ca.pem"), world.profile("alice").join("ca.pem")).unwrap();
    world.log_in("alice");
}

#[test]
fn users_are_registered_by_a_whole_public_key_that_is_theirs_alone() {
    let world = World::new();
    let dir = world.server_dir();
    for folder in ["alice", "bob"] {
        world.profile_at(folder, folder, &world.dial());
    }
    let key = |folder: &str| world.profile(folder).join("key.pub");
    let line = fs::read_to_string(key("alice")).unwrap();
    // By standard input, which is the default, or named.
    for (name, arguments) in [("alice", &["add", "alice"][..]), ("bob", &["add", "BOB", "--key", "-"])] {
        let child = user(&dir, arguments).stdin(fs::File::open(key(name)).unwrap()).output().unwrap();
        assert!(child.status.success());
        assert!(String::from_utf8(child.stdout).unwrap().contains(name));
    }

    let file = world.dir.path().join("given");
    let given = |text: &str| {
        fs::write(&file, text).unwrap();
        fails(user(&dir, &["add", "carol"]).arg("--key").arg(&file))
    };
    let private = fs::read_to_string(world.profile("alice").join("key")).unwrap();
    let cases = [
        (private.as_str(), "PRIVATE key"),
        ("", "no public key"),
        ("# nothing\n", "no public key"),
        ("hello", "not a whole public key"),
        (line.get(..60).unwrap(), "not a whole public key"),
        (&format!("{line}{line}"), "one public key at a time"),
        (&format!("command=\"x\" {line}"), "options"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 x", "only ssh-ed25519"),
        (&line, "the key of alice already"),
    ];
    for (text, words) in cases {
        let sentence = given(text);
        assert!(sentence.contains(words), "{text:?}: {sentence}");
        assert!(!sentence.contains(private.lines().nth(1).unwrap()), "{sentence}");
    }
    fs::write(&file, [0xff, 0xfe, 0]).unwrap();
    fails(user(&dir, &["add", "carol"]).arg("--key").arg(&file));
    assert!(fails(&mut user(&dir, &["add", "carol", "--key", "/nowhere/key.pub"])).contains("/nowhere/key.pub"));
}

#[test]
fn the_register_says_who_is_there_and_what_is_wrong() {
    let world = World::new();
    let dir = world.server_dir();
    for name in ["dora", "alice", "bob"] {
        world.user(name);
    }
    let list = || String::from_utf8(ok(&mut user(&dir, &["list"])).stdout).unwrap();
    let key_of = |folder: &str| {
        let line = fs::read_to_string(world.profile(folder).join("key.pub")).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    let has = |list: &str, users: &[(&str, &str)]| {
        assert_eq!(list.lines().count(), users.len(), "{list}");
        for (line, (name, folder)) in list.lines().zip(users) {
            assert!(line.contains(name) && line.contains(&key_of(folder)), "{line}");
        }
    };
    has(&list(), &[("alice", "alice"), ("bob", "bob"), ("dora", "dora")]);

    world.profile_at("other", "other", &world.dial());
    let with_key = |action: &str, name: &str, folder: &str| {
        let mut command = user(&dir, &[action, name]);
        command.arg("--key").arg(world.profile(folder).join("key.pub"));
        command
    };
    let cases = [
        (with_key("add", "alice", "other"), "user replace"),
        (with_key("add", "ALICE", "other"), "user replace"),
        (with_key("add", "erin", "bob"), "the key of bob already"),
        (with_key("replace", "alice", "bob"), "the key of bob already"),
        (with_key("replace", "nobody", "other"), "nobody is not registered"),
        (user(&dir, &["remove", "nobody"]), "nobody is not registered"),
        (user(&world.dir.path().join("elsewhere"), &["list"]), "sottovoce server init"),
    ];
    for (mut command, words) in cases {
        let sentence = fails(&mut command);
        assert!(sentence.contains(words), "{sentence}");
    }
    has(&list(), &[("alice", "alice"), ("bob", "bob"), ("dora", "dora")]);
    ok(&mut with_key("replace", "alice", "other"));
    ok(&mut user(&dir, &["remove", "bob"]));
    // A key that was given up may be registered again.
    ok(&mut with_key("add", "erin", "bob"));
    has(&list(), &[("alice", "other"), ("dora", "dora"), ("erin", "bob")]);
    // The database's companions are as private as itself.
    for (name, (mode, _)) in content(&dir) {
        assert!(!name.starts_with("directory") || mode == 0o600, "{name}: {mode:o}");
    }
}

#[test]
fn a_server_that_cannot_run_says_why() {
    let world = World::new();
    let run = |dir: &Path, arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["server", "run", "--dir"]).arg(dir).args(arguments);
        command
    };
    let taken = fails(&mut run(&world.server_dir(), &["--listen", &world.address]));
    assert!(taken.contains(&world.address) && taken.contains("--listen"), "{taken}");

    let dir = tempfile::tempdir().unwrap();
    assert!(fails(&mut run(dir.path(), &[])).contains("sottovoce server init"));
    let target = dir.path().join("server");
    ok(&mut init(&target, &[]));
    let config = target.join("server.toml");
    let good = fs::read_to_string(&config).unwrap();
    let lines = good.lines().count();
    for (setting, words) in [
        ("list_pages = 2", "list_pages"),
        ("list_page = 0", "from 1 to 500"),
        ("request_timeout = 5", "request_timeout"),
        ("request_timeout = \"1y\"", "request_timeout"),
        ("log = \"loud=very\"", "log"),
        ("log = \"loud\"", "log"),
        ("log = \"info,loud\"", "log"),
        ("log = \"\"", "log"),
        ("list_page", "line"),
    ] {
        fs::write(&config, format!("{good}{setting}\n")).unwrap();
        let sentence = fails(&mut run(&target, &["--listen", "127.0.0.1:0"]));
        assert!(sentence.contains("server.toml") && sentence.contains(words), "{setting}: {sentence}");
        assert!(setting.starts_with("log") || sentence.contains(&format!("line {}", lines + 1)), "{sentence}");
    }
    fs::write(&config, good.replace("name = \"localhost\"", "name = \"other.example\"")).unwrap();
    let sentence = fails(&mut run(&target, &["--listen", "127.0.0.1:0"]));
    assert!(sentence.contains("other.example") && sentence.contains("server.pem"), "{sentence}");
    fs::write(&config, &good).unwrap();
    for name in ["server.key", "server.pem", "directory.db"] {
        let path = target.join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let sentence = fails(&mut run(&target, &["--listen", "127.0.0.1:0"]));
        assert!(sentence.contains(name) && sentence.contains("server init"), "{sentence}");
        fs::write(&path, "nonsense").unwrap();
        fails(&mut run(&target, &["--listen", "127.0.0.1:0"]));
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn an_order_to_stop_is_told_to_all_clients() {
    let world = World::new();
    for name in ["alice", "bob", "carol", "dora"] {
        world.user(name);
    }
    for order in [Signal::TERM, Signal::INT] {
        let mut server = Server::run(&world.server_dir());
        let names = ["alice", "bob", "carol", "dora"];
        for name in names {
            let profile = world.profile(name).join("profile.toml");
            fs::write(profile, format!("name = \"{name}\"\nserver = \"{}\"\nca = \"ca.pem\"\n", server.dial)).unwrap();
        }
        let [mut alice, mut bob, mut carol, mut dora] = names.map(|name| world.log_in(name));
        talk(&mut alice, &mut bob, "bob");
        dora.types("--r carol");
        carol.expect("request");
        // Who says nothing, and who does not even greet, hold nothing up.
        signal(&dora.process, Signal::STOP);
        let port: u16 = server.dial.rsplit_once(':').unwrap().1.parse().unwrap();
        let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
        server.stop(order);
        drop(silent);

        signal(&dora.process, Signal::CONT);
        for (client, is_in_chat) in [(&mut alice, true), (&mut bob, true), (&mut carol, false), (&mut dora, false)] {
            let told = client.up_to("reconnecting");
            let has = |event: &str| told.iter().find(|told| told["event"] == event);
            let told_of = |event: &str| has(event).unwrap_or_else(|| panic!("{told:?}"));
            if is_in_chat {
                assert_eq!(has("chat_closed"), None, "a chat outlives the server");
            } else if has("user_not_found").is_none() {
                // Where the connection of the one who is asked ends first, the one who asks is told that nobody is there.
                assert_eq!(told_of("request_ended")["reason"], "lost");
            }
            assert_eq!(told_of("error")["code"], "unreachable");
            assert!(told_of("error")["message"].as_str().unwrap().contains("stopped"), "{told:?}");
            // Another may be there at once; not all of them are to come in the same moment.
            let wait = told_of("reconnecting")["in_ms"].as_u64().unwrap();
            assert!((50..=500).contains(&wait), "{wait}");
            client.types("--ex");
            if is_in_chat {
                // A goodbye would be worth some seconds; the second time says that it is not.
                client.types("--ex");
                assert_eq!(client.expect_closed(), "lost");
            }
            assert_eq!(client.rest().pop().unwrap()["event"], "logged_out");
            assert_eq!(client.ended(), (Some(0), String::new()));
        }
    }
}

#[test]
fn clients_of_a_server_that_dies_are_told() {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");
    signal(&world.server, Signal::KILL);
    for client in [&mut alice, &mut bob] {
        let told = client.up_to("reconnecting");
        assert_eq!(told.last().unwrap(), &json!({ "event": "reconnecting", "in_ms": 0 }));
        assert_eq!(told[told.len() - 2]["code"], "unreachable");
        assert!(told.iter().all(|told| told["event"] != "chat_closed"), "{told:?}");
    }
}

#[test]
fn keygen_takes_no_private_key_for_an_authority() {
    let world = World::new();
    for (file, why) in [("ca.key", "private key"), ("server.toml", "certificate")] {
        let mut keygen = Command::new(PROGRAM);
        keygen
            .args(["keygen", "--name", "alice", "--server", "localhost:7478", "--profile"])
            .arg(world.profile("alice"));
        keygen.arg("--password-file").arg(world.password_file()).arg("--ca").arg(world.server_dir().join(file));
        let told = fails(&mut keygen);
        assert!(told.contains(file) && told.contains(why), "{told}");
        assert!(!world.profile("alice").exists(), "nothing was made");
    }
}

#[test]
fn keygen_uses_no_folder_that_others_may_write_to() {
    let world = World::new();
    let folder = world.profile("alice");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let mut keygen = Command::new(PROGRAM);
    keygen.args(["keygen", "--name", "alice", "--profile"]).arg(&folder);
    let told = fails(keygen.arg("--password-file").arg(world.password_file()));
    assert!(told.contains("chmod go-w"), "{told}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing was made");
}
