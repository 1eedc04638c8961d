//! The one task that owns all sessions: real ones, with the real router and mailboxes, and the tricks before them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::mpsc as std_mpsc,
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use protocol::{Machine as _, PublicKey, UserName};
use server::{
    config::Config,
    directory::Directory,
    mailbox::{Inbox, Mailbox, Order, mailbox},
    router::Router,
    session::{Input, Output, Session},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    Attack,
    connection::Arrival,
    notes::{Known, Link, Notes},
    tricks::{Act, Acts, Moment, Trick, trick},
};

/// Something that happens to the relay.
pub(super) enum Happening {
    /// A client has connected.
    Came(Arrival),
    /// A client has sent a frame.
    Sent(Link, Bytes),
    /// A client's connection is gone.
    Went(Link),
    /// The relay's owner wants other attacks; the channel is told when they are there.
    Attacks(Vec<Attack>, std_mpsc::Sender<()>),
}

pub(super) struct Hub {
    config: Config,
    directory: Directory,
    router: Router,
    ends: BTreeMap<Link, End>,
    notes: Notes,
    tricks: Vec<Box<dyn Trick>>,
    /// What is to be done, with the number of the first trick that has not seen it.
    work: VecDeque<(usize, Act)>,
    /// What is to be done later; a number keeps those of one time in order, and so does that of their tricks' choosing,
    /// so that what an attack had put off is dropped with it.
    later: BTreeMap<(Instant, u64), (u64, usize, Act)>,
    put_off: u64,
    choosing: u64,
    /// What sessions want to know of the directory.
    looked_up: Vec<(Link, UserName)>,
    tell: std_mpsc::Sender<String>,
}

/// The relay's end of a connection.
struct End {
    session: Session,
    key: PublicKey,
    registered: Option<UserName>,
    mailbox: Mailbox,
    inbox: Inbox,
    to_client: mpsc::Sender<Bytes>,
}

impl Hub {
    pub(super) fn new(
        config: Config,
        directory: Directory,
        attacks: &[Attack],
        tell: std_mpsc::Sender<String>,
    ) -> Self {
        Self {
            router: Router::new(config.list_page),
            notes: Notes::new(),
            tricks: attacks.iter().map(|attack| trick(*attack, &config.name)).collect(),
            config,
            directory,
            ends: BTreeMap::new(),
            work: VecDeque::new(),
            later: BTreeMap::new(),
            put_off: 0,
            choosing: 0,
            looked_up: Vec::new(),
            tell,
        }
    }

    pub(super) async fn run(mut self, mut happenings: mpsc::Receiver<Happening>) {
        self.read_directory().await;
        loop {
            let sessions = self.ends.values().filter_map(|end| end.session.deadline()).min();
            let later = self.later.first_key_value().map(|((at, _), _)| *at);
            let due = sessions.into_iter().chain(later).min();
            tokio::select! {
                happening = happenings.recv() => match happening {
                    Some(happening) => self.happens(happening).await,
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(now).into()), if due.is_some() => self.time_passes(),
            }
            self.work().await;
        }
    }

