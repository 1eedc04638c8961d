#!/usr/bin/env python3
"""Decodes docs/vectors/frames.json and nodes.json by what docs/protocol.md says, and by nothing else.

Shares no code with the program, so that the two agree only where the document is right. Prints how many vectors
agree; names those that do not, and exits 1, if there are any. Needs Python 3.11 and its standard library.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

VECTORS = Path(__file__).resolve().parent.parent / "docs" / "vectors"


class Refused(Exception):
    """The bytes are none that the protocol has; the text is the vector's `because`."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Refused("short")
        self.at += count
        return self.data[self.at - count : self.at]

    def uint(self, size):
        return int.from_bytes(self.take(size), "big")

    def vector(self, prefix, least, most):
        data = self.take(self.uint(prefix))
        return data if least <= len(data) <= most else refuse("length")

    def one_of(self, names):
        return names.get(self.uint(1)) or refuse("unknown")

    def end(self):
        return self.at == len(self.data) or refuse("long")


def refuse(because):
    raise Refused(because)


def name(pattern, least, most):
    def read(reader):
        data = reader.vector(1, least, most)
        return data.decode() if re.fullmatch(pattern, data) else refuse("name")

    return read


def names(reader):
    inner, found = Reader(reader.vector(2, 0, 65535)), []
    while inner.at < len(inner.data):
        found.append(user(inner))
    return found if len(found) <= 500 else refuse("length")


def text(reader):
    try:
        return reader.vector(2, 1, 16384).decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Refused("text") from None


def flag(reader):
    return {0: False, 1: True}[value] if (value := reader.uint(1)) < 2 else refuse("flag")


def held(reader):
    return {field: read(reader) for field, read in {"peer": user, **RESUME}.items()} if flag(reader) else None


def attempt(reader):
    return {field: read(reader) for field, read in ATTEMPT.items()}


def asked(reader):
    what = reader.one_of(ASKED)
    return {"what": what, "chat": chat(reader)} if what == "RequestToTalk" else {"what": what}


ASKED = {1: "List", 2: "RequestToTalk"}
CLOSE_REASONS = {0: "Left", 1: "CalledOff", 2: "Expired", 3: "Busy", 4: "Failed", 5: "Overrun"}
SERVER_ERRORS = {1: "UnknownUser", 2: "Replaced", 3: "Removed", 4: "ShuttingDown", 5: "Idle", 6: "Protocol", 7: "Unavailable"}

prefix = name(rb"[a-z0-9._-]*", 0, 32)
user = name(rb"[a-z0-9][a-z0-9._-]*", 1, 32)
server = name(rb"[!-?\[-~]+", 1, 255)
version = lambda reader: reader.one_of({1: 1})
chat = lambda reader: reader.take(16)
client = lambda reader: reader.take(16)
key = lambda reader: reader.take(32)
number = lambda reader: reader.uint(8)
log_ins_before = lambda reader: reader.uint(4)
milliseconds = lambda reader: reader.uint(4)
opaque = lambda reader: reader.vector(2, 1, 65535)
close_reason = lambda reader: reader.one_of(CLOSE_REASONS)
server_error = lambda reader: reader.one_of(SERVER_ERRORS)

HEADER = {"version": version, "chat": chat, "counter": number, "ack": number}
REQUEST = {"peer": user, "chat": chat}
CLOSE = {"chat": chat, "reason": close_reason}
ATTEMPT = {"client": client, "number": log_ins_before}
RESUME = {"chat": chat, "expected": number}
LAYOUTS = {
    "to_server": {
        0: ("Exit", {}),
        1: ("List", {"prefix": prefix, "after": prefix}),
        2: ("RequestToTalk", REQUEST),
        3: ("Accept", {"chat": chat, "key_package": opaque}),
        4: ("Refuse", {"chat": chat}),
        5: ("Message", {**HEADER, "sealed": opaque}),
        6: ("SessionEstablishment", {"chat": chat, "welcome": opaque}),
        8: ("ChatClosed", CLOSE),
        16: ("Login", {"user": user, "attempt": attempt, "held": held}),
        19: ("Ping", {}),
        21: ("Resume", RESUME),
    },
    "to_client": {
        1: ("List", {"names": names, "more": flag}),
        2: ("RequestToTalk", REQUEST),
        3: ("Accept", {"chat": chat, "key": key, "key_package": opaque}),
        4: ("Refuse", {"chat": chat}),
        5: ("Message", {**HEADER, "sealed": opaque}),
        6: ("SessionEstablishment", {"chat": chat, "key": key, "welcome": opaque}),
        7: ("UserNotFound", {"chat": chat}),
        8: ("ChatClosed", CLOSE),
        17: ("LoggedIn", {"server": server}),
        18: ("Error", {"reason": server_error}),
        20: ("Pong", {}),
        21: ("Resume", RESUME),
        22: ("PeerAway", {"chat": chat}),
        23: ("TooFast", {"asked": asked, "retry_in_ms": milliseconds}),
    },
    "content": {0: ("Receipt", {}), 1: ("Text", {"text": text}), 2: ("Goodbye", {})},
    "authenticated_data": {5: ("Message", HEADER)},
}


def decode(read_as, data):
    reader = Reader(data)
    what, layout = reader.one_of(LAYOUTS[read_as])
    fields = {field: read(reader) for field, read in layout.items()}
    reader.end()
    return what, fields


def unhex(notation):
    groups = (group.partition("*") for group in notation.split())
    return b"".join(bytes.fromhex(digits) * int(times or 1) for digits, _, times in groups)


