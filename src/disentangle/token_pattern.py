"""Which regular expressions of a word are taken: those that no text can keep busy for ever."""

from __future__ import annotations

import re

from .errors import DisentangleError

_LONGEST = 1000
# Repeats of variable length multiply the ways in which a text is tried.
_MOST_REPEATS = 3
# More of one atom than this counts as endless.
_MANY = 9
_ITEM = re.compile(
    r"""
    (?P<place> \\[bB] | \^ | \$ | \(\?: | \( | \)(?![*+?{]) )
    | (?P<atom> \\[wWdDsStnr] | \\[^0-9A-Za-z] | \[\^?\]?(?:\\.|[^\]\\])*\] | [^\\\[\](){}*+?|^$] )
      (?P<repeat> [*+?] | \{[0-9]{1,4}(?:,[0-9]{0,4})?\} )? \??
    """,
    re.VERBOSE | re.DOTALL,
)
_FLAGS = re.compile(r"\(\?[aiu]+\)")


def check_pattern(pattern: str) -> None:
    """Raise DisentangleError unless a pattern of words is plain enough.

    Python's matching goes back and tries again whatever may match in several ways; what is nested, or
    repeated side by side, multiplies, and meanwhile no signal is answered. So characters, classes and one
    group are taken, each character or class repeated or not; no alternatives, nothing that looks around or
    back, no repeated group, few repeats, and behind an endless one nothing that could fail to match what it
    took.
    """
    shown = repr(pattern if len(pattern) <= 60 else f"{pattern[:57]}...")
    try:
        groups = re.compile(pattern).groups if len(pattern) <= _LONGEST else 0
    except (re.error, OverflowError, RecursionError) as error:
        raise DisentangleError(
            f"--token-pattern must be a regular expression, got {shown}: {error}"
        ) from error
    if groups > 1:
        raise DisentangleError(f"--token-pattern must have at most one group, got {groups}")
    if len(pattern) > _LONGEST or not _is_plain(pattern):
        raise DisentangleError(
            "--token-pattern must be made of characters and classes, at most three of them repeated "
            "(* + ? {m,n}) and the last of them alone without end, without alternatives, repeated groups or "
            f"looking around, got {shown}"
        )


def _is_plain(pattern: str) -> bool:
    flags = _FLAGS.match(pattern)
    at = flags.end() if flags else 0
    n_repeats, is_after_endless = 0, False
    while at < len(pattern):
        if (item := _ITEM.match(pattern, at)) is None:
            return False
        at = item.end()
        repeat = item["repeat"] or ""
        low, comma, high = repeat.strip("{}").partition(",")
        is_variable = repeat in ("*", "+", "?") or (comma and low != high)
        if is_after_endless and item["atom"] and repeat != "?":
            return False
        n_repeats += bool(is_variable)
        is_endless = repeat in ("*", "+") or not high or int(high) > _MANY
        is_after_endless |= bool(is_variable) and repeat != "?" and is_endless
    return n_repeats <= _MOST_REPEATS
