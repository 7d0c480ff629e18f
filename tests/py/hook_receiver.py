#!/usr/bin/python3
"""A receiver of webhooks, for the end-to-end tests.

Arguments: HOST PORT FOLDER. Port 0 takes a free one. Prints `listening PORT` and serves until its stdin
is closed. Each request becomes FOLDER/NNNNNN.json with its path, header fields (lower case), body and
the status it was answered with; 0 when it got no answer. FOLDER/mode-NAME, read at each request for
/NAME, says what happens; without one it is answered with 200:

  STATUS            this status
  STATUS SECONDS    and Retry-After
  flap              500 and 200 by turns
  abort             500 and `webhook-delivery: abort-message`
  script            400 with words that a browser would run
  redirect          302 to /redirected
  hang              nothing until the mode is another one, which then counts
"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        name = self.path.strip("/")
        mode = self.mode(name)
        if mode == "hang":
            self.record(body, 0)
        while mode == "hang":
            time.sleep(0.02)
            mode = self.mode(name)
        words, fields = mode.split(), []
        if mode == "flap":
            with LOCK:
                self.server.turns[name] = turn = self.server.turns.get(name, 0) + 1
            status = 500 if turn % 2 else 200
        elif mode == "abort":
            status, fields = 500, [("webhook-delivery", "abort-message")]
        elif mode == "script":
            status = 400
        elif mode == "redirect":
            status, fields = 302, [("Location", "/redirected")]
        else:
            status = int(words[0])
            fields = [("Retry-After", word) for word in words[1:]]
        self.record(body, status)
        answer = f"this is {status}".encode()
        if mode == "script":
            answer = b'"><img src=x onerror=alert(6)><script>alert(7)</script>'
        self.send_response(status)
        for field in fields + [("Content-Length", str(len(answer)))]:
            self.send_header(*field)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def mode(self, name):
        try:
            with open(os.path.join(self.server.folder, f"mode-{name}")) as file:
                return file.read().strip()
        except FileNotFoundError:
            return "200"

    def record(self, body, status):
        with LOCK:
            self.server.count += 1
            number = self.server.count
        headers = {name.lower(): value for name, value in self.headers.items()}
        facts = {"path": self.path, "headers": headers, "body": body, "status": status}
        path = os.path.join(self.server.folder, f"{number:06}")
        with open(path + ".part", "w") as file:
            json.dump(facts, file)
        os.rename(path + ".part", path + ".json")

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


def main():
    host, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    server = Server((host, port), Handler)
    server.folder, server.count, server.turns = folder, 0, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening {server.server_address[1]}", flush=True)
    sys.stdin.read()


main()
