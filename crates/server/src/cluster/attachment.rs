//! One attachment: from the connection to the router's server to its end, however that comes.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{
    Client, Event, Subject, Subscriber,
    connection::State,
    jetstream::kv::{Entry, Watch},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    FAREWELL, Settings,
    bucket::{Bucket, in_full, item},
    error::ClusterError,
    leases::RENEWAL,
    membership::{Ended, Membership},
    now,
};
use crate::{
    router::{Errand, Router},
    signal::NodeId,
};

/// From one thing that stands in the bucket to the next, when all of it is read.
const READING: Duration = Duration::from_secs(3);
/// What is taken out of the bucket at once.
const STRIKES_AT_ONCE: usize = 64;

/// This node as one of several.
pub(super) struct Attachment {
    number: u32,
    cluster: String,
    client: Client,
    bucket: Bucket,
    watch: Watch,
    words: Subscriber,
    membership: Membership,
    /// The connection is gone.
    lost: CancellationToken,
}

impl Attachment {
    /// Connects, and reads who is where.
    ///
    /// # Errors
    /// [`ClusterError`] when something of that does not work.
    pub(super) async fn make(settings: &Settings, router: &Router, number: u32) -> Result<Self, ClusterError> {
        let lost = CancellationToken::new();
        let client = connect(settings, lost.clone()).await?;
        let unable = |what, reason: String| ClusterError::Unable { servers: settings.servers(), what, reason };
        let bucket = Bucket::open(&client, settings).await?;
        let subject = subject_of(&settings.cluster, router.home(), number);
        let heard = client.subscribe(subject).await;
        let words = heard.map_err(|error| unable("let nodes talk to each other", in_full(&error)))?;
        client.flush().await.map_err(|error| unable("let nodes talk to each other", in_full(&error)))?;

        router.attach(number);
        let watch = bucket.watch(settings).await?;
        let membership = Membership::new(router.home(), now());
        let cluster = settings.cluster.clone();
        let mut attachment = Self { number, cluster, client, bucket, watch, words, membership, lost };
        attachment.read(router).await.map_err(|Ended(reason)| unable("say who is online", reason))?;
        // From here on others tell this node something: it can be found, and listens.
        let renewed = attachment.bucket.renew(router.home(), number).await;
        renewed.map_err(|reason| unable("keep which nodes there are", reason))?;
        Ok(attachment)
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Carries what the router wants told, and tells it what comes, until the connection is lost or `stop` is cancelled.
    /// Why it ended, in the first case.
    pub(super) async fn serve(self, router: &Router, stop: &CancellationToken) -> Option<String> {
        let Self { number, cluster, client, bucket, mut watch, mut words, mut membership, lost } = self;
        let watching = async {
            let mut ticks = interval(RENEWAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    entry = watch.next() => learn(router, &mut membership, entry)?,
                    _ = ticks.tick() => tick(router, &mut membership, &bucket).await?,
                }
            }
            #[expect(unreachable_code, reason = "it gives the block its type")]
            Result::<(), Ended>::Ok(())
        };
        let renewing = async {
            let mut ticks = interval(RENEWAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(reason) = bucket.renew(router.home(), number).await {
                    return Ended(format!("the lease of this node could not be renewed ({reason})"));
                }
            }
        };
        let hearing = async {
            while let Some(word) = words.next().await {
                if let Err(error) = router.hear(&word.payload) {
                    tracing::warn!(%error, "a word that came from another node was not understood");
                }
            }
            Ended("nothing is heard any more".to_owned())
        };
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = lost.cancelled() => Some(Ended("the connection to the router's server is lost".to_owned())),
            ended = watching => ended.err(),
            ended = renewing => Some(ended),
            ended = hearing => Some(ended),
            ended = telling(router, &client, &bucket, &cluster) => Some(ended),
        };
        if ended.is_none() {
            let farewell = async {
                // What sessions have said last, and that they have ended.
                tell_all(router, &client, &bucket, &cluster).await;
                bucket.end_lease(router.home()).await;
                let _ = client.flush().await;
            };
            let _ = timeout(FAREWELL, farewell).await;
        }
        ended.map(|Ended(why)| why)
    }

    /// Reads all that stands in the bucket.
    async fn read(&mut self, router: &Router) -> Result<(), Ended> {
        loop {
            // Of several servers one may have been asked that is gone, and nobody says so.
            let next = timeout(READING, self.watch.next()).await;
            let entry = next.map_err(|_| Ended(format!("nothing comes for {} s", READING.as_secs())))?;
            let is_last = matches!(&entry, Some(Ok(entry)) if entry.seen_current);
            learn(router, &mut self.membership, entry)?;
            if is_last {
                self.membership.has_read(now());
                return Ok(());
            }
        }
    }
}

