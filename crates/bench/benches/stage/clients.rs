//! Two clients' machines at a relay, each handed what its driver would hand it.

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf as _, Bytes};
use client::{Client, Command, Event, Input, Output};
use identity::Negotiated;
use protocol::{Machine as _, ToClient};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

use super::{ACCEPTER, CALLER, frames, key, name, relay::Relay, server};

/// Longer than a client keeps a receipt back.
const UNTIL_RECEIPT: Duration = Duration::from_millis(25);

pub(crate) struct Clients {
    relay: Relay,
    clients: [Client; 2],
    /// On the way to each.
    frames: [VecDeque<Bytes>; 2],
    /// What each has told its user.
    events: [Vec<Event>; 2],
}

pub(crate) fn client(user: usize) -> Client {
    let seed = u64::try_from(user).unwrap();
    Client::new(name(user), key(user), Box::new(ChaCha20Rng::seed_from_u64(seed)))
}

/// All that a client is handed until it is logged in.
pub(crate) fn log_in() -> [Input; 4] {
    let negotiated = Negotiated { group: "X25519MLKEM768".into(), suite: "TLS13_AES_256_GCM_SHA384".into() };
    [
        Input::Start,
        Input::Connected { negotiated },
        Input::Frame(ToClient::LoggedIn(server()).encode().unwrap()),
        Input::ServerNameChecked(Ok(())),
    ]
}

impl Clients {
    /// Two clients in a chat.
    pub(crate) fn chatting() -> Self {
        let mut this = Self {
            relay: Relay::new(),
            clients: [CALLER, ACCEPTER].map(client),
            frames: [VecDeque::new(), VecDeque::new()],
            events: [Vec::new(), Vec::new()],
        };
        for user in [CALLER, ACCEPTER] {
            this.does(user, Input::Start);
            this.settle();
        }
        this.does(CALLER, Input::Command(Command::Talk(name(ACCEPTER))));
        this.settle();
        this.does(ACCEPTER, Input::Command(Command::Yes(None)));
        this.settle();
        for events in &mut this.events {
            assert!(events.iter().any(|event| matches!(event, Event::ChatStarted { .. })), "{events:#?}");
            events.clear();
        }
        this
    }

    /// Hands a client an input and nobody what comes of it.
    pub(crate) fn input(&mut self, user: usize, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.clients[user].handle(input, self.relay.now, &mut out);
        out
    }

    /// Hands a client an input, and does what it wants done.
    pub(crate) fn does(&mut self, user: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let out = self.input(user, input);
            inputs.extend(self.carry_out(user, out));
        }
    }

    /// Does what a client wants done, and gives what it is to be handed for that.
    pub(crate) fn carry_out(&mut self, user: usize, out: Vec<Output>) -> Vec<Input> {
        let mut answers = Vec::new();
        for output in out {
            match output {
                Output::Connect => answers.extend(log_in().into_iter().nth(1)),
                Output::Send(frame) => self.relay.receive(user, &frames::on_the_wire(&frame)),
                Output::CheckServerName(_) => answers.push(Input::ServerNameChecked(Ok(()))),
                Output::LookUpPin(..) => answers.push(Input::Pin(None)),
                Output::StorePin(_) => {}
                Output::Event(event) => self.events[user].push(event),
                other => panic!("{other:?} in a chat without faults"),
            }
        }
        answers
    }

    /// Everything arrives everywhere. Gives what the users were told.
    pub(crate) fn settle(&mut self) {
        loop {
            self.relay();
            let Some((user, frame)) =
                [CALLER, ACCEPTER].into_iter().find_map(|user| Some((user, self.frames[user].pop_front()?)))
            else {
                return;
            };
            self.does(user, Input::Frame(frame));
        }
    }

    /// The receipts for what has arrived, and whatever else waits for time to go by, arrive too.
    pub(crate) fn settle_receipts(&mut self) {
        self.relay.now += UNTIL_RECEIPT;
        for user in [CALLER, ACCEPTER] {
            self.does(user, Input::Tick);
        }
        self.settle();
        self.events.iter_mut().for_each(Vec::clear);
    }

    /// The next frame that is on its way to this user, who does not get it.
    pub(crate) fn next_frame(&mut self, user: usize) -> Bytes {
        self.relay();
        self.frames[user].pop_front().unwrap()
    }

    /// The relay does all that it can do.
    fn relay(&mut self) {
        let Self { relay, frames, .. } = self;
        for user in [CALLER, ACCEPTER] {
            relay.deliver(user);
        }
        for (user, frames) in frames.iter_mut().enumerate() {
            relay.flush(user, |mut bytes| {
                while bytes.has_remaining() {
                    let length = usize::from(bytes.get_u16());
                    frames.push_back(bytes.copy_to_bytes(length));
                }
            });
        }
    }
}
