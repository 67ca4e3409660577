"""Addresses: what is shown and kept of them, and where files are."""

from __future__ import annotations

import pytest

from disentangle.data import urls


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host/a@b/c", "http://host/a@b/c"),
        ("http://me:pw@host:80/a", "http://host:80/a"),
        ("http://me@host", "http://host"),
        ("http://m@e:p@w@host/", "http://host/"),
        ("http://me:pw@[::1]:80/a", "http://[::1]:80/a"),
        ("HTTPS://me:pw@host/a?t=1#f", "HTTPS://host/a?..."),
        ("http://host/a#me@f", "http://host/a#..."),
        ("ftp://me:pw@host/a", "ftp://host/a"),
        ("http://me:p/w@host/", "http:..."),
        ("http:/me:pw@host/", "http:..."),
        ("http://[::1", "http://[::1"),
        ("set.bin", "set.bin"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str):
    assert urls.shown(url) == shown
    assert urls.shown(shown) == shown


def test_an_identity_tells_queries_apart_and_users_not():
    plain = urls.identity("http://me:pw@host/a#f")
    assert plain == urls.identity("http://you@host/a") == "http://host/a"
    one, two = (urls.identity(f"http://host/a?{query}") for query in ("t=1", "t=2"))
    assert len({plain, one, two}) == 3
    assert one == urls.identity("http://me:pw@host/a?t=1")
    assert "t=1" not in one


@pytest.mark.parametrize(
    ("folder", "url"),
    [
        ("http://host", "http://host/x"),
        ("http://me:pw@host/a b//", "http://me:pw@host/a b/x"),
        ("http://host/a?sig=1/2", "http://host/a/x?sig=1/2"),
        ("http://host/a/#f", "http://host/a/x"),
        ("http://[::1]:8/", "http://[::1]:8/x"),
    ],
)
def test_a_file_is_in_the_path(folder: str, url: str):
    assert urls.join(folder, "x") == url


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("http://host/", None),
        ("http://@host/", None),
        ("http://me@host/", (b"me", b"")),
        ("http://:pw@host/", (b"", b"pw")),
        ("http://m%40e:p%3aw@host/", (b"m@e", b"p:w")),
    ],
)
def test_credentials_are_decoded(url: str, credentials: tuple[bytes, bytes] | None):
    assert urls.credentials(url) == credentials