BYTES = ("chat", "client", "held", "frame", "key", "key_package", "welcome", "sealed")


def stated(fields):
    """The fields of a vector as `decode` gives them."""
    plain = {}
    for field, value in fields.items():
        if field in ("attempt", "held", "asked", "session", "signal") and isinstance(value, dict):
            value = stated(value)
        elif isinstance(value, dict):
            value = value["repeat"] * value["times"]
        plain[field] = unhex(value) if field in BYTES and isinstance(value, str) else value
    return plain


def node(reader):
    return f"{reader.uint(8):016x}"


def session(reader):
    return {"node": node(reader), "number": reader.uint(8)}


def signal(reader):
    """What a session says to another. Kinds that only a router tells its own sessions are none."""
    fields = {"from": user(reader), "session": session(reader), "chat": chat(reader)}
    kind, layout = reader.one_of(SIGNALS)
    return {**fields, "kind": kind, **{field: read(reader) for field, read in layout.items()}}


SIGNALS = {
    0: ("Request", {"key": key}),
    1: ("Unavailable", {}),
    2: ("Refuse", {}),
    3: ("Accept", {"key": key, "key_package": opaque}),
    4: ("Establish", {"key": key, "welcome": opaque}),
    5: ("Message", {"frame": opaque}),
    6: ("CallOff", {"reason": close_reason}),
    7: ("Close", {"reason": close_reason}),
    8: ("Away", {}),
    9: ("Ask", {"expected": number}),
    10: ("Answer", {"expected": number}),
    11: ("Check", {}),
}
UNDELIVERED = {
    "user": user, "session": session, "to": user, "chat": chat, "is_repeated": flag,
    "why": lambda reader: reader.one_of({0: "Absent", 1: "Full", 2: "Unreachable"}),
}
BODIES = {0: ("Beat", {}), 1: ("Signal", {"to": user, "signal": signal}), 2: ("Undelivered", UNDELIVERED)}


def word(reader):
    fields = {"from": node(reader), "attachment": reader.uint(4), "number": reader.uint(8)}
    body, layout = reader.one_of(BODIES)
    fields |= {"body": body, **{field: read(reader) for field, read in layout.items()}}
    if body == "Signal" and fields["signal"]["session"]["node"] != fields["from"]:
        refuse("elsewhere")
    return fields


def presence(reader):
    fields = {"session": session(reader), "attempt": attempt(reader)}
    return {**fields, "held": chat(reader) if flag(reader) else None}


BETWEEN_NODES = {"word": word, "presence": presence, "lease": lambda reader: {"attachment": reader.uint(4)}}


def decode_between_nodes(read_as, data):
    reader = Reader(data)
    if reader.uint(1) != 1:
        refuse("version")
    fields = BETWEEN_NODES[read_as](reader)
    reader.end()
    return fields


def check_between_nodes(read_as, vector):
    try:
        return decode_between_nodes(read_as, unhex(vector["bytes"])) == stated(vector["fields"])
    except Refused:
        return False


def check_safety_number(vector):
    def short(data):
        return bytes([len(data)]) + data

    parties = sorted((party["user"].encode(), unhex(party["key"])) for party in vector["parties"])
    data = short(b"sottovoce safety number 1") + short(vector["server"].encode())
    data += b"".join(short(who) + key for who, key in parties)
    digest = hashlib.sha512(data).digest()
    groups = [int.from_bytes(digest[at : at + 5], "big") % 100000 for at in range(0, 60, 5)]
    digits = " ".join(f"{group:05}" for group in groups)
    return (data, digits) == (unhex(vector["input"]), vector["number"])


def check_malformed(vector):
    read = decode_between_nodes if vector["read_as"] in BETWEEN_NODES else decode
    try:
        read(vector["read_as"], unhex(vector["bytes"]))
    except Refused as refused:
        return str(refused) == vector["because"]
    return False


def check_decoded(read_as, what, vector):
    data = unhex(vector["bytes"])
    if "length" in vector and len(data).to_bytes(2, "big") != unhex(vector["length"]):
        return False
    try:
        return decode(read_as, data) == (what, stated(vector["fields"]))
    except Refused:
        return False


def main():
    frames, nodes = (json.loads((VECTORS / name).read_text(encoding="utf-8")) for name in ("frames.json", "nodes.json"))
    checks = {
        "frames": lambda vector: check_decoded(vector["direction"], vector["frame"], vector),
        "contents": lambda vector: check_decoded("content", vector["content"], vector),
        "authenticated_data": lambda vector: check_decoded("authenticated_data", "Message", vector),
        "safety_numbers": check_safety_number,
        "malformed": check_malformed,
    }
    checks_of_nodes = {
        "words": lambda vector: check_between_nodes("word", vector),
        "presences": lambda vector: check_between_nodes("presence", vector),
        "leases": lambda vector: check_between_nodes("lease", vector),
        "malformed": check_malformed,
    }
    files = ((frames, checks), (nodes, checks_of_nodes))
    vectors = [
        (kind, place, vector, check)
        for file, of_file in files
        for kind, check in of_file.items()
        for place, vector in enumerate(file[kind])
    ]
    wrong = [(kind, place, vector) for kind, place, vector, check in vectors if not check(vector)]
    for kind, place, vector in wrong:
        print(f"{kind}[{place}] does not agree: {json.dumps(vector, ensure_ascii=False)[:200]}", file=sys.stderr)
    if wrong or not vectors:
        return 1
    print(f"{len(vectors)} vectors agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
