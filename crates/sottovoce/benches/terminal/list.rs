//! Who is online, when many are.

use std::time::Duration;

use crate::{
    cable::pass,
    common::{
        now,
        screen::{Screen, USUAL, ctrl},
    },
    crowd::Crowd,
    rows::Figure,
};

const WARM_UP: usize = 10;
/// For what many log-ins leave to be done.
const SETTLES_IN: Duration = Duration::from_secs(3);
/// Between two keys: all looks together take as long as it does until each of the crowd has pinged.
const PAUSE: Duration = Duration::from_millis(12);

/// From a key that asks for another part of the list, or for all of it, to the first page of that on the screen.
pub(crate) fn measure(people: usize, looks: usize) -> Vec<Figure> {
    let crowd = Crowd::gather(people);
    let screen = Screen::logged_in(&crowd.world, "alice", USUAL);
    screen.expect_row(&crowd.first_of_all());
    // The server compares who is online with its directory, which has just been written to.
    pass(SETTLES_IN);
    let look = |at: usize| {
        let (key, first) = if at.is_multiple_of(2) {
            ("v".to_owned(), crowd.first_visitor())
        } else {
            (ctrl('u'), crowd.first_of_all())
        };
        pass(PAUSE);
        let begin = now();
        screen.types(&key);
        screen.expect_row(&first);
        begin.elapsed()
    };
    let times: Vec<_> = (0..WARM_UP + looks).map(look).collect();
    // Whoever is gone by now was not there to be counted.
    crowd.is_all_there();
    vec![Figure::times("list-of-10000", WARM_UP, &times)]
}
