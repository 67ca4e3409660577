"""PECOS's XR-Transformer, trained from a local encoder; needs torch and an older transformers."""