    async fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Came(arrival) => self.came(arrival),
            Happening::Sent(link, frame) => {
                if self.ends.contains_key(&link) {
                    let was_chatting = self.is_chatting(link);
                    self.notes.up(link, &frame);
                    self.work.push_back((0, Act::Up(link, frame)));
                    if !was_chatting && self.is_chatting(link) && self.notes.is_logged_in(link) {
                        self.moment(link, Moment::Chatting);
                    }
                }
            }
            Happening::Went(link) => self.work.push_back((0, Act::Cut(link))),
            Happening::Attacks(attacks, done) => {
                self.choosing += 1;
                self.tricks = attacks.iter().map(|attack| trick(*attack, &self.config.name)).collect();
                self.read_directory().await;
                for (link, known) in self.notes.links.clone() {
                    for (is_so, moment) in
                        [(known.is_logged_in, Moment::LoggedIn), (known.is_chatting, Moment::Chatting)]
                    {
                        if is_so {
                            self.moment(link, moment);
                        }
                    }
                }
                self.work().await;
                let _ = done.send(());
            }
        }
    }

    fn came(&mut self, Arrival { link, key, to_client }: Arrival) {
        let (mailbox, inbox) = mailbox(self.config.mailbox_frames, self.config.mailbox_bytes);
        let session = Session::new(SessionId::new(link), key, self.config.name.clone(), self.config.patience(), now());
        self.ends.insert(link, End { session, key, registered: None, mailbox, inbox, to_client });
        let known = Known { user: None, is_logged_in: false, chat: None, is_chatting: false };
        self.notes.links.insert(link, known);
        self.moment(link, Moment::Connected);
    }

    fn time_passes(&mut self) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now() {
                break;
            }
            let (choosing, stage, act) = entry.remove();
            if choosing == self.choosing {
                self.work.push_back((stage, act));
            }
        }
        let links: Vec<_> = self.ends.keys().copied().collect();
        for link in links {
            self.session(link, Input::Tick);
        }
    }

    /// Lets each trick know of a moment.
    fn moment(&mut self, link: Link, moment: Moment) {
        for (stage, trick) in self.tricks.iter_mut().enumerate() {
            let mut acts = Acts::default();
            trick.moment(&self.notes, link, moment, &mut acts);
            self.work.extend(acts.0.into_iter().map(|act| (stage + 1, act)));
        }
    }

    /// Does all that is to be done now.
    async fn work(&mut self) {
        loop {
            self.read_letters();
            let Some((stage, act)) = self.work.pop_front() else { return };
            if let Some(trick) = self.tricks.get_mut(stage) {
                let mut acts = Acts::default();
                match act {
                    Act::Up(link, frame) => trick.up(&self.notes, link, frame, &mut acts),
                    Act::Down(link, frame) => trick.down(&self.notes, link, frame, &mut acts),
                    Act::Wake => trick.wake(&mut acts),
                    Act::After(delay, act) if matches!(*act, Act::Wake) => {
                        self.put_off(delay, stage, *act);
                        continue;
                    }
                    other => acts.0.push(other),
                }
                // At the front, in order: what is done about one frame is not mixed with what is done about the next.
                for act in acts.0.into_iter().rev() {
                    let is_its_own = matches!(&act, Act::After(_, act) if matches!(**act, Act::Wake));
                    self.work.push_front((if is_its_own { stage } else { stage + 1 }, act));
                }
            } else {
                self.carry_out(stage, act).await;
            }
        }
    }

    async fn carry_out(&mut self, stage: usize, act: Act) {
        match act {
            Act::Up(link, frame) => {
                self.session(link, Input::Frame(frame));
                self.answer_look_ups().await;
            }
            Act::Down(link, frame) => {
                let (was_in, was_chatting) = (self.notes.is_logged_in(link), self.is_chatting(link));
                self.notes.down(link, &frame);
                let mut bytes = BytesMut::with_capacity(frame.len() + 2);
                bytes.put_u16(u16::try_from(frame.len()).unwrap_or(u16::MAX));
                bytes.put_slice(&frame);
                self.write(link, bytes.freeze());
                let is_new = !was_in && self.notes.is_logged_in(link);
                if is_new {
                    self.moment(link, Moment::LoggedIn);
                }
                if self.is_chatting(link) && (is_new || !was_chatting) {
                    self.moment(link, Moment::Chatting);
                }
            }
            Act::Raw(link, bytes) => self.write(link, bytes),
            Act::Cut(link) => {
                self.session(link, Input::Lost);
                self.end(link);
            }
            Act::After(delay, act) => self.put_off(delay, stage, *act),
            Act::Tell(line) => _ = self.tell.send(line),
            // Its trick is gone.
            Act::Wake => {}
        }
    }

    fn put_off(&mut self, delay: Duration, stage: usize, act: Act) {
        self.put_off += 1;
        self.later.insert((now() + delay, self.put_off), (self.choosing, stage, act));
    }

    fn is_chatting(&self, link: Link) -> bool {
        self.notes.links.get(&link).is_some_and(|known| known.is_chatting)
    }

    async fn answer_look_ups(&mut self) {
        for (link, user) in std::mem::take(&mut self.looked_up) {
            self.read_directory().await;
            let key = self.directory.key_of(&user).await.ok();
            self.session(link, Input::Registered(key));
        }
    }

    async fn read_directory(&mut self) {
        if let Ok(users) = self.directory.list().await {
            self.notes.users = users.into_iter().collect();
        }
    }

    /// Lets go of a connection: what is to be written still is.
    fn end(&mut self, link: Link) {
        let Some(mut end) = self.ends.remove(&link) else { return };
        self.notes.links.remove(&link);
        let Some(user) = end.registered.take() else { return };
        let id = SessionId::new(link);
        self.router.unregister(&user, id);
        while let Some(letter) = end.inbox.try_receive() {
            if let Signal { from, chat, kind: SignalKind::Request { .. }, .. } = letter {
                let signal = Signal { from: user.clone(), session: id, chat, kind: SignalKind::Unavailable };
                let _ = self.router.send(&from, signal);
            }
        }
    }

    fn write(&mut self, link: Link, bytes: Bytes) {
        if let Some(end) = self.ends.get(&link)
            && end.to_client.try_send(bytes).is_err()
        {
            self.work.push_back((self.tricks.len(), Act::Cut(link)));
        }
    }

    fn read_letters(&mut self) {
        let links: Vec<_> = self.ends.keys().copied().collect();
        for link in links {
            while let Some(letter) = self.ends.get_mut(&link).and_then(|end| end.inbox.try_receive()) {
                self.session(link, Input::Signal(letter));
            }
            let Some(end) = self.ends.get(&link) else { continue };
            if end.inbox.is_to_end() {
                let how = match end.inbox.order() {
                    Some(Order::End(reason)) => Input::End(reason),
                    Some(Order::Replaced { held }) => Input::Replaced { held },
                    None => Input::Lost,
                };
                self.session(link, how);
            }
        }
    }

    /// Hands a session an input, and carries out what it wants, but for what the directory is asked.
    fn session(&mut self, link: Link, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(end) = self.ends.get_mut(&link) else { return };
            let mut out = Vec::new();
            end.session.handle(input, now(), &mut out);
            for output in out {
                let Some(end) = self.ends.get_mut(&link) else { return };
                match output {
                    Output::Send(frame) => self.work.push_back((0, Act::Down(link, frame))),
                    Output::Signal { to, signal } => {
                        let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
                        if let Err(why) = self.router.send(&to, signal) {
                            if why == Undelivered::Absent {
                                // Whoever is gone may have said goodbye before, and that comes first.
                                while let Some(letter) = end.inbox.try_receive() {
                                    inputs.push_back(Input::Signal(letter));
                                }
                            }
                            inputs.push_back(Input::Undelivered { to, chat, is_repeated, why });
                        }
                    }
                    Output::LookUp(user) => self.looked_up.push((link, user)),
                    Output::Register { user, attempt, held } => {
                        end.registered = Some(user.clone());
                        let id = SessionId::new(link);
                        self.router.register(user, id, attempt, end.key, end.mailbox.clone(), held);
                    }
                    Output::List(page) => {
                        if let Some(user) = end.session.user() {
                            inputs.push_back(Input::Listed(self.router.list(user, &page)));
                        }
                    }
                    // Behind what is still to be sent.
                    Output::Disconnect => self.work.push_back((self.tricks.len(), Act::Cut(link))),
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands the sessions their time")]
fn now() -> Instant {
    Instant::now()
}
