//! What the bare pipe speaks: frames behind their length. An empty one is answered by an empty one; one of eight bytes is
//! the number of a pair, which is answered when both are there. What comes after that is copied.

use crate::{
    connect::Tls,
    fault::Fault,
    wire::{End, Line, Protocol, Talker, put_frame, split_frame},
};

/// Speaks to the bare pipe.
pub(crate) struct Pipe(pub(crate) Tls);

impl Protocol for Pipe {
    type Talker = Frames;

    fn tls(&self) -> Tls {
        self.0
    }

    async fn log_in(&self, line: &mut Line, _user: u64) -> Result<(), Fault> {
        line.send_frame(&[]).await?;
        expect(&line.frame().await?, &[])
    }

    async fn log_off(&self, _line: &mut Line) -> Result<(), Fault> {
        Ok(())
    }

    async fn pair_up(&self, caller: End<'_>, callee: End<'_>) -> Result<(Frames, Frames), Fault> {
        let pair = caller.user.checked_div(2).unwrap_or_default().to_be_bytes();
        caller.line.send_frame(&pair).await?;
        callee.line.send_frame(&pair).await?;
        expect(&caller.line.frame().await?, &pair)?;
        expect(&callee.line.frame().await?, &pair)?;
        Ok((Frames, Frames))
    }
}

fn expect(got: &[u8], expected: &[u8]) -> Result<(), Fault> {
    if got == expected { Ok(()) } else { Err(Fault::Said(format!("{got:?}"))) }
}

/// A message is a frame.
pub(crate) struct Frames;

impl Talker for Frames {
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        put_frame(payload, out);
    }

    fn read(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
        _answers: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        let mut rest = bytes;
        while let Some((frame, after)) = split_frame(rest) {
            take(frame)?;
            rest = after;
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::read_in_pieces;

    #[test]
    fn a_message_is_a_frame() {
        let mut bytes = Vec::new();
        Frames.write(b"one", &mut bytes);
        Frames.write(b"two", &mut bytes);
        assert_eq!(bytes, b"\0\x03one\0\x03two");
        for piece in [1, 4, 100] {
            assert_eq!(read_in_pieces(&mut Frames, &bytes, piece).0, [b"one", b"two"]);
        }
    }
}
