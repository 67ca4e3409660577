"""What a terminal would obey is not written, and what UTF-8 has not costs no output."""

import subprocess
import sys

from conftest import ROOT

from disentangle.runtime.terminal import shown


def test_what_breaks_or_turns_a_line_is_replaced():
    assert shown("a\x1b[31m\x9b\n\u2028\u202eb\u2066") == "a\ufffd[31m\ufffd\ufffd\ufffd\ufffdb\ufffd"
    # Joiners and letters from right to left are text.
    kept = "\u05d0\u0645\u200c\u06cc \U0001f469\u200d\U0001f4bb"
    assert shown(kept) == kept


def test_half_a_surrogate_pair_is_replaced():
    code = (
        "from disentangle.runtime.terminal import standard_output\n"
        "with standard_output() as file:\n    file.write('a\\ud800b\\u05d0')"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, check=True)
    assert result.stdout.decode() == "a?b\u05d0"
