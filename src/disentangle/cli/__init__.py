"""The command line: arguments to one call."""

import sys

if sys.platform != "linux":
    print(f"error: disentangle needs Linux (x86_64 or aarch64), this is {sys.platform}", file=sys.stderr)
    raise SystemExit(2)
