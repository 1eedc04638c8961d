use std::fmt;

use bytes::Bytes;
use openmls::group::MlsGroup;
use protocol::{ChatHeader, ChatId, Content, PROTOCOL_VERSION};

use crate::{
    Error, Member, Own, Part, Rng,
    live::{Live, Pair},
    provider::Vault,
};

/// One side of a sealed chat.
///
/// Any error is the end of it: the keys are wiped then and there, and every later call answers [`Error::Over`]. So a
/// chat that met something false cannot be talked into going on, and what state OpenMLS is left in does not matter.
/// (A frame that OpenMLS refuses changes nothing in it; one that it accepts and the checks here refuse has used up
/// its key.)
///
/// Secrets are zeroed when the chat is dropped. Copies that OpenMLS and its storage let go in between are for the
/// program's allocator to zero as it frees them.
pub struct Chat {
    chat: ChatId,
    pair: Pair,
    epoch: u64,
    /// Gone after the first error.
    live: Option<Live>,
}

/// What [`Chat::open`] found in a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// What the peer sealed.
    Content(Content),
    /// The peer renewed its keys; the epoch is a new one.
    Renewed,
}

impl Chat {
    /// Makes the group of `chat` and puts the accepter in it, if the key package is theirs.
    ///
    /// Returns the welcome to be sent to them, an `MLSMessage` (RFC 9420 sections 6 and 12.4.3.1).
    /// Checked: the package is signed with `accepter.key`, its credential is `accepter.user@accepter.server`, it has
    /// the one suite, no extensions, and the lifetime that all packages have.
    ///
    /// # Errors
    /// [`Error::Forged`] for a package whose signature does not hold, [`Error::WrongMember`] for somebody else's,
    /// [`Error::Breach`] for a genuine one that is not as it has to be.
    pub fn create(
        own: &Own,
        chat: ChatId,
        accepter: &Member,
        key_package: &[u8],
        rng: Rng<'_>,
    ) -> Result<(Self, Bytes), Error> {
        let pair = Pair::caller(own.clone(), accepter.clone())?;
        let (live, welcome) = Live::create(&pair, chat, key_package, rng)?;
        Ok((Self::new(chat, pair, live), welcome))
    }

    /// The chat that an invitation led to, its group checked.
    pub(crate) fn joined(chat: ChatId, pair: Pair, group: MlsGroup, vault: Vault) -> Self {
        Self::new(chat, pair, Live::new(group, vault))
    }

    /// Seals `content` for the peer, with `header` as authenticated data (RFC 9420 section 6.3).
    ///
    /// Returns an `MLSMessage` whose ciphertext is a multiple of [`PADDING`](protocol::limits::PADDING) bytes long: a
    /// receipt, a goodbye and a text of up to 169 bytes have the same length.
    ///
    /// # Errors
    /// [`Error::Misuse`] for another chat's header, [`Error::Local`], [`Error::Over`].
    pub fn seal(&mut self, header: &ChatHeader, content: &Content, rng: Rng<'_>) -> Result<Bytes, Error> {
        let aad = self.aad(header).ok_or(Error::Misuse);
        self.run(|live, pair| live.seal(pair, aad?, content, rng))
    }

    /// Renews one's own keys and those of the group (B2): at once on this side, and on the peer's once it opens the
    /// frame that this returns, a commit that is empty but for the update path (RFC 9420 section 12.4).
    ///
    /// The two must not do so at the same time: the other's commit would then not open. Frames that the peer sealed
    /// before it gets this one still open. A renewal is longer than a short message, and MLS leaves in clear that a
    /// frame is a commit; so whoever carries it can tell.
    ///
    /// # Errors
    /// As [`Chat::seal`].
    pub fn renew(&mut self, header: &ChatHeader, rng: Rng<'_>) -> Result<Bytes, Error> {
        let aad = self.aad(header).ok_or(Error::Misuse);
        self.run(|live, pair| live.renew(pair, aad?, rng))
    }

    /// Opens a frame of the peer's that came with `header`.
    ///
    /// Checked: the seal and the peer's signature, that the header is byte for byte the sealed one and this chat's,
    /// and that a renewal changes nothing but its sender's keys. Counters are the caller's to keep: frames must come
    /// in the order in which they were sealed, some receipts left out perhaps; one whose counter is below the expected one
    /// is to be dropped unopened, for its keys are gone.
    ///
    /// # Errors
    /// [`Error::culprit`] tells whose doing it is; whichever, the chat is over.
    pub fn open(&mut self, header: &ChatHeader, sealed: &[u8], rng: Rng<'_>) -> Result<Opened, Error> {
        let aad = self.aad(header).ok_or(Error::WrongChat(Part::Frame));
        self.run(|live, pair| live.open(pair, &aad?, sealed, rng))
    }

