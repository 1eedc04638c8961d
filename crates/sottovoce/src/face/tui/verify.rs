//! Making sure who it is (B4): the safety number, as digits and as a QR code, and a field to paste the peer's into.

use qrcode::{Color as Module, EcLevel, QrCode};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Color, Modifier, Style},
};

use super::{composer::Composer, conversation::Conversation, style::Theme, text};

/// Digits of a group of a safety number.
const GROUP: usize = 5;
/// Digits of a safety number.
const DIGITS: usize = 60;
/// Light modules that have to be around a QR code (ISO/IEC 18004 section 6.3.8).
const QUIET: usize = 4;
/// Bytes that the field takes: a number with whatever somebody wrote around it.
const MAX_PASTE: usize = 1024;

/// The comparison, while it is open.
pub(super) struct Verify {
    pub(super) pasted: Composer,
    pub(super) is_inverted: bool,
}

/// How what was pasted compares with the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    /// So many digits, all as they should be.
    SoFar(usize),
    Same,
    /// From this group on, counted from 1.
    Different(usize),
}

impl Verify {
    pub(super) fn new() -> Self {
        Self { pasted: Composer::line(MAX_PASTE), is_inverted: false }
    }

    /// Compares what was pasted with the number, digit by digit; whatever else is around them does not count.
    pub(super) fn verdict(&self, safety_number: &str) -> Verdict {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let (pasted, number) = (digits(self.pasted.text()), digits(safety_number));
        if pasted.is_empty() && self.pasted.is_empty() {
            Verdict::Nothing
        } else if pasted == number {
            Verdict::Same
        } else if number.starts_with(&pasted) {
            Verdict::SoFar(pasted.len())
        } else {
            let same = pasted.bytes().zip(number.bytes()).take_while(|(one, other)| one == other).count();
            Verdict::Different((same / GROUP).saturating_add(1))
        }
    }

