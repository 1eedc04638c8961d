"""What is run, and what has to come of it.

A run is a model (a file beside this one), edits of its text, and the verdict on each of its queries, in Verifpal's own
code: a letter for the kind of query, then 0 for "no attack found" or 1 for "attack found". An edit fits exactly one
place of the model, or the run fails.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Run:
    # The protocol, or the protocol against a stronger attacker: no attack on anything.
    HOLDS = "holds"
    # The protocol, against an attacker whom it does not withstand, as SECURITY.md says.
    BY_DESIGN = "by design"
    # A protocol that lacks something: shows that the model would notice.
    WEAKENED = "weakened"

    kind: str
    model: str
    name: str
    edits: tuple
    sessions: int
    expect: str

    def verdict(self, number):
        """Whether an attack on this query, counted from 0, is expected."""
        return self.expect[2 * number + 1] == "1"


def drop(text):
    return (text, "")


def at_the_end(text):
    return ("queries[", f"{text}\nqueries[")


def runs(model, *rows):
    return [Run(kind, model, name, tuple(edits), sessions, expect) for kind, name, edits, sessions, expect in rows]


HOLDS, BY_DESIGN, WEAKENED = Run.HOLDS, Run.BY_DESIGN, Run.WEAKENED

# Login ----------------------------------------------------------------------------------------------------------------

LOGIN_KEYS_LATER = at_the_end(
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
# A recording of the line, and of nothing else; a quantum computer comes years later.
RECORDED = ("attacker[active]", "attacker[passive]")
# The attacker has a certificate of the same authority for another host, and alice has logged in there.
ANOTHER_SERVER = (
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

// ClientHello:""",
)
STATIC_SERVER = ("generates server_random, server_x, coins", "knows private server_random, server_x, coins")
STATIC_CLIENT = ("generates client_random, client_x, client_k", "knows private client_random, client_x, client_k")

LOGIN = runs(
    "login",
    (HOLDS, "as specified", [], 2, "c0c0a0a0f0f0"),
    (
        HOLDS,
        "the attacker has a certificate for another host, and alice has logged in there",
        [ANOTHER_SERVER],
        1,
        "c0c0a0a0f0f0",
    ),
    (HOLDS, "all long-term keys are stolen later", [LOGIN_KEYS_LATER], 1, "c0c0a0a0f0f0"),
    (HOLDS, "it is recorded; all long-term keys are stolen and X25519 is broken later", [RECORDED, LOGIN_KEYS_LATER, *X25519_LATER], 1, "c0c0a0a0f0f0"),
    (HOLDS, "it is recorded; all long-term keys are stolen and ML-KEM is broken later", [RECORDED, LOGIN_KEYS_LATER, *ML_KEM_LATER], 1, "c0c0a0a0f0f0"),
    (
        BY_DESIGN,
        "alice's key is stolen before: the thief is alice to the server, but not the server to alice",
        [("	alice_pub = PUBKEY(alice_key)", "	alice_pub = PUBKEY(alice_key)\n	leaks alice_key")],
        1,
        "c0c1a1a0f0f0",
    ),
    (WEAKENED, "it is recorded; X25519 and ML-KEM are both broken later", [RECORDED, LOGIN_KEYS_LATER, *X25519_LATER, *ML_KEM_LATER], 1, "c1c1a0a0f0f0"),
    (
        WEAKENED,
        "the client's key shares are long-term keys, stolen later",
        [STATIC_CLIENT, at_the_end("phase[1]\nprincipal Alice[leaks client_x, client_k]")],
        1,
        "c1c1a0a0f0f0",
    ),
    (
        WEAKENED,
        "the client does not check who certified the server's key",
        [drop("	_ = SIGNVERIF(ca, CONCAT(host, server_pub), certificate)?\n")],
        1,
        "c1c0a0a1f0f0",
    ),
    (
        WEAKENED,
        "certificates do not name the host",
        [
            ANOTHER_SERVER,
            ("SIGN(ca_key, CONCAT(mallory_host, mallory_pub))", "SIGN(ca_key, mallory_pub)"),
            ("SIGN(ca_key, CONCAT(host, server_pub))", "SIGN(ca_key, server_pub)"),
            ("SIGNVERIF(ca, CONCAT(host, server_pub), certificate)", "SIGNVERIF(ca, server_pub, certificate)"),
        ],
        1,
        "c1c0a0a1f0f0",
    ),
    (
        WEAKENED,
        "the server signs no transcript",
        [
            ("CONCAT(label_server, hello_s, server_pub, certificate)", "CONCAT(label_server, server_pub, certificate)"),
            ("CONCAT(label_server, hello_c, server_pub, certificate)", "CONCAT(label_server, server_pub, certificate)"),
        ],
        1,
        "c1c0a0a1f0f0",
    ),
    (
        WEAKENED,
        "the client signs no transcript",
        [
            ANOTHER_SERVER,
            ("CONCAT(label_client, mallory_hello, alice_pub)", "CONCAT(label_client, alice_pub)"),
            ("CONCAT(label_client, hello_c, alice_pub)", "CONCAT(label_client, alice_pub)"),
            ("CONCAT(label_client, hello_s, key_s)", "CONCAT(label_client, key_s)"),
        ],
        1,
        "c0c1a1a0f0f0",
    ),
    (
        WEAKENED,
        "the server does not have the client prove its key",
        [drop("	_ = SIGNVERIF(key_s, CONCAT(label_client, hello_s, key_s), verify_s)?\n")],
        1,
        "c0c1a1a0f0f0",
    ),
    (
        WEAKENED,
        "the server does not ask the directory whose key it is",
        [drop("	_ = ASSERT(key_s, alice_pub)?\n")],
        1,
        "c0c1a1a0f0f0",
    ),
    (WEAKENED, "nonces and key shares are always the same", [STATIC_SERVER, STATIC_CLIENT], 2, "c1c1a1a1f1f1"),
)

