"""Webhook bodies signed as Postal signs them, and forgeries of them, as JSON on standard output."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

BODY = '{"event":"NewThing","timestamp":1700000000.1,"payload":{"text":"a \\u0026 b \\u003cc\\u003e"},"uuid":"u-1"}'


def key_id(key):
    public = key.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    return hashlib.sha256(der).hexdigest()


def sign(key, body, digest=hashes.SHA256()):
    return base64.b64encode(key.sign(body.encode(), padding.PKCS1v15(), digest)).decode()


def case(good, body, signature, kid):
    return {"good": good, "body": body, "signature": signature, "key_id": kid}


own = rsa.generate_private_key(public_exponent=65537, key_size=1024)
other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
pem = own.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
good = sign(own, BODY)
kid = key_id(own)
pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
pss = base64.b64encode(own.sign(BODY.encode(), pss, hashes.SHA256())).decode()
rewritten = json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False)
assert rewritten != BODY
cases = [
    case(True, BODY, good, kid),
    case(True, BODY, good, ""),
    case(True, BODY, good, kid.upper()),
    case(True, BODY, "sha256=" + good, kid),
    case(False, BODY, sign(other, BODY), kid),
    case(False, BODY, sign(other, BODY), key_id(other)),
    case(False, BODY, sign(own, BODY, hashes.SHA1()), kid),
    case(False, BODY, pss, kid),
    case(False, BODY + " ", good, kid),
    case(False, rewritten, good, kid),
    case(False, BODY, good[:-4], kid),
    case(False, BODY, "", kid),
]
# The key stands in one line, as in an environment file.
print(json.dumps({"public_key": pem.decode().replace("\n", "\\n"), "cases": cases}))
