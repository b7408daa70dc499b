"""A real SMTP server for tests/relay.rs, on loopback, until its standard input ends.

    server.py FOLDER PORT tls|starttls|plain

Takes letters of the user "relay" with the password "geheim" only, and writes each as a line of JSON into FOLDER/letters.jsonl.
Its certificate is its own, for 127.0.0.1; who issued it is in FOLDER/ca.pem, made once a folder. Prints the port it listens on.

Some recipients are special: "busy…" gets 451 the first time, "nobody…" gets 550, "spam…" gets 554 after the whole text, and
"lost…" is taken, but the connection ends before the answer, the first time.
"""

import asyncio
import json
import logging
import ssl
import sys
from pathlib import Path

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

FOLDER, PORT, SECURITY = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
# Clients that break a connection off are wanted here, and no news.
logging.basicConfig(filename=FOLDER / "server.log")


class Handler:
    """Keeps what it gets."""

    seen = set()

    def first(self, address):
        """Whether an address comes for the first time."""
        new = address not in self.seen
        self.seen.add(address)
        return new

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return f"550 5.1.1 <{address}> is unknown here"
        if address.startswith("busy") and self.first(address):
            return f"451 4.3.0 <{address}> is busy"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if envelope.rcpt_tos[0].startswith("spam"):
            return f"554 5.7.1 no spam for <{envelope.rcpt_tos[0]}>"
        letter = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode("ascii"),
            "tls": session.ssl is not None or SECURITY == "tls",
            "user": session.auth_data and session.auth_data.login.decode(),
        }
        with (FOLDER / "letters.jsonl").open("a") as letters:
            print(json.dumps(letter), file=letters)
        if envelope.rcpt_tos[0].startswith("lost") and self.first(envelope.rcpt_tos[0]):
            server.transport.abort()
        return "250 OK"


def sign_in(server, session, envelope, mechanism, data):
    """One user, one password."""
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"relay", b"geheim")
    return AuthResult(success=known, handled=False, auth_data=data)


def certificate():
    """A context with a fresh certificate."""
    authority = FOLDER / "authority.pem"
    if authority.exists():
        ca = trustme.CA.from_pem((FOLDER / "ca.pem").read_bytes(), authority.read_bytes())
    else:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(FOLDER / "ca.pem")
        ca.private_key_pem.write_to_path(authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def main():
    loop = asyncio.get_running_loop()
    context = None if SECURITY == "plain" else certificate()
    starttls = SECURITY == "starttls"
    settings = {"hostname": "127.0.0.1", "authenticator": sign_in, "auth_required": True, "loop": loop}
    settings.update(tls_context=context if starttls else None, require_starttls=starttls, auth_require_tls=starttls)
    handler = Handler()
    server = await loop.create_server(
        lambda: SMTP(handler, **settings), "127.0.0.1", PORT, ssl=context if SECURITY == "tls" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
