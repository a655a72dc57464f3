"""From the rows of a manifest to batches: recipes, the order of batches, their shapes, and their files."""
