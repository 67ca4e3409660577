"""How much a server takes on."""

from __future__ import annotations

from dataclasses import dataclass

from ..limits import limited


@dataclass(frozen=True)
class ServeParams:
    """Limits of a server; whatever is beyond one is refused at once."""

    port: int = limited(8000, 0, 65535, words="port; 0 takes a free one")
    concurrency: int = limited(64, 1, words="requests read or answered at one time; more get 503 at once")
    max_body: float = limited(4.0, 0.0, 1024.0, is_open=True, words="MiB of a request's body; more get 413")
    timeout: int = limited(
        30, 1, 86400, words="seconds to read a body, and to answer it; more get 408 and 503"
    )

    @property
    def max_bytes(self) -> int:
        """Of a request's body."""
        return int(self.max_body * 2**20)
