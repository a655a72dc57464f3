"""Commands of `ea-train precompute` that are ended in the middle, or work side by side, each in its process.

`python fillings.py FOLDER OPTIONS` fills FOLDER/killed, FOLDER/stopped and FOLDER/shared and prints, as JSON,
how each command ended. Each is a fork of this process, which has loaded torch and never computes: a process
that has used autograd cannot be forked.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import transformers.modeling_utils  # noqa: F401  for all children at once

from ea_train import cli
from ea_train.encoded import writing
from ea_train.filling import run as filling

TEXTS = 6
"""Captions come first: five of them and the empty one."""


def fork(cache, options, *, pauses=False):
    """A child that fills a store and publishes at once; one that `pauses` waits after its first batch."""
    if child := os.fork():
        return child
    try:
        os.dup2(os.open(f"{cache}.err", os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(2, 1)
        writing.EncodedWriter.__init__.__kwdefaults__.update(seconds=0.0)
        if pauses:
            _pause_after_a_batch()
        status = cli.main(["precompute", "finetune", *options, "--cache", str(cache)])
        sys.stdout.flush()
        os._exit(status)
    except BaseException as error:  # noqa: BLE001  a child ends here, whatever happened
        os.write(2, repr(error).encode())
        os._exit(99)


def _pause_after_a_batch():
    encode = filling._Filler._encode

    def slowly(self, encoders, batch):
        encode(self, encoders, batch)
        while not self._stop.made:
            time.sleep(0.01)

    filling._Filler._encode = slowly


def end_in_the_middle(child, cache, number):
    """Send a signal to a command once it has published part of a batch; how it ended."""
    while len(list(cache.glob("shards/*.manifest"))) <= TEXTS:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.01)
    else:
        os.kill(child, number)
    return end_of(child)


def end_of(child):
    """Its exit status, or minus the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder, options):
    """All of them."""
    killed, stopped = (fork(folder / name, options, pauses=True) for name in ("killed", "stopped"))
    both = [fork(folder / "shared", options) for _ in range(2)]
    ends = {
        "killed": end_in_the_middle(killed, folder / "killed", signal.SIGKILL),
        "stopped": end_in_the_middle(stopped, folder / "stopped", signal.SIGTERM),
        "shared": [end_of(child) for child in both],
    }
    print(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
