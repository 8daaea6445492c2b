"""Exceptions that an embedder can get; a guest never causes one."""


class GicError(Exception):
    """Base of every error of this package."""


class ConfigError(GicError, ValueError):
    """A value given by the embedder is out of its documented range; the text names the value and the limit."""


class HotplugError(GicError, RuntimeError):
    """A plug or unplug was refused or failed; the machine is as it was before."""


class SnapshotError(GicError, ValueError):
    """A saved state cannot be restored here."""
