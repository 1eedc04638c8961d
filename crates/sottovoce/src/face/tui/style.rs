//! How things look: a few roles, each with an attribute as well as a colour, so that none depends on colour alone.

use ratatui::style::{Color, Modifier, Style};

/// Which of the two a role may use. The colours are those of the basic 16 that can be read on light and on dark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    colour: bool,
}

impl Theme {
    /// With colours, or with attributes alone.
    pub(super) fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// As the user's environment asks for: `NO_COLOR`, set and not empty, means none (no-color.org).
    #[expect(clippy::disallowed_methods, reason = "NO_COLOR is a wish of the user's that all programs read there")]
    pub(super) fn of_environment() -> Self {
        Self::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// Whether there may be colours.
    pub(super) fn has_colour(self) -> bool {
        self.colour
    }

    /// What is read most.
    pub(super) fn plain(self) -> Style {
        Style::default()
    }

    /// What need not be read: times, hints.
    pub(super) fn faint(self) -> Style {
        Style::default().add_modifier(Modifier::DIM)
    }

    /// Headings, and names.
    pub(super) fn strong(self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    /// What is the user's own.
    pub(super) fn mine(self) -> Style {
        self.coloured(Color::Cyan, Modifier::BOLD)
    }

    /// What is the peer's.
    pub(super) fn theirs(self) -> Style {
        self.coloured(Color::Magenta, Modifier::BOLD)
    }

    /// All is as it should be.
    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green, Modifier::BOLD)
    }

    /// Something is not as it should be.
    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red, Modifier::BOLD)
    }

    /// A bar across the screen.
    pub(super) fn bar(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }

    /// A bar that nobody may miss.
    pub(super) fn alarm(self) -> Style {
        self.coloured(Color::Red, Modifier::BOLD | Modifier::REVERSED)
    }

    /// A bar that waits for an answer.
    pub(super) fn question(self) -> Style {
        self.coloured(Color::Magenta, Modifier::BOLD | Modifier::REVERSED)
    }

    /// The line that a key would act on.
    pub(super) fn chosen(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }

    fn coloured(self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::default().add_modifier(modifier);
        if self.colour { style.fg(colour) } else { style }
    }
}
