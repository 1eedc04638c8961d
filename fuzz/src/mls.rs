//! The structures of MLS (RFC 9420) as the RFC writes them, apart from OpenMLS: to read what was accepted, and to make
//! what is not.

use e2e::Member;
use protocol::ChatId;
use tls_codec::{DeserializeBytes as _, TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};

pub(crate) const MLS10: u16 = 1;
/// `MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519`, by its provisional number.
pub(crate) const SUITE: u16 = 0x004d;
pub(crate) const RATCHET_TREE: u16 = 2;
pub(crate) const BASIC: u16 = 1;
/// Bytes behind what is sealed.
pub(crate) const TAG: usize = 16;

/// Section 6, of the kinds that are used.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Message {
    pub(crate) version: u16,
    pub(crate) body: Body,
}

#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[expect(clippy::large_enum_variant, reason = "there are few at a time")]
#[repr(u16)]
pub(crate) enum Body {
    #[tls_codec(discriminant = 2)]
    Private(Private),
    #[tls_codec(discriminant = 3)]
    Welcome(Welcome),
    #[tls_codec(discriminant = 5)]
    KeyPackage(KeyPackage),
}

/// Section 6.3.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Private {
    pub(crate) group: VLBytes,
    pub(crate) epoch: u64,
    pub(crate) content_type: u8,
    pub(crate) authenticated: VLBytes,
    pub(crate) sender_data: VLBytes,
    pub(crate) ciphertext: VLBytes,
}

/// Section 12.4, with section 6.1's `FramedContentAuthData` of a commit behind it.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Commit {
    pub(crate) proposals: VLBytes,
    pub(crate) path: Option<Path>,
    pub(crate) signature: VLBytes,
    pub(crate) confirmation_tag: VLBytes,
}

/// Section 7.6.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Path {
    pub(crate) leaf: Leaf,
    pub(crate) nodes: VLBytes,
}

/// Section 10.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct KeyPackage {
    pub(crate) version: u16,
    pub(crate) suite: u16,
    pub(crate) init_key: VLBytes,
    pub(crate) leaf: Leaf,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature: VLBytes,
}

/// Section 7.2.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Leaf {
    pub(crate) encryption_key: VLBytes,
    pub(crate) signature_key: VLBytes,
    pub(crate) credential: u16,
    pub(crate) identity: VLBytes,
    pub(crate) capabilities: Capabilities,
    pub(crate) source: Source,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature: VLBytes,
}

#[derive(Debug, PartialEq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Capabilities {
    pub(crate) versions: Vec<u16>,
    pub(crate) suites: Vec<u16>,
    pub(crate) extensions: Vec<u16>,
    pub(crate) proposals: Vec<u16>,
    pub(crate) credentials: Vec<u16>,
}

#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum Source {
    #[tls_codec(discriminant = 1)]
    KeyPackage { not_before: u64, not_after: u64 },
    #[tls_codec(discriminant = 2)]
    Update,
    #[tls_codec(discriminant = 3)]
    Commit { parent_hash: VLBytes },
}

#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Extension {
    pub(crate) kind: u16,
    pub(crate) data: VLBytes,
}

/// Section 12.4.3.1.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Welcome {
    pub(crate) suite: u16,
    pub(crate) secrets: VLBytes,
    pub(crate) group_info: VLBytes,
}

/// Section 12.4.3.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct GroupInfo {
    pub(crate) version: u16,
    pub(crate) suite: u16,
    pub(crate) group: VLBytes,
    pub(crate) epoch: u64,
    pub(crate) tree_hash: VLBytes,
    pub(crate) transcript_hash: VLBytes,
    pub(crate) context_extensions: Vec<Extension>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) confirmation_tag: VLBytes,
    pub(crate) signer: u32,
    pub(crate) signature: VLBytes,
}

/// Section 12.4.3.3: a tree's nodes from the left.
#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[expect(clippy::large_enum_variant, reason = "there are few at a time")]
#[repr(u8)]
pub(crate) enum Node {
    #[tls_codec(discriminant = 1)]
    Leaf(Leaf),
    #[tls_codec(discriminant = 2)]
    Parent(Parent),
}

#[derive(Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Parent {
    pub(crate) encryption_key: VLBytes,
    pub(crate) parent_hash: VLBytes,
    pub(crate) unmerged: Vec<u32>,
}

