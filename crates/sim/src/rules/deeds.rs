//! What clients do by themselves, honest ones and others.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::{Attempt, ChatId, ClientId, Close, CloseReason, Login, Request, ToServer};
use server::{session::Input, signal::SessionId};

use super::{
    action::{Deed, Lie, chat_id},
    client::{self, Client, Stage, Talk},
    nodes,
    step::Step,
    world::{Person, Seat},
};

impl Step<'_> {
    pub(super) fn does(&mut self, me: Person, deed: Deed) -> Option<()> {
        if deed == Deed::Exit {
            self.world.left.cuts = self.world.left.cuts.checked_sub(1)?;
        }
        if let Deed::Call(peer) = deed {
            let calls = &mut self.world.place_mut(me).calls;
            *calls = calls.checked_add(1)?;
            let chat = chat_id(me, *calls);
            self.world.left.calls = self.world.left.calls.saturating_sub(1);
            return self.call(me, peer, chat);
        }
        let gaps = self.world.left.gaps;
        let seat = self.world.place_mut(me).seats.last_mut()?;
        let client = seat.client.as_mut()?;
        let mut gaps_left = gaps;
        let frame = match (deed, &mut client.talk) {
            (Deed::Exit, talk) => {
                *talk = None;
                ToServer::Exit
            }
            (Deed::Accept, Some(Talk { stage, peer, chat })) => {
                *stage = Stage::Awaiting;
                client::accept(me, *chat, Some(*peer))
            }
            (Deed::Refuse, talk @ Some(_)) => ToServer::Refuse(talk.take()?.chat),
            (Deed::Establish, Some(Talk { stage, peer, chat })) => {
                *stage = Stage::Chatting { open: true, owes: false };
                client::establish(me, *chat, Some(*peer))
            }
            (Deed::Say, Some(Talk { peer, chat, .. })) => {
                client.unheard = self.relay.has_nodes();
                client::message(me, *chat, Some(*peer))
            }
            (Deed::Resume, Some(Talk { stage: Stage::Chatting { owes, .. }, peer, chat })) => {
                if !std::mem::take(owes) {
                    gaps_left = gaps.checked_sub(1)?;
                }
                ToServer::Resume(client::resume(me, *chat, Some(*peer)))
            }
            (Deed::Close, talk) => {
                let Talk { stage, chat, .. } = talk.take()?;
                let reason = match stage {
                    Stage::Calling => CloseReason::CalledOff,
                    Stage::Chatting { .. } => CloseReason::Left,
                    _ => CloseReason::Failed,
                };
                ToServer::ChatClosed(Close { chat, reason })
            }
            _ => return None,
        };
        client.unheard &= client.talk.is_some();
        seat.up.push_back(frame.encode().ok()?);
        self.world.left.gaps = gaps_left;
        Some(())
    }

    fn call(&mut self, me: Person, peer: Person, chat: ChatId) -> Option<()> {
        let frame = ToServer::RequestToTalk(Request { peer: self.relay.names.of(peer).clone(), chat });
        let seat = self.world.place_mut(me).seats.last_mut()?;
        seat.client.as_mut()?.talk = Some(Talk { stage: Stage::Calling, peer, chat });
        seat.up.push_back(frame.encode().ok()?);
        Some(())
    }

    pub(super) fn lies(&mut self, me: Person, lie: Lie) -> Option<()> {
        let frame = match lie {
            Lie::Call(peer, chat) => return self.call(me, peer, chat),
            Lie::ComeBack(peer, chat, home) => {
                self.world.left.logins = self.world.left.logins.checked_sub(1)?;
                self.world.place_mut(me).away = None;
                let stage = Stage::Chatting { open: false, owes: false };
                let talk = Some(Talk { stage, peer, chat });
                return self.log_in(me, home, Client { talk, ..Client::default() });
            }
            Lie::Accept(chat) => client::accept(me, chat, None),
            Lie::Refuse(chat) => ToServer::Refuse(chat),
            Lie::Establish(chat) => client::establish(me, chat, None),
            Lie::Say(chat) => client::message(me, chat, None),
            Lie::Resume(chat) => ToServer::Resume(client::resume(me, chat, None)),
            Lie::Close(chat) => ToServer::ChatClosed(Close { chat, reason: CloseReason::Left }),
        };
        self.world.place_mut(me).seats.last_mut()?.up.push_back(frame.encode().ok()?);
        Some(())
    }

    /// A new connection of the user's, from a client that holds what it holds, and its log-in.
    pub(super) fn log_in(&mut self, me: Person, home: usize, mut client: Client) -> Option<()> {
        let (id, login) = self.connect(me, home, &mut client)?;
        self.world.seat_mut(me, id)?.client = Some(client);
        self.input(me, id, Input::Frame(login));
        Some(())
    }

    /// The same, but the client has given the connection up before its log-in is there.
    pub(super) fn log_in_late(&mut self, me: Person, home: usize, mut client: Client) -> Option<()> {
        let (id, login) = self.connect(me, home, &mut client)?;
        self.world.seat_mut(me, id)?.late = Some(login);
        self.world.place_mut(me).away = Some(client);
        Some(())
    }

    /// A new connection of the user's, and what this client logs in with.
    fn connect(&mut self, me: Person, home: usize, client: &mut Client) -> Option<(SessionId, Bytes)> {
        let relay = self.relay;
        let place = self.world.place_mut(me);
        place.logins = place.logins.checked_add(1)?;
        // A client is called after the first of its user's log-ins that is its own.
        let first = || Attempt::first(ClientId::from_bytes([place.logins; 16]));
        let attempt = client.attempt.map_or_else(first, Attempt::next);
        client.attempt = Some(attempt);
        let held = client.talk.map(|talk| client::held(me, talk.peer, talk.chat, relay));
        let login = ToServer::Login(Login { user: relay.names.of(me).clone(), attempt, held }).encode().ok()?;
        let number = u64::from(me.digit()).saturating_mul(100).saturating_add(place.logins.into());
        let id = SessionId { node: nodes::node(home, !relay.has_nodes()), number };
        let session = relay.session(me, id);
        let (up, down) = (VecDeque::new(), VecDeque::new());
        place.seats.push(Seat {
            id,
            attempt,
            late: None,
            held: None,
            claim: None,
            deferred: Vec::new(),
            session,
            now: relay.start,
            openings: 0,
            replaced: None,
            client: None,
            down,
            up,
        });
        Some((id, login))
    }
}