async fn connect(settings: &Settings, lost: CancellationToken) -> Result<Client, ClusterError> {
    use async_nats::ConnectErrorKind as Kind;
    let options = settings.options()?.event_callback(move |event| {
        match &event {
            Event::Disconnected | Event::Closed | Event::LameDuckMode => lost.cancel(),
            Event::SlowConsumer(_) => tracing::warn!("more comes from the other nodes than this one takes in"),
            Event::ServerError(error) => {
                let error = without_subject(&error.to_string());
                tracing::warn!(%error, "the router's server complains");
            }
            _ => {}
        }
        async {}
    });
    let servers = settings.servers();
    let client = options.connect(settings.addresses()).await.map_err(|error| {
        let reason = in_full(&error);
        match error.kind() {
            Kind::Authentication | Kind::AuthorizationViolation => ClusterError::Refused { servers, reason },
            _ => ClusterError::Unreachable { servers, reason },
        }
    })?;
    match client.connection_state() {
        State::Connected => Ok(client),
        _ => {
            let servers = settings.servers();
            Err(ClusterError::Unreachable { servers, reason: "the connection did not last".to_owned() })
        }
    }
}

/// What it complains about is a subject, in quotation marks, which may have the name of a user in it.
fn without_subject(complaint: &str) -> String {
    complaint.split('"').step_by(2).collect::<Vec<_>>().join("…")
}

/// Where a node listens in an attachment of this number.
fn subject_of(cluster: &str, node: NodeId, attachment: u32) -> String {
    format!("{cluster}.node.{node}.{attachment}")
}

/// Takes in what stands in the bucket.
fn learn<E: std::error::Error>(
    router: &Router,
    membership: &mut Membership,
    entry: Option<Result<Entry, E>>,
) -> Result<(), Ended> {
    let entry = match entry {
        Some(Ok(entry)) => entry,
        Some(Err(error)) => return Err(Ended(format!("it is not said any more who is online ({})", in_full(&error)))),
        None => return Err(Ended("it is not said any more who is online".to_owned())),
    };
    match item(&entry) {
        Ok(item) => membership.learn(router, item, entry.revision, now()),
        Err(error) => {
            tracing::warn!(%error, "something in the presence bucket was not understood");
            Ok(())
        }
    }
}

async fn tick(router: &Router, membership: &mut Membership, bucket: &Bucket) -> Result<(), Ended> {
    for (node, revision) in membership.tick(router, now())? {
        bucket.bury(node, revision).await;
    }
    Ok(())
}

/// Does what the router wants done, as long as there is anything.
async fn telling(router: &Router, client: &Client, bucket: &Bucket, cluster: &str) -> Ended {
    let mut subjects: BTreeMap<NodeId, (u32, Subject)> = BTreeMap::new();
    let mut strikes = FuturesUnordered::new();
    loop {
        let Some(errand) = router.next_errand() else {
            tokio::select! {
                () = router.errands() => {}
                Some(()) = strikes.next() => {}
            }
            continue;
        };
        match errand {
            Errand::Tell { node, attachment, word } => {
                let known = subjects.get(&node).filter(|(known, _)| *known == attachment);
                let subject = match known {
                    Some((_, subject)) => subject.clone(),
                    None => {
                        let subject = Subject::from(subject_of(cluster, node, attachment));
                        subjects.insert(node, (attachment, subject.clone()));
                        subject
                    }
                };
                if let Err(error) = client.publish(subject, word).await {
                    return Ended(format!("nothing can be told any more ({})", in_full(&error)));
                }
            }
            Errand::Strike { user, revision } => {
                if strikes.len() >= STRIKES_AT_ONCE {
                    strikes.next().await;
                }
                strikes.push(async move { bucket.strike(&user, revision).await });
            }
            Errand::Reattach => return Ended("the other nodes took this one for gone".to_owned()),
        }
    }
}

/// Does all that there is to do, and waits until it is done.
async fn tell_all(router: &Router, client: &Client, bucket: &Bucket, cluster: &str) {
    let mut strikes = Vec::new();
    while let Some(errand) = router.next_errand() {
        match errand {
            Errand::Tell { node, attachment, word } => {
                let _ = client.publish(subject_of(cluster, node, attachment), word).await;
            }
            Errand::Strike { user, revision } => strikes.push((user, revision)),
            Errand::Reattach => {}
        }
    }
    futures_util::stream::iter(strikes)
        .for_each_concurrent(STRIKES_AT_ONCE, |(user, revision)| async move { bucket.strike(&user, revision).await })
        .await;
}
