use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::super::{PATIENCE, signal};

/// The oldest version that has all that nodes need.
const OLDEST: (u32, u32) = (2, 11);

/// A NATS server of a test's own: real, on loopback, with JetStream. It ends, and its files go, when this is dropped.
pub(crate) struct Nats {
    dir: TempDir,
    program: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Nats {
    /// `None`, saying so, where there is none; a failure on a machine whose word counts.
    pub(crate) fn start() -> Option<Self> {
        let jetstream = |dir: &Path| format!("jetstream {{ store_dir: {dir:?}, max_memory_store: 64MB }}\n");
        Self::with(|dir| jetstream(dir))
    }

    /// The same, with this configuration beside its port. `configuration` is handed the server's own folder.
    pub(crate) fn with(configuration: impl FnOnce(&Path) -> String) -> Option<Self> {
        let program = installed()?;
        let dir = tempfile::Builder::new().prefix("nats-").tempdir().unwrap();
        let text = format!("host: 127.0.0.1\nport: -1\n{}\n", configuration(dir.path()));
        fs::write(dir.path().join("nats.conf"), text).unwrap();
        let mut nats = Self { dir, program, port: 0, process: None };
        nats.is_back();
        Some(nats)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What a node's `router` setting names it.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its process, to be sent a signal that does not end it.
    pub(crate) fn process(&self) -> &Child {
        self.process.as_ref().unwrap()
    }

    /// Sends it a signal that ends it, and waits for the end. What was in its memory is gone.
    pub(crate) fn goes(&mut self, how: Signal) {
        let mut process = self.process.take().unwrap();
        signal(&process, how);
        process.wait().unwrap();
    }

    /// Starts it, and waits until it serves. It has a port that is free.
    pub(crate) fn is_back(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.dir.path().join("nats.conf"));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let (sender, ready) = mpsc::channel();
        // It goes on to be read: a full pipe would hold it up.
        thread::spawn(move || {
            let (mut port, mut seen) = (None, Vec::new());
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("Listening for client connections on ") {
                    port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                }
                if line.ends_with("Server is ready") {
                    let _ = sender.send(Ok(port.unwrap()));
                }
                seen.push(line);
            }
            let _ = sender.send(Err(seen));
        });
        let told = ready.recv_timeout(PATIENCE);
        self.process = Some(process);
        self.port = told.expect("NATS starts").unwrap_or_else(|log| panic!("NATS does not start: {log:#?}"));
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The program, if there is one that is new enough, in the path or where Python's packages put theirs.
pub(crate) fn installed() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where programs are is said by the environment")]
    let (path, home, ci) = (env::var_os("PATH"), env::var_os("HOME"), env::var_os("CI"));
    let folders = path.iter().flat_map(env::split_paths).chain(home.map(|home| PathBuf::from(home).join(".local/bin")));
    let found = folders.map(|folder| folder.join("nats-server")).find(|program| is_new_enough(program));
    if found.is_none() {
        let (major, minor) = OLDEST;
        let missing = format!("nats-server {major}.{minor} or later is not installed");
        assert!(ci.is_none(), "{missing}, and this machine's word counts");
        eprintln!("skipped: {missing}");
    }
    found
}

fn is_new_enough(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("--version").stdin(Stdio::null()).output() else { return false };
    // nats-server: v2.15.1
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers = said.trim().rsplit_once('v').map(|(_, version)| version.split('.').map(|part| part.parse::<u32>()));
    match numbers.into_iter().flatten().collect::<Vec<_>>().as_slice() {
        [Ok(major), Ok(minor), ..] => (*major, *minor) >= OLDEST,
        _ => false,
    }
}
