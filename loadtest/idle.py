"""Holds idle SMTP connections and prints what they cost in resident memory.

Arguments: PID PORT TLS_PORT. Opens 5,000 plain connections and says EHLO on each, then 1,000 with
TLS; checks that all of them still answer.
"""

import resource
import socket
import ssl
import sys

pid, port, tls_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def memory_kib():
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def ask(sock, text):
    sock.sendall(text)
    reply = b""
    while not reply.endswith(b"\r\n") or reply.splitlines()[-1][3:4] != b" ":
        reply += sock.recv(4096)
    return reply


def hold(count, tls):
    held = []
    for number in range(count):
        sock = socket.create_connection(("127.0.0.1", tls_port if tls else port), timeout=60)
        if tls:
            sock = context.wrap_socket(sock)
        ask(sock, b"")
        ask(sock, b"EHLO idle\r\n")
        held.append(sock)
        if number % 500 == 0:
            print(f"{number} of {count}", file=sys.stderr)
    return held


print("\n| idle connections | held | KiB each |\n|---|---|---|")
everything = []
for count, tls in [(5000, False), (1000, True)]:
    before = memory_kib()
    held = hold(count, tls)
    each = (memory_kib() - before) / count
    answering = sum(ask(sock, b"NOOP\r\n").startswith(b"250 ") for sock in held)
    assert answering == count, answering
    everything += held
    print(f"| {'TLS' if tls else 'plain'} | {answering} | {each:.1f} |")
print(f"\nresident memory with all of them: {memory_kib() / 1024:.0f} MiB")
