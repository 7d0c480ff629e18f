"""Encrypts as Rails does (Active Record Encryption), written from its documentation.

Reads one JSON object a line: text, password, salt, digest (sha256 or sha1), deterministic, compress.
Prints what would lie in the column, one JSON text a line.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import zlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def encrypt(text, password, salt, digest, deterministic, compress):
    key = hashlib.pbkdf2_hmac(digest, password.encode(), salt.encode(), 65536, 32)
    clear = text.encode()
    headers = {}
    if compress:
        clear = zlib.compress(clear)
        headers["c"] = True
    iv = hmac.new(key, clear, "sha256").digest()[:12] if deterministic else os.urandom(12)
    sealed = AESGCM(key).encrypt(iv, clear, None)
    encode = lambda octets: base64.b64encode(octets).decode()
    headers |= {"iv": encode(iv), "at": encode(sealed[-16:])}
    return json.dumps({"p": encode(sealed[:-16]), "h": headers}, separators=(",", ":"))


for line in sys.stdin:
    print(encrypt(**json.loads(line)))
