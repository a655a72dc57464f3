"""The stages, each in a module of its own."""
