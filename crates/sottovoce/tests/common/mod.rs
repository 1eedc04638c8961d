//! A server and clients as real processes, for tests that tell a story.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod lines;
pub(crate) mod screen;
pub(crate) mod several;
pub(crate) mod shown;
pub(crate) mod terminal;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use identity::UserKey;
use protocol::{ClientId, Login};
use rand::rngs::SysRng;
use rand_core::{Rng as _, UnwrapErr};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use several::{Several, postgres::Postgres};
use ssh_key::{
    Cipher, Kdf, LineEnding, PrivateKey,
    private::{Ed25519Keypair, Ed25519PrivateKey},
    public::Ed25519PublicKey,
};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sottovoce");
pub(crate) const PASSWORD: &str = "correct horse";
/// How long a test waits for what must come; far longer than it ever takes, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server process in a directory of its own, and the profiles of its users. Where the server is several nodes, that is the
/// first of them, and the address that of a balancer.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) address: String,
    pub(crate) server: Child,
    several: Option<Several>,
}

impl World {
    /// A server with its default configuration.
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// A server with its default configuration, and these users.
    pub(crate) fn of<const N: usize>(names: [&str; N]) -> Self {
        let world = Self::new();
        for name in names {
            world.user(name);
        }
        world
    }

    /// A server with these lines in place of those settings' defaults, such as `request_timeout = "1s"`.
    pub(crate) fn with(settings: &str) -> Self {
        Self::at("localhost", settings)
    }

    /// A server whose certificate is for `host`, and with these settings.
    pub(crate) fn at(host: &str, settings: &str) -> Self {
        if let Some(world) = Self::where_all_are_of_nodes(host, settings) {
            return world;
        }
        let dir = Self::init(host, settings, None);
        let (server, address) = run_server(&dir.path().join("server"), "127.0.0.1:0");
        Self { dir, address, server, several: None }
    }

    /// A folder with all that a server and its users need, the server's in `server`. Its directory is a file, or in a new
    /// database.
    pub(crate) fn init(host: &str, settings: &str, postgres: Option<&Postgres>) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let server_dir = dir.path().join("server");
        let mut init = Command::new(PROGRAM);
        init.args(["server", "init", "--host", host, "--dir"]).arg(&server_dir);
        if let Some(postgres) = postgres {
            init.arg("--directory").arg(postgres.url(&postgres.database()));
            init.arg("--directory-password-file").arg(postgres.password_file(dir.path()));
        }
        ok(&mut init);
        several::set(&server_dir, settings);
        fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        dir
    }

    /// A world whose one server runs already.
    pub(crate) fn around(dir: TempDir, server: Child, address: String) -> Self {
        Self { dir, address, server, several: None }
    }

    /// Sends the server a signal that ends it, and waits for the end.
    pub(crate) fn goes(&mut self, how: Signal) {
        if self.several.is_some() {
            return self.all_nodes_go(how);
        }
        signal(&self.server, how);
        self.server.wait().unwrap();
    }

    /// Starts the server again, on the port that it had.
    pub(crate) fn is_back(&mut self) {
        if self.several.is_some() {
            return self.all_nodes_are_back();
        }
        self.server = run_server(&self.server_dir(), &self.address).0;
    }

    pub(crate) fn server_dir(&self) -> PathBuf {
        self.dir.path().join("server")
    }

    pub(crate) fn profile(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// What clients dial: `localhost:PORT`.
    pub(crate) fn dial(&self) -> String {
        format!("localhost:{}", self.address.rsplit_once(':').unwrap().1)
    }

    /// Makes a profile for `name` that dials `dial`, and registers its key.
    pub(crate) fn user_at(&self, name: &str, dial: &str) {
        self.profile_at(name, name, dial);
        self.administer("add", name, Some(name));
    }

    /// Runs `sottovoce user ACTION NAME`, with the public key of the profile in `folder` if one is given.
    pub(crate) fn administer(&self, action: &str, name: &str, folder: Option<&str>) {
        let mut command = Command::new(PROGRAM);
        command.args(["user", action, name, "--dir"]).arg(self.server_dir());
        if let Some(folder) = folder {
            command.arg("--key").arg(self.profile(folder).join("key.pub"));
        }
        ok(&mut command);
    }

    /// Runs `sottovoce pins ACTION NAME` (or none, for `list`) for the profile in `folder`; what it printed.
    pub(crate) fn pins(&self, folder: &str, action: &[&str]) -> String {
        let output = ok(Command::new(PROGRAM).arg("pins").args(action).arg("--profile").arg(self.profile(folder)));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn user(&self, name: &str) {
        self.user_at(name, &self.dial());
    }

    /// Makes a profile in the directory `folder` for the user `name`, without registering it. It is as
    /// `sottovoce keygen` makes it, but for a key file that opens at once.
    pub(crate) fn profile_at(&self, folder: &str, name: &str, dial: &str) {
        let dir = self.profile(folder);
        fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        write_quick_key(&dir, name);
        fs::copy(self.server_dir().join("ca.pem"), dir.join("ca.pem")).unwrap();
        let settings = format!("name = \"{name}\"\nserver = \"{dial}\"\nca = \"ca.pem\"\n");
        fs::write(dir.join("profile.toml"), settings).unwrap();
    }

    /// A command that chats with the profile in `folder`, and asks for the password.
    pub(crate) fn chat(&self, folder: &str, face: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["chat", "--face", face, "--profile"]).arg(self.profile(folder));
        command
    }

    /// Starts a json client with the profile in `folder`.
    pub(crate) fn client(&self, folder: &str) -> Client {
        self.client_with(folder, &[])
    }

    pub(crate) fn client_with(&self, folder: &str, arguments: &[&str]) -> Client {
        let mut command = self.chat(folder, "json");
        command.arg("--password-file").arg(self.password_file()).args(arguments);
        Client::start(command)
    }

    /// Starts a json client and waits until it is logged in.
    pub(crate) fn log_in(&self, folder: &str) -> Client {
        let mut client = self.client(folder);
        client.expect("logged_in");
        client
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        self.ends_as_nodes();
    }
}

