use std::io::{self, Write};

use client::{Command, ErrorCode, Event, Failure};
use serde::{Deserialize, Serialize};
use serde_json::ser::{CharEscape, Formatter};
use zeroize::Zeroizing;

use super::Face;
use crate::printable;

/// One JSON object a line, for programs.
pub(crate) struct Json<W> {
    out: W,
}

impl<W: Write + Send> Json<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    fn print(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = Zeroizing::new(Vec::new());
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut *line, Harmless))?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }
}

impl<W: Write + Send> Face for Json<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        self.print(event)
    }

    fn read(&mut self, line: &str) -> Result<Option<Command>, Failure> {
        if line.is_empty() {
            return Ok(None);
        }
        if !line.starts_with('{') {
            return Command::parse(line).map(Some);
        }
        let object = serde_json::from_str::<Object>(line).map_err(|error| {
            let what = "a line that starts with { is {\"say\":\"…\"} or {\"list\":{\"prefix\":\"…\",\"after\":\"…\"}}";
            Failure::new(ErrorCode::BadCommand, format_args!("{what} ({error})"))
        })?;
        match object {
            Object::Say(text) => Command::say(text),
            Object::List { prefix, after } => Command::list(&prefix, &after),
        }
        .map(Some)
    }

    fn help(&mut self) -> io::Result<()> {
        #[derive(Serialize)]
        struct Help {
            event: &'static str,
            text: &'static str,
        }
        self.print(&Help { event: "help", text: client::HELP })
    }

    fn failed(&mut self, failure: &Failure) -> io::Result<()> {
        self.show(&failure.clone().into())
    }
}

/// A command as an object.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Object {
    Say(String),
    List {
        #[serde(default)]
        prefix: String,
        #[serde(default)]
        after: String,
    },
}

/// Writes what could do harm to a terminal as `\u` escapes, so that nothing is lost and nothing gets through.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((place, c)) = rest.char_indices().find(|(_, c)| printable::is_dangerous(*c)) {
            let (before, from) = rest.split_at(place);
            writer.write_all(before.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = from.strip_prefix(c).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: &impl Serialize) -> String {
        let mut out = Vec::new();
        Json::new(&mut out).print(value).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_harm_a_terminal_is_escaped_and_nothing_is_lost() {
        let nasty = "a\x1b[2J\u{9b}\u{202e}\u{e0001}\"\\\n👩‍💻é\u{7f}";
        let json = printed(&nasty);
        assert!(!json.trim_end().chars().any(printable::is_dangerous), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), nasty);
    }

    #[test]
    fn events_and_objects_are_as_documented() {
        let event = Event::Users { users: vec!["bob".into()], more: false };
        assert_eq!(printed(&event), "{\"event\":\"users\",\"users\":[\"bob\"],\"more\":false}\n");
        let event = Event::LoggedOut;
        assert_eq!(printed(&event), "{\"event\":\"logged_out\"}\n");
        let mut face = Json::new(io::sink());
        assert_eq!(face.read(r#"{"say":"--ex\n"}"#), Command::say("--ex\n".into()).map(Some));
        assert_eq!(face.read(r#"{"list":{"prefix":"a","after":""}}"#), Command::list("a", "").map(Some));
        assert_eq!(face.read("--y"), Ok(Some(Command::Yes(None))));
        assert_eq!(face.read(""), Ok(None));
        for bad in ["{", r#"{"say":1}"#, r#"{"dance":1}"#, r#"{"list":{"x":1}}"#] {
            assert_eq!(face.read(bad).unwrap_err().code, ErrorCode::BadCommand, "{bad}");
        }
    }
}
