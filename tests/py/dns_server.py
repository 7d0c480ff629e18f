#!/usr/bin/python3
"""An authoritative name server for the end-to-end tests, over UDP, in the standard library alone.

Arguments: HOST PORT. Port 0 takes a free one. Prints `listening PORT` and serves until its
stdin is closed.

  good.test      MX 10 mx.good.test; mx.good.test has A 127.0.0.1
  nullmx.test    MX 0 . (RFC 7505)
  implicit.test  A 127.0.0.1 only
  everything else does not exist
"""

import os
import socket
import struct
import sys
import threading

A, SOA, MX = 1, 6, 15
ZONE = {
    "good.test": {MX: [(10, "mx.good.test")]},
    "mx.good.test": {A: ["127.0.0.1"]},
    "nullmx.test": {MX: [(0, "")]},
    "implicit.test": {A: ["127.0.0.1"]},
}


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
    return encode(name) + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def rdata(kind, value):
    if kind == A:
        return socket.inet_aton(value)
    preference, host = value
    return struct.pack("!H", preference) + encode(host)


def answer(packet):
    name, kind, end = question(packet)
    entry = ZONE.get(name)
    answers = [record(name, kind, rdata(kind, value)) for value in (entry or {}).get(kind, [])]
    soa = encode("ns.test") + encode("root.test") + struct.pack("!IIIII", 1, 60, 60, 60, 60)
    authority = [] if answers else [record("test", SOA, soa)]
    # A response, authoritative, recursion as asked for; NXDOMAIN for a name that is not there.
    flags = 0x8480 | (packet[2] & 1) << 8 | (0 if entry else 3)
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
