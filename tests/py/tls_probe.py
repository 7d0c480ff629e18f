#!/usr/bin/python3
"""Looks at TLS of an SMTP server, for the end-to-end tests.

Arguments: PORT [SOURCE_IP]. Opens a session with STARTTLS and keeps it; then, for each line of stdin,
opens a further one and prints the SHA-256 of its certificate, and whether the first session still
answers. With SOURCE_IP the connections begin with a PROXY v2 header that names it.
"""

import hashlib
import socket
import ssl
import struct
import sys

port = int(sys.argv[1])
source = sys.argv[2] if len(sys.argv) > 2 else None
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def ask(sock, text):
    sock.sendall(text)
    reply = b""
    while not (reply.endswith(b"\r\n") and reply.splitlines()[-1][3:4] == b" "):
        piece = sock.recv(4096)
        if not piece:
            break
        reply += piece
    return reply


def session():
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    header = b""
    if source:
        addresses = socket.inet_aton(source) + socket.inet_aton("127.0.0.1")
        addresses += struct.pack("!HH", 40000, port)
        header = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11" + struct.pack("!H", len(addresses)) + addresses
    greeting = ask(sock, header)
    assert greeting.startswith(b"220 "), greeting
    ask(sock, b"EHLO probe\r\n")
    assert ask(sock, b"STARTTLS\r\n").startswith(b"220 ")
    return context.wrap_socket(sock)


first = session()
print("open", first.version(), flush=True)
for line in sys.stdin:
    other = session()
    digest = hashlib.sha256(other.getpeercert(True)).hexdigest()
    print(digest, ask(first, b"NOOP\r\n").decode().strip(), flush=True)
    other.close()
