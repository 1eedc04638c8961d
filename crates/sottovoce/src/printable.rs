//! What came from outside, made safe to show on a terminal.

use unicode_width::UnicodeWidthChar as _;

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

/// A line in pieces of at most `columns` columns each, so that no terminal breaks it elsewhere; between words where that
/// can be. At least one piece.
pub(crate) fn pieces(line: &str, columns: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), line);
    let (mut place, mut width, mut word) = (0usize, 0usize, None);
    while let Some(c) = rest.get(place..).and_then(|rest| rest.chars().next()) {
        width = width.saturating_add(c.width().unwrap_or(0));
        let after = place.saturating_add(c.len_utf8());
        if width > columns && place > 0 {
            let (piece, left) = rest.split_at(word.unwrap_or(place));
            pieces.push(piece.trim_end());
            (rest, place, width, word) = (left, 0, 0, None);
        } else {
            place = after;
            if c == ' ' {
                word = Some(after);
            }
        }
    }
    pieces.push(rest);
    pieces
}

/// Whether a character must not reach a terminal as it is.
pub(crate) fn is_dangerous(c: char) -> bool {
    // Joiners (U+200C, U+200D) and variation selectors stay: scripts and emoji need them.
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{3164}' | '\u{FFA0}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
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
        assert_eq!(line("hid\u{e0041}den\u{3164}"), "hidden");
        assert_eq!(pieces("", 4), [""]);
        assert_eq!(pieces("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(pieces("break between words", 9), ["break", "between", "words"]);
        assert_eq!(pieces("日本語", 4), ["日本", "語"]);
        assert_eq!(pieces("日本", 1), ["日", "本"], "what fits nowhere still gets on");
        assert_eq!(pieces("e\u{301}e\u{301}", 1), ["e\u{301}", "e\u{301}"]);
        assert_eq!(lines("a\r\nb\n* fake").collect::<Vec<_>>(), ["a", "b", "* fake"]);
    }
}
