"""Requests that break the rules: of HTTP, of the API, of JSON, of UTF-8, of what there is."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_NUMBERS = ("-1", "x", "", "nan", "inf", "-inf", "1e999", "9" * 5000, "0x10", "\x00", "%ff", "1.5.2", "٣٣٣٣")
_VALUES: tuple[Any, ...] = (
    None,
    7,
    -1.5,
    True,
    [],
    {},
    [[]],
    "x",
    "\ud800",
    {"text": None},
    {"text": ["x"]},
    10**400,
)
_METHODS = ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FETCH")


def malformed(project: str, n: int, seed: int = 0) -> Iterator[bytes]:
    """Bytes to send, each to a connection of its own; some are the beginning of a request only.

    Parameters
    ----------
    project : str
        One that the server has.
    n, seed : int
    """
    rng = random.Random(seed)
    ways = (_raw, _wrong_path, _wrong_form, _wrong_json, _wrong_options, _wrong_length, _damaged)
    for i in range(n):
        yield ways[i % len(ways)](rng, f"/v1/projects/{project}")


def request(path: str, body: bytes, kind: str, method: str = "POST", length: str | None = None) -> bytes:
    """A request by the rules, if what is in it is."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def _raw(rng: random.Random, place: str) -> bytes:
    return rng.randbytes(rng.randrange(1, 400)) + b"\r\n\r\n"


def _wrong_path(rng: random.Random, place: str) -> bytes:
    other = quote(rng.randbytes(rng.randrange(1, 30)))
    paths = (
        f"/{other}",
        f"/v1/projects/{other}",
        f"{place}/{other}",
        f"/v1/projects/{other}/suggest",
        "/v1//",
    )
    return request(rng.choice(paths), b"text=x", _FORM, rng.choice(_METHODS))


def _wrong_form(rng: random.Random, place: str) -> bytes:
    bodies = (
        b"",
        b"txt=x",
        b"text=x&text=y",
        b"text=%ff%fe",
        b"text=\xff\xfe",
        b"&".join(b"f%d=x" % i for i in range(200)),
        rng.randbytes(200),
        b"text=x&language=xx",
    )
    kind = rng.choice((_FORM, _FORM, _JSON, "text/plain", "multipart/form-data; boundary=x", ""))
    return request(f"{place}/suggest", rng.choice(bodies), kind)


def _wrong_json(rng: random.Random, place: str) -> bytes:
    value = rng.choice(_VALUES)
    bodies = (
        b"[" * rng.randrange(1, 100_000),
        b'{"documents":' * 1000,
        b"\xff\xfe\x00",
        b"NaN",
        json.dumps(value).encode(),
        json.dumps({"documents": value}).encode(),
        json.dumps({"documents": [value]}).encode(),
        json.dumps({"documents": [{"text": value, "document_id": 7}]}).encode(),
        json.dumps({"documents": [{"text": "x"}] * 33}).encode(),
        b'{"documents": [{"text": ' + b"9" * 5000 + b"}]}",
    )
    return request(f"{place}/suggest-batch", rng.choice(bodies), rng.choice((_JSON, _JSON, _FORM)))


def _wrong_options(rng: random.Random, place: str) -> bytes:
    name, value = rng.choice(("limit", "threshold", "language")), rng.choice(_NUMBERS)
    if rng.random() < 0.5:
        return request(f"{place}/suggest", f"text=x&{name}={quote(value)}".encode(), _FORM)
    body = json.dumps({"documents": [{"text": "x"}]}).encode()
    return request(f"{place}/suggest-batch?{name}={quote(value)}", body, _JSON)


def _wrong_length(rng: random.Random, place: str) -> bytes:
    length = rng.choice(("-1", "x", "99999999999999999999999", "1000", "", "0x7"))
    return request(f"{place}/suggest", b"text=x", _FORM, length=length)


def _damaged(rng: random.Random, place: str) -> bytes:
    """A right request with some bytes changed, or its end cut off."""
    sent = bytearray(request(f"{place}/suggest", b"text=to+walk&limit=3", _FORM))
    for _ in range(rng.randrange(1, 6)):
        sent[rng.randrange(len(sent))] = rng.randrange(256)
    return bytes(sent[: rng.randrange(1, len(sent) + 1)])
