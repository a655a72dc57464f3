"""The block loop."""
