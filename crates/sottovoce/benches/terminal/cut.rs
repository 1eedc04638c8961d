//! Connections that are cut, and a network that comes back.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    cable::{Cable, Passage, pass},
    common::{Client, World, now, ok, talk},
    ledger::{Ledger, check},
    rows::Figure,
};

/// What each of two says during a cut.
const SAID: usize = 5;
/// Between two cuts: longer than it takes clients to count a network as there again.
const CALM: Duration = Duration::from_millis(800);
/// A network that is gone for longer than people like to wait.
const LONG: Duration = Duration::from_secs(20);

/// From the return of the network until both have been told, have all that was said meanwhile, and know that the other
/// has. The way to the server refuses all attempts while it is cut; of a link that is down, the system tells.
pub(crate) fn measure(is_quick: bool) -> Vec<Figure> {
    let world = World::new();
    let (pairs, short, long) = if is_quick { (4, 1, Duration::from_secs(4)) } else { (10, 10, LONG) };
    let mut stage = 0;
    let mut cut = |work, cuts, length| {
        stage += 1;
        Figure::times(work, 0, &of_pairs(pairs, |pair| refused(&world, stage * 100 + pair, cuts, length)))
    };
    let mut figures = vec![
        cut("back-after-300-ms", short, Duration::from_millis(300)),
        cut("back-after-2-s", short / 2 + 1, Duration::from_secs(2)),
        cut("back-after-20-s", 1, long),
    ];
    match link_down(pairs, long) {
        Some(times) => figures.push(Figure::times("back-after-20-s-without-link", 0, &times)),
        None => println!("skipped: there are no unshare and ip, or the system does not let them make a network"),
    }
    figures
}

fn of_pairs(pairs: usize, times: impl Fn(usize) -> Vec<Duration> + Sync) -> Vec<Duration> {
    thread::scope(|scope| {
        let times = &times;
        let running: Vec<_> = (0..pairs).map(|pair| scope.spawn(move || times(pair))).collect();
        running.into_iter().flat_map(|pair| pair.join().unwrap_or_else(|why| std::panic::resume_unwind(why))).collect()
    })
}

/// Two in a chat, and what each has told.
struct Pair {
    clients: [Client; 2],
    told: [Ledger; 2],
    said: [Vec<String>; 2],
}

impl Pair {
    fn new(world: &World, names: &[String; 2]) -> Self {
        let [mut alice, mut bob] = names.each_ref().map(|name| world.log_in(name));
        talk(&mut alice, &mut bob, &names[1]);
        Self { clients: [alice, bob], told: Default::default(), said: Default::default() }
    }

    fn notices(&mut self) {
        for (client, told) in self.clients.iter_mut().zip(&mut self.told) {
            let before = told.events.get("reconnecting").copied();
            while told.events.get("reconnecting").copied() == before {
                told.note(&client.next().expect("the client is told of the cut"));
            }
        }
    }

    fn speaks(&mut self) {
        for (at, (client, said)) in self.clients.iter_mut().zip(&mut self.said).enumerate() {
            let text = format!("{} of {at}", said.len());
            client.says(&text);
            said.push(text);
        }
    }

    fn has_all(&mut self) {
        let said = self.said.each_ref().map(Vec::len);
        for (at, (client, told)) in self.clients.iter_mut().zip(&mut self.told).enumerate() {
            told.listen(client, said[1 - at], said[at]);
        }
    }

    /// Nothing was lost, and nothing came twice.
    fn check(&self) {
        check(&self.said[0], &self.told[0], &self.told[1]);
        check(&self.said[1], &self.told[1], &self.told[0]);
        for told in &self.told {
            assert!(told.events["reconnected"] > 0, "{:?}", told.events);
        }
    }
}

fn refused(world: &World, number: usize, cuts: usize, length: Duration) -> Vec<Duration> {
    let names = ["alice", "bob"].map(|name| format!("{name}-{number}"));
    let cables = [Cable::to(world), Cable::to(world)];
    for (name, cable) in names.iter().zip(&cables) {
        world.user_at(name, &cable.dial());
    }
    let mut pair = Pair::new(world, &names);
    let mut time = || {
        pass(CALM);
        let begin = now();
        cables.iter().for_each(|cable| cable.becomes(Passage::Nobody));
        pair.notices();
        (0..SAID).for_each(|_| pair.speaks());
        pass(length.saturating_sub(begin.elapsed()));
        let back = now();
        cables.iter().for_each(|cable| cable.becomes(Passage::Open));
        pair.has_all();
        back.elapsed()
    };
    let times = (0..cuts).map(|_| time()).collect();
    pair.check();
    times
}

/// The same with a link that goes down, in a network of its own; `None` where the system does not allow one.
fn link_down(pairs: usize, length: Duration) -> Option<Vec<Duration>> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]);
        command
    };
    let allowed = unshare().args(["ip", "link", "set", "lo", "up"]).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut inside = unshare();
    inside.arg(std::env::current_exe().unwrap()).arg("--link");
    let output = ok(inside.args([pairs.to_string(), length.as_secs().to_string()]));
    let nanoseconds: Vec<u64> = serde_json::from_slice(&output.stdout).unwrap();
    Some(nanoseconds.into_iter().map(Duration::from_nanos).collect())
}

/// Prints nanoseconds, as JSON. To be run in a network of its own.
pub(crate) fn inside(pairs: usize, seconds: u64) {
    let set_link = |state| ok(Command::new("ip").args(["link", "set", "lo", state]));
    set_link("up");
    let world = World::new();
    let make = |number| {
        let names = ["alice", "bob"].map(|name| format!("{name}-{number}"));
        names.iter().for_each(|name| world.user(name));
        Pair::new(&world, &names)
    };
    let mut all: Vec<_> = (0..pairs).map(make).collect();
    pass(CALM);
    let begin = now();
    set_link("down");
    for pair in &mut all {
        pair.notices();
        (0..SAID).for_each(|_| pair.speaks());
    }
    pass(Duration::from_secs(seconds).saturating_sub(begin.elapsed()));
    let back = now();
    set_link("up");
    let times: Vec<_> = thread::scope(|scope| {
        let has_all = |pair: &mut Pair| {
            pair.has_all();
            u64::try_from(back.elapsed().as_nanos()).unwrap()
        };
        let running: Vec<_> = all.iter_mut().map(|pair| scope.spawn(move || has_all(pair))).collect();
        running.into_iter().map(|pair| pair.join().unwrap_or_else(|why| std::panic::resume_unwind(why))).collect()
    });
    all.iter().for_each(Pair::check);
    println!("{}", serde_json::to_string(&times).unwrap());
}
