use std::time::{Duration, Instant};

/// The shape that both state machines share, the client's and the session's.
///
/// A machine never touches a socket, a clock or a random generator that was not passed in: what happens is data that
/// it is handed, what it wants done is data that it hands back, and the time is an argument.
pub trait Machine {
    /// Something that happened.
    type Input;
    /// Something to be done by whoever drives the machine.
    type Output;

    /// Takes one input that happened at `now` and appends what is to be done, in order, to `out`.
    ///
    /// Timers that `now` has passed are run first, so a late call cannot let an input slip past a time limit.
    fn handle(&mut self, input: Self::Input, now: Instant, out: &mut Vec<Self::Output>);

    /// When the machine wants to be called again though nothing may have happened.
    fn deadline(&self) -> Option<Instant>;
}

/// The inputs that a machine was given and when, counted from the first: enough to let a fault happen again.
#[derive(Clone, Debug)]
pub struct Recording<I> {
    steps: Vec<(Duration, I)>,
    start: Option<Instant>,
}

impl<I> Default for Recording<I> {
    fn default() -> Self {
        Self { steps: Vec::new(), start: None }
    }
}

impl<I: Clone> Recording<I> {
    /// Notes that `input` was handled at `now`.
    pub fn note(&mut self, input: &I, now: Instant) {
        let start = *self.start.get_or_insert(now);
        self.steps.push((now.saturating_duration_since(start), input.clone()));
    }

    /// Gives the inputs to `machine`, as if the first happened at `start`, and returns all that it put out.
    ///
    /// The machine must be made as the recorded one was, with the same seed for its random generator.
    pub fn replay<M: Machine<Input = I>>(&self, machine: &mut M, start: Instant) -> Vec<M::Output> {
        let mut out = Vec::new();
        for (after, input) in &self.steps {
            let now = start.checked_add(*after).unwrap_or(start);
            machine.handle(input.clone(), now, &mut out);
        }
        out
    }
}
