"""What can be wrong with a manifest, and with one of its rows."""

__all__ = ["ManifestError", "RowError"]


class ManifestError(ValueError):
    """A manifest cannot be used; one line per problem, each beginning with file:line."""


class RowError(ValueError):
    """What is wrong with a row."""
