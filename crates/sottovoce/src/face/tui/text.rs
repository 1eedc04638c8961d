//! How text from people is laid out in columns, on terminals that disagree about widths.
//!
//! Each cluster gets the most columns that any terminal takes for it, so that nothing lands outside of its place. Who
//! writes the cells to the terminal does two things for each that is not plain ASCII: clears the cell's columns first
//! (`cell_width()`), since the terminal may draw in fewer, and moves the cursor explicitly after it, since the terminal
//! may have moved it otherwise.

use std::num::NonZeroU16;

use ratatui::{
    buffer::{Buffer, CellDiffOption, CellWidth as _},
    layout::Position,
    style::Style,
};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthChar as _;
use zeroize::Zeroizing;

use crate::printable;

/// Columns at most in one cell's symbol: a family of four, each a code point of its own. Longer chains are divided.
const MAX_COLUMNS: usize = 8;

/// Marks at most in a row. Hebrew with all its points and accents has five on a letter, Tibetan up to seven.
const MAX_MARKS: usize = 8;

/// Stands in columns that a cluster has beyond the first. It looks like a space, but ratatui sees a change when a space
/// follows it, and so clears what the terminal has there.
const FILLER: &str = "\u{a0}";

/// Marks that take a column on some terminals and none on others, in order: of Unicode's general category Mc, with the
/// property Grapheme_Extend (Unicode 14).
#[rustfmt::skip]
const SPACING_MARKS: [char; 51] = [
    '\u{9BE}', '\u{9D7}', '\u{B3E}', '\u{B57}', '\u{BBE}', '\u{BD7}', '\u{CC0}', '\u{CC2}', '\u{CC7}',
    '\u{CC8}', '\u{CCA}', '\u{CCB}', '\u{CD5}', '\u{CD6}', '\u{D3E}', '\u{D57}', '\u{DCF}', '\u{DDF}',
    '\u{1715}', '\u{1734}', '\u{1B35}', '\u{1B3B}', '\u{1B3D}', '\u{1B43}', '\u{1B44}', '\u{1BAA}', '\u{1BF2}',
    '\u{1BF3}', '\u{A953}', '\u{A9C0}', '\u{111C0}', '\u{11235}', '\u{1133E}', '\u{1134D}', '\u{11357}', '\u{114B0}',
    '\u{114BD}', '\u{115AF}', '\u{116B6}', '\u{11930}', '\u{1193D}', '\u{16FF0}', '\u{16FF1}', '\u{1D165}', '\u{1D166}',
    '\u{1D16D}', '\u{1D16E}', '\u{1D16F}', '\u{1D170}', '\u{1D171}', '\u{1D172}',
];

/// The mark that keeps a terminal which reorders right-to-left text from taking it for the row's direction
/// (U+200E; Unicode Standard Annex 9).
pub(super) const LEFT_TO_RIGHT: &str = "\u{200e}";

const ELLIPSIS: &str = "…";
const JOINER: char = '\u{200D}';

/// A text as it is kept for drawing: without the marks that would not be drawn, since a letter can come with thousands of
/// them, and would have to be laid out with each drawing.
pub(super) fn bounded(text: &str) -> Zeroizing<String> {
    let mut marks = 0usize;
    let kept = text.chars().filter(|c| {
        marks = if width(*c) == 0 && *c != '\n' { marks.saturating_add(1) } else { 0 };
        marks <= MAX_MARKS
    });
    Zeroizing::new(kept.collect())
}

/// Columns that [`draw()`] takes for a text, if it has the room.
pub(super) fn columns(text: &str) -> usize {
    if is_plain(text) {
        return text.len();
    }
    clusters(&shown(text), MAX_COLUMNS).map(|(_, wide)| wide).fold(0, usize::saturating_add)
}

/// The rows of a text that may have many lines, each at most `columns` wide; at least one. They are broken between words
/// where that can be, else between clusters, and in a cluster that is wider than a row. Spaces at a break are dropped.
/// A single character that is wider than `columns`, which is possible below 4, has a row that is too wide.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for line in printable::lines(text) {
        wrap_line(&shown(&line), columns.max(1), &mut rows);
    }
    rows
}

