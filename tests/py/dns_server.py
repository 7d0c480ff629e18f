#!/usr/bin/python3
"""An authoritative name server for the end-to-end tests, over UDP, in the standard library alone.

Arguments: HOST PORT [ZONE]. Port 0 takes a free one. Prints `listening PORT` and serves until its
stdin is closed. ZONE is a JSON file, read anew for every question, in the place of the names below:
{"shop.test": {"TXT": ["v=spf1 -all"], "MX": [[10, "mx.shop.test"]]}}. With "SERVFAIL" in the place
of records it fails for a name.

  good.test      MX 10 mx.good.test; mx.good.test has A 127.0.0.1
  nullmx.test    MX 0 . (RFC 7505)
  implicit.test  A 127.0.0.1 only
  everything else does not exist
"""

import ipaddress
import json
import os
import socket
import struct
import sys
import threading

KINDS = {"A": 1, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
WORDS = {number: word for word, number in KINDS.items()}
ZONE = {
    "good.test": {"MX": [(10, "mx.good.test")]},
    "mx.good.test": {"A": ["127.0.0.1"]},
    "nullmx.test": {"MX": [(0, "")]},
    "implicit.test": {"A": ["127.0.0.1"]},
}


def zone():
    if len(sys.argv) < 4:
        return ZONE
    with open(sys.argv[3], encoding="utf-8") as file:
        return json.load(file)


def encode(name):
    labels = [label.encode("ascii") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def question(packet):
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii").lower())
        at += 1 + packet[at]
    return ".".join(labels), struct.unpack("!H", packet[at + 1 : at + 3])[0], at + 5


def record(name, kind, data):
    return encode(name) + struct.pack("!HHIH", KINDS[kind], 1, 60, len(data)) + data


def rdata(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind in ("CNAME", "PTR"):
        return encode(value)
    if kind == "TXT":
        octets = value.encode("utf-8")
        pieces = [octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""]
        return b"".join(bytes([len(piece)]) + piece for piece in pieces)
    preference, host = value
    return struct.pack("!H", preference) + encode(host)


def answers_of(names, name, kind):
    """The records, through one alias."""
    entry = names.get(name, {})
    if kind not in entry and "CNAME" in entry:
        target = entry["CNAME"][0]
        alias = record(name, "CNAME", rdata("CNAME", target))
        return [alias] + answers_of({target: names.get(target, {})}, target, kind)
    return [record(name, kind, rdata(kind, value)) for value in entry.get(kind, [])]


def answer(packet):
    name, number, end = question(packet)
    names, kind = zone(), WORDS.get(number, "")
    answers = answers_of(names, name, kind)
    soa = encode("ns.test") + encode("root.test") + struct.pack("!IIIII", 1, 60, 60, 60, 60)
    authority = [] if answers else [record("test", "SOA", soa)]
    # Success, a name that fails (SERVFAIL), a name that is not there (NXDOMAIN).
    code = 3 if name not in names else 2 if "SERVFAIL" in names[name] else 0
    # A response, authoritative, recursion as asked for.
    flags = 0x8480 | (packet[2] & 1) << 8 | code
    head = packet[:2] + struct.pack("!HHHHH", flags, 1, len(answers), len(authority), 0)
    return head + packet[12:end] + b"".join(answers + authority)


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


def main():
    threading.Thread(target=end_with_stdin, daemon=True).start()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], int(sys.argv[2])))
    print("listening", server.getsockname()[1], flush=True)
    while True:
        packet, peer = server.recvfrom(4096)
        try:
            server.sendto(answer(packet), peer)
        except (IndexError, struct.error, UnicodeDecodeError):
            continue


if __name__ == "__main__":
    main()
