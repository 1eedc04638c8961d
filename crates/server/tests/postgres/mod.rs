//! A PostgreSQL of a test's own: real, thrown away, on loopback. Other test crates include this file by its path.
#![allow(dead_code, reason = "each test binary uses a part of this")]
#![expect(clippy::disallowed_methods, reason = "where programs are, and whether a test may skip, the environment says")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{OpenOptionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Who owns the databases, and has to give the password over the network.
pub(crate) const USER: &str = "sottovoce";
/// With all that a URL or a shell would have to be careful with.
pub(crate) const PASSWORD: &str = "p@ss:w/ord?&=% é";
/// How long it may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running PostgreSQL. It ends, and its files go, when this is dropped.
pub(crate) struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    runs_as: Option<(u32, u32)>,
    port: u16,
    process: Option<Child>,
    databases: AtomicU32,
}

/// How it is told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It says goodbye to its clients.
    Fast,
    /// It drops everything.
    Immediate,
}

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

impl Postgres {
    /// The one that the tests of a process share while there are any, who leave it running. `None`, saying so, where
    /// PostgreSQL is not installed; a failure on a machine whose word counts.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let new = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&new);
        Some(new)
    }

    /// One for a test that stops it, or the like.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = installed() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed, and this machine's word counts");
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let runs_as = rustix::process::getuid().is_root().then(unprivileged);
        let dir = tempfile::Builder::new().prefix("pg-").tempdir().unwrap();
        let mut postgres = Self { dir, programs, runs_as, port: 0, process: None, databases: AtomicU32::new(0) };
        postgres.own(postgres.dir.path());
        let initdb = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"];
        postgres.ok(postgres.command("initdb").args(initdb).arg(postgres.data()));
        postgres.certify();
        let who = "local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n";
        fs::write(postgres.data().join("pg_hba.conf"), who).unwrap();
        postgres.run();
        postgres.sql("postgres", &format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"));
        Some(postgres)
    }

    /// A new database, which [`USER`] owns.
    pub(crate) fn database(&self) -> String {
        let name = format!("directory_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {USER}"));
        name
    }

    /// The URL of a database over TCP, without TLS.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database over its Unix socket, where nobody asks for a password.
    pub(crate) fn socket_url(&self, database: &str) -> String {
        let folder = self.dir.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://{USER}@{folder}:{}/{database}", self.port)
    }

    /// The URL of a database over TLS at `host`. What listens there is certified for `localhost` and `127.0.0.1`, and not for
    /// `127.0.0.2`, by [`Self::authority`].
    pub(crate) fn tls_url(&self, host: &str, database: &str, authority: &Path) -> String {
        let authority = authority.to_str().unwrap();
        format!("postgres://{USER}@{host}:{}/{database}?sslmode=verify-full&sslrootcert={authority}", self.port)
    }

    /// The certificate of the authority that certified it.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.path().join("authority.pem")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A file with the password of [`USER`] in `dir`.
    pub(crate) fn password_file(&self, dir: &Path) -> PathBuf {
        let path = dir.join("database-password");
        if !path.exists() {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
            writeln!(file, "{PASSWORD}").unwrap();
        }
        path
    }

    /// Runs SQL as the superuser; the rows that come of it, a line each.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]);
        self.ok(psql.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string(), "-c", sql]))
    }

    /// Stops it, and waits until it has.
    pub(crate) fn stop(&mut self, how: Stop) {
        if let Some(mut process) = self.process.take() {
            let order = if how == Stop::Fast { Signal::INT } else { Signal::QUIT };
            kill_process(Pid::from_child(&process), order).unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again, where it was.
    pub(crate) fn is_back(&mut self) {
        self.run();
    }

    /// Stops it and all that it has started from running, with all connections left open, until [`Self::thaws`].
    pub(crate) fn freezes(&self) {
        // The first starts no others once it has stopped.
        for process in self.family() {
            kill_process(process, Signal::STOP).unwrap();
            while !is_stopped(process) {
                thread::yield_now();
            }
        }
        for process in self.family() {
            let _ = kill_process(process, Signal::STOP);
        }
    }

    /// Stops those of its processes from running that serve connections to a database, as if the network had lost these.
    /// New connections are served by others.
    pub(crate) fn freezes_connections(&self, database: &str) {
        let processes = self.sql("postgres", &format!("SELECT pid FROM pg_stat_activity WHERE datname = '{database}'"));
        for process in processes.lines() {
            kill_process(Pid::from_raw(process.parse().unwrap()).unwrap(), Signal::STOP).unwrap();
        }
    }

    /// Lets it run on.
    pub(crate) fn thaws(&self) {
        for process in self.family() {
            let _ = kill_process(process, Signal::CONT);
        }
    }

    /// The process that listens, and those that it has started.
    fn family(&self) -> Vec<Pid> {
        let head = Pid::from_child(self.process.as_ref().unwrap());
        let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            (stat(Pid::from_raw(id)?)?.1 == head.as_raw_nonzero().get()).then(|| Pid::from_raw(id)).flatten()
        });
        std::iter::once(head).chain(children).collect()
    }

    fn run(&mut self) {
        // Another process may take a port between its choice and its use; one that was in use stays the same.
        for _ in 0..10 {
            let port = if self.port == 0 { free_port() } else { self.port };
            let mut command = self.command("postgres");
            let socket = format!("unix_socket_directories={}", self.dir.path().display());
            command.arg("-D").arg(self.data()).args(["-c", "listen_addresses=127.0.0.1,127.0.0.2", "-c", &socket]);
            // What is lost when the machine loses power is lost.
            for setting in ["fsync=off", "full_page_writes=off", "ssl=on", "log_min_messages=log", "lc_messages=C"] {
                command.args(["-c", setting]);
            }
            let mut process =
                command.args(["-p", &port.to_string()]).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
            let (sender, is_ready) = mpsc::channel();
            let log = BufReader::new(process.stderr.take().unwrap());
            // It goes on to be read: a full pipe would hold PostgreSQL up.
            thread::spawn(move || {
                for line in log.lines().map_while(Result::ok) {
                    if line.contains("is ready to accept connections") {
                        let _ = sender.send(());
                    }
                }
            });
            match is_ready.recv_timeout(PATIENCE) {
                Ok(()) => {
                    (self.process, self.port) = (Some(process), port);
                    return;
                }
                Err(_) => {
                    let _ = process.kill();
                    process.wait().unwrap();
                }
            }
        }
        panic!("PostgreSQL does not start");
    }

    /// A certificate for `localhost`.
    fn certify(&self) {
        #[expect(clippy::disallowed_methods, reason = "a certificate's time begins with the clock's")]
        let now = SystemTime::now();
        let host = "localhost".parse().unwrap();
        let authority = identity::make_authority(&host, now).unwrap();
        let (chain, key) = identity::issue(&authority, &host, now).unwrap();
        fs::write(self.authority(), authority.certificate_pem).unwrap();
        fs::write(self.data().join("server.crt"), chain).unwrap();
        let path = self.data().join("server.key");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(key.as_bytes()).unwrap();
        self.own(&path);
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.runs_as {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/");
        // PostgreSQL refuses to be root.
        if let Some((user, group)) = self.runs_as {
            command.uid(user).gid(group);
        }
        command
    }

    fn ok(&self, command: &mut Command) -> String {
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.thaws();
            self.stop(Stop::Immediate);
        }
    }
}

/// The folder of the newest version's programs.
pub(crate) fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").is_file())
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file());
    versions.pop().map(|(_, programs)| programs).or(elsewhere)
}

/// A user who is not root, and their group.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody")).expect("a user who is not root")
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A process's state and its parent.
fn stat(process: Pid) -> Option<(char, i32)> {
    let stat = fs::read_to_string(Path::new("/proc").join(process.as_raw_nonzero().to_string()).join("stat")).ok()?;
    // Its name, in brackets, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn is_stopped(process: Pid) -> bool {
    stat(process).is_none_or(|(state, _)| state == 'T' || state == 'Z')
}
