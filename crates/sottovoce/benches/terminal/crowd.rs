//! Many who are online: connections with real log-ins, whose clients show every few seconds that they are there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use client::{Account, connect};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
use protocol::{ClientId, Login, ToClient, ToServer};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_util::codec::Framed;

use crate::{
    common::{World, now},
    people::Registry,
};

/// As clients do it.
const PING: Duration = Duration::from_secs(6);
const AT_A_TIME: usize = 16;

/// A server, and the people on it.
pub(crate) struct Crowd {
    pub(crate) world: World,
    people: usize,
    /// Connections that have ended.
    ended: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Crowd {
    /// Lets so many log in, beside alice, who has a profile and does not.
    pub(crate) fn gather(people: usize) -> Self {
        let world = World::with(
            "max_connections_per_address = 100000\nmax_pending_per_address = 10000\n\
             connection_rate_per_address = 1000000\nconnection_burst_per_address = 100000\n\
             list_rate = 1000000\nlist_burst = 1000000",
        );
        world.user("alice");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (begin, ended) = (now(), Arc::new(AtomicUsize::new(0)));
        runtime.block_on(async {
            let registry = Registry::of(&world).await;
            let accounts = stream::iter(0..people).map(|number| {
                let (registry, name) = (&registry, name(number, people));
                async move { registry.register(&name).await }
            });
            let accounts: Vec<_> = accounts.buffer_unordered(AT_A_TIME).collect().await;
            let entered = stream::iter(accounts).map(|account| enter(account, ended.clone()));
            entered.buffer_unordered(AT_A_TIME).try_collect::<Vec<_>>().await.unwrap();
        });
        println!("{people} people came in {:.1?}", begin.elapsed());
        Self { world, people, ended, _runtime: runtime }
    }

    /// The name at the top of the whole list.
    pub(crate) fn first_of_all(&self) -> String {
        name(0, self.people)
    }

    /// The name at the top of the last tenth of it, which is of visitors.
    pub(crate) fn first_visitor(&self) -> String {
        name(self.people / 10 * 9, self.people)
    }

    pub(crate) fn is_all_there(&self) {
        assert_eq!(self.ended.load(Ordering::SeqCst), 0, "connections have ended");
    }
}

fn name(number: usize, people: usize) -> String {
    format!("{}-{number:05}", if number < people / 10 * 9 { "member" } else { "visitor" })
}

/// Logs somebody in, who stays.
async fn enter(account: Account, ended: Arc<AtomicUsize>) -> Result<(), String> {
    let connection = connect(&account).await.map_err(|error| error.to_string())?;
    let mut frames = Framed::new(connection.stream, protocol::frame_codec());
    let frame = |frame: &ToServer| frame.encode().unwrap();
    // The only client of this user.
    let login = Login::first(account.user.clone(), ClientId::from_bytes([0; 16]));
    frames.send(frame(&ToServer::Login(login))).await.map_err(|error| error.to_string())?;
    let answer = frames.next().await.and_then(Result::ok).map(|bytes| ToClient::decode(&bytes));
    let Some(Ok(ToClient::LoggedIn(_))) = answer else {
        return Err(format!("{} did not get in: {answer:?}", account.user));
    };
    tokio::spawn(async move {
        loop {
            match timeout(PING, frames.next()).await {
                Ok(Some(Ok(_))) => {}
                Err(_) if frames.send(frame(&ToServer::Ping)).await.is_ok() => {}
                _ => break,
            }
        }
        ended.fetch_add(1, Ordering::SeqCst);
    });
    Ok(())
}
