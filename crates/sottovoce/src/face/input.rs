use std::io::{BufRead as _, IsTerminal as _, Read as _, stdin};

use client::{ErrorCode, Failure};
use protocol::limits::MAX_TEXT;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// Bytes of the longest line that is read: the longest message with each of its bytes escaped in JSON, and room for
/// the object around it.
const MAX_LINE: usize = 6 * MAX_TEXT + 1024;

/// Bytes of the longest line that a terminal passes on, without its end (N_TTY of Linux).
const MAX_TERMINAL_LINE: usize = 4095;

/// Lines of standard input, read by a thread of its own: reading may block for ever, and the program must not.
pub(crate) struct Input(mpsc::Receiver<Typed>);

/// What was typed up to a line's end.
pub(crate) enum Typed {
    /// A line of text.
    Line(Zeroizing<String>),
    /// More than any command has; it was passed over.
    TooLong,
    /// Bytes that are not UTF-8; they were passed over.
    NotText,
    /// As much as a terminal passes on of one line; it has dropped the rest.
    Cut,
}

impl Input {
    /// Begins to read standard input.
    pub(crate) fn begin() -> Self {
        let (sender, receiver) = mpsc::channel(1);
        std::thread::spawn(move || {
            while let Some(typed) = read_line() {
                if sender.blocking_send(typed).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next line; `None` at the end of input.
    pub(crate) async fn next(&mut self) -> Option<Typed> {
        self.0.recv().await
    }
}

impl Input {
    /// Passes over what was typed before now, as it was meant for something else.
    pub(crate) fn discard(&mut self) {
        // Where standard input is no terminal there is nothing to discard.
        let _ = rustix::termios::tcflush(stdin(), rustix::termios::QueueSelector::IFlush);
        while self.0.try_recv().is_ok() {}
    }
}

impl Typed {
    /// The line, if it is one.
    pub(crate) fn into_line(self) -> Result<Zeroizing<String>, Failure> {
        match self {
            Self::Line(line) => Ok(line),
            Self::TooLong => Err(Failure::new(
                ErrorCode::TooLong,
                format_args!("a message has at most {MAX_TEXT} bytes; that line was longer, and was not sent"),
            )),
            Self::Cut => Err(Failure::new(
                ErrorCode::TooLong,
                format_args!(
                    "a terminal passes on {MAX_TERMINAL_LINE} bytes of a line; that line had more, and was not sent"
                ),
            )),
            Self::NotText => Err(Failure::new(ErrorCode::BadCommand, "that line is not UTF-8 text, and was not sent")),
        }
    }
}

fn read_line() -> Option<Typed> {
    let mut line = Zeroizing::new(Vec::new());
    let mut input = stdin().lock();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    let length = input.by_ref().take(limit).read_until(b'\n', &mut line).ok()?;
    if length == 0 {
        return None;
    }
    if length == MAX_LINE && !line.ends_with(b"\n") {
        input.skip_until(b'\n').ok()?;
        return Some(Typed::TooLong);
    }
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    if text.len() >= MAX_TERMINAL_LINE && stdin().is_terminal() {
        return Some(Typed::Cut);
    }
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Some(str::from_utf8(text).map_or(Typed::NotText, |text| Typed::Line(Zeroizing::new(text.to_owned()))))
}
