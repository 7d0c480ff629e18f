#!/usr/bin/python3
"""A stand-in for the JSON-RPC API of AMS, made from what is known of it (the program itself runs on
Windows only), for the end-to-end tests.

Arguments: HOST PORT FOLDER [CERT KEY]. Port 0 takes a free one; with a certificate it speaks TLS.
Prints `listening PORT` and serves until its stdin is closed. Each call becomes a line of
FOLDER/calls.jsonl with the mode it met. FOLDER/mode, read at each call, says what happens:

  ok              the call is answered
  down            the connection is closed without an answer
  500, 429, 410   an HTTP error without JSON
  flap            500 and ok in turns; the lines say which
  hang            nothing, until the mode is another one, which then counts
  refuse ID       postMailingOpenClicksData of this mailing is refused with -32603, the rest answered

getMailings answers with FOLDER/mailings.json.
"""

import json
import os
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        folder = self.server.folder
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mode = self.mode()
        if mode == "flap":
            self.server.flaps += 1
            mode = "500" if self.server.flaps % 2 else "ok"
        with LOCK, open(os.path.join(folder, "calls.jsonl"), "a") as file:
            file.write(json.dumps({"mode": mode, **call}) + "\n")
        while mode == "hang":
            time.sleep(0.02)
            mode = self.mode()
        if mode == "down":
            self.close_connection = True
            self.connection.close()
            return
        if mode in ("500", "429", "410"):
            self.answer(int(mode), b"<html>oops</html>", "text/html")
            return
        answer = {"jsonrpc": "2.0", "id": call["id"]}
        params = call["params"]
        if mode == f"refuse {params.get('mailingID')}":
            answer["error"] = {"code": -32603, "message": "unknown mailing"}
        elif call["method"] == "getMailings":
            with open(os.path.join(folder, "mailings.json")) as file:
                answer["result"] = json.load(file)
        else:
            answer["result"] = "OK"
        self.answer(200, json.dumps(answer).encode(), "application/json")

    def mode(self):
        with open(os.path.join(self.server.folder, "mode")) as file:
            return file.read().strip()

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


def main():
    host, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    server = Server((host, port), Handler)
    server.folder, server.flaps = folder, 0
    if len(sys.argv) > 4:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[4], sys.argv[5])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening {server.server_address[1]}", flush=True)
    sys.stdin.read()


main()
