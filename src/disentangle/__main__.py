"""`python -m disentangle`."""

from .cli import main

main()
