"""What is run, and what has to come of it.

A run is a model (a file beside this one), edits of its text, the queries on which an attack has to be found, and those on
which none may be found. Others are not asked. A query is called by its last word. An edit fits exactly one place of the
model, or the run fails.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Run:
    kind: str
    model: str
    name: str
    edits: tuple
    # Of everybody, at the same time. Two show replays from one into the other, and cost much.
    sessions: int
    breaks: tuple
    # Empty: all that are not among those above.
    still: tuple
    all_asked: bool


HOLDS, BY_DESIGN, WEAKENED = "holds", "by design", "weakened"
RUNS = []
MODEL = None


def model(name):
    """The model of the runs that follow."""
    global MODEL
    MODEL = name


def holds(name, *edits, sessions=1):
    """The protocol, or the protocol against a stronger attacker. All queries are asked, and hold."""
    RUNS.append(Run(HOLDS, MODEL, name, edits, sessions, (), (), True))


def by_design(name, *edits, breaks, still="", sessions=1):
    """The protocol, against an attacker whom it does not withstand, as SECURITY.md says."""
    RUNS.append(Run(BY_DESIGN, MODEL, name, edits, sessions, tuple(breaks.split()), tuple(still.split()), False))


def weakened(name, *edits, breaks, sessions=1):
    """A protocol that lacks something: shows that the model notices."""
    RUNS.append(Run(WEAKENED, MODEL, name, edits, sessions, tuple(breaks.split()), (), False))


def drop(line):
    return (f"\t{line}\n", "")


def before(line, text):
    return (line, f"{text}\n{line}")


def at_the_end(text):
    return before("queries[", text)


# A recording of the line, and nothing else; a quantum computer comes years later.
RECORDED = ("attacker[active]", "attacker[passive]")

# Log-in ---------------------------------------------------------------------------------------------------------------

model("login")

KEYS_LATER = at_the_end(
    "phase[1]\nprincipal Authority[leaks ca_key]\nprincipal Server[leaks server_key]\nprincipal Alice[leaks alice_key]"
)
X25519_LATER = [
    ("PUBKEY(client_x)", "PUBKEY[weak from phase 1](client_x)"),
    ("PUBKEY(server_x)", "PUBKEY[weak from phase 1](server_x)"),
]
ML_KEM_LATER = [
    ("PUBKEY(client_k)", "PUBKEY[weak from phase 1](client_k)"),
    ("KEM_ENCAP(client_k_pub", "KEM_ENCAP[weak from phase 1](client_k_pub"),
]
# The attacker has a certificate of the same authority for another host, and alice has logged in there.
ANOTHER_HOST = before(
    "// ClientHello:",
    """principal Authority[
	knows public mallory_host
	generates mallory_key
	leaks mallory_key
	mallory_pub = PUBKEY(mallory_key)
	mallory_certificate = SIGN(ca_key, CONCAT(mallory_host, mallory_pub))
	leaks mallory_certificate
]
principal Alice[
	knows public mallory_hello
	mallory_verify = SIGN(alice_key, CONCAT(label_client, mallory_hello, alice_pub))
	leaks mallory_verify
]
""",
)
STATIC_SERVER = ("generates server_random, server_x, coins", "knows private server_random, server_x, coins")
STATIC_CLIENT = ("generates client_random, client_x, client_k", "knows private client_random, client_x, client_k")

holds("as specified", sessions=2)
holds("the attacker has a certificate for another host, and alice has logged in there", ANOTHER_HOST)
holds("all long-term keys are stolen later", KEYS_LATER)
holds("it is recorded; all long-term keys are stolen and X25519 is broken later", RECORDED, KEYS_LATER, *X25519_LATER)
holds("it is recorded; all long-term keys are stolen and ML-KEM is broken later", RECORDED, KEYS_LATER, *ML_KEM_LATER)
by_design(
    "alice's key is stolen before: the thief is alice to the server, but not the server to alice",
    ("	alice_pub = PUBKEY(alice_key)", "	alice_pub = PUBKEY(alice_key)\n	leaks alice_key"),
    breaks="online login",
    still="user list",
)
weakened(
    "it is recorded; X25519 and ML-KEM are both broken later",
    RECORDED,
    KEYS_LATER,
    *X25519_LATER,
    *ML_KEM_LATER,
    breaks="user online",
)
weakened(
    "the client's key shares are long-term keys, stolen later",
    STATIC_CLIENT,
    at_the_end("phase[1]\nprincipal Alice[leaks client_x, client_k]"),
    breaks="user online",
)
weakened(
    "the client does not check who certified the server's key",
    drop("_ = SIGNVERIF(ca, CONCAT(host, server_pub), certificate)?"),
    breaks="user list",
)
weakened(
    "certificates do not name the host",
    ANOTHER_HOST,
    ("SIGN(ca_key, CONCAT(mallory_host, mallory_pub))", "SIGN(ca_key, mallory_pub)"),
    ("SIGN(ca_key, CONCAT(host, server_pub))", "SIGN(ca_key, server_pub)"),
    ("SIGNVERIF(ca, CONCAT(host, server_pub), certificate)", "SIGNVERIF(ca, server_pub, certificate)"),
    breaks="user list",
)
weakened(
    "the server does not sign the handshake",
    ("CONCAT(label_server, hello_s, server_pub, certificate)", "CONCAT(label_server, server_pub, certificate)"),
    ("CONCAT(label_server, hello_c, server_pub, certificate)", "CONCAT(label_server, server_pub, certificate)"),
    breaks="user list",
)
weakened(
    "the client does not sign the handshake",
    ANOTHER_HOST,
    ("CONCAT(label_client, mallory_hello, alice_pub)", "CONCAT(label_client, alice_pub)"),
    ("CONCAT(label_client, hello_c, alice_pub)", "CONCAT(label_client, alice_pub)"),
    ("CONCAT(label_client, hello_s, key_s)", "CONCAT(label_client, key_s)"),
    breaks="online login",
)
weakened(
    "the server does not have the client prove its key",
    drop("_ = SIGNVERIF(key_s, CONCAT(label_client, hello_s, key_s), verify_s)?"),
    breaks="online login",
)
weakened(
    "the server does not ask the directory whose key it is",
    drop("_ = ASSERT(key_s, alice_pub)?"),
    breaks="online login",
)
weakened(
    "nonces and key shares are always the same",
    STATIC_SERVER,
    STATIC_CLIENT,
    sessions=2,
    breaks="user online login list app_client_s app_client_c",
)

# The start of a chat --------------------------------------------------------------------------------------------------

model("session")

KEYS_LATER = at_the_end(
    "phase[1]\nprincipal Alice[leaks alice_key, after_a1_a, after_b1_a]\n"
    "principal Bob[leaks bob_key, leaf_b, after_a1_b, after_b1_b]"
)
# X-Wing taken apart, to break one half and then the other.
X_WING = [
    ("generates init, leaf_b", "generates init, init_x, leaf_b"),
    ("	init_pub = PUBKEY(init)", "	init_pub = PUBKEY(init)\n	init_x_pub = PUBKEY(init_x)"),
    ("SIGN(bob_key, HASH(label_package, bob, init_pub,", "SIGN(bob_key, HASH(label_package, bob, init_pub, init_x_pub,"),
    ("Bob -> Alice: init_pub,", "Bob -> Alice: init_pub, init_x_pub,"),
    ("(bob_pub, HASH(label_package, bob, init_pub,", "(bob_pub, HASH(label_package, bob, init_pub, init_x_pub,"),
    ("generates joiner_a, coins", "generates joiner_a, coins, coins_x"),
    (
        "	x_wing_a, encapsulated = KEM_ENCAP(init_pub, coins)",
        "	ml_kem_a, encapsulated = KEM_ENCAP(init_pub, coins)\n	coins_x_pub = PUBKEY(coins_x)\n"
        "	x_wing_a = HASH(ml_kem_a, DH_KEX(init_x_pub, coins_x), coins_x_pub, init_x_pub)",
    ),
    ("Alice -> Bob: info_sig, encapsulated,", "Alice -> Bob: info_sig, encapsulated, coins_x_pub,"),
    (
        "	x_wing_b = KEM_DECAP(init, encapsulated)?",
        "	ml_kem_b = KEM_DECAP(init, encapsulated)?\n"
        "	x_wing_b = HASH(ml_kem_b, DH_KEX(coins_x_pub, init_x), coins_x_pub, init_x_pub)",
    ),
]
X25519_LATER = [
    ("PUBKEY(init_x)", "PUBKEY[weak from phase 1](init_x)"),
    ("PUBKEY(coins_x)", "PUBKEY[weak from phase 1](coins_x)"),
]
ML_KEM_LATER = [
    ("PUBKEY(init)", "PUBKEY[weak from phase 1](init)"),
    ("KEM_ENCAP(init_pub", "KEM_ENCAP[weak from phase 1](init_pub"),
]
# Alice is in a chat with mallory too, whose client is the attacker's: the welcome that she signs for that chat.
CALLS_MALLORY = [
    before(
        "// RequestToTalk:",
        """principal Elsewhere[
	generates chat_e, mallory_key
	leaks chat_e, mallory_key
	mallory_pub = PUBKEY(mallory_key)
]
principal Mallory[
	generates leaf_m
	leaf_m_pub = PUBKEY(leaf_m)
]
Mallory -> Elsewhere: leaf_m_pub
""",
    ),
    before(
        "// Accept:",
        """principal Elsewhere[
	knows private alice_key
	knows public alice, mallory, label_info
	generates joiner_e
	context_e = HASH(chat_e, CONCAT(alice, PUBKEY(alice_key)), CONCAT(mallory, mallory_pub, leaf_m_pub))
	_, _, confirm_e = HKDF(joiner_e, nil, context_e)
	info_sig_e = SIGN(alice_key, HASH(label_info, context_e, confirm_e))
	leaks joiner_e, info_sig_e
]
""",
    ),
]
LYING_SERVER = [
    ("Server -> Alice: [bob_pub]", "Server -> Alice: bob_pub"),
    ("Server -> Bob: [alice_pub]", "Server -> Bob: alice_pub"),
]
NO_PACKAGE_SIGNATURE = drop(
    "_ = SIGNVERIF(bob_pub, HASH(label_package, bob, init_pub, leaf_b_pub), package_sig)?"
)
NO_WELCOME_SIGNATURE = drop("_ = SIGNVERIF(alice_pub, HASH(label_info, context_b, confirm_b), info_sig)?")
NO_SIGNATURES_OF_BOBS = [
    drop("_ = SIGNVERIF(bob_pub, HASH(label_content, context_a, head_b0, kind_b0), receipt_sig)?"),
    drop("_ = SIGNVERIF(bob_pub, HASH(label_content, context_a, head_b1, said_b), text_sig_b)?"),
]
NO_SIGNATURES_OF_ALICES = [
    drop("_ = SIGNVERIF(alice_pub, HASH(label_content, context_b, head_a0, said_a0), text_sig_a0)?"),
    drop("_ = SIGNVERIF(alice_pub, HASH(label_content, context_b, head_a1, said_a1), text_sig_a1)?"),
]
STATIC_PACKAGE = ("generates init, leaf_b", "knows private init, leaf_b")
STATIC_CHAT = ("generates chat", "knows private chat")

holds("as specified", sessions=2)
holds("alice is in a chat with mallory too, who is the attacker", *CALLS_MALLORY)
holds("both long-term keys, and all that is left of the chat's, are stolen later", KEYS_LATER)
holds("it is recorded; all that is stolen and X25519 is broken later", RECORDED, *X_WING, KEYS_LATER, *X25519_LATER)
holds("it is recorded; all that is stolen and ML-KEM is broken later", RECORDED, *X_WING, KEYS_LATER, *ML_KEM_LATER)
holds(
    "the server lies, and both have pinned each other's key",
    *LYING_SERVER,
    ("	alice_pub = PUBKEY(alice_key)\n]", "	alice_pub = PUBKEY(alice_key)\n	alice_pin = PUBKEY(alice_key)\n]"),
    ("	bob_pub = PUBKEY(bob_key)\n]", "	bob_pub = PUBKEY(bob_key)\n	bob_pin = PUBKEY(bob_key)\n]"),
    ("principal Server[]", "principal Server[]\nAlice -> Bob: [alice_pin]\nBob -> Alice: [bob_pin]"),
    before("	_ = SIGNVERIF(bob_pub, HASH(label_package", "	_ = ASSERT(bob_pub, bob_pin)?"),
    before("	x_wing_b = KEM_DECAP", "	_ = ASSERT(alice_pub, alice_pin)?"),
)
COMPARED = [
    (
        "Server -> Alice: bob_pub",
        """Server -> Alice: bob_pub
