#!/usr/bin/env python3
"""Writes first inputs for the fuzz targets into fuzz/corpus, from what the program really does and writes.

Frames come from docs/vectors and from simulated chats, sessions' inputs from simulated chats, files from the program
itself and from ssh-keygen; where a target takes a list of things to do, from a few stories. Run it from anywhere; it
builds the program and the simulation. `fuzz/keep` then keeps what adds something.
"""

import base64
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
WORLDS = range(8)

# As in src/time.rs.
WAITS = [0, 0, 0, 0, 0, 0, 0, 1, 20, 100, 300, 1000, 2000, 6000, 10_000, 15_000, 30_000, 60_000, 3_600_000]


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        vectors()
        for world in WORLDS:
            simulated(world, folder)
        files(folder)
    typed()
    stories()


def keep(target, data):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / hashlib.sha1(data).hexdigest()).write_bytes(data)


def run(*command, **options):
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, **options)


def program(name, *arguments):
    run("cargo", "run", "--quiet", "--locked", "-p", name, "--", *map(str, arguments))


def short(number):
    return number.to_bytes(2, "little")


def vectors():
    table = json.loads((ROOT / "docs/vectors/frames.json").read_text())
    frames = [unhex(row["bytes"]) for row in table["frames"]]
    for data in frames + [unhex(row["bytes"]) for row in table["contents"] + table["malformed"]]:
        # The longest are tested where they are, and would slow down every run.
        if len(data) < 20_000:
            keep("codec", data)
    keep("codec", b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames if len(frame) < 300))


def unhex(notation):
    """As scripts/decode_vectors.py reads it: `61*3` stands for 616161."""
    groups = (group.partition("*") for group in notation.split())
    return b"".join(bytes.fromhex(digits) * int(times or 1) for digits, _, times in groups)


# --- what a simulation records -------------------------------------------------------------------------------------