# Renewal --------------------------------------------------------------------------------------------------------------

STOLEN_KEY = ("leaks epoch_secret, leaf_a", "leaks alice_key, epoch_secret, leaf_a")
WATCHING = ("attacker[active]", "attacker[passive]")
NO_COMMIT_SIGNATURE_A = drop("	_ = SIGNVERIF(alice_pub, HASH(label_content, head_commit_a, update_a_b), commit_sig_a_b)?\n")
NO_COMMIT_SIGNATURE_B = drop("	_ = SIGNVERIF(bob_pub, HASH(label_content, head_commit_b, update_b_a), commit_sig_b_a)?\n")

RENEWAL = runs(
    "renewal",
    (HOLDS, "as specified", [], 2, "c0a0a0f0"),
    (HOLDS, "alice's long-term key is stolen too, by somebody who only watches", [STOLEN_KEY, WATCHING], 2, "c0a0a0f0"),
    (
        BY_DESIGN,
        "the same, with a word from before any renewal",
        [STOLEN_KEY, WATCHING, ("confidentiality? text_2", "confidentiality? text_0")],
        2,
        "c1a0a0f0",
    ),
    (
        BY_DESIGN,
        "the same, with a word from when only the other side has renewed",
        [STOLEN_KEY, WATCHING, ("confidentiality? text_2", "confidentiality? text_1")],
        2,
        "c1a0a0f0",
    ),
    (
        BY_DESIGN,
        "alice's long-term key is stolen too, by somebody who has the line: the thief is alice to bob",
        [STOLEN_KEY],
        1,
        "c0a1a1f0",
    ),
    (WEAKENED, "renewals are not signed", [NO_COMMIT_SIGNATURE_A, NO_COMMIT_SIGNATURE_B], 1, "c1a1a1f0"),
    (
        WEAKENED,
        "a renewal brings no new secret into the epoch",
        [
            WATCHING,
            ("epoch_2_a = HASH(init_1, path_a, update_a)", "epoch_2_a = HASH(init_1, update_a)"),
            ("epoch_2_b = HASH(init_1_b, path_a_b, update_a_b)", "epoch_2_b = HASH(init_1_b, update_a_b)"),
        ],
        1,
        "c1a0a0f0",
    ),
    (
        WEAKENED,
        "all that both sides draw is always the same",
        [
            ("generates leaf_b\n", "knows private leaf_b\n"),
            ("generates leaf_a\n", "knows private leaf_a\n"),
            ("generates leaf_b1, path_b, coins_b", "knows private leaf_b1, path_b, coins_b"),
            ("generates leaf_a1, path_a, coins_a", "knows private leaf_a1, path_a, coins_a"),
        ],
        1,
        "c0a0a0f1",
    ),
)

RUNS = LOGIN + RENEWAL