/// Draws one line from a place on, in at most `room` columns and within the buffer; what does not fit ends with "…".
/// Gives the columns that it took.
pub(super) fn draw(buffer: &mut Buffer, x: u16, y: u16, room: u16, text: &str, style: Style) -> u16 {
    if !buffer.area.contains(Position { x, y }) {
        return 0;
    }
    let room = usize::from(room.min(buffer.area.right().saturating_sub(x)));
    let line = shown(text);
    let (mut whole, mut kept) = (0usize, 0usize);
    let fits = clusters(&line, MAX_COLUMNS).all(|(_, wide)| {
        whole = whole.saturating_add(wide);
        if whole < room {
            kept = kept.saturating_add(1);
        }
        whole <= room
    });
    let kept = if fits { usize::MAX } else { kept };
    let end = (!fits && room > 0).then_some((ELLIPSIS, 1));
    let mut used = 0u16;
    for (cluster, wide) in clusters(&line, MAX_COLUMNS).take(kept).chain(end) {
        let wide = u16::try_from(wide).unwrap_or(u16::MAX);
        put(buffer, Position { x: x.saturating_add(used), y }, cluster, wide, style);
        used = used.saturating_add(wide);
    }
    used
}

/// Marks each row in which something is written from right to left as one that begins at the left. A terminal that
/// reorders takes the direction of a row from the first letter in it (Unicode Standard Annex 9, P2), and would move what
/// stands before that to the other side. To be called when all else is drawn.
pub(super) fn keep_direction(buffer: &mut Buffer) {
    let area = buffer.area;
    for y in area.top()..area.bottom() {
        let is_from_right = |x: u16| {
            let symbol = buffer.cell((x, y)).map_or("", |cell| cell.symbol());
            !symbol.is_ascii() && symbol.chars().any(is_from_right)
        };
        if (area.left()..area.right()).any(is_from_right)
            && let Some(cell) = buffer.cell_mut((area.left(), y))
            && is_plain(cell.symbol())
        {
            let symbol = format!("{}{LEFT_TO_RIGHT}", cell.symbol());
            cell.set_symbol(&symbol);
        }
    }
}

/// Characters of the blocks that Unicode keeps for scripts from right to left, their digits included.
fn is_from_right(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFF}' | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
}

fn wrap_line(line: &str, columns: usize, rows: &mut Vec<String>) {
    let mut push = |from: usize, to: usize| {
        rows.push(line.get(from..to).unwrap_or_default().trim_end_matches(' ').to_owned());
    };
    // Where the row and the cluster start; what the row takes; where its last word starts, and the columns before that.
    let (mut start, mut place, mut used, mut word) = (0usize, 0usize, 0usize, None);
    let (mut is_indent, mut at_break) = (true, false);
    for (cluster, wide) in clusters(line, MAX_COLUMNS.min(columns)) {
        let after = place.saturating_add(cluster.len());
        if cluster != " " {
            while used > 0 && used.saturating_add(wide) > columns {
                let (end, taken) = word.take().unwrap_or((place, used));
                push(start, end);
                (start, used) = (end, used.saturating_sub(taken));
            }
            used = used.saturating_add(wide);
            (is_indent, at_break) = (false, false);
        } else if at_break {
            start = after;
        } else if used >= columns {
            push(start, place);
            (start, used, word, at_break) = (after, 0, None, true);
        } else {
            used = used.saturating_add(1);
            word = (!is_indent).then_some((after, used));
        }
        place = after;
    }
    if !at_break {
        rows.push(line.get(start..).unwrap_or_default().to_owned());
    }
}

/// Puts a cluster in a cell, and something in each other that is its own. All must be within the buffer.
fn put(buffer: &mut Buffer, place: Position, cluster: &str, wide: u16, style: Style) {
    let mut symbol = String::with_capacity(cluster.len().min(64));
    let mut marks = 0usize;
    for c in cluster.chars() {
        marks = if width(c) == 0 { marks.saturating_add(1) } else { 0 };
        if marks <= MAX_MARKS {
            symbol.push(c);
        }
    }
    if symbol.starts_with(is_mark) {
        symbol.insert(0, ' ');
    } else if symbol == FILLER {
        // What a person wrote must differ from a filler, or ratatui sees no change between the two.
        symbol = " ".to_owned();
    }
    // Terminals that draw an emoji sequence as one leave what was in the other columns, so those are always drawn. In
    // writing they are left alone: there, each holds a letter of the cluster if the terminal draws it in more than one.
    let own = if is_emoji_sequence(&symbol) { wide.min(2) } else { wide };
    for offset in 0..wide {
        let Some(cell) = buffer.cell_mut(Position { x: place.x.saturating_add(offset), ..place }) else { return };
        let (symbol, option) = match (offset, NonZeroU16::new(own)) {
            (0, Some(own)) if symbol.cell_width() != own.get() => (symbol.as_str(), CellDiffOption::ForcedWidth(own)),
            (0, _) => (symbol.as_str(), CellDiffOption::None),
            _ if offset >= own => (FILLER, CellDiffOption::AlwaysUpdate),
            _ => (FILLER, CellDiffOption::None),
        };
        cell.set_symbol(symbol).set_style(style).set_diff_option(option);
    }
}

