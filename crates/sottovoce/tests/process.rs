//! What the processes ask of the system for themselves: memory that nobody else reads, on disk or through the kernel.
#![cfg(target_os = "linux")]
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
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use common::{PASSWORD, PROGRAM, World, ok, write_quick_key};
use rustix::process::geteuid;
use tempfile::TempDir;

/// A user who has nothing else on the machine: `nobody`.
const NOBODY: u32 = 65_534;

#[test]
fn another_process_of_the_same_user_cannot_read_a_clients_or_a_servers_memory() {
    let user = User::new();
    // What can be read of a process that does nothing about it shows that the test could see more.
    let ordinary = user.runs(user.command("cat").stdin(Stdio::piped()), None);
    for file in ["environ", "maps", "auxv"] {
        assert!(user.can_read(&ordinary, file), "{file} of an ordinary process");
    }
    let client = user.client();
    let server = user.server();
    for process in [&client, &server] {
        for file in ["mem", "environ", "maps", "auxv", "stack", "syscall"] {
            assert!(!user.can_read(process, file), "{file}");
        }
    }
}

#[test]
fn nothing_of_a_client_or_a_server_is_written_to_a_core_file() {
    let user = User::new();
    for process in [user.client(), user.server()] {
        let limits = fs::read_to_string(format!("/proc/{}/limits", process.0.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{limits}");
        // What may not be dumped belongs to root.
        let status = fs::metadata(format!("/proc/{}/stat", process.0.id())).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&status), 0);
    }
}

#[test]
fn no_thread_of_a_client_or_a_server_can_gain_privileges() {
    let world = World::of(["alice"]);
    let alice = world.log_in("alice");
    for process in [&alice.process, &world.server] {
        let mut threads = 0;
        for task in fs::read_dir(format!("/proc/{}/task", process.id())).unwrap() {
            // A thread may end while it is looked at.
            let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
            assert!(status.contains("NoNewPrivs:\t1"), "{status}");
            threads += 1;
        }
        assert!(threads > 1);
    }
}

/// A user without privileges, with files of their own: `nobody` if the test is root's, or else who runs it.
struct User {
    dir: TempDir,
    program: PathBuf,
    is_other: bool,
}

impl User {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Where the program was built may be closed to others. Copied by a process of its own: a file that another thread's
        // child still has open for writing cannot be run.
        let program = dir.path().join("sottovoce");
        ok(Command::new("cp").arg(PROGRAM).arg(&program));
        Self { dir, program, is_other: geteuid().is_root() }
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.dir.path());
        if self.is_other {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Starts a command, and waits until it has written a line if `says` is given, which begins the line.
    fn runs(&self, command: &mut Command, says: Option<&str>) -> Running {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        if let Some(says) = says {
            let mut line = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert!(line.starts_with(says), "{line:?}");
        }
        Running(process)
    }

    /// A client that has its key open and tries to reach a server.
    fn client(&self) -> Running {
        let profile = self.folder("profile");
        write_quick_key(&profile, "alice");
        fs::write(profile.join("profile.toml"), "name = \"alice\"\nserver = \"localhost:1\"\nca = \"ca.pem\"\n")
            .unwrap();
        fs::copy(self.server_folder().join("ca.pem"), profile.join("ca.pem")).unwrap();
        fs::write(profile.join("password"), PASSWORD).unwrap();
        self.give(&profile);
        let mut command = self.command(&self.program);
        command.args(["chat", "--face", "json", "--profile", "profile", "--password-file", "profile/password"]);
        self.runs(command.stdin(Stdio::piped()), Some("{\"event\":\"connecting\""))
    }

    fn server(&self) -> Running {
        let folder = self.server_folder();
        self.give(&folder);
        let mut command = self.command(&self.program);
        command.args(["server", "run", "--listen", "127.0.0.1:0", "--dir"]).arg(folder);
        self.runs(command.stdin(Stdio::null()), Some("listening on "))
    }

    fn server_folder(&self) -> PathBuf {
        let folder = self.dir.path().join("server");
        if !folder.exists() {
            ok(Command::new(PROGRAM).args(["server", "init", "--host", "localhost", "--dir"]).arg(&folder));
        }
        folder
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn give(&self, folder: &Path) {
        if self.is_other {
            let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            for path in files.chain([folder.to_owned()]) {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
    }

    /// Whether another process of this user gets at a file that the kernel has of a process.
    fn can_read(&self, process: &Running, file: &str) -> bool {
        let path = format!("/proc/{}/{file}", process.0.id());
        // There is nothing at the start of a process's memory: to have it open is to have it.
        let script = if file == "mem" { "exec 3<\"$1\" && echo open" } else { "head -c 1 \"$1\"" };
        let mut command = self.command("sh");
        command.args(["-c", script, "sh", &path]).stdin(Stdio::null());
        !command.output().unwrap().stdout.is_empty()
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
