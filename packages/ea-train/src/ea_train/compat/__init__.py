"""The training commands of EasyAnimate and Open-Sora: their flags, and what becomes of them.

Each module named after a script runs it: `accelerate launch -m ea_train.compat.train_control FLAGS`.
"""