def simulated(seed, folder):
    record = folder / f"world-{seed}"
    program("sim", "--seed", seed, "--record", record)
    seen = set()
    for line in record.read_text().splitlines():
        if match := re.match(r"(\S+): (Recording \{.*)", line):
            steps = Debug(match[2]).value()["steps"]
            for frame in (step["Frame"][0] for _, step in steps if "Frame" in step):
                kind = (frame[:1], len(frame) // 256)
                if kind not in seen:
                    seen.add(kind)
                    keep("codec", frame)
            if match[1].startswith("SessionId"):
                keep("session", session(steps))


class Debug:
    """Reads what Rust's derived Debug writes: structures as dictionaries, tuples as lists, bytes as bytes."""

    TOKEN = re.compile(r'\s*(b"(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*"|[\w.µ…*@-]+|[{}()\[\],:])')

    def __init__(self, text):
        self.tokens = self.TOKEN.findall(text)
        self.at = 0

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def many(self, end, one):
        found = []
        while self.peek() != end:
            found.append(one())
            if self.peek() == ",":
                self.take()
        self.take()
        return found

    def field(self):
        name = self.take()
        self.take()
        return name, self.value()

    def value(self):
        token = self.take()
        if token in "([":
            return self.many({"(": ")", "[": "]"}[token], self.value)
        if token.startswith('b"'):
            return unescaped(token[2:-1])
        if token.startswith('"'):
            return token[1:-1]
        if self.peek() == "(":
            self.take()
            return {token: self.many(")", self.value)}
        if self.peek() == "{":
            self.take()
            fields = dict(self.many("}", self.field))
            return fields if token == "Recording" else {token: fields}
        return {token: []}


def unescaped(text):
    plain = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\", '"': '"', "'": "'"}
    one = lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "x" else plain[m[1]]
    return re.sub(r"\\(x[0-9a-fA-F]{2}|.)", one, text).encode("latin-1")


def only(value):
    """The name of a variant, or the one thing in it."""
    name, inside = next(iter(value.items()))
    return name if inside == [] else only(inside[0])


def session(steps):
    """Inputs of a session as src/session.rs reads them: its own user is alice, and chats have a number."""
    chats, names, out, before = {}, {}, bytearray([0]), 0

    def chat(start):
        return chats.setdefault(start, len(chats) % 4)

    def other(name):
        return names.setdefault(name, len(names) % 3)

    def named(name, is_own):
        return b"alice" if is_own else [b"bob", b"carol", b"dave"][other(name)]

    def vector(data):
        return bytes([len(data)]) + data

    def frame(data):
        code, rest = data[0], data[1:]
        if code in (2, 16):
            name, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
            data = bytes([code]) + vector(named(name.decode(), code == 16))
            if code == 16:
                # Which log-in of which client it is.
                data, rest = data + rest[:20], rest[20:]
            if code == 16 and rest[:1] == b"\1":
                peer, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
                data += b"\1" + vector(named(peer.decode(), False)) + bytes([chat(rest[:4].hex())]) * 16 + rest[16:]
            elif code == 16:
                data += rest
            else:
                data += bytes([chat(rest[:4].hex())]) * 16
        elif code in (3, 4, 6, 8, 21):
            data = bytes([code]) + bytes([chat(rest[:4].hex())]) * 16 + rest[16:48]
            if code in (3, 6):
                data = data[:17] + b"\0\x10" + bytes(16)
        elif code == 5:
            data = data[:2] + bytes([chat(data[2:6].hex())]) * 16 + data[18:34] + b"\0\x10" + bytes(16)
        return bytes([0, 15]) + short(len(data)) + data

    kinds = {
        "Unavailable": 0, "Refuse": 1, "Close": 2, "CallOff": 3, "Away": 4, "Ask": 5, "Answer": 6, "Check": 7,
        "Accept": 8, "Establish": 10, "Request": 12, "Message": 16,
    }
    reasons = ["Left", "CalledOff", "Expired", "Busy", "Failed", "Overrun"]
    for time, step in steps:
        (name, inside), = step.items()
        if name == "Frame":
            out += frame(inside[0])
        elif name == "Signal":
            signal = inside[0]["Signal"]
            start = only(signal["chat"])[:8]
            kind, = signal["kind"]
            about = signal["kind"][kind]
            out += bytes([6, other(only(signal["from"])), chat(start), int(only(signal["session"])) % 4, kinds[kind]])
            if kind in ("Close", "CallOff"):
                out += bytes([reasons.index(only(about[0]))])
            elif kind in ("Ask", "Answer"):
                out += bytes([min(int(only(about[0])), 254)])
            elif kind in ("Accept", "Establish", "Message"):
                out += b"\0"
        elif name == "Registered":
            out += bytes([12, 3])
        elif name == "Undelivered":
            start = only(inside["chat"])[:8]
            why = ["Absent", "Full", "Unreachable"].index(only(inside["why"]))
            out += bytes([11, other(only(inside["to"])), chat(start), only(inside["is_repeated"]) == "true", why])
        elif name == "Listed":
            out += bytes([13, 0, 0, 0])
        elif name == "Replaced":
            out += bytes([13, 1, 0])
        elif name == "End":
            out += bytes([13, 2, 3])
        elif name == "Lost":
            out += bytes([14, 1])
        else:
            out += bytes([15])
        now = milliseconds(only(time))
        waits = [place for place, wait in enumerate(WAITS) if wait <= now - before]
        before += WAITS[waits[-1]]
        out += bytes([waits[-1]])
        if len(out) > 4000:
            break
    return bytes(out)


def milliseconds(text):
    number, unit = re.match(r"([\d.]+)(\D+)", text).groups()
    return float(number) * {"ns": 1e-6, "µs": 1e-3, "ms": 1, "s": 1000}[unit]


# --- what the program writes ---------------------------------------------------------------------------------------


def files(folder):
    server, profile, password = folder / "server", folder / "profile", folder / "password"
    password.write_text("password\n")
    program("sottovoce", "server", "init", "--dir", server, "--host", "relay.example")
    program(
        "sottovoce", "keygen", "--profile", profile, "--name", "alice", "--server", "relay.example:7478",
        "--ca", server / "ca.pem", "--password-file", password,
    )
    for file in ("ca.pem", "server.pem", "server.key"):
        keep("certificates", (server / file).read_bytes())
    keep("certificates", (server / "server.pem").read_bytes() + (server / "server.key").read_bytes())
    keep("certificates", (server / "ca.pem").read_bytes() + b"\0" + (server / "ca.key").read_bytes())
    pem = (server / "server.pem").read_text()
    body = "".join(line for line in pem.splitlines() if not line.startswith("-"))
    keep("certificates", base64.b64decode(body))

    commented = (server / "server.toml").read_text()
    keep("settings", commented.encode())
    keep("settings", re.sub(r"(?m)^#(\w+ = )", r"\1", commented).encode())
    for line in re.findall(r"(?m)^#?(\w+ = .*)", commented):
        keep("settings", f'name = "relay.example"\n{line}\n'.encode())
    profile_file = (profile / "profile.toml").read_text()
    keep("settings", profile_file.encode())
    keep("settings", re.sub(r"(?m)^(#.*)?\n", "", profile_file).encode())

    keep("keys", (profile / "key").read_bytes())
    line = (profile / "key.pub").read_text()
    keep("keys", line.encode())
    key = line.split()[1]
    keep("keys", f"bob@relay.example ssh-ed25519 {key} pinned\n".encode())
    keep("keys", "".join(f"{who}@[::1] ssh-ed25519 {key} verified\n" for who in ("bob", "carol")).encode())
    if shutil.which("ssh-keygen"):
        for place, (kind, rounds) in enumerate((("ed25519", "1"), ("ed25519", "16"), ("ecdsa", "1"))):
            path = folder / f"key-{place}"
            run("ssh-keygen", "-q", "-t", kind, "-a", rounds, "-N", "password", "-C", "", "-f", path)
            keep("keys", path.read_bytes())
            keep("keys", pathlib.Path(f"{path}.pub").read_bytes())
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", folder / "open")
        keep("keys", (folder / "open").read_bytes())


# --- what people type, and stories ---------------------------------------------------------------------------------


def typed():
    lines = [
        "--l", "/list al bob", "--r Bob", "--y", "/yes Bob", "--n", "--ex", "/leave", "/verify 01234 56789", "/forget bob",
        "/help", "//etc/passwd", "/etc/passwd", "  as typed  ", '{"say":"hello\\n\\u001b[2J"}',
        '{"list":{"prefix":"a","after":"b"}}', "a\x1b[2J\u009b\u202e\U000e0001\"\\\n👩‍💻é\x7f", "日本語 and more words that go on",
        "👩‍👩‍👧‍👦 e\u0301 🇩🇪", "שלום עולם", "one\ntwo\r\n\tthree", "x" * 90, "re.lay-1_x", "relay.example", "::1",
    ]
    for line in lines:
        keep("typed", line.encode())


def stories():
    # join: whether signatures hold, which of the two, how it is changed.
    for holds in (0, 1):
        for which in (0, 1):
            keep("join", bytes([holds, which, 0]))
    for field in range(16):
        keep("join", bytes([0, 1, 3, 0, 5, field]) + bytes(24))
        keep("join", bytes([0, 1, 3, 0, field % 8]) + bytes(24))
        keep("join", bytes([0, 0, 3, 0, 2, field]) + bytes(24))
        keep("join", bytes([0, 0, 3, 0, 2, 12, field % 3, 4, field]) + bytes(24))
    # open: say, receipt, renew, deliver, change, make up, repeat, reflect; the lowest bit is who.
    talk = [0, 10, 0, 6, 1, 20, 0, 7, 2, 6, 3, 7, 4, 0, 5, 0, 6, 5, 4, 12, 0, 0, 0, 10, 0, 14]
    for holds in (0, 1):
        keep("open", bytes([holds] + talk))
        for how in range(8):
            keep("open", bytes([holds, 0, 10, 0, 8, how]) + bytes(16))
    # What is said before the change is taken for a renewal where the reader is told so.
    for part in range(16):
        keep("open", bytes([0, 0, 10, 0, 8, 3, 0, part, part]) + bytes(24))
        keep("open", bytes([0, 0, 10, 0, 8, 3, 0, 7, part % 8, 0, 0, part]) + bytes(24))
    for part in range(16):
        keep("open", bytes([0, 4, 0, 3, 0, 9, part, part]) + bytes(24))
        keep("open", bytes([0, 4, 0, 3, 0, 9, 3, part]) + bytes(24))
        keep("open", bytes([0, 4, 0, 3, 0, 9, 6, 0, part]) + bytes(24))
    # relay: connect and log in twice, ask, accept, establish, talk, lose, come back.
    alice, bob = [0, 0, 0], [0, 1, 0]
    ask, all_on, accept = [2, 0, 0, 2, 1, 1], [11], [2, 1, 0, 3, 1, 40]
    welcome, word = [2, 0, 0, 6, 1, 40], [2, 0, 1, 0, 1, 0]
    begin = alice + bob + ask + all_on + accept + all_on + welcome + all_on
    back = [0, 0, 1, 1, 1, 5]
    keep("relay", bytes(begin + word * 3 + all_on + [14, 14]))
    keep("relay", bytes(begin + word * 2 + [12, 0] + all_on + back + all_on + [2, 0, 0, 10, 1, 3] + all_on))
    keep("relay", bytes(begin + [0, 0, 1, 1, 1, 5] + all_on + word * 9 + [8, 1, 7]))
    keep("relay", bytes(alice + bob + [0, 2, 0] + ask + [2, 1, 0, 2, 0, 2] + all_on + [13, 1] + all_on))
    # nodes: attach, read that two others are there and who is online, be attached, log in, be let in, say and hear something.
    attached = [8, 5, 1, 0, 1, 0, 5, 1, 1, 1, 0, 5, 5, 0, 1, 0, 0, 1, 9]
    online = [10, 0, 0, 11, 0, 2, 10, 2, 5, 11, 0, 2]
    keep("nodes", bytes(attached + online + [13, 1, 0, 0, 0, 16, 14, 15, 12, 14, 12, 0]))
    for body in range(8):
        for kind in range(18):
            keep("nodes", bytes(attached + online + [0, 3, body % 2, 1, body, 0, 1, 0, kind, 0, 0, 0, 1, 14]))
    # client: whether seals hold, whether a chat begins; then what is done, twice what it is and who in the lowest bit.
    for holds in (0, 1):
        keep("client", bytes([holds, 0, 4, 0, 14, 5, 4, 14, 0, 0, 0, 14, 30, 9, 14]))
        keep("client", bytes([holds, 1] + [0, 0, 1, 1, 0, 0, 14, 30, 9, 14] * 4 + [4, 13, 14, 30, 12, 14]))
        keep("client", bytes([holds, 1, 0, 0, 3, 14, 26, 1, 24, 25, 14, 0, 1, 2, 14, 26, 0, 30, 10, 14, 24, 25, 14]))
        keep("client", bytes([holds, 1, 0, 0, 3, 8, 20, 9, 0, 14, 30, 9, 14, 5, 14, 14, 30, 13, 14]))
        keep("client", bytes([holds, 1, 0, 0, 2, 14, 4, 13, 14, 12, 14, 0, 0, 1, 14, 1, 0, 0, 18, 1, 1, 14]))
        # An answer whose header confirms what has not come.
        keep("client", bytes([holds, 1, 0, 0, 0, 1, 0, 0, 19, 1, 1, 14]))
        for code in range(14):
            keep("client", bytes([holds, 1, 22, code]) + bytes(8))


if __name__ == "__main__":
    main()
