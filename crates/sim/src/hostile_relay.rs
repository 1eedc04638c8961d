//! A whole relay that means ill: real TLS with a server's own certificate, its real directory, and real sessions, but
//! between each client and its session every frame passes through an [`Attack`], which also makes up frames.
//!
//! It knows what a server knows, and no more: nothing here has a client's private key or a chat's.

mod attack;
mod connection;
mod forger;
mod hub;
mod notes;
mod tricks;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use server::{config::Config, setup};
use tokio::{net::TcpListener, sync::mpsc as channel};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use attack::Attack;
use hub::{Happening, Hub};

/// Happenings of all connections that may wait for the hub.
const MAX_HAPPENINGS: usize = 1024;

/// A hostile relay that runs, on a thread of its own, until it is dropped.
pub struct HostileRelay {
    address: SocketAddr,
    happenings: channel::Sender<Happening>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl HostileRelay {
    /// Starts a relay from a server's folder, as `sottovoce server init` makes it, on `listen`, or at the
    /// port of its settings on the loopback address. It begins with `attacks`, one after the other on each frame. What it
    /// has to tell its owner, such as what it has read, comes through the channel, line by line.
    ///
    /// # Errors
    /// [`StartError`] when a file of the folder cannot be used, or the address is not to be had.
    pub fn start(
        dir: &Path,
        listen: Option<SocketAddr>,
        attacks: &[Attack],
    ) -> Result<(Self, mpsc::Receiver<String>), StartError> {
        let (to_hub, happenings) = channel::channel(MAX_HAPPENINGS);
        let (tell, told) = mpsc::channel();
        let (started, starting) = mpsc::channel();
        let stop = CancellationToken::new();
        let (dir, attacks, stopped, to_hub_too) = (dir.to_owned(), attacks.to_vec(), stop.clone(), to_hub.clone());
        let thread = std::thread::spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(StartError(error.to_string())))),
            };
            runtime.block_on(async move {
                let (listener, acceptor, hub) = match open(&dir, listen, &attacks, tell).await {
                    Ok(opened) => opened,
                    Err(error) => return drop(started.send(Err(error))),
                };
                let _ = started.send(listener.local_addr().map_err(|error| StartError(error.to_string())));
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = hub.run(happenings) => {}
                    () = connection::accept(listener, acceptor, to_hub_too) => {}
                }
            });
        });
        match starting.recv() {
            Ok(Ok(address)) => Ok((Self { address, happenings: to_hub, stop, thread: Some(thread) }, told)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError("the relay's thread has ended".to_owned())),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it do these attacks from now on, and no others; returns when it does. With none it is an honest relay.
    pub fn attack(&self, attacks: &[Attack]) {
        let (done, wait) = mpsc::channel();
        if self.happenings.blocking_send(Happening::Attacks(attacks.to_vec(), done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Drop for HostileRelay {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn open(
    dir: &Path,
    listen: Option<SocketAddr>,
    attacks: &[Attack],
    tell: mpsc::Sender<String>,
) -> Result<(TcpListener, TlsAcceptor, Hub), StartError> {
    let read = |path: std::path::PathBuf| {
        std::fs::read(&path).map_err(|error| {
            StartError(format!("{} cannot be read: {error}; `sottovoce server init` makes it", path.display()))
        })
    };
    let failed = |error: &dyn std::fmt::Display| StartError(error.to_string());
    let config = Config::load(&setup::config_path(dir)).map_err(|error| failed(&error))?;
    let key = zeroize::Zeroizing::new(read(setup::key_path(dir))?);
    let tls = identity::server_config(&read(setup::certificate_path(dir))?, &key).map_err(|error| failed(&error))?;
    let directory = setup::open_directory(dir, &config).await.map_err(|error| failed(&error))?;
    // For tries: what is not asked for is not done on a network.
    let listen = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, config.listen.port())));
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| StartError(format!("cannot listen on {listen}: {error}; choose another with --listen")))?;
    let hub = Hub::new(config, directory, attacks, tell);
    Ok((listener, TlsAcceptor::from(Arc::clone(&tls)), hub))
}
