"""From rows to batches: the order of batches, the shape of each, and their assembly."""
