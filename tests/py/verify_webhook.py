#!/usr/bin/env python3
"""Verifies a webhook as receivers do: by the library of the standard (PyPI: standardwebhooks), or as
receivers of the old system did.

Arguments: standard|legacy SECRET. Reads the request (headers and body) as JSON from stdin; for legacy
also its `url`. Prints `verified`, or why not.
"""

import hashlib
import hmac
import json
import sys


def legacy(secret, request):
    headers = request["headers"]
    sign = lambda text: hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    if headers.get("x-webhook-signature") != sign(request["url"]):
        return "X-Webhook-Signature differs"
    signed = f"{headers.get('x-timestamp')}.{request['body']}"
    if headers.get("x-signature") != "sha256=" + sign(signed):
        return "X-Signature differs"
    return "verified"


def standard(secret, request):
    from standardwebhooks import Webhook, WebhookVerificationError

    try:
        Webhook(secret).verify(request["body"], request["headers"])
    except WebhookVerificationError as error:
        return f"refused: {error}"
    return "verified"


print({"standard": standard, "legacy": legacy}[sys.argv[1]](sys.argv[2], json.load(sys.stdin)))
