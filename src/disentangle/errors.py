"""The one exception for whatever the user can fix."""


class DisentangleError(ValueError):
    """A condition the user can fix; its message is one sentence: what, where, expected, found."""
