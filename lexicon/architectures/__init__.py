"""Architectures: how layers are put together."""

ENTRIES = ["mlp", "convolution"]
