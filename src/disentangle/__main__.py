"""`python -m disentangle`."""

import signal

if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    # Until the command runs there is nothing to tidy up, and Ctrl-C should end it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from .cli.main import main

main()
