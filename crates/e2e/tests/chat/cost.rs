//! What frames of a peer who means ill cost their reader: `cargo test --release -p e2e --test chat -- --ignored
//! --nocapture cost`.

use std::time::Instant;

use e2e::{Invitation, MAX_FORWARD};
use openmls::{
    group::{CommitBuilder, Initial},
    prelude::{LeafNodeParameters, PreSharedKeyProposal, Proposal},
    schedule::PreSharedKeyId,
};
use openmls_libcrux_crypto::Provider;
use openmls_traits::OpenMlsProvider as _;
use protocol::{Content, limits::MAX_FRAME};
use tls_codec::Serialize as _;

use crate::{
    common::{CHAT, Frame, Side, bob, mallory, own, rng},
    rogue::{Rogue, build, config, package, read_package},
};

const RUNS: usize = 7;

/// The shortest of some runs, in milliseconds: the machine may be doing something else.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement needs the clock, and tells")]
fn least<T>(what: &str, mut prepare: impl FnMut() -> T, mut run: impl FnMut(T) -> usize) {
    let (mut least, mut bytes) = (f64::INFINITY, 0);
    for _ in 0..RUNS {
        let prepared = prepare();
        let start = Instant::now();
        bytes = run(prepared);
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
    }
    assert!(bytes <= MAX_FRAME, "{what}: {bytes} bytes do not fit a frame");
    println!("{least:8.3} ms for {bytes:5} bytes: {what}");
}

fn message(rogue: &mut Rogue, plain: &[u8]) -> Frame {
    rogue.frame(|group, provider, own| group.create_message(provider, own, plain).unwrap())
}

fn receipt(rogue: &mut Rogue) -> Frame {
    message(rogue, &Content::Receipt.tls_serialize_detached().unwrap())
}

fn open((mut side, frame): (Side, Frame)) -> usize {
    std::hint::black_box(side.open(&frame)).ok();
    frame.sealed.len()
}

/// A commit that `fill` puts something in, and who is to open it.
fn commit(
    fill: impl for<'a> FnOnce(CommitBuilder<'a, Initial>, &Provider) -> CommitBuilder<'a, Initial>,
) -> (Side, Frame) {
    let (mut rogue, bob) = Rogue::chat(config());
    let frame = rogue.frame(|group, provider, own| {
        fill(group.commit_builder(), provider)
            .load_psks(provider.storage())
            .unwrap()
            .build(provider.rand(), provider.crypto(), own, |_| true)
            .unwrap()
            .stage_commit(provider)
            .unwrap()
            .into_contents()
            .0
    });
    (bob, frame)
}

#[test]
#[ignore = "measurement"]
fn cost() {
    let first = |make: &dyn Fn(&mut Rogue) -> Frame| {
        let (mut rogue, bob) = Rogue::chat(config());
        let frame = make(&mut rogue);
        (bob, frame)
    };
    least("a receipt", || first(&|rogue| receipt(rogue)), open);
    least("a text as long as a frame", || first(&|rogue| message(rogue, &[1; 65_000])), open);
    let far = |rogue: &mut Rogue| {
        (0..MAX_FORWARD).for_each(|_| drop(receipt(rogue)));
        receipt(rogue)
    };
    least("a receipt as far ahead as may be", || first(&far), open);
    let after = || {
        let (mut rogue, mut bob) = Rogue::chat(config());
        let ahead = far(&mut rogue);
        bob.open(&ahead).unwrap();
        (bob, receipt(&mut rogue))
    };
    least("a receipt after that", after, open);

    let renewal = |group: &mut openmls::group::MlsGroup, provider: &Provider, own: &e2e::Own| {
        group.self_update(provider, own, LeafNodeParameters::default()).unwrap().into_contents().0
    };
    least("a renewal", || first(&|rogue| rogue.frame(renewal)), open);
    let crowd = |count: u32| {
        (0..count).map(|n| {
            let eve = own(&format!("eve-{n}"), "chat.example", u8::try_from(100 + n).unwrap());
            build(package(), &eve, &Provider::new().unwrap())
        })
    };
    least("a commit that adds 22", || commit(|builder, _| builder.propose_adds(crowd(22))), open);
    let secrets = || {
        commit(|mut builder, provider| {
            for n in 0..1_500_u32 {
                let psk = PreSharedKeyId::external(n.to_be_bytes().to_vec(), vec![0; 32]);
                psk.store(provider, b"secret").unwrap();
                builder = builder.add_proposal(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(psk))));
            }
            builder
        })
    };
    least("a commit that mixes in 1,500 secrets", secrets, open);

    let join = |(invitation, welcome): (Invitation, Vec<u8>)| {
        std::hint::black_box(invitation.join(CHAT, mallory().member(), &welcome, &mut rng(2))).ok();
        welcome.len()
    };
    let invited = || {
        let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
        (invitation, read_package(&package))
    };
    let among = |count: u32| {
        let (invitation, bobs) = invited();
        let mut rogue = Rogue::alone(mallory(), CHAT, config());
        let welcome = rogue.add(&std::iter::once(bobs).chain(crowd(count)).collect::<Vec<_>>());
        (invitation, welcome)
    };
    least("a welcome", || among(0), join);
    least("a welcome to a group of 24", || among(22), join);
}
