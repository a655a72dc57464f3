"""Files of strangers are opened in a process of its own, with little memory and little time.

What a decoder does with a hostile file stays there: when the process ends or takes too long, the file is
refused and the next one gets a new process.
"""

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

from ea_app.api.intake import MAX_VOLUME
from ea_app.options import InputError
from ea_data.media import MediaInfo

SECONDS: Final = 10.0
MEMORY: Final = 400 * 2**20
_START_SECONDS: Final = 120.0
_END_SECONDS: Final = 5.0


class Reader:
    """Looks at files, one at a time. The process starts with the first, and ends with this one.

    Args:
        seconds: That a file may take.
        memory: Bytes that it may take beyond those of the libraries (Linux).
    """

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Start the process, so that nobody waits for it."""
        with self._lock:
            self._running()

    def examine(self, path: Path, field: str, *, max_volume: int = MAX_VOLUME) -> MediaInfo:
        """What a file is, see `ea_app.api.intake.examine`.

        Raises:
            InputError: What is wrong or too much, and what is allowed.
        """
        return MediaInfo(**self._ask({"do": "examine", "path": str(path), "volume": max_volume}, field))

    def picture(self, path: Path, field: str, *, side: int, signal: str = "") -> bytes:
        """The picture, or the first frame of a video, as a JPEG.

        Args:
            path: The file.
            field: The option that it is for.
            side: Pixels of the longer side, at most.
            signal: A kind of control signal that is made of it first, see `ea_data.control.kinds`.

        Raises:
            InputError: It cannot be read, or the signal cannot be made.
        """
        asked = {"do": "picture", "path": str(path), "volume": MAX_VOLUME, "side": side, "signal": signal}
        return base64.b64decode(self._ask(asked, field)["jpeg"])

    def note(self, path: Path, field: str) -> str | None:
        """The text inside a file, or inside the first picture of a zip file; None when there is none.

        Raises:
            InputError: It cannot be read.
        """
        return self._ask({"do": "note", "path": str(path), "volume": MAX_VOLUME}, field)["note"]

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, message: dict[str, Any], field: str) -> dict[str, Any]:
        with self._lock:
            answer = self._answer(self._running(), message, self._seconds)
            if answer is None:
                self._end()
                raise InputError(field, "cannot be read with the time and memory that a file may take")
        if "refused" in answer:
            raise InputError(field, answer["refused"])
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                # -P: a file in the present folder is no module of ours.
                [sys.executable, "-P", "-m", "ea_app.web.reading", str(self._memory), str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            if self._answer(self._process, {"do": "start"}, _START_SECONDS) is None:
                self._end()
                raise RuntimeError("the process that reads files does not start")
        return self._process

    @staticmethod
    def _answer(
        process: subprocess.Popen[bytes], message: dict[str, Any], seconds: float
    ) -> dict[str, Any] | None:
        """The answer of the process; None where it ended, or had to be ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(seconds, process.kill)
        alarm.start()
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:  # it has ended
            return None
        finally:
            alarm.cancel()
        return json.loads(line) if line.endswith(b"\n") else None

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait(_END_SECONDS)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