    /// How often the keys of this chat have changed: 1 at first, one more with each renewal of either side.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The other side, as checked when the chat began.
    pub fn peer(&self) -> &Member {
        self.pair.peer()
    }

    fn new(chat: ChatId, pair: Pair, live: Live) -> Self {
        Self { chat, pair, epoch: live.epoch(), live: Some(live) }
    }

    fn aad(&self, header: &ChatHeader) -> Option<Vec<u8>> {
        let fits = header.version == PROTOCOL_VERSION && header.chat == self.chat;
        if fits { header.aad().ok() } else { None }
    }

    /// The one way to the keys: an error on it destroys them.
    fn run<T>(&mut self, step: impl FnOnce(&mut Live, &Pair) -> Result<T, Error>) -> Result<T, Error> {
        let live = self.live.as_mut().ok_or(Error::Over)?;
        let result = step(live, &self.pair);
        self.epoch = live.epoch();
        if result.is_err() {
            self.live = None;
        }
        result
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat")
            .field("chat", &self.chat)
            .field("peer", self.peer())
            .field("epoch", &self.epoch)
            .field("over", &self.live.is_none())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use identity::UserKey;
    use protocol::Text;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

    use super::*;
    use crate::Invitation;

    const CHAT: ChatId = ChatId::from_bytes([7; 16]);
    const HEADER: ChatHeader = ChatHeader::new(CHAT, 0, 0);

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(1)
    }

    fn pair() -> [Chat; 2] {
        let own = |name: &str, key| {
            let key = Arc::new(UserKey::from_seed(&[key; 32]));
            Own::new(name.parse().unwrap(), "chat.example".parse().unwrap(), key)
        };
        let (alice, bob, mut rng) = (own("alice", 1), own("bob", 2), rng());
        let (invitation, package) = Invitation::new(&bob, &mut rng).unwrap();
        let (chat, welcome) = Chat::create(&alice, CHAT, bob.member(), &package, &mut rng).unwrap();
        [chat, invitation.join(CHAT, alice.member(), &welcome, &mut rng).unwrap()]
    }

    fn hello() -> Content {
        Content::Text(Text::try_from("hello".to_owned()).unwrap())
    }

    /// The keys of OpenMLS's storage, in order.
    fn stored(chat: &Chat) -> Vec<Vec<u8>> {
        let live = chat.live.as_ref().unwrap();
        let mut keys: Vec<_> = live.vault().storage().values.read().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn no_bit_of_a_frame_can_change_and_openmls_forgets_what_it_refused() {
        let [mut alice, mut bob] = pair();
        let mut rng = rng();
        let frames = [alice.seal(&HEADER, &hello(), &mut rng).unwrap(), alice.renew(&HEADER, &mut rng).unwrap()];
        for (frame, opened) in frames.iter().zip([Opened::Content(hello()), Opened::Renewed]) {
            // Past the wrapper that would end the chat at the first of them.
            let (live, aad) = (bob.live.as_mut().unwrap(), HEADER.aad().unwrap());
            let mut changed = frame.to_vec();
            for at in 0..frame.len() {
                for bit in 0..8 {
                    changed[at] ^= 1 << bit;
                    let result = live.open(&bob.pair, &aad, &changed, &mut rng);
                    assert!(result.is_err(), "bit {bit} of byte {at}: {result:?}");
                    changed[at] ^= 1 << bit;
                }
            }
            assert_eq!(bob.open(&HEADER, frame, &mut rng), Ok(opened));
        }
    }

    #[test]
    fn storage_keeps_nothing_of_what_is_over() {
        let [mut alice, mut bob] = pair();
        let mut rng = rng();
        assert!(!stored(&bob).iter().any(|key| key.starts_with(b"KeyPackage")), "the used package's private part");
        let mut counts = Vec::new();
        for _ in 0..10 {
            let text = alice.seal(&HEADER, &hello(), &mut rng).unwrap();
            bob.open(&HEADER, &text, &mut rng).unwrap();
            let renewal = alice.renew(&HEADER, &mut rng).unwrap();
            bob.open(&HEADER, &renewal, &mut rng).unwrap();
            let renewal = bob.renew(&HEADER, &mut rng).unwrap();
            alice.open(&HEADER, &renewal, &mut rng).unwrap();
            counts.push((stored(&alice).len(), stored(&bob).len()));
        }
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    }

    #[test]
    fn an_error_wipes_the_keys() {
        let [_, mut bob] = pair();
        assert!(bob.live.is_some());
        assert!(bob.open(&HEADER, b"", &mut rng()).is_err());
        assert!(bob.live.is_none());
    }
}
