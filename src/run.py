"""`python -m disentangle`, of which Python 3.10 would take modules from the caller's folder first."""

import runpy

runpy.run_module("disentangle", run_name="__main__", alter_sys=True)
