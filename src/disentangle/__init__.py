"""Label disentanglement in partition-based extreme multi-label classification, on PECOS's XR-Linear."""

__version__ = "0.15.0"
