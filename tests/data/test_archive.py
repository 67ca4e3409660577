"""Unpacking: PECOS's layout comes out, and no hostile or damaged archive writes outside its folder."""

from __future__ import annotations

import errno
import gzip
import io
import os
import random
import resource
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.data import archive
from disentangle.data.archive import unpack
from disentangle.errors import DisentangleError
from disentangle.storage import space

FILES = {
    "Y.trn.npz": b"labels" * 300,
    "Y.tst.npz": b"",
    "tfidf-attnxml/X.trn.npz": bytes(range(256)) * 4,  # ends with a block
    "tfidf-attnxml/X.tst.npz": b"\0" * 700,
}

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def folder(name: str) -> Member:
    return member(name, kind=tarfile.DIRTYPE)


def files(prefix: str = "xmc-base/set/") -> list[Member]:
    return [member(prefix + name, content) for name, content in FILES.items()]


def pack(members: list[Member], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """The bytes of a tar with these headers, however odd."""
    blocks = []
    for info, content in members:
        header = info.tobuf(tar_format, "utf-8", "surrogateescape")
        blocks += [header, content, b"\0" * (-len(content) % tarfile.BLOCKSIZE)]
    return b"".join(blocks) + b"\0" * 2 * tarfile.BLOCKSIZE


class Bench:
    """A folder with an archive, and an empty one beside it to unpack to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.archive = root / "set.tar.gz"
        self.out = root / "out"
        self.out.mkdir()

    def unpack(self, content: bytes, name: str = "set") -> dict[str, bytes]:
        """What came out, by path; whatever is outside `out` has not changed."""
        self.archive.write_bytes(content)
        try:
            unpack(self.archive, self.out, name)
        finally:
            assert sorted(path.name for path in self.root.iterdir()) == ["out", "set.tar.gz"]
            assert self.archive.read_bytes() == content
        return self.content()

    def content(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.out)): path.read_bytes()
            for path in self.out.rglob("*")
            if path.is_file()
        }

    def message(self, content: bytes) -> str:
        with pytest.raises(DisentangleError) as caught:
            self.unpack(content)
        message = str(caught.value)
        assert message.isprintable()
        assert len(message) < 400
        return message


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    root = tmp_path / "bench"
    root.mkdir()
    return Bench(root)


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize(
    "members",
    [
        files(),
        files("set/"),
        files("./xmc-base/set/"),
        [*map(folder, ["xmc-base", "xmc-base/set", "xmc-base/set/tfidf-attnxml"]), *files()],
        [*map(folder, [".", "./set"]), *files("./set/"), folder("set/tfidf-attnxml")],
    ],
)
def test_the_leading_folders_are_stripped(bench: Bench, members: list[Member], tar_format: int):
    assert bench.unpack(gzip.compress(pack(members, tar_format))) == FILES


def test_what_tar_itself_packs_comes_out(bench: Bench, tmp_path: Path):
    source = tmp_path / "xmc-base" / "set"
    for name, content in (FILES | {f"{'long-' * 20}/{'name' * 30}": b"1"}).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", format=tar_format) as tar:
            tar.add(source.parent, "xmc-base")
        assert len(bench.unpack(packed.getvalue())) == len(FILES) + 1
        shutil.rmtree(bench.out / "tfidf-attnxml")
        shutil.rmtree(bench.out)
        bench.out.mkdir()


def test_global_pax_headers_and_several_gzip_members_are_fine(bench: Bench):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", pax_headers={"comment": "packed by hand"}) as tar:
        for info, content in files():
            tar.addfile(info, io.BytesIO(content))
    whole = packed.getvalue()
    assert bench.unpack(gzip.compress(whole[:700]) + gzip.compress(whole[700:]) + b"\0" * 100) == FILES


def test_permissions_owners_and_times_are_ignored(bench: Bench):
    odd = {"mode": 0o6777, "uid": 1, "gid": 1, "mtime": 1}
    info = member("set/a/b", b"1", **odd)
    bench.unpack(gzip.compress(pack([member("set/a", kind=tarfile.DIRTYPE, mode=0), info])))
    plain = bench.out / "plain"
    plain.touch()
    found, expected = (bench.out / "a" / "b").stat(), plain.stat()
    assert (found.st_mode, found.st_uid) == (expected.st_mode, expected.st_uid)
    assert found.st_mtime > 1e9


NAME = "expected a name of up to 255 printable characters without backslash"
PLACE = "expected something in xmc-base/set or set"
ONCE = "expected every file once, and none where a folder is"


KIND = "expected a plain file or folder, found another kind"


@pytest.mark.parametrize(
    ("members", "shown", "expected"),
    [
        ([member("/tmp/evil")], "'/tmp/evil'", PLACE),
        ([member("//set/evil")], "'//set/evil'", PLACE),
        ([member("../evil")], "'../evil'", PLACE),
        ([member("set/../../evil")], "'set/../../evil'", PLACE),
        ([member("xmc-base/set/../evil")], "'xmc-base/set/../evil'", PLACE),
        ([folder("set/..")], "'set/..'", PLACE),
        ([member("other/Y.trn.npz")], "'other/Y.trn.npz'", PLACE),
        ([member("xmc-base/other/Y.trn.npz")], "'xmc-base/other/Y.trn.npz'", PLACE),
        ([member("xmc-base/xmc-base/set/a")], "'xmc-base/xmc-base/set/a'", PLACE),
        ([member("settings")], "'settings'", PLACE),
        ([member("set")], "'set'", PLACE),
        ([member("xmc-base")], "'xmc-base'", PLACE),
        ([member("")], "''", PLACE),
        ([member("set/a", kind=tarfile.SYMTYPE, linkname="/etc")], "'set/a'", KIND),
        ([member("set/a", kind=tarfile.LNKTYPE, linkname="set/b")], "'set/a'", KIND),
        ([member("set/a", kind=tarfile.CHRTYPE)], "'set/a'", KIND),
        ([member("set/a", kind=tarfile.FIFOTYPE)], "'set/a'", KIND),
        ([member("set/a", kind=tarfile.CONTTYPE)], "'set/a'", KIND),
        ([member("set/a", kind=tarfile.GNUTYPE_SPARSE)], "'set/a'", KIND),
        ([member("set/a\\b")], r"'set/a\\b'", NAME),
        ([member("set/a\nb")], r"'set/a\nb'", NAME),
        ([member("set/\x1b[2J")], r"'set/\x1b[2J'", NAME),
        ([member("set/\u202egzn.x")], r"'set/\u202egzn.x'", NAME),
        ([member("set/\udcff")], r"'set/\udcff'", NAME),
        ([member(f"set/{'x' * 300}")], f"'set/{'x' * 56}...'", NAME),
        ([member("set/" + "d/" * 200)], f"'set/{'d/' * 28}...'", NAME),
        ([member("set/a", b"1"), member("set/a", b"2")], "'set/a'", ONCE),
        ([member("set/a", b"1"), member("xmc-base/set/./a", b"2")], "'xmc-base/set/./a'", ONCE),
        ([member("set/a/b"), member("set/a")], "'set/a'", ONCE),
        ([member("set/a"), member("set/a/b")], "'set/a/b'", ONCE),
        ([member("set/a"), member("set/a/b/c")], "'set/a/b/c'", ONCE),
        ([member("set/a"), folder("set/a")], "'set/a'", ONCE),
        ([member("set/a"), folder("set/a/b")], "'set/a/b'", ONCE),
    ],
)
def test_a_hostile_member_is_named(bench: Bench, members: list[Member], shown: str, expected: str):
    message = bench.message(gzip.compress(pack(members)))
    assert message == f"{bench.archive} is not unpacked because of {shown}: {expected}"


def with_pax(**headers: str) -> bytes:
    info, content = member("set/a", b"1")
    info.pax_headers = headers
    return pack([(info, content)], tarfile.PAX_FORMAT)


def test_a_pax_header_can_rename_no_further_than_a_plain_one(bench: Bench):
    assert bench.message(gzip.compress(with_pax(path="/tmp/evil"))).endswith(f"'/tmp/evil': {PLACE}")
    assert bench.message(gzip.compress(with_pax(path="set/a\0b"))).endswith(rf"'set/a\x00b': {NAME}")


def test_pax_sparse_files_are_refused(bench: Bench):
    sparse = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9999999999"}
    assert bench.message(gzip.compress(with_pax(**sparse))).endswith(KIND)


def test_not_more_members_than_allowed(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 4)
    assert bench.unpack(gzip.compress(pack(files()))) == FILES
    shutil.rmtree(bench.out)
    bench.out.mkdir()
    message = bench.message(gzip.compress(pack([*files(), folder("set")])))
    assert message == f"{bench.archive} holds more than 4 files and folders"


def claim(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that claims a size, and nothing behind it."""
    return member("set/a", kind=kind, size=size)[0].tobuf(tarfile.GNU_FORMAT)


ZEROS = b"\0" * (4 << 20)


@pytest.mark.parametrize(
    "tar",
    [
        pack([member("set/a", ZEROS)]),
        pack([member("set/a", b"1")]) + ZEROS,
        claim(8 << 30) + ZEROS,
    ],
    ids=["one file", "behind the end", "a size without content"],
)
def test_what_unpacks_to_more_than_20_times_its_size(
    bench: Bench, tar: bytes, monkeypatch: pytest.MonkeyPatch
):
    # Also where the disk has no room for what is claimed.
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    packed = gzip.compress(tar)
    assert bench.message(packed) == f"{bench.archive} unpacks to more than 20 times its size"
    assert sum(map(len, bench.content().values())) <= 20 * len(packed) + (1 << 20)


WHOLE = pack(files())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (gzip.compress(b""), "empty file"),
        (b"<html>not found</html>", "Not a gzipped file (b'<h')"),
        (WHOLE, "Not a gzipped file (b'xm')"),
        (gzip.compress(b"no tar" * 500), "truncated header|bad checksum|invalid header"),
        (gzip.compress(b"short"), "truncated header"),
        (gzip.compress(WHOLE)[:-1], "Compressed file ended before the end-of-stream marker was reached"),
        (gzip.compress(WHOLE)[:100], "Compressed file ended before the end-of-stream marker was reached"),
        (gzip.compress(WHOLE) + b"more", "Not a gzipped file (b'mo')"),
        (gzip.compress(WHOLE)[:-8] + b"12345678", "CRC check failed"),
        (gzip.compress(WHOLE[:1000]), "unexpected end of data"),
        (gzip.compress(with_pax(**{"GNU.sparse.map": "x" * 5000})), "invalid literal"),
        (
            gzip.compress(claim(0, tarfile.GNUTYPE_LONGNAME) * 3000 + random.Random(1).randbytes(1 << 16)),
            "recursion",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_archive(bench: Bench, content: bytes, reason: str):
    start = f"{bench.archive} is damaged or no .tar.gz archive: "
    message = bench.message(content)
    assert message.startswith(start)
    assert any(part in message.removeprefix(start) for part in reason.split("|"))


def test_no_archive(tmp_path: Path):
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(DisentangleError) as caught:
            unpack(path, tmp_path, "set")
        assert str(caught.value) == f"cannot read {path}: {reason}"


def test_a_file_that_cannot_be_written(bench: Bench):
    # The kernel refuses to let a file grow, here, as it does on a full disk.
    content = gzip.compress(pack([member("set/a", random.Random(1).randbytes(1 << 16))]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    bench.archive.write_bytes(content)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, limits[1]))
    try:
        with pytest.raises(DisentangleError) as caught:
            unpack(bench.archive, bench.out, "set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == f"cannot write {bench.out / 'a'}: {os.strerror(errno.EFBIG)}"


def test_a_name_that_the_disk_does_not_take(bench: Bench):
    message = bench.message(gzip.compress(pack([member(f"set/{'é' * 200}")])))
    assert message.endswith(f"expected a name that {bench.out} takes")


def test_a_reserve_stays_free(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    usage = SimpleNamespace(free=space.RESERVE + 1000)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage)
    content = random.Random(1).randbytes(1001)
    message = bench.message(gzip.compress(pack([member("set/a", content[1:]), member("set/b", content)])))
    assert message.startswith(f"not enough space in {bench.out}: 'set/b' needs 1.0 kB, 128.0 MB is free")
    assert bench.content() == {"a": content[1:]}


def unpacks_or_complains(bench: Bench, content: bytes) -> None:
    shutil.rmtree(bench.out)
    bench.out.mkdir()
    with suppress(DisentangleError):
        bench.unpack(content)


Fuzz = Callable[[bytes], None]


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    bench = Bench(tmp_path_factory.mktemp("fuzz"))
    return lambda content: unpacks_or_complains(bench, content)


@settings(max_examples=100)
@given(content=st.binary(max_size=2000))
def test_any_bytes(fuzz: Fuzz, content: bytes):
    fuzz(content)
    fuzz(gzip.compress(content))


VALID = [
    pack(files()),
    pack([*files(), member(f"set/{'n' * 120}", b"1")]),
    pack([*files(), member(f"set/{'n' * 120}", b"1")], tarfile.PAX_FORMAT),
]


@settings(max_examples=200)
@given(data=st.data())
def test_any_damage(fuzz: Fuzz, data: st.DataObject):
    inside = data.draw(st.booleans(), "damage the tar, not its compressed form")
    tar = data.draw(st.sampled_from(VALID))
    content = bytearray(tar if inside else gzip.compress(tar, mtime=0))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    end = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    fuzz(gzip.compress(content[:end]) if inside else bytes(content[:end]))
