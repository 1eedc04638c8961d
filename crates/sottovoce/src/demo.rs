//! A throwaway relay with alice and bob on loopback. At a terminal you are alice; without one, the two play a
//! conversation and show what each of them, and the relay, got to see.

mod companion;
mod play;
mod wiretap;

use std::{
    io::{IsTerminal as _, stdin, stdout},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use ::server::{
    config::{Config, Metrics},
    directory::Directory,
    setup,
};
use client::Account;
use identity::{PinFile, Roots, UserKey, client_config, public_line, write_key_file};
use protocol::{ServerName, UserName};
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    face::{self, Input, Line},
    failure::Failure,
    process, profile,
};

const HOST: &str = "localhost";
/// What protects the third person's key. It is shown on the screen and good for nothing else.
const PASSWORD: &str = "demo";

/// Runs the demo.
pub(crate) async fn run() -> Result<(), Failure> {
    process::keep_memory_private();
    let _terminal = process::KeepTerminal::as_it_is();
    let stop = process::stop_by_signal()?;
    let relay_saw = wiretap::begin();
    let relay = Relay::start().await?;
    let result = if stdin().is_terminal() && stdout().is_terminal() {
        alone_with_bob(&relay, &stop).await
    } else {
        play::run(relay.account("alice").await?, relay.account("bob").await?, relay_saw, &stop).await
    };
    relay.stop().await;
    result
}

async fn alone_with_bob(relay: &Relay, stop: &CancellationToken) -> Result<(), Failure> {
    let leave = stop.child_token();
    let companion = tokio::spawn(companion::run(relay.account("bob").await?, leave.clone()));
    let third = relay.profile("carol").await?;
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sottovoce"));
    let lines = [
        format!("a relay runs at {} until you leave, and leaves nothing behind", relay.address),
        "you are alice; bob is a companion who accepts and answers: Enter, or --r bob, asks him".to_owned(),
        format!("a third person joins from another terminal (password: {PASSWORD}):"),
        format!("    {} chat --profile {}", program.display(), third.display()),
    ];
    let alice = relay.account("alice").await?;
    let result = if process::has_screen() {
        let settings = face::Settings { bell: true, notices: true };
        face::run_full_screen(face::Accounts::Ready(alice), settings, lines.into(), stop).await
    } else {
        let mut face = Line::new(stdout()).for_terminal();
        lines.iter().try_for_each(|line| face.say(format_args!("{line}"))).map_err(Failure::new)?;
        face::run(&mut face, &mut Input::begin(), alice, stop, &mut false).await
    };
    // The companion must be done with its files before the directory that these are in goes.
    leave.cancel();
    companion.await.map_err(Failure::new)?;
    Ok(result?)
}

/// A relay in a directory that goes with it.
struct Relay {
    dir: TempDir,
    address: SocketAddr,
    directory: Directory,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Relay {
    async fn start() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new()
            .prefix("sottovoce-demo-")
            .tempdir()
            .map_err(|error| Failure::new(format_args!("no directory for the demo can be made: {error}")))?;
        let host: ServerName = HOST.parse()?;
        let server_dir = dir.path().join("server");
        setup::init(&server_dir, &host, None, now()).await?;
        let mut config = Config::new(host);
        config.listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.metrics = Metrics::Off;
        let server = crate::server::open(&server_dir, config).await?;
        let address = server.local_addr().map_err(Failure::new)?;
        let directory = Directory::open(&setup::directory_path(&server_dir)).await?;
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.run(stop.clone()));
        Ok(Self { dir, address, directory, stop, serving })
    }

    /// Registers a user, whose key stays in memory.
    async fn account(&self, user: &str) -> Result<Account, Failure> {
        let user: UserName = user.parse()?;
        let key = Arc::new(UserKey::generate(&mut UnwrapErr(SysRng)));
        self.directory.add(&user, &key.public()).await?;
        let tls = client_config(&key, Roots::Pem(self.authority()?))?;
        let pins = Arc::new(PinFile::new(self.dir.path().join(format!("{user}-pins"))));
        Ok(Account { user, key, host: HOST.to_owned(), port: self.address.port(), tls, pins })
    }

    /// Registers a user, and makes the profile that another process logs in with.
    async fn profile(&self, user: &str) -> Result<PathBuf, Failure> {
        let user: UserName = user.parse()?;
        let dir = self.dir.path().join(user.as_str());
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(Failure::new)?;
        let key = UserKey::generate(&mut UnwrapErr(SysRng));
        self.directory.add(&user, &key.public()).await?;
        let write = |name: &str, text: &[u8]| crate::keygen::write_new(&dir.join(name), 0o600, text);
        write("key.pub", public_line(&key.public(), user.as_str()).as_bytes())?;
        write("ca.pem", &self.authority()?)?;
        let server = format!("{HOST}:{}", self.address.port());
        write("profile.toml", profile::settings(&user, Some(&server), true).as_bytes())?;
        let path = dir.join("key");
        tokio::task::spawn_blocking(move || {
            write_key_file(&path, &key, PASSWORD.as_bytes(), user.as_str(), &mut UnwrapErr(SysRng))
        })
        .await
        .map_err(Failure::new)??;
        Ok(dir)
    }

    fn authority(&self) -> Result<Vec<u8>, Failure> {
        let path: &Path = &setup::ca_path(&self.dir.path().join("server"));
        std::fs::read(path).map_err(Failure::new)
    }

    /// Ends the relay and removes all that it made.
    async fn stop(self) {
        self.stop.cancel();
        // A relay that fails to stop goes with the process.
        let _ = self.serving.await;
        self.directory.close().await;
        let _ = self.dir.close();
    }
}

#[expect(clippy::disallowed_methods, reason = "a certificate's time begins with the clock's")]
fn now() -> SystemTime {
    SystemTime::now()
}
