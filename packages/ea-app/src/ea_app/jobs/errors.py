"""What front ends catch."""


class JobsError(Exception):
    """Something about jobs that is not a mistake in an option; the message is one line."""


class NoSuchJobError(JobsError):
    """There is no job of that id."""


class QueueFullError(JobsError):
    """As many jobs wait as may wait; later there is room again."""


class OwnedError(JobsError):
    """Another process runs the jobs of this folder."""


class StoreError(JobsError):
    """The file of the jobs cannot be read or written."""
