"""Jobs of a Lazaret server: ask, wait, follow, take home."""

from .client import ApiError, Lazaret, WaitTimeout

__all__ = ["ApiError", "Lazaret", "WaitTimeout"]
