"""Exit 0 if this is CPython 3.10-3.12 with exactly the packages that requirements files pin, else 1.

Usage: python check_lock.py FILE...

It has to start under the Pythons that it turns down, hence the late import.
"""

import sys


def is_installed(line: str) -> bool:
    """Whether the pin of one line ("name==version", a marker, a comment) holds here or does not apply."""
    from importlib import metadata

    pin, _, marker = line.partition("#")[0].partition(";")
    if not pin.strip() or (marker.strip() == 'python_version < "3.11"' and sys.version_info >= (3, 11)):
        return True
    name, _, version = pin.strip().partition("==")
    try:
        return metadata.version(name) == version
    except metadata.PackageNotFoundError:
        return False


def is_satisfied(paths: list) -> bool:
    """Whether this interpreter and its packages are those of the files."""
    if sys.version_info[:2] not in ((3, 10), (3, 11), (3, 12)) or sys.implementation.name != "cpython":
        return False
    return all(is_installed(line) for path in paths for line in open(path))


if __name__ == "__main__":
    sys.exit(not is_satisfied(sys.argv[1:]))
