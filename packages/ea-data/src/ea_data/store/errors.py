"""What can be wrong with a cache store, as errors that name it."""

__all__ = ["CacheError", "CorruptSampleError", "MissingSampleError"]


class CacheError(ValueError):
    """A store cannot be opened, read or written; one line that names the file and the reason."""


class MissingSampleError(CacheError):
    """A key has no sample in the store.

    Attributes:
        key: The key that was asked for.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class CorruptSampleError(CacheError):
    """A sample is in the store, and what is on disk is not what was written: torn, flipped or gone.

    Attributes:
        key: The key of the sample.
        shard: Name of the shard that holds it.
        reason: What is wrong, without names.
    """

    def __init__(self, key: str, shard: str, reason: str) -> None:
        super().__init__(f"sample {key} in shard {shard} is damaged: {reason}; make it again")
        self.key = key
        self.shard = shard
        self.reason = reason
