//! Being one of several nodes: the connection to the router's server (NATS), which carries what [`Router`] lines up and
//! brings what the others say. The router decides; here is only the way there.

mod attachment;
mod bucket;
mod claim;
mod error;
mod leases;
mod membership;
mod settings;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use protocol::{Attempt, ChatId, PublicKey, UserName};
use tokio::sync::oneshot;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    mailbox::Mailbox,
    router::{Joined, NotAttached, Presence, Router},
    signal::{NodeId, SessionId},
};
use attachment::Attachment;
use bucket::Bucket;
pub use {
    claim::{Claim, Claimed, Found, Move},
    error::ClusterError,
    leases::{LEASE, OWN_LEASE, RENEWAL},
    membership::{Ended, Item, Membership},
    settings::{NatsServer, NotARouter, RouterSetting, Settings},
};

/// Sessions whose claims are made at once when a node attaches.
const CLAIMS_AT_ONCE: usize = 64;
/// Before the first attempt to attach again, and the longest of the waits, which grow by half.
const RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(2);
/// For the last words when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// This node, as one of several.
pub(crate) struct Cluster {
    settings: Settings,
    router: Arc<Router>,
    /// Of the attachment that there is now.
    bucket: Mutex<Option<Bucket>>,
    claims: TaskTracker,
    stop: CancellationToken,
}

/// What became of a session that wanted to be its user's.
pub(crate) type Registration = oneshot::Receiver<Result<(), NotAttached>>;

impl Cluster {
    /// Attaches to the other nodes, and keeps attached until [`Self::leave`]. The task ends then.
    ///
    /// # Errors
    /// [`ClusterError`] when it does not come about.
    pub(crate) async fn start(
        settings: Settings,
        router: Arc<Router>,
    ) -> Result<(Arc<Self>, AbortOnDropHandle<()>), ClusterError> {
        router.detach();
        let stop = CancellationToken::new();
        let cluster = Arc::new(Self { settings, router, bucket: Mutex::default(), claims: TaskTracker::new(), stop });
        let first = Attachment::make(&cluster.settings, &cluster.router, 1).await?;
        tracing::info!(node = %cluster.router.home(), servers = cluster.settings.servers(), "attached to the other nodes");
        let kept = tokio::spawn(cluster.clone().keep(first));
        Ok((cluster, AbortOnDropHandle::new(kept)))
    }

    /// Puts a user online, in all nodes: the newest log-in wins. What comes of it is told when it is known, and whether
    /// anybody waits for it or not: a session that is not to be online after all is [taken
    /// offline](Router::unregister).
    pub(crate) fn register(
        self: &Arc<Self>,
        user: UserName,
        id: SessionId,
        attempt: Attempt,
        key: PublicKey,
        mailbox: Mailbox,
        held: Option<ChatId>,
    ) -> Registration {
        let (tell, told) = oneshot::channel();
        match self.router.join(&user, id, attempt, key, mailbox, held) {
            Ok(Joined::Claim { presence, revision }) => {
                let cluster = self.clone();
                self.claims.spawn(async move {
                    // Whoever asked may be gone.
                    let _ = tell.send(cluster.claim(&user, presence, revision).await);
                });
            }
            Ok(Joined::Late) => {
                let _ = tell.send(Ok(()));
            }
            Err(not_attached) => {
                let _ = tell.send(Err(not_attached));
            }
        }
        told
    }

    async fn claim(&self, user: &UserName, presence: Presence, revision: Option<u64>) -> Result<(), NotAttached> {
        let (mut claim, first) = Claim::new(presence, revision);
        let bucket = self.bucket().clone();
        let claimed = match &bucket {
            Some(bucket) => bucket.carry_out(&mut claim, first, user).await,
            None => Claimed::Unknown,
        };
        if claim.settle(&self.router, user, claimed) { Ok(()) } else { Err(NotAttached) }
    }

    /// Where a user is online, by what stands in the presence bucket at this moment: a node hears of a log-in a little after
    /// the user has been let in. `None` for nowhere, and where that cannot be asked.
    pub(crate) async fn find(&self, user: &UserName) -> Option<NodeId> {
        let bucket = self.bucket().clone()?;
        bucket.node_of(user).await
    }

    /// Takes its leave of the other nodes. To be called when all sessions have ended.
    pub(crate) async fn leave(&self) {
        self.claims.close();
        self.claims.wait().await;
        self.stop.cancel();
    }

    /// Attached until the connection is lost, and then again as soon as that can be.
    async fn keep(self: Arc<Self>, first: Attachment) {
        let mut number: u32 = 1;
        let mut attachment = first;
        loop {
            let why = self.attached(attachment).await;
            self.router.detach();
            let Some(why) = why else {
                return tracing::info!("left the other nodes");
            };
            tracing::error!(
                %why,
                "cut off from the other nodes: nobody can log in here and chats with users elsewhere wait, until that is over"
            );
            let Some(again) = self.attach_again(&mut number).await else { return };
            attachment = again;
            tracing::info!("attached to the other nodes again");
        }
    }

    /// Serves one attachment, until its end. Why it ended, or nothing when the server stops.
    async fn attached(self: &Arc<Self>, attachment: Attachment) -> Option<String> {
        let bucket = attachment.bucket().clone();
        *self.bucket() = Some(bucket.clone());
        let own = self.router.attached();
        let (cluster, claims) = (self.clone(), bucket.clone());
        // What stood in the bucket for this node's users may be gone, or another's.
        let claims = AbortOnDropHandle::new(tokio::spawn(async move {
            futures_util::stream::iter(own)
                .for_each_concurrent(CLAIMS_AT_ONCE, |(user, presence)| {
                    let (cluster, bucket) = (&cluster, &claims);
                    async move { cluster.claim_again(bucket, &user, presence).await }
                })
                .await;
        }));
        let ended = attachment.serve(&self.router, &self.stop).await;
        *self.bucket() = None;
        drop(claims);
        ended
    }

    async fn claim_again(&self, bucket: &Bucket, user: &UserName, presence: Presence) {
        let (mut claim, first) = Claim::again(presence);
        let claimed = bucket.carry_out(&mut claim, first, user).await;
        claim.settle(&self.router, user, claimed);
    }

    async fn attach_again(&self, number: &mut u32) -> Option<Attachment> {
        let (mut wait, mut told) = (RETRY, String::new());
        loop {
            *number = number.saturating_add(1);
            tokio::select! {
                () = self.stop.cancelled() => return None,
                made = Attachment::make(&self.settings, &self.router, *number) => match made {
                    Ok(attachment) => return Some(attachment),
                    Err(error) => {
                        self.router.detach();
                        let reason = error.to_string();
                        // Once, as long as it stays the same.
                        if told != reason {
                            tracing::warn!(%error, "cannot be attached to the other nodes yet");
                            told = reason;
                        }
                    }
                },
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = pause(wait) => {}
            }
            wait = wait.saturating_add(wait.checked_div(2).unwrap_or_default()).min(MAX_RETRY);
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands out the time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "there is no event to wait for: time itself is what has to pass")]
async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}
