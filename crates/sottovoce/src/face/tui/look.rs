//! Colours and attributes in the codes that every terminal knows.

use std::io::{self, Write};

use ratatui::{
    buffer::Cell,
    style::{Color, Modifier},
};

const PLAIN: &[u8] = b"\x1b[0m";

/// Colours and attributes of a cell, as far as they are shown.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    foreground: Option<u8>,
    background: Option<u8>,
    modifier: Modifier,
}

/// Attributes that are shown, and their codes (ECMA-48 section 8.3.117).
const ATTRIBUTES: [(Modifier, &[u8]); 5] = [
    (Modifier::BOLD, b";1"),
    (Modifier::DIM, b";2"),
    (Modifier::ITALIC, b";3"),
    (Modifier::UNDERLINED, b";4"),
    (Modifier::REVERSED, b";7"),
];

impl Look {
    /// What is shown of a cell's style.
    pub(super) fn of(cell: &Cell) -> Self {
        let shown = ATTRIBUTES.iter().fold(Modifier::empty(), |all, (modifier, _)| all | *modifier);
        Self { foreground: code(cell.fg), background: code(cell.bg), modifier: cell.modifier & shown }
    }

    /// Adds the sequence that sets it. Always starts from plain, so that what was set before need not be known.
    ///
    /// # Errors
    /// None: it is written to memory.
    pub(super) fn write(self, frame: &mut Vec<u8>) -> io::Result<()> {
        if self == Self::default() {
            frame.extend_from_slice(PLAIN);
            return Ok(());
        }
        frame.extend_from_slice(b"\x1b[0");
        for (_, code) in ATTRIBUTES.iter().filter(|(modifier, _)| self.modifier.contains(*modifier)) {
            frame.extend_from_slice(code);
        }
        if let Some(code) = self.foreground {
            write!(frame, ";{code}")?;
        }
        if let Some(code) = self.background {
            write!(frame, ";{}", code.saturating_add(10))?;
        }
        frame.push(b'm');
        Ok(())
    }
}

/// The code of a basic colour as foreground; the background's is greater by ten. Any other colour is the default one.
fn code(color: Color) -> Option<u8> {
    Some(match color {
        Color::Black => 30,
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Blue => 34,
        Color::Magenta => 35,
        Color::Cyan => 36,
        Color::Gray => 37,
        Color::DarkGray => 90,
        Color::LightRed => 91,
        Color::LightGreen => 92,
        Color::LightYellow => 93,
        Color::LightBlue => 94,
        Color::LightMagenta => 95,
        Color::LightCyan => 96,
        Color::White => 97,
        Color::Indexed(index @ 0..=7) => index.saturating_add(30),
        Color::Indexed(index @ 8..=15) => index.saturating_add(82),
        Color::Reset | Color::Indexed(_) | Color::Rgb(..) => return None,
    })
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    /// The sequence for a style.
    fn sequence(style: Style) -> String {
        let mut frame = Vec::new();
        Look::of(Cell::new("x").set_style(style)).write(&mut frame).unwrap();
        String::from_utf8(frame).unwrap()
    }

    #[test]
    fn colours_are_the_basic_ones() {
        let named = [
            (Color::Black, 30),
            (Color::Red, 31),
            (Color::Green, 32),
            (Color::Yellow, 33),
            (Color::Blue, 34),
            (Color::Magenta, 35),
            (Color::Cyan, 36),
            (Color::Gray, 37),
            (Color::DarkGray, 90),
            (Color::LightRed, 91),
            (Color::LightGreen, 92),
            (Color::LightYellow, 93),
            (Color::LightBlue, 94),
            (Color::LightMagenta, 95),
            (Color::LightCyan, 96),
            (Color::White, 97),
        ];
        for (index, (color, code)) in (0..).zip(named) {
            for color in [color, Color::Indexed(index)] {
                assert_eq!(sequence(Style::new().fg(color)), format!("\x1b[0;{code}m"));
                assert_eq!(sequence(Style::new().bg(color)), format!("\x1b[0;{}m", code + 10));
            }
        }
    }

    #[test]
    fn any_other_colour_is_the_default_one() {
        for other in [Color::Indexed(16), Color::Indexed(255), Color::Rgb(1, 2, 3), Color::Reset] {
            assert_eq!(sequence(Style::new().fg(other).bg(other)), "\x1b[0m");
        }
    }

    #[test]
    fn five_attributes_are_shown() {
        let all = Style::new().add_modifier(Modifier::all()).fg(Color::Blue).bg(Color::Cyan);
        assert_eq!(sequence(all), "\x1b[0;1;2;3;4;7;34;46m");
        assert_eq!(sequence(Style::new().add_modifier(Modifier::HIDDEN | Modifier::CROSSED_OUT)), "\x1b[0m");
    }
}
