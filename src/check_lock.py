"""Exit 0 if this is CPython 3.10-3.14 with exactly the packages that requirements files pin, else 1.

Usage: python check_lock.py FILE...

It has to start under the Pythons that it turns down, hence the late imports.
"""

import sys


def is_installed(line: str) -> bool:
    """Whether the pin of one line ("name==version ; marker") holds here or does not apply."""
    from importlib import metadata

    from packaging.requirements import Requirement  # one of the packages that are pinned

    pin = Requirement(line)
    if pin.marker is not None and not pin.marker.evaluate():
        return True
    try:
        return pin.specifier.contains(metadata.version(pin.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def read_lines(path: str) -> list:
    """The lines of a file."""
    with open(path) as file:
        return file.readlines()


def is_satisfied(paths: list) -> bool:
    """Whether this interpreter and its packages are those of the files."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 14) or sys.implementation.name != "cpython":
        return False
    lines = (line.partition("#")[0].strip(" \\\n") for path in paths for line in read_lines(path))
    return all(is_installed(line) for line in lines if line and not line.startswith("-"))


if __name__ == "__main__":
    try:
        sys.exit(not is_satisfied(sys.argv[1:]))
    except ImportError:
        sys.exit(1)