/// Writes `key` and `key.pub` into `dir`, with the one round of bcrypt that OpenSSH allows as least: the half second
/// that `keygen` makes each log-in take would be most of what a test does.
pub(crate) fn write_quick_key(dir: &Path, comment: &str) {
    let mut rng = UnwrapErr(SysRng);
    let (mut seed, mut salt) = ([0; 32], vec![0; 16]);
    rng.fill_bytes(&mut seed);
    rng.fill_bytes(&mut salt);
    let public = UserKey::from_seed(&seed).public();
    let pair =
        Ed25519Keypair { public: Ed25519PublicKey(*public.as_bytes()), private: Ed25519PrivateKey::from_bytes(&seed) };
    let locked = PrivateKey::new(pair.into(), comment)
        .and_then(|key| key.encrypt_with(Cipher::Aes256Ctr, Kdf::Bcrypt { salt, rounds: 1 }, 7, PASSWORD))
        .unwrap();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join("key")).unwrap();
    file.write_all(locked.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    fs::write(dir.join("key.pub"), format!("{}\n", identity::public_line(&public, comment))).unwrap();
}

/// The first log-in of another client each time, in this name.
pub(crate) fn first_login(name: &str) -> Login {
    let mut id = [0; 16];
    UnwrapErr(SysRng).fill_bytes(&mut id);
    Login::first(name.parse().unwrap(), ClientId::from_bytes(id))
}

/// Starts a server and waits until it says where it listens.
pub(crate) fn run_server(dir: &Path, listen: &str) -> (Child, String) {
    run_server_telling(dir, listen, Stdio::null())
}

/// Starts a server whose log goes to `log`, and waits until it says where it listens.
pub(crate) fn run_server_telling(dir: &Path, listen: &str, log: Stdio) -> (Child, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["server", "run", "--listen", listen, "--dir"]).arg(dir);
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect("the server says where it listens").to_owned();
    (server, address)
}

