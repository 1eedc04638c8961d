//! The directory of users in PostgreSQL, as operators and users meet it: set up, shared by two nodes, lost, and back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test may panic, and say what it skips"
)]

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use common::{
    Client, PASSWORD, PATIENCE, PROGRAM, World, fails, now, ok, run_server_telling,
    several::postgres::{self, Postgres, Stop},
    talk,
};
use rustix::process::Signal;

/// How fast a removed user's connection has to end.
const SOON: Duration = Duration::from_secs(5);
/// How fast somebody has to be told that nobody can log in.
const TOLD: Duration = Duration::from_secs(8);

/// A server whose directory is in PostgreSQL, and what it logs, line by line.
struct Relay {
    world: World,
    log: mpsc::Receiver<String>,
    logged: String,
}

impl Relay {
    fn new(postgres: &Postgres, database: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("server");
        ok(&mut init(&folder, &postgres.url(database), Some(&postgres.password_file(dir.path()))));
        fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        let (mut server, address) = run_server_telling(&folder, "127.0.0.1:0", Stdio::piped());
        let lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { world: World::around(dir, server, address), log, logged: String::new() }
    }

    /// Waits until it logs something with these words.
    fn says(&mut self, words: &str) {
        let begin = now();
        while let Ok(line) = self.log.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())) {
            let is_it = line.contains(words);
            self.logged += &format!("{line}\n");
            if is_it {
                return;
            }
        }
        panic!("no {words:?} in {}", self.logged);
    }

    /// Tells it to stop, and waits until it has: all that it logged.
    fn stops(mut self) -> String {
        self.world.goes(Signal::TERM);
        self.log.iter().fold(self.logged, |logged, line| logged + &line + "\n")
    }
}

fn init(folder: &Path, url: &str, password: Option<&Path>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["server", "init", "--host", "localhost", "--directory", url, "--dir"]).arg(folder);
    if let Some(password) = password {
        command.arg("--directory-password-file").arg(password);
    }
    command
}

fn run(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["server", "run", "--listen", "127.0.0.1:0", "--dir"]).arg(folder);
    command
}

fn list(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["user", "list", "--dir"]).arg(folder);
    command
}

fn text_of(command: &mut Command) -> String {
    String::from_utf8(ok(command).stdout).unwrap()
}

/// Changes the text of a file.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// That somebody who logs in is told that nobody can.
fn is_told_that_nobody_gets_in(world: &World, folder: &str) {
    let begin = now();
    let mut client = world.client(folder);
    let told = client.expect("error");
    assert_eq!(told["code"], "unreachable", "{told}");
    assert!(told["message"].as_str().unwrap().contains("cannot look up its users"), "{told}");
    assert!(begin.elapsed() < TOLD, "{:?}", begin.elapsed());
}

fn says(from: &mut Client, to: &mut Client, text: &str) {
    from.says(text);
    assert_eq!(to.expect("message")["text"], text);
}

#[test]
fn users_of_a_directory_in_postgresql_log_in_talk_and_are_removed() {
    let Some(postgres) = Postgres::shared() else { return };
    let database = postgres.database();
    let relay = Relay::new(&postgres, &database);
    let world = &relay.world;
    let folder = world.server_dir();
    assert!(!folder.join("directory.db").exists());
    let settings = fs::read_to_string(folder.join("server.toml")).unwrap();
    assert!(settings.contains(&format!("\ndirectory = \"{}\"\n", postgres.url(&database))), "{settings}");
    assert!(!settings.contains(postgres::PASSWORD));
    for name in ["bob", "alice", "carol"] {
        world.user(name);
    }
    let listed = text_of(&mut list(&folder));
    let names: Vec<_> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["alice", "bob", "carol"]);

    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|name| world.log_in(name));
    talk(&mut alice, &mut bob, "bob");
    says(&mut alice, &mut bob, "over PostgreSQL");
    says(&mut bob, &mut alice, "so it is");

    // Whoever is removed, or has another key, by another process, is gone at once.
    let begin = now();
    world.administer("remove", "carol", None);
    assert_eq!(carol.expect_error(), "unknown_user");
    world.profile_at("other", "alice", &world.dial());
    world.administer("replace", "alice", Some("other"));
    assert_eq!(alice.expect_error(), "unknown_user");
    assert!(begin.elapsed() < 2 * SOON, "{:?}", begin.elapsed());
    assert_eq!(world.client("alice").failed().0, "unknown_user");
    assert_eq!(world.client("carol").failed().0, "unknown_user");
    world.log_in("other");
    let log = relay.stops();
    assert!(!log.contains("ERROR") && !log.contains("sqlx") && !log.contains(postgres::PASSWORD), "{log}");
}

