"""The groups of controls, one module each."""
