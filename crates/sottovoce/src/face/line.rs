use std::io::{self, Write};

use client::{Command, Ending, Event, Failure, RequestEnding};
use identity::Trust;

use super::Face;
use crate::printable::{line, lines, pieces};

/// Plain lines: `* ` before what the program says, `! ` before what went wrong, and before a message the name of who
/// said it. Nothing is shown by colour or by place, so it reads aloud and pipes well.
pub(crate) struct Line<W> {
    out: W,
    is_terminal: bool,
    last_sent: Option<u64>,
    /// What the names in the list that was last asked for begin with.
    prefix: String,
    /// Whether the list that was last asked for is the rest of one.
    more: bool,
    /// The last name of the list that was last shown.
    listed: String,
    /// Seconds between two attempts at a connection, as last told.
    longest_wait: u64,
}

impl<W: Write + Send> Line<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            is_terminal: false,
            last_sent: None,
            prefix: String::new(),
            more: false,
            listed: String::new(),
            longest_wait: 0,
        }
    }

    /// Where it writes.
    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// The same for a terminal, by whose width messages are broken.
    pub(crate) fn for_terminal(self) -> Self {
        Self { is_terminal: true, ..self }
    }

    /// Says something of the program's own.
    pub(crate) fn say(&mut self, what: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.write("* ", &what.to_string())
    }

    /// Writes a line, and where a terminal would break it, lines that all begin alike.
    fn write(&mut self, start: &str, text: &str) -> io::Result<()> {
        let room = columns(self.is_terminal).map_or(usize::MAX, |columns| columns.saturating_sub(start.len()).max(1));
        for piece in pieces(&line(text), room) {
            writeln!(self.out, "{start}{piece}")?;
        }
        self.out.flush()
    }

    fn message(&mut self, from: &str, text: &str) -> io::Result<()> {
        // Each line of a message bears its author, also where a terminal would break it, so that no line of it can pass
        // for the program's or another's.
        let start = format!("{}: ", line(from));
        lines(text).try_for_each(|part| self.write(&start, &part))
    }
}

