"""Addresses: what is shown and kept of them, where files and redirects are."""

from __future__ import annotations

import pytest

from disentangle.data import urls
from disentangle.errors import DisentangleError


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


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b", "https://host/b"),
        ("b?c=%20#d", "https://host/b?c=%20#d"),
        ("//other/b", "https://other/b"),
        ("https://you:pw@other/b", "https://you:pw@other/b"),
        ("https://[::1]:8/b", "https://[::1]:8/b"),
        ("/a b\x1b\n\xe9", "https://host/a%20b%1B%0A%E9"),
        ("", "https://host/a"),
    ],
)
def test_a_redirect_leads_somewhere(location: str, target: str):
    assert urls.redirected("https://me:pw@host/a", location) == target


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://host/b", "redirects to 'http://host/b', expected an https URL"),
        ("http://me:pw@host/b?t", r"redirects to 'http://host/b\?\.\.\.', expected an https URL"),
        ("file:///etc/passwd", "redirects to 'file:///etc/passwd', expected an https URL"),
        ("data:text/plain,x", "expected an https URL"),
        ("ftp://host/b", "expected an https URL"),
        ("https://[", "expected an https URL"),
        ("https://h:port/", "expected an https URL"),
    ],
)
def test_a_redirect_leads_nowhere(location: str, message: str):
    with pytest.raises(DisentangleError, match=message):
        urls.redirected("https://me:pw@host/a", location)


def test_a_redirect_of_http_names_both():
    with pytest.raises(DisentangleError, match="'ftp://h/', expected an http or https URL"):
        urls.redirected("http://host/a", "ftp://h/")


def test_http_may_lead_to_https():
    assert urls.redirected("http://host/a", "https://host/a") == "https://host/a"
