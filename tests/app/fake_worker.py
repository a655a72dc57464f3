"""Workers that are threads and make nothing: what stands before them is tested in milliseconds."""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
from pathlib import Path

STEP_SECONDS = 0.01
JPEG = b"\xff\xd8\xff\xe0 no picture"


class FakeProcess:
    """Follows the protocol of a worker. A prompt with "slow" takes as long as its steps, "fail" fails.

    The file that it writes is the clip of the class and then the prompt, so that answers can be told apart.
    """

    clip: Path
    running = 0
    most_running = 0
    order: list[str]
    _lock = threading.Lock()

    def __init__(self, number, folder, memory_limit, on_message):
        self.number, self.pid = number, 1_000_000 + number
        self.ready = self.was_ready = False
        self._on_message = on_message
        self._work = queue.SimpleQueue()
        self._cancelled = set()
        self._dead = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, message):
        if message["do"] == "cancel":
            self._cancelled.add(message["id"])
        else:
            self._work.put(message)
        return not self._dead.is_set()

    def kill(self):
        self._dead.set()
        self._work.put({"do": "stop"})

    def end(self):
        self.kill()

    def how_it_ended(self):
        return "its worker process ended with exit code 1"

    def _run(self):
        self._on_message(self, {"is": "ready"})
        while (message := self._work.get())["do"] != "stop":
            if message["do"] == "run":
                cls = type(self)
                with self._lock:
                    cls.running += 1
                    cls.most_running = max(cls.most_running, cls.running)
                    cls.order.append(message["task"]["id"])
                last = self._job(message["task"])
                with self._lock:
                    cls.running -= 1
                if not self._dead.is_set():
                    self._on_message(self, last)
        self._on_message(self, None)

    def _job(self, task):
        folder = Path(task["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "preview.jpg").write_bytes(JPEG)
        steps = int(task["options"].get("steps", 2))
        for step in range(steps + 1):
            if task["id"] in self._cancelled or self._dead.is_set():
                return {"is": "cancelled", "id": task["id"]}
            self._tell(task, "denoise", step, steps)
            time.sleep(STEP_SECONDS if "slow" in task["prompt"] else 0)
        if "fail" in task["prompt"]:
            text = f"sampler: must be another, see {folder}"
            return {"is": "failed", "id": task["id"], "reason": "mistake", "error": text, "field": "sampler"}
        self._tell(task, "save", 0, 1)
        output = Path(task["output"])
        output.write_bytes(self.clip.read_bytes() + task["prompt"].encode())
        width, height = task["options"].get("size", (32, 32))
        frames = task["options"].get("frames", 5)
        request = {"width": width, "height": height, "num_frames": frames, "fps": 8, "prompt": task["prompt"]}
        record = {"request": request}
        Path(f"{output}.json").write_text(json.dumps(record))
        shutil.copy(folder / "preview.jpg", folder / "thumbnail.jpg")
        return {"is": "done", "id": task["id"], "timings": {"job": 0.5}, "record": record}

    def _tell(self, task, stage, step, total):
        told = {"is": "progress", "id": task["id"], "stage": stage, "step": step, "total": total}
        self._on_message(self, {**told, "remaining": 1.5 if step else None, "preview": stage == "denoise"})
