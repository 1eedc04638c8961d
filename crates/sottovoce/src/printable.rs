//! What came from outside, made safe to show on a terminal.

/// One line without anything that could move the cursor, change the order of writing, or hide: control characters,
/// escapes, line and paragraph separators, direction marks, embeddings, overrides and isolates, and invisible
/// formatting. Tabs and line ends become spaces.
pub(crate) fn line(text: &str) -> String {
    text.chars().filter_map(|c| if is_space(c) { Some(' ') } else { (!is_dangerous(c)).then_some(c) }).collect()
}

/// Lines as [`line()`] makes them, as many as the text has.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.split('\n').map(|part| line(part.strip_suffix('\r').unwrap_or(part)))
}

/// Whether a character must not reach a terminal as it is.
pub(crate) fn is_dangerous(c: char) -> bool {
    // Joiners (U+200C, U+200D) and variation selectors stay: scripts and emoji need them.
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0001}')
}

fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_or_hides_gets_through() {
        assert_eq!(line("\x1b]0;owned\x07\x1b[2Jhi"), "]0;owned[2Jhi");
        assert_eq!(line("\u{9b}31mred\u{7f}"), "31mred");
        assert_eq!(line("abc\u{202e}fdp.exe\u{2066}x\u{2069}"), "abcfdp.exex");
        assert_eq!(line("one\ttwo\r\nthree"), "one two  three");
        assert_eq!(line("👩‍💻 é עברית"), "👩‍💻 é עברית");
        assert_eq!(lines("a\r\nb\n* fake").collect::<Vec<_>>(), ["a", "b", "* fake"]);
    }
}
