"""`train_reward_lora.py` of EasyAnimate with its own flags: `-m ea_train.compat.train_reward_lora FLAGS`."""

import sys

from ea_train.compat.running import main

if __name__ == "__main__":
    sys.exit(main("train_reward_lora"))
