//! What each key does, in one table, which the help and the hints at the bottom are made from.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::composer::Edit;

/// What a key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Help,
    Leave,
    Suspend,
    Repaint,
    ToggleBell,
    ToggleNotices,
    OtherView,
    Enter,
    Back,
    NextField,
    PreviousField,
    Accept,
    Refuse,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Verify,
    MarkVerified,
    Invert,
    EndChat,
    Edit(Edit),
}

/// Where a key means what the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Everywhere,
    SignIn,
    Question,
    People,
    Chat,
    Verify,
    Changed,
    Help,
    Typing,
}

/// When a key means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// It would be typed otherwise.
    NothingTyped,
}

/// A row of the table.
pub(super) struct Binding {
    pub(super) scope: Scope,
    /// How the key is called in the help.
    pub(super) label: &'static str,
    /// What it does, for the help.
    pub(super) help: &'static str,
    /// What it does in a word, for the bottom of the screen.
    pub(super) hint: &'static str,
    pub(super) action: Action,
    keys: &'static [(KeyModifiers, KeyCode, When)],
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;
const ALT: KeyModifiers = KeyModifiers::ALT;

macro_rules! table {
    ($($scope:ident $label:literal $action:expr, $hint:literal, $help:literal, [$($modifiers:ident $code:expr, $when:ident);+];)+) => {
        &[$(Binding {
            scope: Scope::$scope,
            label: $label,
            help: $help,
            hint: $hint,
            action: $action,
            keys: &[$(($modifiers, $code, When::$when)),+],
        }),+]
    };
}

use Action as A;
use KeyCode as K;

/// Every key that does something but type a character.
#[rustfmt::skip]
pub(super) const TABLE: &[Binding] = table![
    Question "Ctrl-Y, y" A::Accept, "accept", "accept the request to talk", [CTRL K::Char('y'), Always; NONE K::Char('y'), NothingTyped];
    Question "Ctrl-N, n" A::Refuse, "refuse", "refuse it", [CTRL K::Char('n'), Always; NONE K::Char('n'), NothingTyped];

    SignIn "Enter" A::Enter, "log in", "log in, or go to the next field", [NONE K::Enter, Always];
    SignIn "Tab, Down" A::NextField, "next field", "next field", [NONE K::Tab, Always; NONE K::Down, Always];
    SignIn "Shift-Tab, Up" A::PreviousField, "", "field before", [NONE K::BackTab, Always; NONE K::Up, Always];
    SignIn "Esc" A::Back, "give up", "give up an attempt to log in", [NONE K::Esc, Always];

    People "Enter" A::Enter, "ask to talk", "ask the person on the marked line to talk", [NONE K::Enter, Always];
    People "Up, Down" A::Up, "", "mark another line", [NONE K::Up, Always];
    People "" A::Down, "", "", [NONE K::Down, Always];
    People "PgUp, PgDn" A::PageUp, "", "a page of lines up or down", [NONE K::PageUp, Always];
    People "" A::PageDown, "", "", [NONE K::PageDown, Always];
    People "Esc" A::Back, "take back", "take your request back, or empty the search", [NONE K::Esc, Always];

    People "F3" A::OtherView, "", "to the chat, if there is one", [NONE K::F(3), Always];

    Chat "Enter" A::Enter, "send", "send what you typed", [NONE K::Enter, Always];
    Chat "F2" A::Verify, "verify", "make sure who it is: safety number, QR code, comparison", [NONE K::F(2), Always];
    Chat "F4" A::EndChat, "end chat", "say goodbye, and stay online", [NONE K::F(4), Always];
    Chat "F3" A::OtherView, "people", "to people", [NONE K::F(3), Always];
    Chat "PgUp, PgDn" A::PageUp, "", "look at what was said before, and back", [NONE K::PageUp, Always];
    Chat "" A::PageDown, "", "", [NONE K::PageDown, Always];
    Chat "Ctrl-Home, Ctrl-End" A::Top, "", "to the start of the chat, and to its end", [CTRL K::Home, Always];
    Chat "" A::Bottom, "", "", [CTRL K::End, Always];
    Chat "Esc" A::Back, "", "back to the end, or to people once the chat is over", [NONE K::Esc, Always];

    Verify "F5" A::MarkVerified, "it is the same", "you have compared, and it is the same: note it", [NONE K::F(5), Always];
    Verify "Enter" A::Enter, "", "note it, once what you pasted is the same", [NONE K::Enter, Always];
    Verify "F7" A::Invert, "turn QR", "dark on light, or light on dark, if a camera does not see the code", [NONE K::F(7), Always];
    Verify "Esc, F2" A::Back, "back", "back to the chat", [NONE K::Esc, Always; NONE K::F(2), Always];

    Changed "Esc" A::Back, "back", "back to people", [NONE K::Esc, Always];
    Changed "Enter" A::Enter, "", "do what you typed", [NONE K::Enter, Always];

    Help "Up, Down, PgUp, PgDn" A::Up, "", "read on", [NONE K::Up, Always];
    Help "" A::Down, "", "", [NONE K::Down, Always];
    Help "" A::PageUp, "", "", [NONE K::PageUp, Always];
    Help "" A::PageDown, "", "", [NONE K::PageDown, Always; NONE K::Char(' '), Always];
    Help "Esc" A::Back, "back", "back", [NONE K::Esc, Always; NONE K::F(1), Always; NONE K::Char('?'), Always; NONE K::Char('q'), Always; NONE K::Enter, Always];

    Everywhere "F1, ?" A::Help, "help", "this help (? when nothing is typed)", [NONE K::F(1), Always; NONE K::Char('?'), NothingTyped];
    Everywhere "F8" A::ToggleBell, "", "bell on or off", [NONE K::F(8), Always];
    Everywhere "F9" A::ToggleNotices, "", "desktop notifications on or off", [NONE K::F(9), Always];
    Everywhere "Ctrl-Q, Ctrl-C" A::Leave, "leave", "say goodbye and end the program; a second time: at once", [CTRL K::Char('q'), Always; CTRL K::Char('c'), Always];
    Everywhere "Ctrl-Z" A::Suspend, "", "stop the program; fg continues it", [CTRL K::Char('z'), Always];
    Everywhere "Ctrl-L" A::Repaint, "", "draw the screen anew", [CTRL K::Char('l'), Always];

    Typing "Alt-Enter, Ctrl-J" A::Edit(Edit::Newline), "", "a new line in the message", [ALT K::Enter, Always; CTRL K::Char('j'), Always];
    Typing "Left, Right" A::Edit(Edit::Left), "", "one character", [NONE K::Left, Always; CTRL K::Char('b'), Always];
    Typing "" A::Edit(Edit::Right), "", "", [NONE K::Right, Always; CTRL K::Char('f'), Always];
    Typing "Ctrl-Left, Ctrl-Right" A::Edit(Edit::WordLeft), "", "one word", [CTRL K::Left, Always; ALT K::Left, Always; ALT K::Char('b'), Always];
    Typing "" A::Edit(Edit::WordRight), "", "", [CTRL K::Right, Always; ALT K::Right, Always; ALT K::Char('f'), Always];
    Typing "Up, Down" A::Edit(Edit::Up), "", "one line of the message", [NONE K::Up, Always];
    Typing "" A::Edit(Edit::Down), "", "", [NONE K::Down, Always];
    Typing "Home, Ctrl-A" A::Edit(Edit::LineStart), "", "start of the line", [NONE K::Home, Always; CTRL K::Char('a'), Always];
    Typing "End, Ctrl-E" A::Edit(Edit::LineEnd), "", "end of the line", [NONE K::End, Always; CTRL K::Char('e'), Always];
    Typing "Backspace, Delete" A::Edit(Edit::Backspace), "", "take a character out", [NONE K::Backspace, Always; CTRL K::Char('h'), Always];
    Typing "" A::Edit(Edit::Delete), "", "", [NONE K::Delete, Always; CTRL K::Char('d'), Always];
    Typing "Ctrl-W" A::Edit(Edit::DeleteWord), "", "take a word out", [CTRL K::Char('w'), Always; ALT K::Backspace, Always; CTRL K::Backspace, Always];
    Typing "Ctrl-U, Ctrl-K" A::Edit(Edit::DeleteToLineStart), "", "take out to the line's start, or end", [CTRL K::Char('u'), Always];
    Typing "" A::Edit(Edit::DeleteToLineEnd), "", "", [CTRL K::Char('k'), Always];
];

/// What a key does in these scopes, of which the first that knows it counts. `typed`: whether something is typed, so
/// that a letter belongs to it.
pub(super) fn action(scopes: &[Scope], key: &KeyEvent, typed: bool) -> Option<Action> {
    // Shift is part of the character, and of BackTab.
    let modifiers = key.modifiers.difference(KeyModifiers::SHIFT);
    let binds = |binding: &&Binding| {
        binding
            .keys
            .iter()
            .any(|(wanted, code, when)| *wanted == modifiers && *code == key.code && (*when == When::Always || !typed))
    };
    scopes.iter().find_map(|scope| {
        TABLE.iter().filter(|binding| binding.scope == *scope).find(binds).map(|binding| binding.action)
    })
}

/// The rows of a scope that say something in the help.
pub(super) fn rows(scope: Scope) -> impl Iterator<Item = &'static Binding> {
    TABLE.iter().filter(move |binding| binding.scope == scope && !binding.help.is_empty())
}

