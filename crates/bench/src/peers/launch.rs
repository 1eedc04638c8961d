//! Starting a server for one run, on a port of its own, and ending it.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use server::setup;
use tempfile::TempDir;

use super::users;
use crate::{
    clock,
    connect::HOST,
    fault::Fault,
    system::System,
    wire::{name_of, xmpp::PASSWORD},
};

/// How long a server may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(20);
/// For what a server still does when it listens already, and until its users have been registered for as long as it takes
/// the relay to count on them.
const SETTLES_IN: Duration = Duration::from_secs(4);
/// Memory that is a folder, so that no disk is waited for.
const SHARED_MEMORY: &str = "/dev/shm";

/// What all servers of a session share: certificates, and programs.
pub(super) struct Kit {
    dir: TempDir,
    sottovoce: PathBuf,
    bench: PathBuf,
}

impl Kit {
    /// Makes an authority and a server's certificate. `sottovoce` is the program to be measured.
    pub(super) fn new(sottovoce: PathBuf, bench: PathBuf) -> Result<Self, Fault> {
        let said = |error: identity::CertificateError| Fault::Said(error.to_string());
        let (dir, now) = (folder()?, clock::calendar());
        let host = HOST.parse().map_err(|error: protocol::NameError| Fault::Said(error.to_string()))?;
        let authority = identity::make_authority(&host, now).map_err(said)?;
        let (chain, key) = identity::issue(&authority, &host, now).map_err(said)?;
        let sottovoce = std::path::absolute(sottovoce)?;
        let kit = Self { dir, sottovoce, bench };
        write(&kit.authority(), authority.certificate_pem.as_bytes())?;
        write(&kit.certificate(), chain.as_bytes())?;
        write(&kit.key(), key.as_bytes())?;
        Ok(kit)
    }