#[test]
fn a_second_node_shares_the_users_of_the_first() {
    let Some(postgres) = Postgres::shared() else { return };
    let database = postgres.database();
    let first = Relay::new(&postgres, &database);
    first.world.user("alice");
    let dir = tempfile::tempdir().unwrap();
    let (folder, password) = (dir.path().join("second"), postgres.password_file(dir.path()));
    let made = text_of(&mut init(&folder, &postgres.url(&database), Some(&password)));
    assert!(made.contains("found the directory of users"), "{made}");
    assert!(text_of(&mut list(&folder)).starts_with("alice "));

    // Each has the other's changes at once, and two who add the same name at the same time do not both succeed.
    let key = first.world.profile("alice").join("key.pub");
    let mut remove = Command::new(PROGRAM);
    let mut alice = first.world.log_in("alice");
    let begin = now();
    ok(remove.args(["user", "remove", "alice", "--dir"]).arg(&folder));
    assert_eq!(alice.expect_error(), "unknown_user");
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let adds = [folder, first.world.server_dir()].map(|folder| {
        let mut add = Command::new(PROGRAM);
        add.args(["user", "add", "alice", "--dir"]).arg(folder).arg("--key").arg(&key);
        add.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let codes = adds.map(|add| add.wait_with_output().unwrap().status.code());
    assert!(codes.contains(&Some(0)) && codes.contains(&Some(1)), "{codes:?}");
    first.world.log_in("alice");
}

#[test]
fn what_keeps_a_server_from_its_directory_is_said_in_one_line_and_nothing_is_left() {
    let Some(postgres) = Postgres::shared() else { return };
    let database = postgres.database();
    let url = postgres.url(&database);
    let dir = tempfile::tempdir().unwrap();
    let (folder, password) = (dir.path().join("server"), postgres.password_file(dir.path()));
    let wrong = dir.path().join("wrong");
    fs::write(&wrong, "rosebud\n").unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    let refusal = |url: &str, password: Option<&Path>, words: &str| {
        let told = fails(&mut init(&folder, url, password));
        assert!(told.contains(words) && !told.contains("rosebud"), "{told}");
        assert!(!folder.exists(), "{told}");
    };
    refusal(&url.replace("sottovoce@", "sottovoce:rosebud@"), None, "directory_password_file");
    refusal(&format!("{url}?password=rosebud"), None, "directory_password_file");
    refusal("postgres://sottovoce@db.example/chat", None, "sslmode=verify-full");
    refusal(&url, Some(&wrong), "pg_hba.conf");
    refusal(&url, None, "pg_hba.conf");
    refusal(&postgres.url("nowhere"), Some(&password), "createdb");
    refusal("postgres://sottovoce@127.0.0.1:1/chat", Some(&password), "is PostgreSQL running there?");
    let others = postgres.database();
    postgres.sql(&others, "CREATE TABLE orders (number INT)");
    refusal(&postgres.url(&others), Some(&password), "an empty database of its own");

    ok(&mut init(&folder, &url, Some(&password)));
    let settings = folder.join("server.toml");
    let whole = fs::read_to_string(&settings).unwrap();
    let refusal = |from: &str, to: &str, words: &str| {
        edit(&settings, from, to);
        for mut command in [run(&folder), list(&folder)] {
            let told = fails(&mut command);
            assert!(told.contains(words) && !told.contains("rosebud"), "{told}");
        }
        fs::write(&settings, &whole).unwrap();
    };
    refusal("sottovoce@", "sottovoce:rosebud@", "directory_password_file");
    refusal(&format!("{}", password.display()), &format!("{}", wrong.display()), "pg_hba.conf");
    refusal(&format!(":{}/", postgres.port()), ":1/", "is PostgreSQL running there?");
    refusal(&database, &others, "an empty database of its own");
    refusal(&url, "sqlite:directory.db", "directory_password_file");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    refusal("", "", "chmod 600");
}

#[test]
fn nothing_that_says_where_to_go_or_as_whom_is_taken_from_the_environment() {
    let Some(postgres) = Postgres::shared() else { return };
    let (database, other) = (postgres.database(), postgres.database());
    let dir = tempfile::tempdir().unwrap();
    let (folder, password) = (dir.path().join("server"), postgres.password_file(dir.path()));
    ok(&mut init(&folder, &postgres.url(&database), Some(&password)));
    // Where PostgreSQL's own programs would look.
    let port = postgres.port().to_string();
    let variables = [
        ("PGHOST", "db.example"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGPORT", "1"),
        ("PGUSER", "mallory"),
        ("PGDATABASE", &other),
        ("PGPASSWORD", "rosebud"),
        ("PGSSLMODE", "require"),
        ("PGSSLROOTCERT", "/nowhere"),
        ("PGAPPNAME", "mallory"),
        ("PGPASSFILE", "/nowhere"),
    ];
    assert_eq!(text_of(list(&folder).envs(variables)), "");
    for variable in ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
        let told = fails(list(&folder).env(variable, "rosebud"));
        assert!(told.contains(variable) && !told.contains("rosebud"), "{told}");
    }

    // The right password is there, but not where it is taken from.
    edit(&folder.join("server.toml"), "\ndirectory_password_file", "\n#directory_password_file");
    let passwords = dir.path().join(".pgpass");
    let escaped = postgres::PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    fs::write(&passwords, format!("*:{port}:*:*:{escaped}\n")).unwrap();
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    let told = fails(
        list(&folder).env("HOME", dir.path()).env("PGPASSFILE", &passwords).env("PGPASSWORD", postgres::PASSWORD),
    );
    assert!(told.contains("pg_hba.conf"), "{told}");
}

#[test]
fn a_chat_goes_on_while_postgresql_is_gone_and_log_ins_when_it_is_back() {
    let Some(mut postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let mut relay = Relay::new(&postgres, &database);
    for name in ["alice", "bob", "carol"] {
        relay.world.user(name);
    }
    let (mut alice, mut bob) = (relay.world.log_in("alice"), relay.world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");
    says(&mut alice, &mut bob, "before");

    postgres.stop(Stop::Fast);
    relay.says("the directory cannot be read; removals wait");
    for round in 0..2 {
        is_told_that_nobody_gets_in(&relay.world, "carol");
        says(&mut bob, &mut alice, &format!("stopped {round}"));
    }
    postgres.is_back();
    // The first of all, on whatever connection is left from before.
    relay.world.log_in("carol");
    relay.says("the directory can be read again");

    postgres.freezes();
    relay.says("the directory cannot be read; removals wait");
    is_told_that_nobody_gets_in(&relay.world, "carol");
    says(&mut alice, &mut bob, "frozen");
    postgres.thaws();
    relay.world.log_in("carol");
    relay.says("the directory can be read again");
    says(&mut bob, &mut alice, "after");

    // A removal is noticed as before.
    let begin = now();
    relay.world.administer("remove", "bob", None);
    assert_eq!(bob.expect_error(), "unknown_user");
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    drop((alice, bob));
    let log = relay.stops();
    let count = |words: &str| log.matches(words).count();
    // Once for each loss and each way of being lost, however often it was looked for.
    assert!((2..=4).contains(&count("the directory cannot be read; removals wait")), "{log}");
    assert_eq!(count("the directory can be read again"), 2, "{log}");
    assert!(!log.contains("all sessions end") && !log.contains(postgres::PASSWORD), "{log}");
}

/// Another database may have taken over, which lacks the last changes of the one before and has others.
#[test]
fn what_changed_while_the_directory_could_not_be_read_is_noticed_whatever_its_number() {
    let Some(postgres) = Postgres::shared() else { return };
    let database = postgres.database();
    let mut relay = Relay::new(&postgres, &database);
    relay.world.user("alice");
    relay.world.user("bob");
    let (mut alice, mut bob) = (relay.world.log_in("alice"), relay.world.log_in("bob"));
    // The last change that the server has seen.
    relay.world.administer("remove", "bob", None);
    assert_eq!(bob.expect_error(), "unknown_user");
    postgres.sql(&database, "ALTER TABLE sottovoce.revision RENAME TO aside");
    relay.says("the directory cannot be read; removals wait");
    postgres.sql(&database, "DELETE FROM sottovoce.users; ALTER TABLE sottovoce.aside RENAME TO revision");
    assert_eq!(alice.expect_error(), "unknown_user");
}

/// Each look takes seconds to fail then, and it is the time that counts, not the looks.
#[test]
fn when_postgresql_hangs_for_half_a_minute_all_sessions_end() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let relay = Relay::new(&postgres, &database);
    relay.world.user("alice");
    let mut alice = relay.world.log_in("alice");
    let begin = now();
    postgres.freezes();
    assert_eq!(alice.expect_error(), "unreachable");
    let stayed = begin.elapsed();
    assert!((Duration::from_secs(27)..Duration::from_secs(36)).contains(&stayed), "{stayed:?}");
    postgres.thaws();
    alice.expect("reconnected");
    drop(alice);
    let log = relay.stops();
    assert_eq!(log.matches("all sessions end").count(), 1, "{log}");
}
