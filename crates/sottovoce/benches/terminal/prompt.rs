//! The start of the program.

use std::time::Duration;

use crate::{
    common::{
        World, now,
        screen::{Screen, USUAL},
    },
    rows::Figure,
};

const WARM_UP: usize = 5;

/// Until the password can be typed, from before the process is there. Each time it is typed, and gets its user in.
pub(crate) fn measure(starts: usize) -> Vec<Figure> {
    let world = World::of(["alice"]);
    let time = |face: &str, prompt: &str, entered: &str| {
        let command = world.chat("alice", face);
        let begin = now();
        let screen = Screen::start(command, USUAL);
        screen.expect(prompt);
        let time = begin.elapsed();
        screen.types(&format!("{}\r", crate::common::PASSWORD));
        screen.expect(entered);
        time
    };
    let times = |face, prompt, entered| -> Vec<Duration> {
        (0..WARM_UP + starts).map(|_| time(face, prompt, entered)).collect()
    };
    vec![
        Figure::times("start-full-screen", WARM_UP, &times("tui", "Sottovoce: log in", "People on localhost")),
        Figure::times("start-line", WARM_UP, &times("line", "Password of ", "logged in to localhost")),
    ]
}
