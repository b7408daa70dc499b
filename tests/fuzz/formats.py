"""Texts of our own formats, which Schemathesis does not know; src/http/request/text.rs says what they are."""

from string import ascii_letters, digits

import schemathesis
from hypothesis import strategies

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SEEN = strategies.sampled_from(ascii_letters + digits + "äöüß.,;!?")
CODES = strategies.text(digits, min_size=6, max_size=6) | strategies.text(CROCKFORD, min_size=12, max_size=12)
ZONES = ["Africa/Nairobi", "America/New_York", "Asia/Kolkata", "Australia/Sydney", "Europe/Berlin", "UTC"]

schemathesis.openapi.format("sign-in-code", CODES)
schemathesis.openapi.format("time-zone", strategies.sampled_from(ZONES))
schemathesis.openapi.format("reason", strategies.text(SEEN, min_size=10, max_size=500))
schemathesis.openapi.format("own-words", strategies.text(SEEN, max_size=1000))
