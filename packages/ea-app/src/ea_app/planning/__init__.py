"""What a request will need, said before anything is loaded: memory, arithmetic, time.

Nothing here imports torch. Sizes come from the configs of a model, memory and time from the formulas of
`transformer` and `autoencoder` and the speeds of `speeds.json`.
"""

from ea_app.planning.machine import Machine, find_machine
from ea_app.planning.planner import Plan, Stage, plan

__all__ = ["Machine", "Plan", "Stage", "find_machine", "plan"]
