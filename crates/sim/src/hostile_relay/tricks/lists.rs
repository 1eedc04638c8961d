//! The list of who is online.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes};
use protocol::{Code, List, NamePrefix, ToClient, ToServer, UserName, limits::MAX_PAGE};

use super::{Acts, Moment, Trick};
use crate::hostile_relay::notes::{Link, Notes};

/// What is wrong with a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    Invented,
    Oneself,
    Twice,
    Unsorted,
    OtherPart,
    Escapes,
    Bidi,
    Giant,
    Endless,
    Withheld,
}

/// Each list is another than it should be.
pub(super) struct Lists {
    lie: Lie,
    asked: BTreeMap<Link, NamePrefix>,
}

impl Lists {
    pub(super) fn new(lie: Lie) -> Self {
        Self { lie, asked: BTreeMap::new() }
    }
}

impl Trick for Lists {
    fn up(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if let Ok(ToServer::List(page)) = ToServer::decode(&frame) {
            self.asked.insert(link, page.after);
        }
        acts.up(link, frame);
    }

    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let Ok(ToClient::List(List { mut names, mut more })) = ToClient::decode(&frame) else {
            return acts.down(link, frame);
        };
        let raw = |names: &mut dyn Iterator<Item = String>| with_names(names);
        match self.lie {
            Lie::Invented => names.extend("zz-nobody".parse::<UserName>()),
            Lie::Oneself => {
                names.extend(notes.user(link).cloned());
                names.sort();
            }
            Lie::Twice => names = names.into_iter().flat_map(|name| [name.clone(), name]).collect(),
            Lie::Unsorted => names.reverse(),
            Lie::OtherPart => {
                // In order, and before where the page starts.
                let after = self.asked.get(&link).map_or("", NamePrefix::as_str).to_owned();
                names.retain(|name| name.as_str() > after.as_str());
                names.insert(0, after.parse().unwrap_or_else(|_| "0".parse().unwrap_or_else(|_| names[0].clone())));
            }
            Lie::Escapes => return acts.down(link, raw(&mut ["a\u{1b}[31mb".to_owned()].into_iter())),
            Lie::Bidi => return acts.down(link, raw(&mut ["a\u{202e}bob".to_owned()].into_iter())),
            Lie::Giant => {
                return acts.down(link, raw(&mut (0..=MAX_PAGE).map(|number| format!("u{number:04}"))));
            }
            Lie::Endless => more = true,
            Lie::Withheld => return,
        }
        acts.say(link, &ToClient::List(List { names, more }));
    }
}

/// A list whose names are what no name can be, or too many.
fn with_names(names: &mut dyn Iterator<Item = String>) -> Bytes {
    let mut vector = Vec::new();
    for name in names {
        vector.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        vector.put_slice(name.as_bytes());
    }
    let mut frame = vec![Code::List as u8];
    frame.put_u16(u16::try_from(vector.len()).unwrap_or(u16::MAX));
    frame.extend(vector);
    frame.put_u8(0);
    frame.into()
}

/// Lists that nobody asked for.
pub(super) struct Unasked;

impl Trick for Unasked {
    fn moment(&mut self, _: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::LoggedIn {
            for _ in 0..3 {
                let names = "zz-nobody".parse().into_iter().collect();
                acts.say(link, &ToClient::List(List { names, more: false }));
            }
        }
    }
}
