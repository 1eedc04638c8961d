//! What a member with OpenMLS and no rules could make: genuine structures, changed within as a script says, with all
//! lengths right.

use tls_codec::{DeserializeBytes as _, Serialize, VLBytes};

use crate::{
    mls::{
        Body, Capabilities, Commit, Extension, GroupInfo, KeyPackage, Leaf, Message, Node, Private, Source, TAG, read,
    },
    script::{Script, edited},
};

/// A key package, a welcome or a private message with changes in it.
pub(crate) fn forged(genuine: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    let mut body = read(genuine);
    for _ in 0..=script.choice(3) {
        match &mut body {
            Body::KeyPackage(package) => change_package(package, script),
            Body::Welcome(welcome) => match script.choice(8) {
                0 => welcome.suite = number(script),
                1 => change(&mut welcome.secrets, script),
                _ => within(&mut welcome.group_info, script, change_group_info),
            },
            Body::Private(message) => change_private(message, script),
        }
    }
    let version = if script.choice(16) == 15 { number(script) } else { 1 };
    bytes(&Message { version, body })
}

fn change_package(package: &mut KeyPackage, script: &mut Script<'_>) {
    match script.choice(8) {
        0 => package.version = number(script),
        1 => package.suite = number(script),
        2 => change(&mut package.init_key, script),
        3 => change_extensions(&mut package.extensions, script),
        4 => change(&mut package.signature, script),
        _ => change_leaf(&mut package.leaf, script),
    }
}

fn change_leaf(leaf: &mut Leaf, script: &mut Script<'_>) {
    match script.choice(16) {
        0 | 1 => change(&mut leaf.encryption_key, script),
        2 => change(&mut leaf.signature_key, script),
        3 => leaf.credential = number(script),
        4 => leaf.identity = some_identity(script),
        5 => change(&mut leaf.identity, script),
        6..11 => {
            let Capabilities { versions, suites, extensions, proposals, credentials } = &mut leaf.capabilities;
            let list = match script.choice(5) {
                0 => versions,
                1 => suites,
                2 => extensions,
                3 => proposals,
                _ => credentials,
            };
            match script.choice(3) {
                0 => list.clear(),
                1 => list.push(number(script)),
                _ => list.insert(0, number(script)),
            }
        }
        11 => {
            leaf.source = match script.choice(3) {
                0 => Source::KeyPackage { not_before: script.number(), not_after: script.number() },
                1 => Source::Update,
                _ => Source::Commit { parent_hash: script.bytes().to_vec().into() },
            }
        }
        12 | 13 => change_extensions(&mut leaf.extensions, script),
        _ => change(&mut leaf.signature, script),
    }
}

fn change_extensions(extensions: &mut Vec<Extension>, script: &mut Script<'_>) {
    match script.choice(3) {
        0 => drop(extensions.pop()),
        1 => extensions.push(Extension { kind: number(script), data: VLBytes::new(Vec::new()) }),
        _ => extensions.push(Extension { kind: number(script), data: script.bytes().to_vec().into() }),
    }
}

fn change_group_info(info: &mut GroupInfo, script: &mut Script<'_>) {
    match script.choice(16) {
        0 => info.version = number(script),
        1 => info.suite = number(script),
        2 => change(&mut info.group, script),
        3 => info.epoch = script.number(),
        4 => change(&mut info.tree_hash, script),
        5 => change(&mut info.transcript_hash, script),
        6 => change_extensions(&mut info.context_extensions, script),
        7 => change_extensions(&mut info.extensions, script),
        8 => change(&mut info.confirmation_tag, script),
        9 => info.signer = u32::from(script.byte()),
        10 => change(&mut info.signature, script),
        _ => {
            if let Some(tree) = info.extensions.first_mut() {
                // What follows the tree is nothing.
                tree.data = [tree.data.as_slice(), &[0; TAG]].concat().into();
                within(&mut tree.data, script, change_tree);
                tree.data = tree.data.as_slice()[..tree.data.as_slice().len() - TAG].to_vec().into();
            }
        }
    }
}

fn change_tree(nodes: &mut Vec<Option<Node>>, script: &mut Script<'_>) {
    let at = script.choice(nodes.len().max(1));
    match script.choice(8) {
        0 => drop(nodes.pop()),
        1 => nodes.push(None),
        2 if at < nodes.len() => nodes[at] = None,
        3 => nodes.reverse(),
        _ => match nodes.get_mut(at) {
            Some(Some(Node::Leaf(leaf))) => change_leaf(leaf, script),
            Some(Some(Node::Parent(parent))) => match script.choice(3) {
                0 => change(&mut parent.encryption_key, script),
                1 => change(&mut parent.parent_hash, script),
                _ => parent.unmerged.push(u32::from(script.byte())),
            },
            _ => {}
        },
    }
}