/// The clusters of a line as [`shown()`] makes it, each with its columns: 1 to `most`, unless one character has more.
fn clusters(line: &str, most: usize) -> impl Iterator<Item = (&str, usize)> {
    line.graphemes(true).flat_map(move |cluster| Parts { rest: cluster, most })
}

/// A cluster, divided where its columns would be too many.
struct Parts<'a> {
    rest: &'a str,
    most: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = (&'a str, usize);

    fn next(&mut self) -> Option<Self::Item> {
        // No terminal takes more for a whole than for its characters, once there are no variation selectors.
        let mut used = usize::from(self.rest.starts_with(is_mark));
        let end = self.rest.char_indices().find_map(|(place, c)| {
            let wide = width(c);
            if wide > 0 && place > 0 && used.saturating_add(wide) > self.most {
                return Some(place);
            }
            used = used.saturating_add(wide);
            None
        });
        let (part, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        self.rest = rest;
        (!part.is_empty()).then_some((part, used))
    }
}

/// What of a line is shown.
fn shown(line: &str) -> String {
    let mut line = printable::line(line);
    if !line.is_ascii() {
        // Terminals disagree on whether variation selectors change the width of what they follow.
        line.retain(|c| !matches!(c, '\u{FE00}'..='\u{FE0F}'));
    }
    line
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Whether a terminal may add a character to what stands before it. With nothing before it, it gets a space.
fn is_mark(c: char) -> bool {
    c.width().unwrap_or(0) == 0
}

/// Columns that a character takes at most.
fn width(c: char) -> usize {
    if is_flag(c) || matches!(c, '\u{302E}' | '\u{302F}') {
        2
    } else if c >= '\u{9BE}' && SPACING_MARKS.binary_search(&c).is_ok() {
        1
    } else {
        c.width().unwrap_or(0)
    }
}

/// Whether terminals may draw one picture of at most two columns for it.
fn is_emoji_sequence(cluster: &str) -> bool {
    let joins = |c| c == JOINER || matches!(c, '\u{1F3FB}'..='\u{1F3FF}');
    cluster.chars().filter(|c| is_flag(*c)).count() > 1
        || cluster.contains(joins) && cluster.chars().any(|c| width(c) > 1)
}

/// Regional indicators: two make a flag.
fn is_flag(c: char) -> bool {
    matches!(c, '\u{1F1E6}'..='\u{1F1FF}')
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*, sample::select};
    use ratatui::layout::Rect;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    const FAMILY: &str = "👩‍👩‍👧‍👦";

    /// What is hard to lay out, and what must not get through.
    const HARD: &str = " ¦  ¦\t¦\n¦\r\n¦\u{a0}¦a¦word¦日¦本語¦ｶﾞ¦é¦e\u{301}¦\u{301}¦\u{20e3}¦1\u{fe0f}\u{20e3}¦👩‍💻¦👩‍👩‍👧‍👦¦👍🏽¦☝🏽¦\
        ❤\u{fe0f}\u{200d}🔥¦🇩🇪¦🇩¦🏽¦한¦\u{1161}¦कि¦क्ष¦ក្ក¦கா¦\u{bbe}¦ไม่¦שָׁלוֹם¦سلام¦لا¦\u{605}¦\u{200c}¦\u{200d}¦\u{17d8}¦﷽¦\
        \x1b[2J¦\x1b]0;owned\x07¦\u{9b}31m¦\u{202e}¦\u{2066}¦\u{e0041}¦\u{fe0f}¦\u{e0100}¦\u{3164}¦\u{94d}¦क¦\u{bbe}\u{bbe}\u{bbe}\u{bbe}\u{bbe}¦क्क्क्क्क्क¦\
        \u{302e}";

    fn texts() -> impl Strategy<Value = String> {
        let hard = || select(HARD.split('¦').collect::<Vec<_>>()).prop_map(str::to_owned);
        let mixed = prop_oneof![3 => hard(), 1 => any::<char>().prop_map(String::from)];
        prop_oneof![
            4 => vec(hard(), 0..24).prop_map(|parts| parts.concat()),
            2 => vec(mixed, 0..24).prop_map(|parts| parts.concat()),
            1 => any::<String>(),
        ]
        // That character vt100 does not draw at all.
        .prop_map(|text| text.replace('\u{fffd}', "?"))
    }

    fn buffer(columns: u16) -> Buffer {
        Buffer::empty(Rect::new(0, 0, columns, 1))
    }

    fn symbols(buffer: &Buffer) -> String {
        buffer.content.iter().map(|cell| cell.symbol().replace(FILLER, "_")).collect()
    }

    fn drawn(room: u16, text: &str) -> (String, u16) {
        let mut buffer = buffer(room);
        let used = draw(&mut buffer, 0, 0, room, text, Style::new());
        (symbols(&buffer), used)
    }

    fn without_spaces(text: &str) -> String {
        text.chars().filter(|c| *c != ' ').collect()
    }

    #[test]
    fn what_is_kept_has_no_more_marks_than_are_drawn() {
        for mark in ['\u{301}', '\u{200d}', '\u{605}', '\u{200b}'] {
            let text = format!("a{}b\n\n\n\n\n\n\n\n\n\nc", mark.to_string().repeat(8000));
            let kept = bounded(&text);
            assert!(kept.len() < 100, "{mark:?}: {} bytes", kept.len());
            assert_eq!(kept.chars().filter(|c| *c == '\n').count(), 10, "lines stay");
            assert_eq!(
                wrap(&kept, 20),
                wrap(&format!("a{}b\n\n\n\n\n\n\n\n\n\nc", mark.to_string().repeat(MAX_MARKS)), 20)
            );
        }
        assert_eq!(*bounded("👩‍👩‍👧‍👦 שָׁלוֹם é"), "👩‍👩‍👧‍👦 שָׁלוֹם é");
    }

    #[test]
    fn a_cluster_has_the_most_columns_that_a_terminal_takes() {
        for (text, expected) in [
            ("", 0),
            ("plain", 5),
            ("日本", 4),
            ("e\u{301}", 1),
            ("\u{301}", 1),
            ("👩‍💻", 4),
            (FAMILY, 8),
            ("👍🏽", 4),
            ("🇩🇪", 4),
            ("1\u{fe0f}\u{20e3}", 1),
            ("❤\u{fe0f}", 1),
            ("ｶﾞ", 2),
            ("கா", 2),
            ("\u{bbe}", 2),
            ("ក្ក", 2),
            ("שָׁלוֹם", 4),
            ("سلام", 4),
            ("a\tb", 3),
            ("\x1b[2J\u{202e}x", 4),
        ] {
            assert_eq!(columns(text), expected, "{text:?}");
        }
    }

    #[test]
    fn rows_are_broken_between_words_where_that_can_be() {
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("\n", 4), ["", ""]);
        assert_eq!(wrap("a\r\n\r\nb", 4), ["a", "", "b"]);
        assert_eq!(wrap("break between words", 9), ["break", "between", "words"]);
        assert_eq!(wrap("one two   three", 7), ["one two", "three"]);
        assert_eq!(wrap("one     two", 4), ["one", "two"]);
        assert_eq!(wrap("abcd   ", 4), ["abcd"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("  indented text", 10), ["  indented", "text"]);
        assert_eq!(wrap("  abcdefghij", 6), ["  abcd", "efghij"], "an indent alone has no row");
        assert_eq!(wrap("       ", 4), [""]);
        assert_eq!(wrap(" abc日", 4), [" abc", "日"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("日本語", 5), ["日本", "語"]);
        assert_eq!(wrap("e\u{301}".repeat(5).as_str(), 4), ["e\u{301}".repeat(4), "e\u{301}".to_owned()]);
        assert_eq!(wrap(FAMILY, 8), [FAMILY]);
        assert_eq!(wrap(FAMILY, 4), ["👩‍👩‍", "👧‍👦"], "wider than a row");
        assert_eq!(wrap("日a", 1), ["日", "a"], "what fits nowhere still gets on");
        assert_eq!(wrap("ab", 0), ["a", "b"]);
        assert_eq!(wrap("\x1b[31mred\u{202e}\n* fake", 20), ["[31mred", "* fake"]);
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(drawn(4, "abcd"), ("abcd".into(), 4));
        assert_eq!(drawn(4, "abcde"), ("abc…".into(), 4));
        assert_eq!(drawn(3, "日本"), ("日_…".into(), 3));
        assert_eq!(drawn(2, "日本"), ("… ".into(), 1));
        assert_eq!(drawn(1, "日"), ("…".into(), 1));
        assert_eq!(drawn(0, "日"), (String::new(), 0));
        assert_eq!(drawn(8, FAMILY), (format!("{FAMILY}_______"), 8));
        assert_eq!(drawn(7, FAMILY), ("…      ".into(), 1));
        assert_eq!(drawn(4, "👩‍👩‍"), ("👩‍👩‍___".into(), 4), "a row of a family that was divided");
        assert_eq!(drawn(3, "\u{301}a"), (" \u{301}a ".into(), 2));
        assert_eq!(drawn(3, "\x1b[\u{202e}\tx"), ("[ x".into(), 3));
        assert_eq!(drawn(2, "\u{a0}x"), (" x".into(), 2), "what a person writes is no filler");
    }

    #[test]
    fn a_cell_stays_bounded() {
        let zalgo = format!("Z{}a", "\u{301}".repeat(5000));
        assert_eq!(drawn(3, &zalgo), (format!("Z{}a ", "\u{301}".repeat(MAX_MARKS)), 2));
        let (conjuncts, emoji) = ("क्".repeat(1000), "👩‍".repeat(1000));
        for text in [conjuncts.as_str(), emoji.as_str(), &"\u{605}".repeat(1000), &"각".repeat(1000)] {
            let mut buffer = buffer(60_000);
            draw(&mut buffer, 0, 0, 60_000, text, Style::new());
            assert!(buffer.content.iter().all(|cell| cell.symbol().len() <= 300));
            assert_eq!(
                without_spaces(&wrap(text, 20).concat()),
                *text,
                "nothing that takes a column is lost, though it be one cluster"
            );
        }
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let area = Rect::new(2, 1, 3, 2);
        for (x, y) in [(0, 1), (1, 1), (5, 1), (2, 0), (2, 3), (u16::MAX, u16::MAX)] {
            let mut buffer = Buffer::empty(area);
            assert_eq!(draw(&mut buffer, x, y, u16::MAX, "text", Style::new()), 0);
            assert_eq!(buffer, Buffer::empty(area));
        }
        let mut buffer = Buffer::empty(area);
        assert_eq!(draw(&mut buffer, 3, 2, u16::MAX, "text", Style::new()), 2);
        assert_eq!(symbols(&buffer), "    t…");
    }

    #[test]
    fn a_message_of_the_greatest_size_takes_a_moment() {
        let unit = ["word ", "x", "日", "\u{301}", "👩‍", "🇩", "क्", "\u{605}", "각", " ", "\n", "\u{bbe}", "ᄀ"];
        let texts: Vec<_> = unit.iter().map(|unit| unit.repeat(16_384_usize.div_euclid(unit.len()))).collect();
        let start = timer();
        for text in &texts {
            let rows = wrap(text, 40);
            assert!(rows.iter().all(|row| columns(row) <= 40));
            draw(&mut buffer(80), 0, 0, 80, text, Style::new());
        }
        assert!(start.elapsed() < Duration::from_secs(1), "{:?} for {} texts", start.elapsed(), texts.len());
    }

    #[expect(clippy::disallowed_methods, reason = "a test measures")]
    fn timer() -> std::time::Instant {
        std::time::Instant::now()
    }

    /// A terminal that knows no clusters: it draws each character by itself.
    struct Terminal(vt100::Parser);

    impl Terminal {
        fn new(columns: u16) -> Self {
            Self(vt100::Parser::new(NonZeroU16::MIN, NonZeroU16::new(columns).unwrap(), 0))
        }

        fn show(&mut self, old: &Buffer, new: &Buffer) {
            for (x, y, cell) in old.diff(new) {
                let (row, column) = (y + 1, x + 1);
                let blanks = " ".repeat(cell.cell_width().into());
                for what in [blanks.as_str(), cell.symbol()] {
                    self.0.process(format!("\x1b[{row};{column}H{what}").as_bytes());
                }
            }
        }

        fn row(&self, columns: u16) -> Vec<String> {
            (0..columns)
                .map(|x| {
                    let cell = self.0.screen().cell(0, x).unwrap();
                    let contents = cell.contents().replace(FILLER, " ");
                    if contents.is_empty() && !cell.is_wide_continuation() { " ".to_owned() } else { contents }
                })
                .collect()
        }
    }

    #[test]
    fn a_new_terminal_is_left_clean() {
        let (mut old, mut new) = (buffer(8), buffer(8));
        draw(&mut old, 0, 0, 8, "abcdefgh", Style::new());
        draw(&mut new, 0, 0, 8, "👩‍💻கா日", Style::new());
        let change: Vec<_> = old.diff(&new).into_iter().map(|(x, _, cell)| (x, cell.symbol())).collect();
        let expected = [(0, "👩‍💻"), (2, FILLER), (3, FILLER), (4, "கா"), (6, "日")];
        assert_eq!(change, expected, "it draws the first in two columns, and may draw the second in two");
    }

    #[test]
    fn an_old_terminal_is_left_clean() {
        let mut frames = vec![buffer(12)];
        for text in ["👩‍💻|", "👍🏽|", "கா|", "क्ष|", "🇩🇪|", "日本|", "a b c d", "👩‍👩‍👧‍👦|", ""]
        {
            let mut frame = buffer(12);
            draw(&mut frame, 0, 0, 12, text, Style::new());
            frames.push(frame);
        }
        let mut terminal = Terminal::new(20);
        for pair in frames.windows(2) {
            terminal.show(&pair[0], &pair[1]);
            let mut fresh = Terminal::new(20);
            fresh.show(&frames[0], &pair[1]);
            assert_eq!(terminal.row(20), fresh.row(20));
        }
        assert_eq!(terminal.row(20).concat().trim(), "");
    }

    proptest! {
        #[test]
        fn no_row_is_too_wide_and_nothing_is_lost(text in texts(), room in 4usize..40) {
            let rows = wrap(&text, room);
            prop_assert!(!rows.is_empty());
            for row in &rows {
                prop_assert!(columns(row) <= room, "{row:?}");
                prop_assert_eq!(&shown(row), row);
            }
            let whole: String = printable::lines(&text).map(|line| shown(&line)).collect();
            prop_assert_eq!(without_spaces(&rows.concat()), without_spaces(&whole));
        }

        #[test]
        fn no_terminal_takes_more_for_a_whole(text in texts()) {
            for (cluster, wide) in clusters(&shown(&text), MAX_COLUMNS) {
                prop_assert!(cluster.width() <= wide, "{cluster:?}");
                prop_assert!((1..=MAX_COLUMNS).contains(&wide));
            }
        }

        #[test]
        fn only_its_own_columns_are_written(text in texts(), x in 0u16..40, y in 0u16..4, room in 0u16..40) {
            let area = Rect::new(3, 1, 30, 2);
            let mut buffer = Buffer::empty(area);
            for cell in &mut buffer.content {
                cell.set_symbol("#");
            }
            let used = draw(&mut buffer, x, y, room, &text, Style::new());
            prop_assert!(used <= room);
            let is_within = area.contains(Position { x, y });
            prop_assert!(used == 0 || is_within);
            let room = if is_within { room.min(area.right() - x) } else { 0 };
            prop_assert_eq!(usize::from(used) == columns(&text), columns(&text) <= usize::from(room));
            for place in area.positions() {
                let cell = &buffer[place];
                let is_inside = place.y == y && place.x >= x && place.x < x + used;
                prop_assert!(is_inside || cell.symbol() == "#");
                prop_assert!(!cell.symbol().chars().any(printable::is_dangerous));
                prop_assert!(cell.symbol().cell_width() > 0);
            }
        }

        #[test]
        fn a_terminal_draws_nothing_outside(text in texts(), x in 0u16..20, room in 0u16..30) {
            let (empty, mut frame) = (buffer(60), buffer(60));
            let used = draw(&mut frame, x, 0, room, &text, Style::new());
            let mut terminal = Terminal::new(60);
            terminal.show(&empty, &frame);
            for (place, contents) in (0..60).zip(terminal.row(60)) {
                prop_assert!((x..x + used).contains(&place) || contents == " ", "{contents:?} at {place}");
            }
        }

        #[test]
        fn a_terminal_is_left_clean(first in texts(), second in texts()) {
            let (empty, mut old, mut new) = (buffer(40), buffer(40), buffer(40));
            draw(&mut old, 0, 0, 40, &first, Style::new());
            draw(&mut new, 0, 0, 40, &second, Style::new());
            let (mut used, mut fresh) = (Terminal::new(60), Terminal::new(60));
            used.show(&empty, &old);
            used.show(&old, &new);
            fresh.show(&empty, &new);
            prop_assert_eq!(used.row(60), fresh.row(60));
        }
    }
}
