use arbitrary::Unstructured;

/// The bytes of a fuzzer, taken for a list of things to do. There is one for each: bytes that are missing are zeros, so
/// every input says something, and a change in one place changes what is done there and little else.
pub(crate) struct Script<'a>(Unstructured<'a>);

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// One byte: 0 to `count` - 1.
    pub(crate) fn choice(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// One byte.
    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One byte.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.choice(from.len())]
    }

    /// Two bytes, the lower first.
    pub(crate) fn short(&mut self) -> usize {
        usize::from(self.0.arbitrary::<u16>().unwrap_or_default())
    }

    /// One byte, or nine of which the first is 255: small numbers, and all others too.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            255 => self.0.arbitrary().unwrap_or_default(),
            small => small.into(),
        }
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.0.bytes(self.0.len()).unwrap_or_default()
    }

    /// Two bytes for the length, and so many, or as many as there are.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = self.short().min(self.0.len());
        self.0.bytes(length).unwrap_or_default()
    }
}

/// Changes a copy of `bytes` in up to four places, as the script says.
pub(crate) fn edited(bytes: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=script.choice(4) {
        let (how, at) = (script.choice(5), script.short());
        let at = at.min(bytes.len().saturating_sub(1));
        match (how, bytes.get_mut(at)) {
            (0, Some(byte)) => *byte ^= script.byte(),
            (1, Some(byte)) => *byte = script.byte(),
            (2, _) => bytes.truncate(at),
            (3, Some(_)) => drop(bytes.remove(at)),
            _ => drop(bytes.splice(at..at, script.bytes().iter().copied())),
        }
    }
    bytes
}
