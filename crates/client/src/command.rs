use protocol::{Page, Text, TextError, UserName};

use crate::{ErrorCode, Failure};

/// What a user can tell the client to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show who is online.
    List(Page),
    /// Ask somebody to talk.
    Talk(UserName),
    /// Accept the request that is there; if a name is given, only that user's: another may have taken its place by the
    /// time that the word gets here.
    Yes(Option<UserName>),
    /// Refuse the request that is there, or take back one's own.
    No,
    /// Send a message.
    Say(Text),
    /// Note that the safety number was compared with the peer, and is the same; if a number is given, only if it is
    /// that of the chat: another may have begun since it was looked at. Only its digits count.
    Verify(Option<String>),
    /// Let go of the key that is pinned for somebody.
    Forget(UserName),
    /// Show what can be typed.
    Help,
    /// Log off, which ends the chat, and log on again.
    Leave,
    /// Log off and end, once what was said is delivered. A second time: at once.
    Exit,
}

/// What a person can type, for faces that show help.
pub const HELP: &str = "\
--l, /list      who is online; /list START: whose name begins with START
--r, /talk NAME ask NAME to talk
--y, /yes       accept a request to talk; --y NAME only if it is NAME's
--n, /no        refuse a request, or take back your own
/verify         note that you compared the safety number, and it is the same;
                /verify NUMBER only if NUMBER, which your peer gave you, is the same
/forget NAME    let go of the key that NAME had, once NAME told you that it changed
/leave          end the chat and stay online; the next chat has fresh keys
--ex, /quit     end the chat and leave
/help           this list
//TEXT          say TEXT with one slash before it
anything else   is said to the person you are talking to";

impl Command {
    /// Reads a line that a person typed (S17), without its line end.
    ///
    /// # Errors
    /// What is wrong with it, in words for the person who typed it; the line did nothing.
    pub fn parse(line: &str) -> Result<Self, Failure> {
        let mut words = line.split_whitespace();
        let (word, first, second) = (words.next().unwrap_or_default(), words.next(), words.next());
        let takes_at_most = |count: usize| {
            if line.split_whitespace().count() > count.saturating_add(1) {
                return Err(Failure::new(
                    ErrorCode::BadCommand,
                    format_args!("{word} does not take that much; see /help"),
                ));
            }
            Ok(())
        };
        match word {
            "--l" | "/list" => takes_at_most(2).and_then(|()| Self::list(first.unwrap_or(""), second.unwrap_or(""))),
            "--r" | "/talk" => takes_at_most(1).and_then(|()| Self::talk(first.unwrap_or(""))),
            "--y" | "/yes" => takes_at_most(1).and_then(|()| Ok(Self::Yes(first.map(str::parse).transpose()?))),
            "--n" | "/no" => takes_at_most(0).map(|()| Self::No),
            "--ex" | "/quit" => takes_at_most(0).map(|()| Self::Exit),
            "/verify" => {
                let number = line.trim().strip_prefix("/verify").unwrap_or_default().trim();
                Ok(Self::Verify((!number.is_empty()).then(|| number.to_owned())))
            }
            "/forget" => takes_at_most(1).and_then(|()| Ok(Self::Forget(first.unwrap_or("").parse()?))),
            "/leave" => takes_at_most(0).map(|()| Self::Leave),
            "/help" => takes_at_most(0).map(|()| Self::Help),
            _ => match line.strip_prefix('/') {
                Some(escaped) if escaped.starts_with('/') => Self::say(escaped.to_owned()),
                Some(_) => Err(Failure::new(
                    ErrorCode::BadCommand,
                    format_args!(
                        "there is no command {word}; /help lists them, and // at the start sends a line that starts with /"
                    ),
                )),
                None => Self::say(line.to_owned()),
            },
        }
    }

    /// A message.
    ///
    /// # Errors
    /// `too_long` above [`protocol::limits::MAX_TEXT`] bytes, `blank_field` for nothing.
    pub fn say(text: String) -> Result<Self, Failure> {
        Text::try_from(text).map(Self::Say).map_err(|error| {
            let code = match error {
                TextError::Empty => ErrorCode::BlankField,
                TextError::TooLong(_) => ErrorCode::TooLong,
            };
            Failure::new(code, error)
        })
    }

    /// A request for the part of the online list that starts with `prefix`, after the name `after`.
    ///
    /// # Errors
    /// `bad_name` when either is no part of a name.
    pub fn list(prefix: &str, after: &str) -> Result<Self, Failure> {
        Ok(Self::List(Page { prefix: prefix.parse()?, after: after.parse()? }))
    }

    /// A request to talk.
    ///
    /// # Errors
    /// `bad_name` or `blank_field` when `name` is no name.
    pub fn talk(name: &str) -> Result<Self, Failure> {
        Ok(Self::Talk(name.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type() {
        let parse = |line| Command::parse(line);
        assert_eq!(parse("--l"), Command::list("", ""));
        assert_eq!(parse("/list al bob"), Command::list("al", "bob"));
        assert_eq!(parse("--r Bob"), Command::talk("bob"));
        assert_eq!(parse(" --y "), Ok(Command::Yes(None)));
        assert_eq!(parse("/yes Bob"), Ok(Command::Yes(Some("bob".parse().unwrap()))));
        assert_eq!(parse("/no"), Ok(Command::No));
        assert_eq!(parse("--ex"), Ok(Command::Exit));
        assert_eq!(parse("/leave"), Ok(Command::Leave));
        assert_eq!(parse("/verify"), Ok(Command::Verify(None)));
        assert_eq!(parse("/verify 01234 56789 "), Ok(Command::Verify(Some("01234 56789".into()))));
        assert_eq!(parse("/forget Bob"), Ok(Command::Forget("bob".parse().unwrap())));
        assert_eq!(parse("--example"), Command::say("--example".into()));
        assert_eq!(parse("  as typed  "), Command::say("  as typed  ".into()));
        assert_eq!(parse("//etc/passwd"), Command::say("/etc/passwd".into()));
        let code = |line| parse(line).unwrap_err().code;
        assert_eq!(code("/etc/passwd"), ErrorCode::BadCommand);
        assert_eq!(code("--y bob carol"), ErrorCode::BadCommand);
        assert_eq!(code("--r"), ErrorCode::BlankField);
        assert_eq!(code("--r b@b"), ErrorCode::BadName);
        assert_eq!(code("--r bob carol"), ErrorCode::BadCommand);
        assert_eq!(code(""), ErrorCode::BlankField);
        assert_eq!(code(&"x".repeat(16_385)), ErrorCode::TooLong);
    }
}