impl<W: Write + Send> Face for Line<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Connecting | Event::Connected => Ok(()),
            Event::LoggedIn { user, server, group, .. } => {
                self.say(format_args!("logged in to {server} as {user} ({group})"))?;
                self.say(format_args!("/help lists what you can type"))
            }
            Event::Users { users, more: false } if users.is_empty() => {
                match (self.more, self.prefix.clone().as_str()) {
                    (true, _) => self.say(format_args!("there are no more names")),
                    (false, "") => self.say(format_args!("nobody else is online")),
                    (false, prefix) => self.say(format_args!("nobody is online whose name begins with {prefix}")),
                }
            }
            Event::Users { users, more } => {
                self.listed = users.last().cloned().unwrap_or_default();
                self.say(format_args!("online: {}", users.join(" ")))?;
                if *more { self.say(format_args!("there are more: /more shows them")) } else { Ok(()) }
            }
            Event::Request { from } => self.say(format_args!("{from} asks to talk: --y accepts, --n refuses")),
            Event::Calling { peer } => self.say(format_args!("asking {peer} to talk; --n takes it back")),
            Event::Refused { peer } => self.say(format_args!("{peer} refused to talk")),
            Event::UserNotFound { peer } => {
                self.say(format_args!("user not found: {peer} is unknown, not online, or busy"))
            }
            Event::RequestEnded { peer, reason } => match reason {
                RequestEnding::Expired => {
                    self.say(format_args!("the request between you and {peer} was not answered in time"))
                }
                RequestEnding::CalledOff => self.say(format_args!("the request between you and {peer} was taken back")),
                RequestEnding::Lost => {
                    self.say(format_args!("the request between you and {peer} ended with the connection"))
                }
            },
            Event::ChatStarted { peer, safety_number, trust, .. } => {
                self.last_sent = None;
                self.say(format_args!("you talk to {peer}, sealed with keys that the server does not have"))?;
                match trust {
                    Trust::New => {
                        self.say(format_args!("this is your first chat, and the key of {peer} is now pinned"))?
                    }
                    Trust::Pinned => self.say(format_args!("the key of {peer} is the one of your last chat"))?,
                    Trust::Verified => self.say(format_args!("the key of {peer} is the one that you verified"))?,
                }
                self.say(format_args!("safety number, to compare with {peer} by another way:"))?;
                let groups: Vec<_> = safety_number.split(' ').collect();
                groups.chunks(6).try_for_each(|half| self.say(format_args!("    {}", half.join(" "))))
            }
            Event::Message { from, text, .. } => self.message(from, text.as_str()),
            Event::Sent { n } => {
                self.last_sent = Some(*n);
                Ok(())
            }
            Event::Delivered { n } if self.last_sent == Some(*n) => self.say(format_args!("delivered")),
            Event::Delivered { .. } => Ok(()),
            Event::PeerBehind { peer } => {
                self.say(format_args!("{peer} is behind: what you say waits until {peer} has more of it"))
            }
            Event::PeerCaughtUp { peer } => self.say(format_args!("{peer} has caught up")),
            Event::PeerAway { peer } => {
                self.say(format_args!("{peer} is away; what you say waits until {peer} is back"))
            }
            Event::PeerBack { peer } => self.say(format_args!("{peer} is back")),
            Event::Verified { peer } => {
                self.say(format_args!("the key of {peer} is verified: no chat will start with another"))
            }
            Event::Forgotten { peer } => {
                self.say(format_args!("the key of {peer} is forgotten; the next chat pins the key that there is then"))
            }
            Event::ServerSilent => self.say(format_args!("the server does not answer; what you say may wait")),
            Event::ServerHeard => self.say(format_args!("the server answers again")),
            Event::Reconnecting { in_ms: 0 } => self.say(format_args!("connecting again")),
            // Over before it is read.
            Event::Reconnecting { in_ms: ..1000 } => Ok(()),
            Event::Reconnecting { in_ms } => {
                // Only what is longer than before, or a night without a network would be thousands of lines.
                let wait = in_ms.div_ceil(1000);
                if wait <= self.longest_wait {
                    return Ok(());
                }
                self.longest_wait = wait;
                self.say(format_args!("not connected; trying again in {wait} s"))
            }
            Event::Reconnected => {
                self.longest_wait = 0;
                self.say(format_args!("connected again"))
            }
            Event::Renewed { epoch } => self.say(format_args!("keys renewed ({epoch})")),
            Event::ChatClosed { peer, reason, undelivered } => {
                match reason {
                    Ending::Goodbye => self.say(format_args!("the chat with {peer} ended with a goodbye"))?,
                    Ending::Lost => {
                        self.say(format_args!("the chat with {peer} is lost: a connection ended without a goodbye"))?
                    }
                    Ending::Error => self.say(format_args!(
                        "the chat with {peer} ended because something was not right; see what {peer}'s screen says"
                    ))?,
                }
                match undelivered {
                    0 => Ok(()),
                    1 => self.say(format_args!("your last message was not confirmed and may be lost")),
                    many => self.say(format_args!("your last {many} messages were not confirmed and may be lost")),
                }
            }
            Event::LoggedOut => self.say(format_args!("logged out")),
            Event::Error { message, .. } => self.write("! ", message),
        }
    }

    fn read(&mut self, line: &str) -> Result<Option<Command>, Failure> {
        let command = match line.trim() {
            "" => return Ok(None),
            "/more" => {
                self.more = true;
                return Command::list(&self.prefix, &self.listed).map(Some);
            }
            _ => Command::parse(line)?,
        };
        if let Command::List(page) = &command {
            self.prefix = page.prefix.as_str().to_owned();
            self.more = false;
        }
        Ok(Some(command))
    }

    fn help(&mut self) -> io::Result<()> {
        client::HELP
            .lines()
            .chain(["/more           the next names of a long list"])
            .try_for_each(|help| self.say(format_args!("{help}")))
    }

    fn failed(&mut self, _: &Failure) -> io::Result<()> {
        // Standard error says it; a person sees both.
        Ok(())
    }
}

/// Columns of the terminal that standard output is now, if it is one.
fn columns(is_terminal: bool) -> Option<usize> {
    let size = is_terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok())??;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_pass_for_the_program() {
        let mut out = Vec::new();
        let text = "hi\n* logged out\x1b[2J\n! \u{202e}".to_owned().try_into().unwrap();
        Line::new(&mut out).show(&Event::Message { from: "bob".into(), text, n: 0 }).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "bob: hi\nbob: * logged out[2J\nbob: ! \n");
    }
}
