"""`scripts/train.py` of Open-Sora with its own flags: `-m ea_train.compat.train_opensora CONFIG FLAGS`."""

import sys

from ea_train.compat.running import main

if __name__ == "__main__":
    sys.exit(main("opensora"))
