use std::{io::IsTerminal as _, path::Path};

use client::ErrorCode;
use zeroize::Zeroizing;

/// A password, zeroed when dropped.
pub(crate) type Password = Zeroizing<String>;

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
                let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| {
                    let message = format!("the password file {} cannot be read: {error}", path.display());
                    client::Failure::new(ErrorCode::BadFile, message)
                })?;
                let text = str::from_utf8(&bytes).map_err(|_| {
                    let message = format!("the password file {} is not UTF-8 text", path.display());
                    client::Failure::new(ErrorCode::BadFile, message)
                })?;
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
