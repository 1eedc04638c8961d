//! Users whose clients run inside the test, against a server that is a process of its own: for tests with many users,
//! or that go through many log-ins.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{fs, path::PathBuf, sync::Arc};

use client::{Account, Command, Event, Failure};
use identity::{PinFile, Roots, UserKey, client_config};
use protocol::UserName;
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use server::{directory::Directory, setup};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::common::{PATIENCE, World};

/// Events that may wait for the test to look at them.
const MAX_UNSEEN: usize = 1024;

/// Registers users with the directory of a running server.
pub(crate) struct Registry {
    directory: Directory,
    authority: Vec<u8>,
    pins: PathBuf,
    port: u16,
}

impl Registry {
    pub(crate) async fn of(world: &World) -> Self {
        let dir = world.server_dir();
        let pins = world.dir.path().join("pins");
        fs::create_dir_all(&pins).unwrap();
        Self {
            directory: Directory::open(&setup::directory_path(&dir)).await.unwrap(),
            authority: fs::read(setup::ca_path(&dir)).unwrap(),
            pins,
            port: port_of(world),
        }
    }

    /// A new user.
    pub(crate) async fn register(&self, user: &str) -> Account {
        let account = self.unregistered(user);
        self.directory.add(&account.user, &account.key.public()).await.unwrap();
        account
    }

    /// Somebody with a new key, which the server does not have.
    pub(crate) fn unregistered(&self, user: &str) -> Account {
        let key = Arc::new(UserKey::generate(&mut UnwrapErr(SysRng)));
        Account {
            user: user.parse::<UserName>().unwrap(),
            tls: client_config(&key, Roots::Pem(self.authority.clone())).unwrap(),
            key,
            host: "localhost".to_owned(),
            port: self.port,
            pins: Arc::new(PinFile::new(self.pins.join(user))),
        }
    }
}

/// The port that a world's server listens on.
pub(crate) fn port_of(world: &World) -> u16 {
    world.address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A user with a client.
pub(crate) struct Person {
    pub(crate) name: String,
    commands: Option<mpsc::Sender<Command>>,
    pub(crate) events: mpsc::Receiver<Event>,
    client: JoinHandle<Result<(), Failure>>,
}

impl Person {
    /// Starts a client that logs in.
    pub(crate) fn start(account: &Account) -> Self {
        let (commands, queue) = mpsc::channel(16);
        let (sender, events) = mpsc::channel(MAX_UNSEEN);
        let rng = Box::new(UnwrapErr(SysRng));
        let client = tokio::spawn(client::run(account.clone(), rng, queue, sender, CancellationToken::new()));
        Self { name: account.user.to_string(), commands: Some(commands), events, client }
    }

    /// Starts a client and waits until it is logged in.
    pub(crate) async fn log_in(account: &Account) -> Self {
        let mut person = Self::start(account);
        person.until(|event| matches!(event, Event::LoggedIn { .. })).await;
        person
    }

    /// Types a line. A client that has ended takes no notice.
    pub(crate) async fn types(&self, line: &str) {
        let command = Command::parse(line).unwrap();
        if let Some(commands) = &self.commands {
            let _ = commands.send(command).await;
        }
    }

    /// The next event; `None` when the client has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let next = timeout(PATIENCE, self.events.recv()).await;
        next.unwrap_or_else(|_| panic!("{}: nothing came in {PATIENCE:?}", self.name))
    }

    /// Skips to the event that is waited for.
    pub(crate) async fn until(&mut self, is_awaited: impl Fn(&Event) -> bool) -> Event {
        let begin = crate::common::now();
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            if is_awaited(&event) {
                return event;
            }
            seen.push(event);
            // A client without a connection goes on telling of attempts.
            assert!(begin.elapsed() < PATIENCE, "{}: not in {PATIENCE:?}, only {seen:#?}", self.name);
        }
        panic!("{}: the client ended with {:?} after {seen:#?}", self.name, (&mut self.client).await);
    }

    /// Waits until the client has ended, without ending it: all that it still told, and how it ended.
    pub(crate) async fn ended(mut self) -> (Vec<Event>, Result<(), Failure>) {
        let begin = crate::common::now();
        let mut told = Vec::new();
        while let Some(event) = self.next().await {
            told.push(event);
            assert!(begin.elapsed() < PATIENCE, "{}: no end in {PATIENCE:?}, only {told:#?}", self.name);
        }
        (told, self.client.await.unwrap())
    }

    /// Is gone from one moment to the next, without a word to the server.
    pub(crate) fn vanishes(self) {
        self.client.abort();
    }

    /// Leaves, which has to succeed: what the client still told.
    pub(crate) async fn leaves(self) -> Vec<Event> {
        self.types("--ex").await;
        let name = self.name.clone();
        let (told, result) = self.ended().await;
        assert_eq!(result, Ok(()), "{name} left after {told:?}");
        told
    }
}

/// Lets `caller` ask `accepter` to talk, and waits until both are in the chat.
pub(crate) async fn chat(caller: &mut Person, accepter: &mut Person) {
    caller.types(&format!("--r {}", accepter.name)).await;
    accepter.until(|event| matches!(event, Event::Request { from } if *from == caller.name)).await;
    accepter.types("--y").await;
    caller.until(|event| matches!(event, Event::ChatStarted { peer, .. } if *peer == accepter.name)).await;
    accepter.until(|event| matches!(event, Event::ChatStarted { peer, .. } if *peer == caller.name)).await;
}

/// Lets `speaker` say `text`, and waits until `listener` has it, before any other message.
pub(crate) async fn tell(speaker: &mut Person, listener: &mut Person, text: &str) {
    speaker.types(text).await;
    match listener.until(|event| matches!(event, Event::Message { .. })).await {
        Event::Message { from, text: heard, .. } => assert_eq!((from, heard.as_str()), (speaker.name.clone(), text)),
        other => panic!("{other:?}"),
    }
}
