"""Control signals that networks make: where weights come from, and how each network is run."""

__all__: list[str] = []
