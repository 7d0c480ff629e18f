#!/usr/bin/python3
"""Sends mail with Python's smtplib, for the end-to-end tests.

Arguments: PORT MODE USER PASSWORD, MODE being `starttls` or `tls`. Sends one message with two
recipients, then, in the same session, each line of stdin as the subject of a further one. Prints what
the server answered to each message.
"""

import smtplib
import ssl
import sys
from email.message import EmailMessage

port, mode, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
# The certificate is self-signed.
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if mode == "tls":
    server = smtplib.SMTP_SSL("127.0.0.1", port, context=context, timeout=60)
else:
    server = smtplib.SMTP("127.0.0.1", port, timeout=60)
    server.starttls(context=context)
server.login(user, password)


def send(subject, recipients):
    message = EmailMessage()
    message["From"] = "Shöp Ünit <hi@shop.test>"
    message["To"] = "Ann <ann@good.test>"
    message["Cc"] = "cc@good.test"
    message["Reply-To"] = "help@shop.test"
    message["Subject"] = subject
    message["X-ID-mail"] = "[777]"
    message.set_content("plain ärger\n.dot\n")
    message.add_alternative("<p>html <b>ärger</b></p>", subtype="html")
    message.add_attachment(bytes(range(256)), maintype="application", subtype="octet-stream",
                           filename="all.bin")
    wire = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    server.mail("hi@shop.test", [f"size={len(wire)}"])
    for recipient in recipients:
        code, text = server.rcpt(recipient)
        assert code == 250, text
    code, text = server.data(wire)
    print(code, text.decode())
    return wire


first = send("first ☃", ["ann@good.test", "hidden@good.test"])
sys.stdout.buffer.flush()
for line in sys.stdin:
    server.rset()
    send(line.strip(), [f"{line.strip()}@good.test"])
server.quit()
with open("/dev/stderr", "wb") as file:
    file.write(first)
