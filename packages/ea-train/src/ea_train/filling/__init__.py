"""`ea-train precompute`: encode what a run is going to need, before it."""
