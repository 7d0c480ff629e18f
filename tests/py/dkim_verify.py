#!/usr/bin/python3
"""Verifies every DKIM signature of a mail with dkimpy, independently of our own code.

Reads the mail on stdin. Arguments are TXT records: `selector._domainkey.example.org=v=DKIM1; ...`.
Asks no name server. Exits 0 when there is at least one signature and all of them verify, else 1,
and prints one line for each. Needs the Debian packages python3-dkim and python3-nacl.
"""

import sys

import dkim


def main():
    records = {}
    for argument in sys.argv[1:]:
        name, separator, value = argument.partition("=")
        if not separator:
            print(f"not NAME=TXT: {argument}")
            return 1
        records[name.rstrip(".").lower()] = value.encode("ascii")

    def lookup(name, timeout=5):
        name = name.decode("ascii") if isinstance(name, bytes) else name
        return records.get(name.rstrip(".").lower())

    verifier = dkim.DKIM(sys.stdin.buffer.read(), minkey=2048)
    signatures = [value for name, value in verifier.headers if name.lower() == b"dkim-signature"]
    if not signatures:
        print("no DKIM-Signature field")
        return 1
    good = True
    for index, value in enumerate(signatures):
        tags = dkim.util.parse_tag_value(value)
        label = " ".join(f"{tag}={tags.get(tag.encode(), b'?').decode()}" for tag in "ads")
        try:
            verified = verifier.verify(idx=index, dnsfunc=lookup)
            why = "pass" if verified else "fail: no such key, or the signature does not match"
        except Exception as error:  # dkimpy and nacl raise many kinds; each is a failed check
            verified, why = False, f"fail: {type(error).__name__}: {error}"
        print(f"{label}: {why}")
        good = good and verified
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
