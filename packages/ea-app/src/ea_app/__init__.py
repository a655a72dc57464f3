"""Generate videos from the command line or Python, with a small model in the box."""
