//! Somebody at a keyboard: mostly talks, and does everything else at any time.

use std::time::{Duration, Instant};

use client::Command;
use protocol::{Page, Text, limits::MAX_TEXT};

use crate::{
    dice::Dice,
    story::{Place, Presence, Story},
    user::name,
};

/// A person's habits in one world.
pub(crate) struct Person {
    /// When something is typed next.
    pub(crate) types_at: Instant,
    /// The longest pause.
    pause: Duration,
    /// In a thousand: how often something else than the obvious is typed.
    whim: u64,
    /// In a thousand: how often a message is long.
    long: u64,
    texts: u64,
}

impl Person {
    pub(crate) fn new(user: usize, dice: &mut Dice, now: Instant) -> Self {
        let pauses = [50, 500, 2_000, 5_000];
        Self {
            types_at: now + Duration::from_millis(user as u64 * 20) + dice.time(Duration::from_millis(200)),
            pause: Duration::from_millis(dice.pick(&pauses)),
            whim: dice.pick(&[0, 10, 30, 100]),
            long: dice.pick(&[0, 0, 50, 300]),
            texts: 0,
        }
    }

    /// Looks up from the keyboard until some time later.
    pub(crate) fn pauses(&mut self, dice: &mut Dice, now: Instant) {
        self.types_at = now + Duration::from_millis(5) + dice.time(self.pause);
    }

    /// What `user` types now, who is where the story says. `users`: how many there are; `texts`: how many messages may
    /// still be sent in this world.
    pub(crate) fn types(
        &mut self,
        user: usize,
        users: usize,
        story: &Story,
        texts: &mut u64,
        dice: &mut Dice,
    ) -> Vec<Command> {
        if dice.per_mille(self.whim) {
            return vec![self.whim(user, users, dice)];
        }
        match (&story.place, story.presence) {
            (Place::Chatting(..), _) if *texts > 0 => {
                let lines = if dice.per_mille(30) { 1 + dice.below(12) } else { 1 };
                let lines = lines.min(*texts);
                *texts -= lines;
                (0..lines).map(|_| Command::Say(self.text(user, dice))).collect()
            }
            (Place::Ringing(_), _) => vec![if dice.per_mille(950) { Command::Yes(None) } else { Command::No }],
            (Place::Free, Presence::Online) if *texts > 0 && (user == 0 || dice.per_mille(100)) => {
                let peer = if user == 0 && dice.per_mille(900) { 1 } else { dice.index(users) };
                vec![Command::Talk(name(peer))]
            }
            _ => Vec::new(),
        }
    }

    /// A message, other than all of this person's before.
    pub(crate) fn text(&mut self, user: usize, dice: &mut Dice) -> Text {
        self.texts += 1;
        let mut text = format!("{user}:{} ", self.texts);
        if dice.per_mille(self.long) {
            let length = dice.pick(&[200, 250, 256, 4_000, MAX_TEXT - 1, MAX_TEXT]).max(text.len());
            text.extend(std::iter::repeat_n('x', length - text.len()));
        } else if dice.per_mille(100) {
            text += "\u{1f600} \u{202e}\u{1b}[2J";
        }
        #[expect(clippy::expect_used, reason = "within the bounds")]
        Text::try_from(text).expect("a text")
    }

    fn whim(&mut self, user: usize, users: usize, dice: &mut Dice) -> Command {
        match dice.below(16) {
            0 => Command::Exit,
            1 | 2 => Command::Leave,
            4 => Command::Yes(None),
            5 => Command::Yes(Some(name(dice.index(users)))),
            6 => Command::No,
            7 | 8 => Command::List(Page::default()),
            9 | 10 => Command::Talk(name(dice.index(users))),
            11 => Command::Verify(None),
            12 => Command::Forget(name(dice.index(users))),
            _ => Command::Say(self.text(user, dice)),
        }
    }
}