/// Says that a key package which was accepted is `owner`'s, and as docs/protocol.md has it.
pub(crate) fn is_a_package(bytes: &[u8], owner: &Member) {
    let Body::KeyPackage(package) = read(bytes) else { panic!("no key package was accepted") };
    assert_eq!((package.version, package.suite), (MLS10, SUITE));
    assert!(package.extensions.is_empty());
    package.leaf.is(owner);
    package.leaf.lives_forever();
}

/// Says that a welcome which was accepted is to a new group of the two, and as docs/protocol.md has it.
pub(crate) fn is_a_welcome(bytes: &[u8], chat: ChatId, [caller, accepter]: [&Member; 2]) {
    let Body::Welcome(welcome) = read(bytes) else { panic!("no welcome was accepted") };
    assert_eq!(welcome.suite, SUITE);
    let info = welcome.group_info.as_slice();
    let info = GroupInfo::tls_deserialize_exact_bytes(&info[..info.len() - TAG]).unwrap();
    assert_eq!((info.version, info.suite, info.epoch, info.signer), (MLS10, SUITE, 1, 0));
    assert_eq!(info.group.as_slice(), chat.as_bytes());
    assert!(info.context_extensions.is_empty());
    let [tree] = info.extensions.as_slice() else { panic!("extensions of a group") };
    assert_eq!(tree.kind, RATCHET_TREE);
    let nodes = Vec::<Option<Node>>::tls_deserialize_exact_bytes(tree.data.as_slice()).unwrap();
    let [Some(Node::Leaf(first)), parent, Some(Node::Leaf(second))] = nodes.as_slice() else {
        panic!("a tree that is not of two leaves")
    };
    assert!(matches!(parent, None | Some(Node::Parent(_))));
    first.is(caller);
    // The rest of one's own leaf is as one made it: its signature is one's own.
    second.names(accepter);
}

/// Says that a renewal which was accepted renews the keys of `sender` and does nothing else.
pub(crate) fn is_a_renewal(bytes: &[u8], chat: ChatId, epoch: u64, sender: &Member) {
    let Body::Private(message) = read(bytes) else { panic!("no private message was accepted") };
    assert_eq!((message.group.as_slice(), message.epoch), (chat.as_bytes().as_slice(), epoch));
    assert_eq!(message.content_type, 3, "a commit");
    let (commit, _) = Commit::tls_deserialize_bytes(message.ciphertext.as_slice()).unwrap();
    assert!(commit.proposals.as_slice().is_empty(), "a renewal that proposes something");
    let leaf = commit.path.expect("a renewal without new keys").leaf;
    leaf.is(sender);
    assert!(matches!(leaf.source, Source::Commit { .. }));
}

/// The authenticated data of a frame that was accepted.
pub(crate) fn authenticated_data(bytes: &[u8]) -> Vec<u8> {
    let Body::Private(message) = read(bytes) else { panic!("no private message was accepted") };
    message.authenticated.as_slice().to_vec()
}

impl Leaf {
    #[track_caller]
    fn names(&self, member: &Member) {
        assert_eq!(self.signature_key.as_slice(), member.key.as_bytes());
        assert_eq!(self.credential, BASIC);
        assert_eq!(self.identity.as_slice(), format!("{}@{}", member.user, member.server).as_bytes());
    }

    #[track_caller]
    fn is(&self, member: &Member) {
        self.names(member);
        let one = |number| vec![number];
        let known = Capabilities {
            versions: one(MLS10),
            suites: one(SUITE),
            extensions: Vec::new(),
            proposals: Vec::new(),
            credentials: one(BASIC),
        };
        assert_eq!(self.capabilities, known);
        assert!(self.extensions.is_empty());
        assert_eq!(self.encryption_key.as_slice().len(), 1216, "a key of X-Wing");
    }

    #[track_caller]
    fn lives_forever(&self) {
        assert!(matches!(self.source, Source::KeyPackage { not_before: 0, not_after: u64::MAX }));
    }
}

pub(crate) fn read(bytes: &[u8]) -> Body {
    let message = Message::tls_deserialize_exact_bytes(bytes).expect("accepted, and no message of MLS");
    assert_eq!(message.version, MLS10);
    message.body
}
