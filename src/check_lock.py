"""Exit 0 if this Python has exactly the packages that requirements files pin, else 1.

Usage: python check_lock.py FILE...
"""

import sys
from importlib import metadata


def is_installed(line: str) -> bool:
    """Whether the pin of one line ("name==version ; marker") holds here or does not apply."""
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
    """Whether this interpreter's packages are those of the files."""
    lines = (line.partition("#")[0].strip(" \\\n") for path in paths for line in read_lines(path))
    return all(is_installed(line) for line in lines if line and not line.startswith("-"))


if __name__ == "__main__":
    try:
        sys.exit(not is_satisfied(sys.argv[1:]))
    except ImportError:
        sys.exit(1)
