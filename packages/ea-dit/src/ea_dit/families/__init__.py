"""One folder per family of transformers; families never import each other."""
