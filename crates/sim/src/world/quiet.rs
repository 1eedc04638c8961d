//! The end of a world in which no fault happens any more, and what must come of it.

use std::time::{Duration, Instant};

use client::Command;

use super::{Season, World};
use crate::{
    model::Id,
    server::AtServer,
    story::{Place, Presence},
    user::NAMES,
};

/// From the end of all faults until all is delivered in a chat that both sides still have. A dead connection is noticed
/// within 14 s, a wait between two attempts may take 12.5 s, and an attempt that was begun 10 s.
const DELIVERED_WITHIN: Duration = Duration::from_secs(45);
/// From the end of all faults until nobody is on the way to anything. A server holds a connection that is dead for 90 s,
/// and then the chat for 60 s.
const SETTLED_WITHIN: Duration = Duration::from_secs(200);
/// From a request to the first message of the chat, with everything in order.
const CHATS_WITHIN: Duration = Duration::from_secs(20);

/// When what has come of the quiet is to be looked at.
pub(super) fn next_look(since: Instant, now: Instant) -> Instant {
    since + if now < since + DELIVERED_WITHIN { DELIVERED_WITHIN } else { SETTLED_WITHIN }
}

impl World {
    /// The time of a season is over.
    pub(super) fn change(&mut self) {
        let now = self.around.now;
        match &self.season {
            Season::Busy { ends_in_quiet: false, .. } | Season::Over => self.season = Season::Over,
            Season::Busy { ends_in_quiet: true, .. } => {
                self.around.note(|| "*** quiet".to_owned());
                self.faults.clear();
                self.around.network.heal(now);
                self.servers.heal(&mut self.around);
                for user in &mut self.users {
                    user.heal(&self.around);
                    if matches!(self.model.stories[user.index].place, Place::Ringing(_))
                        && let Some(program) = &mut user.program
                    {
                        program.typed.push_back(Command::No);
                    }
                }
                self.season = Season::Quiet { since: now, open: self.open() };
            }
            Season::Quiet { open, since } => {
                let is_over = now >= *since + SETTLED_WITHIN;
                let still_open = self.open();
                let late = open.iter().find(|chat| still_open.contains(chat) && !self.is_delivered(**chat));
                if let Some(chat) = late {
                    let sides = &self.model.chats[chat].sides;
                    let sides: Vec<_> = sides.iter().map(|(user, side)| format!("{} {side}", NAMES[*user])).collect();
                    self.around.violated(format!("all is delivered once both stay connected: {sides:?}"));
                } else if is_over && self.is_settled() {
                    let disagreement = self.servers.disagreement(&self.around).unwrap_or_default();
                    self.around.violated(format!("all nodes agree who is online, once each: {disagreement}"));
                } else if is_over {
                    let stories = &self.model.stories;
                    self.around.violated(format!("no one stuck past a timer: {stories:?}"));
                }
            }
            Season::Proof { .. } => {
                self.around.violated("after all faults two free users can chat");
            }
        }
    }

    /// Chats that both sides have.
    fn open(&self) -> Vec<Id> {
        let has = |user| self.model.chat_of(user);
        let all = (0..self.users.len()).filter_map(has);
        all.filter(|chat| (0..self.users.len()).filter(|user| has(*user) == Some(*chat)).count() == 2).collect()
    }

    fn is_delivered(&self, chat: Id) -> bool {
        let Some(chat) = self.model.chats.get(&chat) else { return false };
        let sides: Vec<_> = chat.sides.values().collect();
        match sides[..] {
            [one, other] => [(one, other), (other, one)]
                .iter()
                .all(|(from, to)| from.delivered == from.said.len() && to.shown == from.said.len()),
            _ => false,
        }
    }

    /// Whether nobody waits for anything, and the server sees it as the clients do.
    fn is_settled(&self) -> bool {
        let open = self.open();
        self.users.iter().filter(|user| user.program.is_some()).all(|user| {
            let story = &self.model.stories[user.index];
            let link = user.link().filter(|link| self.around.network.is_alive(*link));
            let at_server = link.and_then(|link| self.servers.place(link));
            let is_at_rest = match &story.place {
                Place::Free => at_server == Some(AtServer::Free),
                Place::Chatting(_, chat) => {
                    let is_there = at_server == Some(AtServer::Chatting(*chat)) && open.contains(chat);
                    is_there && self.is_delivered(*chat) && !story.is_peer_away
                }
                Place::Calling(_) | Place::Ringing(_) | Place::SettingUp(..) => false,
            };
            let is_online = story.presence == Presence::Online && !story.is_server_silent && !story.is_leaving;
            is_at_rest && is_online && user.is_idle()
        })
    }

    /// In quiet: whether what was waited for has come.
    pub(super) fn look_around(&mut self) {
        match &self.season {
            Season::Quiet { .. } if self.is_settled() && self.servers.disagreement(&self.around).is_none() => {
                self.around.tally.quiet += 1;
                let free: Vec<_> = (0..self.users.len())
                    .filter(|user| {
                        self.users[*user].program.is_none() || self.model.stories[*user].place == Place::Free
                    })
                    .collect();
                match free[..] {
                    [caller, called, ..] if self.around.dice.per_mille(300) => {
                        self.around.note(|| "*** one more chat".to_owned());
                        let now = self.around.now;
                        for person in &mut self.people {
                            person.pauses(&mut self.around.dice, now);
                            person.types_at = person.types_at.min(now + Duration::from_millis(50));
                        }
                        let until = now + CHATS_WITHIN;
                        self.season = Season::Proof { caller, called, until, has_asked: false, has_spoken: false };
                    }
                    _ => self.season = Season::Over,
                }
            }
            Season::Proof { caller, has_spoken: true, .. } => {
                if let Some(chat) = self.model.chat_of(*caller)
                    && self
                        .model
                        .chats
                        .get(&chat)
                        .is_some_and(|chat| chat.sides.values().any(|side| side.delivered > 0))
                {
                    self.season = Season::Over;
                }
            }
            _ => {}
        }
    }
}