fn change_private(message: &mut Private, script: &mut Script<'_>) {
    match script.choice(16) {
        0 => change(&mut message.group, script),
        1 => message.epoch = message.epoch.wrapping_add(script.number()),
        2 => message.content_type = script.byte(),
        3 => change(&mut message.authenticated, script),
        4 => change(&mut message.sender_data, script),
        5 | 6 => change(&mut message.ciphertext, script),
        7 | 8 => {
            // A proposal by itself, with a signature behind it.
            message.content_type = 2;
            let signature = VLBytes::from(vec![0; 64]);
            message.ciphertext = [proposal(script), bytes(&signature), vec![0; TAG]].concat().into();
        }
        _ if message.content_type == 3 => change_commit(&mut message.ciphertext, script),
        _ => change(&mut message.ciphertext, script),
    }
}

/// A commit is followed by padding.
fn change_commit(ciphertext: &mut VLBytes, script: &mut Script<'_>) {
    let Ok((mut commit, padding)) = Commit::tls_deserialize_bytes(ciphertext.as_slice()) else { return };
    match script.choice(8) {
        0 => commit.path = None,
        1 => change(&mut commit.signature, script),
        2 => change(&mut commit.confirmation_tag, script),
        3 | 4 => {
            // By value (section 12.4).
            let proposals = (0..=script.choice(2)).flat_map(|_| [vec![1], proposal(script)].concat());
            commit.proposals = proposals.collect::<Vec<_>>().into();
        }
        5 => change(&mut commit.proposals, script),
        _ => match &mut commit.path {
            Some(path) if script.flag() => change(&mut path.nodes, script),
            Some(path) => change_leaf(&mut path.leaf, script),
            None => {}
        },
    }
    let padding = padding.to_vec();
    *ciphertext = [bytes(&commit), padding].concat().into();
}

/// One of section 12.1's.
fn proposal(script: &mut Script<'_>) -> Vec<u8> {
    let kind = number(script);
    let mut proposal = bytes(&kind);
    match kind {
        // Add.
        1 => {
            let (_, package) = crate::pair::invitation();
            let Body::KeyPackage(mut package) = read(&package) else { unreachable!("it is one") };
            package.leaf.identity = some_identity(script);
            change_package(&mut package, script);
            proposal.extend(bytes(&package));
        }
        // Remove.
        3 => proposal.extend(u32::from(script.byte()).to_be_bytes()),
        // A pre-shared key: external, by its name, with a nonce.
        4 => {
            proposal.push(1);
            proposal.extend(bytes(&VLBytes::from(script.bytes().to_vec())));
            proposal.extend(bytes(&VLBytes::from(vec![0; 32])));
        }
        // Context extensions.
        7 => {
            let mut extensions = Vec::new();
            change_extensions(&mut extensions, script);
            proposal.extend(bytes(&extensions));
        }
        _ => proposal.extend_from_slice(script.bytes()),
    }
    proposal
}

fn some_identity(script: &mut Script<'_>) -> VLBytes {
    let names = ["alice@chat.example", "bob@chat.example", "eve@chat.example", "bob@chat.exampl", "alice", ""];
    script.pick(&names).as_bytes().to_vec().into()
}

/// Changes what is sealed, which lies before a tag.
fn within<T: Serialize + tls_codec::DeserializeBytes>(
    sealed: &mut VLBytes,
    script: &mut Script<'_>,
    change: impl FnOnce(&mut T, &mut Script<'_>),
) {
    let Some((plain, tag)) = sealed.as_slice().split_last_chunk::<TAG>() else { return };
    if let Ok(mut value) = T::tls_deserialize_exact_bytes(plain) {
        change(&mut value, script);
        *sealed = [bytes(&value).as_slice(), tag].concat().into();
    }
}

fn change(field: &mut VLBytes, script: &mut Script<'_>) {
    *field = edited(field.as_slice(), script).into();
}

/// Small, as a rule: almost all that MLS numbers is.
fn number(script: &mut Script<'_>) -> u16 {
    match script.byte() {
        255 => u16::try_from(script.short()).unwrap(),
        small => u16::from(small) % 16,
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    value.tls_serialize_detached().unwrap()
}
