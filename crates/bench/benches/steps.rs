//! How long single steps of the codec, the machines and the seal take, and what they allocate.
//!
//! Times on a machine that does other things as well say little by themselves: compare medians of two builds that ran in
//! turns. `paths.rs` counts instructions, which do not vary.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark may panic"
)]

mod stage;

/// Counts the allocations of each step, which takes some nanoseconds of each.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Fields to bytes and back.
mod codec {
    use divan::{Bencher, black_box, counter::BytesCount};
    use protocol::{ChatHeader, ToClient, ToServer};

    use crate::stage::frames::{self, LONGEST, SHORT};

    #[divan::bench(args = [SHORT, LONGEST])]
    fn encode_message(bencher: Bencher<'_, '_>, sealed: usize) {
        let message = frames::message(sealed);
        bencher.counter(BytesCount::new(sealed)).bench_local(|| black_box(&message).encode().unwrap());
    }

    #[divan::bench(args = [SHORT, LONGEST])]
    fn decode_message(bencher: Bencher<'_, '_>, sealed: usize) {
        let message = frames::message(sealed).encode().unwrap();
        bencher.counter(BytesCount::new(sealed)).bench_local(|| ToClient::decode(black_box(&message)).unwrap());
    }

    /// All that the server looks at in a message.
    #[divan::bench(args = [SHORT, LONGEST])]
    fn chat_of_message(bencher: Bencher<'_, '_>, sealed: usize) {
        let message = frames::message(sealed).encode().unwrap();
        bencher.bench_local(|| ChatHeader::chat_of(black_box(&message)).unwrap());
    }

    #[divan::bench]
    fn encode_log_in(bencher: Bencher<'_, '_>) {
        let log_in = frames::log_in(0);
        bencher.bench_local(|| black_box(&log_in).encode().unwrap());
    }

    #[divan::bench]
    fn decode_log_in(bencher: Bencher<'_, '_>) {
        let log_in = frames::log_in(0).encode().unwrap();
        bencher.bench_local(|| ToServer::decode(black_box(&log_in)).unwrap());
    }

    #[divan::bench]
    fn encode_list(bencher: Bencher<'_, '_>) {
        let list = ToClient::List(frames::list());
        bencher.bench_local(|| black_box(&list).encode().unwrap());
    }

    #[divan::bench]
    fn decode_list(bencher: Bencher<'_, '_>) {
        let list = ToClient::List(frames::list()).encode().unwrap();
        bencher.bench_local(|| ToClient::decode(black_box(&list)).unwrap());
    }
}

/// The server's machine of one user.
mod session {
    use bytes::Bytes;
    use divan::{Bencher, black_box};
    use protocol::{Machine as _, ToServer};
    use server::{
        session::{Input, Output, Session},
        signal::{SessionId, Signal, SignalKind},
    };

    use crate::stage::{self, ACCEPTER, CALLER, CHAT, frames, relay::Relay};

    fn bytes(frame: &ToServer) -> Bytes {
        frame.encode().unwrap()
    }

    /// Inputs to sessions that stand where `before` does, each handed to a new copy.
    fn each_in_a_copy(bencher: Bencher<'_, '_>, before: &Session, inputs: &[Input]) {
        let now = stage::now();
        bencher.with_inputs(|| (before.clone(), inputs.to_vec())).bench_local_values(|(mut session, inputs)| {
            let mut out = Vec::new();
            for input in inputs {
                session.handle(input, now, &mut out);
            }
            assert!(!out.is_empty());
            (session, out)
        });
    }

    /// A frame of the user's in, a signal to the peer's session out.
    #[divan::bench]
    fn message_in(bencher: Bencher<'_, '_>) {
        let (mut session, now) = (Relay::chatting().session(CALLER), stage::now());
        let message = bytes(&frames::message(frames::SHORT));
        let mut out = Vec::with_capacity(1);
        bencher.bench_local(|| {
            session.handle(Input::Frame(black_box(&message).clone()), now, &mut out);
            assert!(matches!(out.pop(), Some(Output::Signal { .. })));
        });
    }

