"""Jobs that are queued, run in processes of their own, survive whatever ends those, and are remembered.

`Supervisor` runs them and is what a server or an interface holds; `JobReader` reads the same folder from any
process. None of this imports torch: that is the workers' business.
"""

from ea_app.jobs.errors import JobsError, NoSuchJobError, OwnedError, QueueFullError, StoreError
from ea_app.jobs.folders import default_state_folder
from ea_app.jobs.pruning import Bounds
from ea_app.jobs.settings import Settings
from ea_app.jobs.states import Reason, State
from ea_app.jobs.store import JobReader, JobStore
from ea_app.jobs.supervisor import Supervisor
from ea_app.jobs.view import JobView

__all__ = [
    "Bounds",
    "JobReader",
    "JobStore",
    "JobView",
    "JobsError",
    "NoSuchJobError",
    "OwnedError",
    "QueueFullError",
    "Reason",
    "Settings",
    "State",
    "StoreError",
    "Supervisor",
    "default_state_folder",
]