    /// Draws it, and says where the cursor belongs.
    pub(super) fn draw(&self, chat: &Conversation, area: Rect, buffer: &mut Buffer, theme: Theme) -> Position {
        if area.is_empty() {
            return area.as_position();
        }
        let peer = &chat.peer;
        let code = QrCode::with_error_correction_level(chat.safety_number.replace(' ', ""), EcLevel::M).ok();
        let side = code.as_ref().map_or(0, |code| code.width().saturating_add(QUIET.saturating_mul(2)));
        let (wide, high) = (side, side.div_ceil(2));
        // Beside the words if there is room, or not at all: half a code helps nobody.
        let has_room = usize::from(area.height) >= high && usize::from(area.width) >= wide.saturating_add(36);
        let words = if has_room {
            let code_width = u16::try_from(wide).unwrap_or(u16::MAX);
            if let Some(code) = &code {
                self.draw_code(code, Rect { width: code_width, ..area }, buffer, theme);
            }
            let x = area.x.saturating_add(code_width).saturating_add(2);
            Rect { x, width: area.right().saturating_sub(x), ..area }
        } else {
            area
        };
        let is_low = area.height < 14;
        let mut y = words.y;
        let mut say = |what: &str, style: Style| {
            for row in text::wrap(what, usize::from(words.width)) {
                if y < words.bottom() {
                    text::draw(buffer, words.x, y, words.width, &row, style);
                }
                y = y.saturating_add(1);
            }
        };
        let groups: Vec<_> = chat.safety_number.split(' ').collect();
        let in_a_row = if words.width >= 36 && is_low { 6 } else { 4 };
        for row in groups.chunks(in_a_row) {
            say(&row.join(" "), theme.strong());
        }
        if !is_low {
            say("", theme.plain());
            say(
                &format!(
                    "Ask {peer} by another way, one that the server has no hand in: in person, by telephone, by a signed \
                     mail. Read the number to each other, or let a camera compare the code, or paste below what {peer} \
                     sent. Once is enough: from then on no chat starts with another key."
                ),
                theme.plain(),
            );
            say("", theme.plain());
        }
        match self.verdict(&chat.safety_number) {
            Verdict::Nothing if chat.trust == identity::Trust::Verified => {
                say(&format!("VERIFIED: you have compared it with {peer}"), theme.good());
            }
            Verdict::Nothing if is_low => {
                say(
                    &format!(
                        "Compare it with {peer} in person, by telephone, or paste what {peer} sent by another way. F5: it \
                         is the same. Esc: back"
                    ),
                    theme.plain(),
                );
            }
            Verdict::Nothing => say("Is it the same? F5 notes it.", theme.plain()),
            Verdict::SoFar(0) => say("there are no digits in that yet", theme.plain()),
            Verdict::SoFar(digits) => say(&format!("the same so far: {digits} of {DIGITS} digits"), theme.plain()),
            Verdict::Same if chat.trust == identity::Trust::Verified => {
                say(&format!("SAME, and VERIFIED: this is {peer}."), theme.good());
            }
            Verdict::Same => say(&format!("SAME: this is {peer}. Enter notes it."), theme.good()),
            Verdict::Different(group) if is_low => {
                say(
                    &format!(
                        "DIFFERENT from group {group} on. If {peer} sent that, say nothing more: this is not {peer}."
                    ),
                    theme.bad(),
                );
            }
            Verdict::Different(group) => say(
                &format!(
                    "DIFFERENT from group {group} on. If that is what {peer} sent, somebody stands between you and {peer}: say \
                     nothing more here."
                ),
                theme.bad(),
            ),
        }
        if !has_room && !is_low {
            say("(a larger window shows a QR code)", theme.faint());
        }
        let y = y.min(words.bottom().saturating_sub(1));
        let x = words.x.saturating_add(text::draw(buffer, words.x, y, words.width, "paste: ", theme.faint()));
        let field = Rect { x, y, width: words.right().saturating_sub(x), height: 1 }.intersection(area);
        // What the last row of a low screen held gives way to the field.
        for column in x..words.right() {
            if let Some(cell) = buffer.cell_mut((column, y)) {
                cell.reset();
            }
        }
        self.pasted.draw(field, buffer, theme.plain())
    }

    /// Two modules of the code to a cell, one above the other.
    fn draw_code(&self, code: &QrCode, area: Rect, buffer: &mut Buffer, theme: Theme) {
        let side = code.width().saturating_add(QUIET.saturating_mul(2));
        let is_dark = |x: usize, y: usize| {
            let (Some(x), Some(y)) = (x.checked_sub(QUIET), y.checked_sub(QUIET)) else { return false };
            x < code.width() && y < code.width() && code[(x, y)] == Module::Dark
        };
        let style = theme.code(self.is_inverted);
        for (y, row) in (area.y..area.bottom()).zip(0..side.div_ceil(2)) {
            for (x, column) in (area.x..area.right()).zip(0..side) {
                let (above, below) = (row.saturating_mul(2), row.saturating_mul(2).saturating_add(1));
                // The last half row is of the quiet zone.
                let symbol = match (is_dark(column, above), is_dark(column, below)) {
                    (true, true) => "█",
                    (true, false) => "▀",
                    (false, true) => "▄",
                    (false, false) => " ",
                };
                if let Some(cell) = buffer.cell_mut((x, y)) {
                    cell.set_symbol(symbol).set_style(style);
                }
            }
        }
    }
}

impl Theme {
    /// Dark modules in the foreground on a light ground. Without colours the ground is what the terminal has, taken for
    /// dark, and reversed.
    fn code(self, is_inverted: bool) -> Style {
        match (self.has_colour(), is_inverted) {
            (true, false) => Style::default().fg(Color::Black).bg(Color::White),
            (true, true) => Style::default().fg(Color::White).bg(Color::Black),
            (false, false) => Style::default().add_modifier(Modifier::REVERSED),
            (false, true) => Style::default(),
        }
    }
}
