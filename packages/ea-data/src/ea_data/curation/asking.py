"""What stages that ask a chat server have in common: its address, patience, and files of words."""

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from PIL import Image

from ea_data.curation.chat import ChatClient
from ea_data.curation.ranges import check_ranges
from ea_data.curation.reading import Pixels, scaled
from ea_data.curation.stage import Item
from ea_data.media.errors import media_errors

__all__ = ["WAYS", "ServerOptions", "asked_at_once", "picture_part", "prompt_text"]

WAYS: Final = ("url", "timeout", "attempts", "pause", "concurrency")
_MOST_PROMPT: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """A server and how patient to be with it.

    Attributes:
        url: Of an API of OpenAI's protocol. Its key comes from the environment variable EA_CAPTION_API_KEY.
        model: Its name there.
        prompt: `en` or `zh` for the words that come with this package, or a text file.
        temperature: 0 to 2.
        max_tokens: Longest answer.
        timeout: Seconds for each attempt.
        attempts: How often to ask.
        pause: Seconds before the second attempt; twice as long before each further one.
        concurrency: Questions of one process that are on their way at once.
    """

    url: str = "http://127.0.0.1:8000/v1"
    model: str = "default"
    prompt: str = "en"
    temperature: float = 0.0
    max_tokens: int = 512
    timeout: float = 120.0
    attempts: int = 5
    pause: float = 1.0
    concurrency: int = 4

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(
            self,
            {
                "temperature": (0, 2),
                "max_tokens": (1, 1 << 20),
                "timeout": (0.01, 3600),
                "attempts": (1, 100),
                "pause": (0, 60),
                "concurrency": (1, 256),
            },
        )

    def client(self) -> ChatClient:
        """To ask with."""
        return ChatClient(
            self.url, self.model, timeout=self.timeout, attempts=self.attempts, pause=self.pause
        )


def prompt_text(kind: str, prompt: str) -> str:
    """The words of a question.

    Args:
        kind: `caption` or `rewrite`.
        prompt: `en`, `zh`, or a text file.

    Raises:
        ValueError: The file cannot be read, is empty, or too long.
    """
    if prompt in ("en", "zh"):
        shipped = resources.files("ea_data.curation") / "prompts" / f"{kind}-{prompt}.txt"
        return shipped.read_text(encoding="utf-8").strip()
    path = Path(prompt)
    with media_errors(path, "read"):
        text = path.read_text(encoding="utf-8").strip()
    if not 0 < len(text) <= _MOST_PROMPT:
        raise ValueError(f"prompt: {path} has {len(text)} characters; allowed: 1 to {_MOST_PROMPT}")
    return text


def asked_at_once(
    ask: Callable[[Item], dict[str, Any]], items: Sequence[Item], most: int
) -> list[dict[str, Any] | ValueError]:
    """Ask about several items at once; what no answer came for has the error in its place."""

    def one(item: Item) -> dict[str, Any] | ValueError:
        try:
            return ask(item)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(most) as pool:
        return list(pool.map(one, items))


def picture_part(frame: Pixels, side: int) -> dict[str, Any]:
    """A frame (H, W, 3) as a part of a message."""
    file = io.BytesIO()
    Image.fromarray(scaled(frame, side)).save(file, "JPEG", quality=90)
    data = base64.b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
