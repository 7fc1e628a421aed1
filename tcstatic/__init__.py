"""Finds silent errors in PyTorch training: runs that do not crash, but train the wrong thing."""

__version__ = "0.1.0"

__all__ = ["__version__"]
