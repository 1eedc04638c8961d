use std::{
    io::{IsTerminal as _, Read as _},
    path::Path,
};

use client::ErrorCode;
use zeroize::Zeroizing;

/// A password, zeroed when dropped.
pub(crate) type Password = Zeroizing<String>;

/// Bytes of a password file that are read.
const MAX_FILE: usize = 4096;

/// Where passwords come from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The first line of a file.
    File(&'a Path),
    /// The person at the terminal, who can be asked again.
    Terminal,
}

impl<'a> Source<'a> {
    /// The file if one was named, otherwise the terminal.
    pub(crate) fn new(file: Option<&'a Path>) -> Self {
        file.map_or(Self::Terminal, Self::File)
    }

    /// Whether a mistake can be mended by asking again.
    pub(crate) fn can_ask_again(self) -> bool {
        matches!(self, Self::Terminal) && std::io::stdin().is_terminal()
    }

    /// The password. An empty one is `blank_field`.
    pub(crate) async fn ask(self, prompt: String) -> Result<Password, client::Failure> {
        let password = match self {
            Self::File(path) => {
                let bad = |what: &dyn std::fmt::Display| {
                    let message = format!("the password file {} cannot be used: {what}", path.display());
                    client::Failure::new(ErrorCode::BadFile, message)
                };
                let file = path.to_owned();
                // A pipe may take its time.
                let read = tokio::task::spawn_blocking(move || read_start(&file)).await;
                let bytes = read.map_err(std::io::Error::from).flatten().map_err(|error| bad(&error))?;
                let text = str::from_utf8(&bytes).map_err(|_| bad(&"it is not UTF-8 text"))?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
            Self::Terminal => {
                let asked =
                    tokio::task::spawn_blocking(|| rpassword::prompt_password(prompt).map(Zeroizing::new)).await;
                match asked.map_err(std::io::Error::from).flatten() {
                    Ok(password) => password,
                    // Ctrl-C: its signal is on its way, and whoever waits for this password waits for that, too.
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => std::future::pending().await,
                    Err(error) => {
                        let message =
                            format!("there is no terminal to ask for the password ({error}); use --password-file FILE");
                        return Err(client::Failure::new(ErrorCode::BlankField, message));
                    }
                }
            }
        };
        if password.is_empty() {
            return Err(client::Failure::new(
                ErrorCode::BlankField,
                "the password is empty; type the one that protects your key",
            ));
        }
        Ok(password)
    }
}

/// The start of a file, in which the first line is.
fn read_start(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE));
    std::fs::File::open(path)?.take(u64::try_from(MAX_FILE).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