/// Runs a command that has to succeed; its output.
pub(crate) fn ok(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs a command that has to fail with exit code 1 and say why in one line, which this gives.
pub(crate) fn fails(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {stderr}");
    sentence(&stderr)
}

/// The one line that a program which failed has to say on standard error.
#[track_caller]
pub(crate) fn sentence(stderr: &str) -> String {
    let line = stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {stderr:?}"));
    assert!(!line.contains('\n') && line.len() > "sottovoce: ".len(), "one line: {stderr:?}");
    assert!(!line.contains("panicked") && line.starts_with("sottovoce: "), "{stderr:?}");
    line.to_owned()
}

/// Sends a signal to a process of the test's own. Where that stops it, all of its threads have stopped: until one of them has
/// taken the signal, the others go on.
pub(crate) fn signal(process: &Child, signal: Signal) {
    let id = Pid::from_child(process);
    kill_process(id, signal).unwrap();
    if signal == Signal::STOP {
        waitid(WaitId::Pid(id), WaitIdOptions::STOPPED).unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test measures what a person would wait")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Reads to the end on a thread of its own; what was read comes through the channel when the writer has ended.
pub(crate) fn read_to_end(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, text) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    text
}

/// A client process with the json face.
pub(crate) struct Client {
    pub(crate) process: Child,
    pub(crate) stdin: Option<ChildStdin>,
    events: mpsc::Receiver<Value>,
    stderr: mpsc::Receiver<String>,
}

impl Client {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (sender, events) = mpsc::channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.expect("standard output is UTF-8");
                let value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a JSON line: {line:?}"));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let stderr = read_to_end(process.stderr.take().unwrap());
        let stdin = process.stdin.take();
        Self { process, stdin, events, stderr }
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.writes(format!("{line}\n").as_bytes());
    }

    /// Writes bytes to the client's standard input, whatever they are.
    pub(crate) fn writes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Says any text, by a command object.
    pub(crate) fn says(&mut self, text: &str) {
        self.types(&serde_json::json!({ "say": text }).to_string());
    }

    /// The next event, whatever it is; `None` at the end of output.
    pub(crate) fn next(&mut self) -> Option<Value> {
        match self.events.recv_timeout(PATIENCE) {
            Ok(event) => Some(event),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing came in {PATIENCE:?}"),
        }
    }

    /// The next event, if one comes by then.
    pub(crate) fn next_by(&mut self, then: Instant) -> Option<Value> {
        self.events.recv_timeout(then.saturating_duration_since(now())).ok()
    }

    /// Skips to the next event of this name.
    pub(crate) fn expect(&mut self, event: &str) -> Value {
        self.up_to(event).pop().unwrap()
    }

    /// All events up to the next of this name, that one included.
    pub(crate) fn up_to(&mut self, event: &str) -> Vec<Value> {
        let begin = now();
        let mut seen = Vec::new();
        while let Some(value) = self.next() {
            let is_awaited = value["event"] == event;
            seen.push(value);
            if is_awaited {
                return seen;
            }
            // A client without a connection goes on telling of attempts.
            assert!(begin.elapsed() < PATIENCE, "no {event:?} in {PATIENCE:?}, only {seen:#?}");
        }
        panic!("no {event:?}, only {seen:#?}; {}", self.ended().1);
    }

    /// Skips to the next error event, whose code it gives.
    pub(crate) fn expect_error(&mut self) -> String {
        self.expect("error")["code"].as_str().unwrap().to_owned()
    }

    /// The reason in the next `chat_closed`.
    pub(crate) fn expect_closed(&mut self) -> String {
        self.expect("chat_closed")["reason"].as_str().unwrap().to_owned()
    }

    /// Asks who is online: the names on the first page.
    pub(crate) fn lists(&mut self) -> Vec<String> {
        self.types("--l");
        serde_json::from_value(self.expect("users")["users"].take()).unwrap()
    }

    /// Asks who is online until it is these: the server may hear of this client before it hears of the others, and of
    /// somebody who asks too often it wants to hear later.
    pub(crate) fn lists_at_last(&mut self, users: &[&str]) {
        let begin = now();
        loop {
            self.types("--l");
            let answer = self.next().expect("an answer");
            match answer["event"].as_str() {
                Some("users") if answer["users"] == serde_json::json!(users) => return,
                Some("users") => {}
                _ => assert_eq!(answer["code"], "too_fast", "{answer}"),
            }
            assert!(begin.elapsed() < PATIENCE, "{answer}");
        }
    }

    /// All events up to the end of output.
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        let begin = now();
        let mut rest = Vec::new();
        while let Some(value) = self.next() {
            rest.push(value);
            assert!(begin.elapsed() < PATIENCE, "no end in {PATIENCE:?}, only {rest:#?}");
        }
        rest
    }

    /// Ends the input and waits for the process: its exit code and standard error.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        self.stdin = None;
        let stderr = self.stderr.recv_timeout(PATIENCE).expect("the client ends");
        (self.process.wait().unwrap().code(), stderr)
    }

    /// Waits for the client to fail: the code of the last event, which is an error, and what it says to people. That
    /// standard error says the same in one line, and the exit code is 1, is checked.
    pub(crate) fn failed(&mut self) -> (String, String) {
        let last = self.rest().pop().expect("an event tells of the failure");
        assert_eq!(last["event"], "error", "{last}");
        let stderr = self.stderr.recv_timeout(PATIENCE).expect("the client ends");
        assert_eq!(self.process.wait().unwrap().code(), Some(1), "{stderr}");
        let (code, message) = (last["code"].as_str().unwrap().to_owned(), last["message"].as_str().unwrap().to_owned());
        assert_eq!(sentence(&stderr), format!("sottovoce: {}", printed(&message)));
        (code, message)
    }
}

/// What is left of a message, in which there are no line ends, on a terminal.
pub(crate) fn printed(message: &str) -> String {
    message.chars().filter(|c| !c.is_control()).collect()
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Lets `caller` ask `accepter`, called `name`, to talk, and waits until both are in the chat: what each was told.
pub(crate) fn talk(caller: &mut Client, accepter: &mut Client, name: &str) -> (Value, Value) {
    caller.types(&format!("--r {name}"));
    accepter.expect("request");
    accepter.types("--y");
    (caller.expect("chat_started"), accepter.expect("chat_started"))
}
