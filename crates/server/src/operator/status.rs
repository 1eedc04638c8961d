//! The figures of a running server by a socket in its folder: whoever may enter the folder asks the server that runs in
//! it, and no other that has the same port on the same machine. The server says all in one JSON object, and hears nothing.

use std::{
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use super::{figures::Figures, visitors::Visitors};
use crate::listener::{RETRY_PAUSE, Relay, now, pause};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// Why nothing is known of a server.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody answers at the socket, or there is none.
    #[error("no server is running in {}; `sottovoce server run` starts it", .0.display())]
    NotRunning(PathBuf),
    /// The system does not let this user ask.
    #[error("the server in {} may not be asked by the user who runs this; run it as the one who runs the server", .0.display())]
    NotAllowed(PathBuf),
    /// It runs and says nothing.
    #[error("the server in {} does not answer; look at its log and at the machine's load, and start it again if that lasts", .0.display())]
    Silent(PathBuf),
    /// It says something else.
    #[error("the server in {} answers in a way that this program does not know; use the program that it runs", .0.display())]
    Foreign(PathBuf),
    /// The system does not let it be asked.
    #[error("the server in {} cannot be asked: {source}", dir.display())]
    Failed {
        /// The server's folder.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The socket's path in a server's folder.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("status.sock")
}

/// Asks the server that runs in the folder `dir`.
///
/// # Errors
/// [`StatusError`], with what to do.
pub async fn ask(dir: &Path) -> Result<Figures, StatusError> {
    let failed = |source: io::Error| {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => StatusError::NotRunning(dir),
            io::ErrorKind::PermissionDenied => StatusError::NotAllowed(dir),
            // So many ask and are not answered that the system lets nobody else.
            io::ErrorKind::WouldBlock => StatusError::Silent(dir),
            _ => StatusError::Failed { dir, source },
        }
    };
    let ask = async {
        let mut answer = Vec::new();
        UnixStream::connect(path(dir)).await?.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answer = timeout(PATIENCE, ask).await.map_err(|_| StatusError::Silent(dir.to_owned()))?.map_err(failed)?;
    if answer.is_empty() {
        // It ended while it was asked.
        return Err(StatusError::NotRunning(dir.to_owned()));
    }
    serde_json::from_slice(&answer).map_err(|_| StatusError::Foreign(dir.to_owned()))
}

/// A socket that a server answers at.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// A socket's file, which goes when this is dropped, unless another server has put its own there.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and number.
    file: (u64, u64),
}

impl Socket {
    /// Puts a socket into the folder `dir` that its owner alone can use, in the place of the one that another server has
    /// left behind there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn bind(dir: &Path) -> io::Result<Self> {
        let path = path(dir);
        // Under a name of its own at first: where another server runs in the folder, its socket is gone in one moment.
        let own = dir.join(format!("status.sock.{}", std::process::id()));
        match std::fs::remove_file(&own) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&own)?;
        let put = || {
            std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600))?;
            let file = file(&own)?;
            std::fs::rename(&own, &path)?;
            Ok(file)
        };
        match put() {
            Ok(file) => Ok(Self { listener, file: SocketFile { path, file } }),
            Err(error) => {
                // What went wrong before is worth more than what does here.
                let _ = std::fs::remove_file(&own);
                Err(error)
            }
        }
    }

    /// What answers whoever comes until it is dropped, and the file that is to be kept for so long.
    pub(crate) fn serve(self, relay: Arc<Relay>) -> (impl Future<Output = ()>, SocketFile) {
        (serve(self.listener, relay), self.file)
    }
}

async fn serve(listener: UnixListener, relay: Arc<Relay>) {
    let mut visitors = Visitors::default();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => visitors.serve(visit(socket, relay.clone())),
            Err(error) => {
                tracing::debug!(%error, "nobody was let in to see the status");
                pause(RETRY_PAUSE).await;
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if file(&self.path).is_ok_and(|file| file == self.file) {
            // A socket that stays behind answers nobody.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn visit(mut socket: UnixStream, relay: Arc<Relay>) {
    let answer = async {
        let mut text = serde_json::to_vec(&Figures::of(&relay, now()).await)?;
        text.push(b'\n');
        socket.write_all(&text).await?;
        socket.shutdown().await
    };
    if let Err(error) = answer.await {
        tracing::debug!(%error, "no answer to somebody who asked for the status");
    }
}

fn file(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