Server -> Bob: alice_pub
principal Alice[number_a = HASH(alice_pub, bob_pub)]
principal Bob[number_b = HASH(alice_pub, bob_pub)]
Alice -> Bob: [number_a]
Bob -> Alice: [number_b]
principal Alice[_ = ASSERT(number_a, number_b)?]
principal Bob[_ = ASSERT(number_a, number_b)?]""",
    ),
    ("encapsulated, secrets\nServer -> Bob: alice_pub\n", "encapsulated, secrets\n"),
]
holds("the server lies, and safety numbers are compared before a word is said", *LYING_SERVER, *COMPARED)
by_design(
    "the server lies to the caller, who has not talked to the accepter before and compares no safety numbers",
    LYING_SERVER[0],
    breaks="text_a0",
)
by_design(
    "the server lies to the accepter, who has not talked to the caller before and compares no safety numbers",
    LYING_SERVER[1],
    breaks="text_b",
)
by_design(
    "alice's key is stolen before: the thief is alice to bob, but not bob to alice",
    ("	alice_pub = PUBKEY(alice_key)\n", "	alice_pub = PUBKEY(alice_key)\n	leaks alice_key\n"),
    breaks="text_b secrets sealed_a0",
    still="text_a0 receipt sealed_b",
)
weakened(
    "it is recorded; X25519 and ML-KEM are both broken later",
    RECORDED,
    *X_WING,
    KEYS_LATER,
    *X25519_LATER,
    *ML_KEM_LATER,
    breaks="text_a0 text_b",
)
weakened(
    "the accepter's init key is kept, and stolen later",
    at_the_end("phase[1]\nprincipal Bob[leaks init]"),
    breaks="text_a0 text_b",
)
weakened(
    "keys of messages are kept, and stolen later",
    at_the_end("phase[1]\nprincipal Bob[leaks key_a0_b, key_b1_b]"),
    breaks="text_a0 text_b",
)
weakened("the caller does not check the package's signature", NO_PACKAGE_SIGNATURE, breaks="receipt")
weakened(
    "the caller checks no signature",
    NO_PACKAGE_SIGNATURE,
    *NO_SIGNATURES_OF_BOBS,
    breaks="text_a0 receipt sealed_b",
)
weakened("the accepter does not check the welcome's signature", NO_WELCOME_SIGNATURE, breaks="text_b")
weakened(
    "the accepter checks no signature",
    NO_WELCOME_SIGNATURE,
    *NO_SIGNATURES_OF_ALICES,
    breaks="text_b secrets sealed_a0 sealed_a1",
)
weakened(
    "the welcome's signature does not cover the group's secret",
    ("HASH(label_info, context_a, confirm_a)", "HASH(label_info, context_a)"),
    ("HASH(label_info, context_b, confirm_b)", "HASH(label_info, context_b)"),
    breaks="text_b",
)
weakened(
    "the group's context does not name its members",
    *CALLS_MALLORY,
    ("context_a = HASH(chat, CONCAT(alice, alice_pub), CONCAT(bob, bob_pub, leaf_b_pub))", "context_a = HASH(chat)"),
    ("context_b = HASH(chat, CONCAT(alice, alice_pub), CONCAT(bob, bob_pub, leaf_b_pub))", "context_b = HASH(chat)"),
    (
        "HASH(chat_e, CONCAT(alice, PUBKEY(alice_key)), CONCAT(mallory, mallory_pub, leaf_m_pub))",
        "HASH(chat_e)\n	_ = HASH(mallory_pub, leaf_m_pub)",
    ),
    breaks="text_b",
)
weakened(
    "a key package is used again and again, in a chat of the same id",
    STATIC_PACKAGE,
    STATIC_CHAT,
    sessions=2,
    breaks="secrets sealed_a0 sealed_a1",
)
weakened(
    "two messages have one key and no counter",
    ("AEAD_ENC(key_a1_a, seq_0, text_a1, head_a1)", "AEAD_ENC(key_a0_a, seq_0, text_a1, head_a0)"),
    ("AEAD_DEC(key_a1_b, seq_0, sealed_a1, head_a1)", "AEAD_DEC(key_a0_b, seq_0, sealed_a1, head_a0)"),
    ("HASH(label_content, context_a, head_a1, text_a1)", "HASH(label_content, context_a, head_a0, text_a1)"),
    ("HASH(label_content, context_b, head_a1, said_a1)", "HASH(label_content, context_b, head_a0, said_a1)"),
    breaks="text_a0 sealed_a1",
)
weakened(
    "all that both sides draw is always the same",
    STATIC_PACKAGE,
    STATIC_CHAT,
    ("generates joiner_a, coins", "knows private joiner_a, coins"),
    breaks="ratchet_a_a ratchet_b_b",
)

# Renewals -------------------------------------------------------------------------------------------------------------

model("renewal")

STOLEN_KEY = ("leaks epoch_secret, leaf_a", "leaks alice_key, epoch_secret, leaf_a")
WATCHING = ("attacker[active]", "attacker[passive]")

holds("as specified", sessions=2)
holds("alice's long-term key is stolen too, by somebody who only watches", STOLEN_KEY, WATCHING, sessions=2)
by_design(
    "the same, and a word from before any renewal",
    STOLEN_KEY,
    WATCHING,
    ("confidentiality? text_2", "confidentiality? text_0"),
    breaks="text_0",
)
by_design(
    "the same, and a word from when only the other side has renewed",
    STOLEN_KEY,
    WATCHING,
    ("confidentiality? text_2", "confidentiality? text_1"),
    breaks="text_1",
)
by_design(
    "alice's long-term key is stolen too, by somebody who has the line: the thief is alice to bob",
    STOLEN_KEY,
    breaks="commit_a sealed_2",
)
weakened(
    "renewals are not signed",
    drop("_ = SIGNVERIF(alice_pub, HASH(label_content, head_commit_a, update_a_b), commit_sig_a_b)?"),
    drop("_ = SIGNVERIF(bob_pub, HASH(label_content, head_commit_b, update_b_a), commit_sig_b_a)?"),
    breaks="text_2 commit_a sealed_2",
)
weakened(
    "a renewal brings no new secret into the epoch",
    WATCHING,
    ("epoch_2_a = HASH(init_1, path_a, update_a)", "epoch_2_a = HASH(init_1, update_a)"),
    ("epoch_2_b = HASH(init_1_b, path_a_b, update_a_b)", "epoch_2_b = HASH(init_1_b, update_a_b)"),
    breaks="text_2",
)
weakened(
    "all that both sides draw is always the same",
    ("generates leaf_b\n", "knows private leaf_b\n"),
    ("generates leaf_a\n", "knows private leaf_a\n"),
    ("generates leaf_b1, path_b, coins_b", "knows private leaf_b1, path_b, coins_b"),
    ("generates leaf_a1, path_a, coins_a", "knows private leaf_a1, path_a, coins_a"),
    breaks="key_2_b",
)
