"""Which regular expressions of a word are taken: those that no text can keep busy for ever."""

from __future__ import annotations

import re

from .errors import DisentangleError

_LONGEST = 1000
# How many repeats of variable length a pattern may have, since a text is tried in as many ways as they
# multiply to: in all, of those without a bound, and of those without a bound if one matches blanks, and so
# whole texts.
_MOST_REPEATS, _MOST_ENDLESS, _MOST_ENDLESS_IN_TEXTS = 3, 2, 1
_ITEM = re.compile(
    r"""
    (?P<place> \\[bB] | \^ | \$ | \(\?: | \( | \)(?![*+?{]) )
    | (?P<atom> \\[wWdDsStnr] | \\[^0-9A-Za-z] | \[\^?\]?(?:\\.|[^\]\\])*\] | [^\\\[\](){}*+?|^$] )
      (?P<repeat> [*+?] | \{[0-9]{1,4}(?:,[0-9]{0,4})?\} )? \??
    """,
    re.VERBOSE | re.DOTALL,
)
_FLAGS = re.compile(r"\(\?[aiu]+\)")
_BLANKS = " \t\n\u00a0\u3000"


def check_pattern(pattern: str) -> None:
    """Raise DisentangleError unless a pattern of words is plain enough.

    Python's matching goes back and tries again whatever may match in several ways; what is nested, or
    repeated side by side, multiplies. So characters, classes and one group are taken, each character or class
    repeated or not; no alternatives, nothing that looks around or back, no repeated group, and few repeats.
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
            f"(* + ? {{m,n}}), without alternatives, repeated groups or looking around, got {shown}"
        )


def _is_plain(pattern: str) -> bool:
    flags = _FLAGS.match(pattern)
    at = flags.end() if flags else 0
    n_repeats = n_endless = 0
    is_of_texts = False
    while at < len(pattern):
        if (item := _ITEM.match(pattern, at)) is None:
            return False
        at = item.end()
        repeat = item["repeat"] or ""
        low, comma, high = repeat.strip("{}").partition(",")
        is_variable = repeat in ("*", "+", "?") or (comma and low != high)
        is_endless = repeat in ("*", "+") or (comma and not high) or (high.isdigit() and int(high) > 9)
        n_repeats += bool(is_variable)
        if is_variable and is_endless:
            n_endless += 1
            is_of_texts |= any(re.fullmatch(item["atom"], blank) for blank in _BLANKS)
    most = _MOST_ENDLESS_IN_TEXTS if is_of_texts else _MOST_ENDLESS
    return n_repeats <= _MOST_REPEATS and n_endless <= most