    /// A signal of the peer's session in, a frame to the user out.
    #[divan::bench]
    fn message_out(bencher: Bencher<'_, '_>) {
        let (mut session, now) = (Relay::chatting().session(ACCEPTER), stage::now());
        let kind = SignalKind::Message(bytes(&frames::message(frames::SHORT)));
        let signal = Signal { from: stage::name(CALLER), session: SessionId::new(0), chat: CHAT, kind };
        let mut out = Vec::with_capacity(1);
        bencher.bench_local(|| {
            session.handle(Input::Signal(black_box(&signal).clone()), now, &mut out);
            assert!(matches!(out.pop(), Some(Output::Send(_))));
        });
    }

    /// From the log-in's frame to the answer, the directory's part left out.
    #[divan::bench]
    fn log_in(bencher: Bencher<'_, '_>) {
        let session = stage::relay::session(CALLER, stage::now());
        let key = stage::key(CALLER).public();
        let inputs = [Input::Frame(bytes(&frames::log_in(CALLER))), Input::Registered(Some(Some(key)))];
        each_in_a_copy(bencher, &session, &inputs);
    }

    /// The same with a key that is not that user's; what follows once the time of all refusals has come is left out.
    #[divan::bench]
    fn log_in_refused(bencher: Bencher<'_, '_>) {
        let session = stage::relay::session(CALLER, stage::now());
        let key = stage::key(ACCEPTER).public();
        let inputs = [Input::Frame(bytes(&frames::log_in(CALLER))), Input::Registered(Some(Some(key)))];
        each_in_a_copy(bencher, &session, &inputs);
    }

    #[divan::bench]
    fn request_to_talk(bencher: Bencher<'_, '_>) {
        each_in_a_copy(bencher, &Relay::online().session(CALLER), &[Input::Frame(bytes(&frames::request()))]);
    }

    #[divan::bench]
    fn refusal_of_a_request(bencher: Bencher<'_, '_>) {
        let refusal = Input::Frame(bytes(&ToServer::Refuse(CHAT)));
        each_in_a_copy(bencher, &Relay::ringing().session(ACCEPTER), &[refusal]);
    }
}

/// The user's machine, with the seal.
mod client {
    use client::{Command, Input, Output};
    use divan::Bencher;
    use protocol::Machine as _;

    use crate::stage::{
        self, ACCEPTER, CALLER,
        clients::{self, Clients},
        seal,
    };

    /// A line that was typed in, a sealed frame out.
    #[divan::bench(sample_size = 1, sample_count = 500)]
    fn say(bencher: Bencher<'_, '_>) {
        let clients = std::cell::RefCell::new((Clients::chatting(), Vec::new()));
        let to_say = || {
            let (clients, out) = &mut *clients.borrow_mut();
            clients.carry_out(CALLER, std::mem::take(out));
            clients.settle();
            clients.settle_receipts();
            Input::Command(Command::Say(seal::words()))
        };
        bencher.with_inputs(to_say).bench_local_values(|input| {
            let (clients, out) = &mut *clients.borrow_mut();
            *out = clients.input(CALLER, input);
            assert!(out.iter().any(|output| matches!(output, Output::Send(_))));
        });
    }

    /// A sealed frame in, what was said in it out.
    #[divan::bench(sample_size = 1, sample_count = 500)]
    fn hear(bencher: Bencher<'_, '_>) {
        let clients = std::cell::RefCell::new((Clients::chatting(), Vec::new()));
        let to_hear = || {
            let (clients, out) = &mut *clients.borrow_mut();
            clients.carry_out(ACCEPTER, std::mem::take(out));
            clients.settle();
            clients.settle_receipts();
            clients.does(CALLER, Input::Command(Command::Say(seal::words())));
            Input::Frame(clients.next_frame(ACCEPTER))
        };
        bencher.with_inputs(to_hear).bench_local_values(|input| {
            let (clients, out) = &mut *clients.borrow_mut();
            *out = clients.input(ACCEPTER, input);
            assert!(out.iter().any(|output| matches!(output, Output::Event(_))));
        });
    }