    /// Starts a server that knows users 0 to `users`, on one `core` or on all.
    pub(super) fn start(&self, system: System, users: u64, core: Option<usize>) -> Result<Running, Fault> {
        let dir = folder()?;
        let address = free_address()?;
        let (program, arguments) = self.prepare(system, dir.path(), address, users)?;
        let mut command = match core {
            None => Command::new(program),
            // It takes the program's place, so the process stays the same.
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &core.to_string()]).arg(program);
                command
            }
        };
        if system == System::Ejabberd {
            command
                .env("EJABBERD_CONFIG_PATH", dir.path().join("ejabberd.yml"))
                .env("EJABBERD_LOG_PATH", dir.path().join("ejabberd.log"))
                .env("ERL_LIBS", "/usr/lib/x86_64-linux-gnu")
                .env("ERL_CRASH_DUMP", dir.path().join("dump"))
                .env("ERL_MAX_PORTS", "100000")
                .env("HOME", dir.path());
        }
        let log = dir.path().join("output");
        let output = File::create(&log).map_err(|error| Fault::file(&log, error))?;
        let errors = output.try_clone().map_err(|error| Fault::file(&log, error))?;
        // What it leaves behind goes with the folder.
        command.current_dir(dir.path()).args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(|error| Fault::program(system.name(), error))?;
        let mut running = Running { child, address, dir };
        running.listens(system)?;
        Ok(running)
    }

    /// Makes what a server needs in `dir`: the program and its arguments.
    fn prepare(
        &self,
        system: System,
        dir: &Path,
        address: SocketAddr,
        users: u64,
    ) -> Result<(PathBuf, Vec<String>), Fault> {
        let text = |path: &Path| path.display().to_string();
        let configured = |name: &str, template: &str| {
            let path = dir.join(name);
            write(&path, self.fill_in(template, dir, address).as_bytes()).map(|()| text(&path))
        };
        let pipe = |more: &[&str]| {
            let mut arguments = vec!["pipe".to_owned(), "--listen".to_owned(), address.to_string()];
            arguments.extend(["--certificate".to_owned(), text(&self.certificate())]);
            arguments.extend(["--key".to_owned(), text(&self.key())]);
            arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
            Ok((self.bench.clone(), arguments))
        };
        let arguments = match system {
            System::Pipe => return pipe(&[]),
            System::PipeGathering => return pipe(&["--gather"]),
            System::PipeClassical => return pipe(&["--no-ml-kem", "--no-client-keys"]),
            System::Sottovoce => {
                self.set_up(dir, users)?;
                configured("server.toml", include_str!("../../peers/server.toml"))?;
                let arguments = ["server", "run", "--listen", &address.to_string(), "--dir", &text(dir)];
                return Ok((self.sottovoce.clone(), arguments.map(str::to_owned).to_vec()));
            }
            System::Ngircd => {
                vec![
                    "--nodaemon".to_owned(),
                    "--config".to_owned(),
                    configured("ngircd.conf", include_str!("../../peers/ngircd.conf"))?,
                ]
            }
            System::Inspircd => {
                let config = configured("inspircd.conf", include_str!("../../peers/inspircd.conf"))?;
                vec!["--nofork".to_owned(), "--runasroot".to_owned(), format!("--config={config}")]
            }
            System::Mosquitto => {
                vec!["-c".to_owned(), configured("mosquitto.conf", include_str!("../../peers/mosquitto.conf"))?]
            }
            System::NatsServer => {
                vec!["-c".to_owned(), configured("nats-server.conf", include_str!("../../peers/nats-server.conf"))?]
            }
            System::Ejabberd => {
                configured("ejabberd.yml", include_str!("../../peers/ejabberd.yml"))?;
                let mnesia = format!("\"{}\"", text(&dir.join("mnesia")));
                let arguments = ["+K", "true", "+sbwt", "none", "+P", "250000", "-noinput", "-mnesia", "dir"];
                arguments.into_iter().chain([&*mnesia, "-s", "ejabberd"]).map(str::to_owned).collect()
            }
            System::Prosody => {
                let accounts = dir.join(HOST).join("accounts");
                fs::create_dir_all(&accounts).map_err(|error| Fault::file(&accounts, error))?;
                for user in 0..users {
                    let account = format!("return {{\n\t[\"password\"] = \"{PASSWORD}\";\n}};\n");
                    write(&accounts.join(format!("{}.dat", name_of(user))), account.as_bytes())?;
                }
                let config = configured("prosody.cfg.lua", include_str!("../../peers/prosody.cfg.lua"))?;
                vec!["-F".to_owned(), "--config".to_owned(), config]
            }
        };
        Ok((system.program().unwrap_or_default(), arguments))
    }

    fn fill_in(&self, template: &str, dir: &Path, address: SocketAddr) -> String {
        [
            ("{{port}}", address.port().to_string()),
            ("{{dir}}", dir.display().to_string()),
            ("{{certificate}}", self.certificate().display().to_string()),
            ("{{key}}", self.key().display().to_string()),
            ("{{authority}}", self.authority().display().to_string()),
        ]
        .into_iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(name, &value))
    }

    /// A folder of the relay's, with so many users in its directory.
    fn set_up(&self, dir: &Path, users: u64) -> Result<(), Fault> {
        let host = HOST.parse().map_err(|error: protocol::NameError| Fault::Said(error.to_string()))?;
        let certificate = Some((self.certificate(), self.key()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let made = runtime.block_on(setup::init(dir, &host, certificate, clock::calendar()));
        made.map_err(|error| Fault::file(dir, error))?;
        users::register(dir, users)
    }

    /// This program.
    pub(super) fn bench(&self) -> &Path {
        &self.bench
    }

    /// The PEM certificate that vouches for all servers.
    pub(super) fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("server.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("server.key")
    }
}

/// A server that listens. It ends when this is dropped.
pub(super) struct Running {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Running {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn listens(&mut self, system: System) -> Result<(), Fault> {
        let begin = clock::now();
        while TcpStream::connect(self.address).is_err() {
            let has_ended = self.child.try_wait()?.is_some();
            if has_ended || clock::now().saturating_duration_since(begin) > PATIENCE {
                let output = fs::read_to_string(self.dir.path().join("output")).unwrap_or_default();
                return Err(Fault::program(system.name(), format!("does not listen: {}", output.trim())));
            }
            clock::pause(LOOKS_EVERY);
        }
        clock::pause(SETTLES_IN);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself; then there is nobody to tell.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let begin = clock::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if clock::now().saturating_duration_since(begin) > PATIENCE {
                let _ = self.child.kill();
            }
            clock::pause(LOOKS_EVERY);
        }
    }
}

/// An address that nobody listens on. Somebody else might take it first; then the server says so.
fn free_address() -> Result<SocketAddr, Fault> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn folder() -> Result<TempDir, Fault> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("bench-");
    let memory = Path::new(SHARED_MEMORY);
    let made = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    made.map_err(|error| Fault::file(memory, error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    fs::write(path, bytes).map_err(|error| Fault::file(path, error))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in_in_any_configuration() {
        let kit = Kit::new(PathBuf::from("sottovoce"), PathBuf::from("bench")).unwrap();
        for system in System::value_variants() {
            let dir = folder().unwrap();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 4711));
            kit.prepare(*system, dir.path(), address, 3).unwrap();
            for file in fs::read_dir(dir.path()).unwrap() {
                let path = file.unwrap().path();
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let left = text.lines().filter(|line| !line.contains("{{curly}}")).find(|line| line.contains("{{"));
                assert_eq!(left, None, "{}", path.display());
            }
        }
    }
}
