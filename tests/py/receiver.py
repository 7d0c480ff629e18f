#!/usr/bin/python3
"""An SMTP server that is not ours (aiosmtpd), for the end-to-end tests.

Arguments: HOST PORT FOLDER. Port 0 takes a free one. Prints `listening PORT` and serves until its
stdin is closed. Every accepted mail becomes FOLDER/NNNNNN.json (envelope) and FOLDER/NNNNNN.eml
(the bytes as received). The local part of the recipient decides what happens:

  defer   451 4.7.1 to the first RCPT, then accepted
  refuse  550 5.1.1 always
  script  550 5.1.1 always, in words that a browser would run
  drop    the connection is closed after the first content, without an answer; later accepted
  slow    the answer to the content waits until the file FOLDER/release exists
  other   accepted
"""

import asyncio
import json
import os
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    def __init__(self, folder):
        self.folder = folder
        self.seen = set()
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        local = address.split("@")[0].split("+")[0]
        if local == "refuse":
            return "550 5.1.1 no such user"
        if local == "script":
            return "550 5.1.1 <script>alert('reply')</script>"
        if local == "defer" and self.first(address):
            return "451 4.7.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        for address in envelope.rcpt_tos:
            local = address.split("@")[0].split("+")[0]
            if local == "drop" and self.first(address):
                server.transport.abort()
                return "421 4.3.0 gone"
            if local == "slow":
                self.write(f"waiting-{address}", b"")
                while not os.path.exists(os.path.join(self.folder, "release")):
                    await asyncio.sleep(0.02)
        self.store(envelope)
        return "250 2.0.0 accepted"

    def first(self, address):
        fresh = address not in self.seen
        self.seen.add(address)
        return fresh

    def store(self, envelope):
        self.count += 1
        name = f"{self.count:06d}"
        self.write(name + ".eml", envelope.original_content)
        facts = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "mail": name + ".eml"}
        self.write(name + ".json", json.dumps(facts).encode())

    def write(self, name, content):
        # Renamed when complete, so that a reader never sees half a file.
        path = os.path.join(self.folder, name)
        with open(path + ".tmp", "wb") as file:
            file.write(content)
        os.rename(path + ".tmp", path)


async def main():
    host, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    handler = Handler(folder)
    loop = asyncio.get_running_loop()

    def session():
        return SMTP(handler, enable_SMTPUTF8=True, data_size_limit=64 << 20, hostname="mx.test")

    server = await loop.create_server(session, host, port)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