    /// From the start to the log-in, without connection and handshake.
    #[divan::bench]
    fn log_in(bencher: Bencher<'_, '_>) {
        let now = stage::now();
        bencher.with_inputs(|| (clients::client(CALLER), clients::log_in())).bench_local_values(
            |(mut client, inputs)| {
                let mut out = Vec::new();
                for input in inputs {
                    client.handle(input, now, &mut out);
                }
                assert!(matches!(out.last(), Some(Output::Event(client::Event::LoggedIn { .. }))));
                (client, out)
            },
        );
    }
}

/// The chat between two clients, sealed end to end.
mod sealed {
    use std::cell::RefCell;

    use divan::Bencher;
    use protocol::Content;

    use crate::stage::{
        ACCEPTER, CALLER,
        seal::{self, Sealed},
    };

    #[divan::bench(sample_size = 1, sample_count = 500)]
    fn seal(bencher: Bencher<'_, '_>) {
        let (mut sealed, content) = (Sealed::new(), Content::Text(seal::words()));
        bencher.bench_local(|| sealed.seal(CALLER, &content));
    }

    #[divan::bench(sample_size = 1, sample_count = 500)]
    fn open(bencher: Bencher<'_, '_>) {
        let (sealed, content) = (RefCell::new(Sealed::new()), Content::Text(seal::words()));
        bencher
            .with_inputs(|| sealed.borrow_mut().seal(CALLER, &content))
            .bench_local_values(|frame| sealed.borrow_mut().open(ACCEPTER, &frame));
    }

    #[divan::bench(sample_size = 1)]
    fn establish_1_invite(bencher: Bencher<'_, '_>) {
        let mut rng = seal::rng();
        bencher.bench_local(|| seal::invitation(&mut rng));
    }

    #[divan::bench(sample_size = 1)]
    fn establish_2_create(bencher: Bencher<'_, '_>) {
        let mut rng = seal::rng();
        let (_invitation, key_package) = seal::invitation(&mut rng);
        bencher.bench_local(|| seal::create(&key_package, &mut rng));
    }

    #[divan::bench(sample_size = 1)]
    fn establish_3_join(bencher: Bencher<'_, '_>) {
        let rng = RefCell::new(seal::rng());
        bencher
            .with_inputs(|| {
                let mut rng = rng.borrow_mut();
                let (invitation, key_package) = seal::invitation(&mut rng);
                let (_caller, welcome) = seal::create(&key_package, &mut rng);
                (invitation, welcome)
            })
            .bench_local_values(|(invitation, welcome)| seal::join(invitation, &welcome, &mut rng.borrow_mut()));
    }

    #[divan::bench(sample_size = 1)]
    fn renew_own(bencher: Bencher<'_, '_>) {
        let sealed = RefCell::new((Sealed::new(), None));
        let opened = || {
            let (sealed, renewal) = &mut *sealed.borrow_mut();
            if let Some(renewal) = renewal.take() {
                sealed.open(ACCEPTER, &renewal);
            }
        };
        bencher.with_inputs(opened).bench_local_values(|()| {
            let (sealed, renewal) = &mut *sealed.borrow_mut();
            *renewal = Some(sealed.renew(CALLER));
        });
    }

    #[divan::bench(sample_size = 1)]
    fn renew_peers(bencher: Bencher<'_, '_>) {
        let sealed = RefCell::new(Sealed::new());
        bencher
            .with_inputs(|| sealed.borrow_mut().renew(CALLER))
            .bench_local_values(|renewal| sealed.borrow_mut().open(ACCEPTER, &renewal));
    }
}

/// A handshake with the server, both ends.
#[divan::bench(sample_size = 1)]
fn tls_handshake(bencher: divan::Bencher<'_, '_>) {
    let ends = stage::handshake::Ends::new();
    bencher.bench_local(|| ends.handshake());
}
