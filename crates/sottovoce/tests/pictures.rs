//! Pictures of the full-screen face for the README, drawn from the cells of a terminal in which the program ran. Not a
//! test: `scripts/pictures` runs it, and it writes `docs/pictures/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{fmt::Write as _, fs, path::Path};

use common::{
    World,
    screen::{F2, F5, Screen, USUAL, ctrl},
};

/// A cell's size in the picture.
const WIDE: f32 = 8.4;
const HIGH: f32 = 18.0;

#[test]
#[ignore = "writes the README's pictures"]
fn pictures() {
    let world = World::new();
    for name in ["alice", "bob", "carol", "dave"] {
        world.user(name);
    }
    let _others = ["carol", "dave"].map(|name| world.log_in(name));
    let alice = Screen::logged_in(&world, "alice", USUAL);
    let bob = Screen::logged_in(&world, "bob", USUAL);

    alice.types("bob");
    alice.expect("> bob");
    alice.types("\r");
    bob.expect("alice ASKS TO TALK");
    save("question", &bob);
    bob.types(&ctrl('y'));
    alice.expect("you talk to bob");
    bob.expect("you talk to alice");
    let lines = [
        (0, "Is this line safe?"),
        (1, "The relay carries it and cannot read it. Press F2: do we have the same number?"),
        (0, "The same. I have marked you verified."),
        (
            1,
            "Good. Here is what we found:\n  - the build host was asked for its key twice\n  - 日本語 and 👩‍💻 come through as they are",
        ),
    ];
    for (number, (who, text)) in lines.into_iter().enumerate() {
        let (speaker, listener) = if who == 0 { (&alice, &bob) } else { (&bob, &alice) };
        speaker.pastes(text);
        speaker.types("\r");
        // A longer line may be broken.
        listener.expect(text.get(..20).unwrap_or(text).trim());
        if number == 1 {
            alice.types(F2);
            alice.expect("Is it the same?");
            save("verify", &alice);
            alice.types(F5);
            alice.expect("VERIFIED");
            alice.types(F2);
            alice.expect("you noted that");
        }
    }
    alice.expect("come through");
    alice.types("Then let us");
    alice.expect("> Then let us");
    save("chat", &alice);

    // Bob's key is another one the next time.
    bob.types(&ctrl('q'));
    alice.expect("ended with a goodbye");
    drop(bob);
    world.profile_at("bob2", "bob", &world.dial());
    world.administer("replace", "bob", Some("bob2"));
    let bob = Screen::logged_in(&world, "bob2", USUAL);
    alice.types(&format!("{}--l\r", ctrl('u')));
    alice.expect("online: bob");
    alice.types("--r bob\r");
    bob.expect("alice ASKS TO TALK");
    bob.types(&ctrl('y'));
    alice.expect("THE KEY OF BOB");
    save("changed", &alice);
}

fn save(name: &str, screen: &Screen) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pictures");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.svg")), svg(screen.shown().screen())).unwrap();
}

/// Draws a terminal's cells.
fn svg(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let (width, height) = (f32::from(columns) * WIDE + 24.0, f32::from(rows) * HIGH + 24.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{DARK}\"/>\n"
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let start = column;
            let look = Look::of(screen.cell(row, column).unwrap());
            let mut words = String::new();
            // One piece of text for each run of cells that look alike and are as wide as they are counted.
            loop {
                let cell = screen.cell(row, column).unwrap();
                let text = if cell.has_contents() { cell.contents() } else { " " };
                words.push_str(&text.replace(['\u{200e}', '\u{a0}'], if text == "\u{a0}" { " " } else { "" }));
                column += if cell.is_wide() { 2 } else { 1 };
                let next = screen.cell(row, column).filter(|_| column < columns);
                let alone = !text.is_ascii();
                if next.is_none_or(|next| Look::of(next) != look || alone || !next.contents().is_ascii()) {
                    break;
                }
            }
            look.draw(&mut svg, row, start, column - start, &words);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

const DARK: &str = "#1b1d23";
const LIGHT: &str = "#d8dae0";

#[derive(PartialEq)]
struct Look {
    front: &'static str,
    back: &'static str,
    is_bold: bool,
    is_dim: bool,
}

impl Look {
    fn of(cell: &vt100::Cell) -> Self {
        let (front, back) = (colour(cell.fgcolor(), LIGHT), colour(cell.bgcolor(), DARK));
        let (front, back) = if cell.inverse() { (back, front) } else { (front, back) };
        Self { front, back, is_bold: cell.bold(), is_dim: cell.dim() }
    }

    fn draw(&self, svg: &mut String, row: u16, column: u16, columns: u16, words: &str) {
        let (x, y) = (f32::from(column) * WIDE + 12.0, f32::from(row) * HIGH + 12.0);
        let width = f32::from(columns) * WIDE;
        if self.back != DARK {
            let back = self.back;
            writeln!(svg, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{HIGH}\" fill=\"{back}\"/>")
                .unwrap();
        }
        // Blocks are drawn rather than written: fonts leave gaps between them.
        let blocks = |words: &str| words.chars().all(|c| matches!(c, '█' | '▀' | '▄'));
        if !words.is_empty() && blocks(words) {
            for (place, c) in words.chars().enumerate() {
                let x = x + WIDE * f32::from(u16::try_from(place).unwrap());
                let (top, part) = match c {
                    '▀' => (y, HIGH / 2.0),
                    '▄' => (y + HIGH / 2.0, HIGH / 2.0),
                    _ => (y, HIGH),
                };
                let front = self.front;
                writeln!(svg, "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{WIDE}\" height=\"{part}\" fill=\"{front}\" shape-rendering=\"crispEdges\"/>").unwrap();
            }
            return;
        }
        if words.trim().is_empty() {
            return;
        }
        let weight = if self.is_bold { " font-weight=\"bold\"" } else { "" };
        let opacity = if self.is_dim { " opacity=\"0.6\"" } else { "" };
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        let (front, y) = (self.front, y + 13.5);
        writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{width:.1}\" xml:space=\"preserve\" fill=\"{front}\"{weight}{opacity}>{words}</text>"
        )
        .unwrap();
    }
}

/// The basic colours as a common terminal shows them.
fn colour(colour: vt100::Color, default: &'static str) -> &'static str {
    match colour {
        vt100::Color::Idx(0) => "#000000",
        vt100::Color::Idx(1) => "#e06c75",
        vt100::Color::Idx(2) => "#98c379",
        vt100::Color::Idx(3) => "#e5c07b",
        vt100::Color::Idx(4) => "#61afef",
        vt100::Color::Idx(5) => "#c678dd",
        vt100::Color::Idx(6) => "#56b6c2",
        vt100::Color::Idx(7 | 15) => "#ffffff",
        _ => default,
    }
}