/// What stands at the bottom of the screen: the first key and the hint of each row that has one, as many as there is
/// room for.
pub(super) fn hints(scopes: &[Scope], columns: usize) -> String {
    let of = |scope: &Scope| rows(*scope).filter(|binding| !binding.hint.is_empty());
    let mut hints = String::new();
    for binding in scopes.iter().flat_map(of) {
        let hint = format!("{} {}", binding.label.split(',').next().unwrap_or_default(), binding.hint);
        if hints.len().saturating_add(hint.len()).saturating_add(2) <= columns {
            let gap = if hints.is_empty() { "" } else { "  " };
            hints.extend([gap, &hint]);
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Scope] = &[
        Scope::Everywhere,
        Scope::SignIn,
        Scope::Question,
        Scope::People,
        Scope::Chat,
        Scope::Verify,
        Scope::Changed,
        Scope::Help,
        Scope::Typing,
    ];

    #[test]
    fn no_key_means_two_things_in_one_scope() {
        for scope in ALL {
            let mut seen = Vec::new();
            for binding in TABLE.iter().filter(|binding| binding.scope == *scope) {
                for (modifiers, code, _) in binding.keys {
                    assert!(!seen.contains(&(modifiers, code)), "{scope:?} {modifiers:?} {code:?}");
                    seen.push((modifiers, code));
                }
            }
            assert!(!seen.is_empty(), "{scope:?}");
        }
    }

    #[test]
    fn letters_belong_to_what_is_being_typed() {
        let question = KeyEvent::new(KeyCode::Char('?'), KeyModifiers::SHIFT);
        assert_eq!(action(&[Scope::Chat, Scope::Everywhere], &question, false), Some(Action::Help));
        assert_eq!(action(&[Scope::Chat, Scope::Everywhere], &question, true), None);
        let yes = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::NONE);
        assert_eq!(action(&[Scope::Question, Scope::People], &yes, false), Some(Action::Accept));
        assert_eq!(action(&[Scope::Question, Scope::People], &yes, true), None);
        assert_eq!(action(&[Scope::People], &yes, false), None);
    }
}
