use ::client::{Command, ErrorCode, Event};
use protocol::{NamePrefix, ServerName, UserName, limits::MAX_TEXT};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    face::{Face as _, Json},
    printable, text as layout,
};

/// Takes the bytes for what somebody types or says: a line for each face, a name, and a text that is shown.
///
/// What is typed is said as it stands or is a command; names have one form; nothing that is shown can move a cursor, turn
/// writing round or take more columns than it was given; a line of JSON is read back as what went into it.
pub fn typed(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    line(&text);
    object(&text);
    names(&text);
    shown(&text);
    told(&text);
}

fn line(line: &str) {
    match Command::parse(line) {
        Ok(Command::Say(said)) => {
            let whole = line.strip_prefix('/').unwrap_or(line);
            assert_eq!(said.as_str(), whole);
            assert!(!line.starts_with('/') || whole.starts_with('/'), "a command was said");
            assert!((1..=MAX_TEXT).contains(&whole.len()));
        }
        Ok(_) => assert!(line.trim_start().starts_with(['-', '/'])),
        Err(failure) => assert!(!failure.message.is_empty()),
    }
}

fn object(line: &str) {
    let read = Json::new(std::io::sink()).read(line);
    match (line.bytes().next(), read) {
        (None, read) => assert_eq!(read, Ok(None)),
        (Some(b'{'), Ok(command)) => assert!(matches!(command, Some(Command::Say(_) | Command::List(_)))),
        (Some(b'{'), Err(_)) => {}
        (Some(_), read) => assert_eq!(read, Command::parse(line).map(Some)),
    }
}

fn names(text: &str) {
    if let Ok(name) = text.parse::<UserName>() {
        assert_eq!(name.as_str(), text.to_ascii_lowercase());
        assert_eq!(name.as_str().parse(), Ok(name.clone()));
        assert_eq!(text.parse::<NamePrefix>(), Ok(NamePrefix::from(&name)));
    }
    if let Ok(name) = text.parse::<ServerName>() {
        assert_eq!(name.as_str().parse(), Ok(name.clone()));
        let _ = identity::subject(&name);
    }
}

fn shown(text: &str) {
    let line = printable::line(text);
    assert!(is_harmless(&line));
    assert_eq!(printable::line(&line), line);
    for columns in [1, 2, 7, 40] {
        for piece in printable::pieces(&line, columns) {
            assert!(is_harmless(piece));
        }
        let bounded = layout::bounded(text);
        let rows = layout::wrap(&bounded, columns);
        assert!(!rows.is_empty());
        for row in rows.iter().take(50) {
            assert!(is_harmless(row));
            assert!(columns < 4 || layout::columns(row) <= columns, "{row:?}");
            drawn(row, u16::try_from(columns).unwrap());
        }
    }
}

fn drawn(row: &str, columns: u16) {
    let area = Rect::new(0, 0, columns + 4, 2);
    let mut buffer = Buffer::empty(area);
    let used = layout::draw(&mut buffer, 2, 0, columns, row, Style::new());
    assert!(used <= columns);
    layout::keep_direction(&mut buffer);
    for (at, cell) in buffer.content().iter().enumerate() {
        let symbol = cell.symbol().trim_end_matches(layout::LEFT_TO_RIGHT);
        assert!(is_harmless(symbol));
        let within = (2..2 + usize::from(used)).contains(&at);
        assert!(within || symbol == " ", "{symbol:?} at {at}");
    }
}

/// An event of which a part is what somebody else made up.
fn told(text: &str) {
    let mut out = Vec::new();
    let (code, message) = (ErrorCode::Busy, text.to_owned());
    Json::new(&mut out).show(&Event::Error { code, message, peer: Some(text.to_owned()) }).unwrap();
    let line = String::from_utf8(out).unwrap();
    let line = line.strip_suffix('\n').unwrap();
    assert!(is_harmless(line));
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["message"], text);
    assert_eq!(value["peer"], text);
}

/// Read off Unicode's own lists, apart from the program: nothing that controls, hides, or turns writing round.
fn is_harmless(text: &str) -> bool {
    text.chars().all(|c| {
        let is_direction =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let is_tag = matches!(c, '\u{e0000}'..='\u{e0fff}');
        let is_separator = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}');
        !(c.is_control() || is_direction || is_tag || is_separator)
    })
}
