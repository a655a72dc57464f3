"""Captions by a vision model behind any server of OpenAI's protocol: vLLM, SGLang, llama.cpp, a provider."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ea_data.curation.asking import WAYS, ServerOptions, asked_at_once, picture_part, prompt_text
from ea_data.curation.caption_text import cleaned
from ea_data.curation.frame_choice import choose_frames
from ea_data.curation.ranges import check_ranges
from ea_data.curation.reading import Pixels, opened
from ea_data.curation.stage import Item, ItemStage
from ea_data.media import read_image

__all__ = ["CaptionServer", "CaptionServerOptions"]


@dataclass(frozen=True, kw_only=True)
class CaptionServerOptions(ServerOptions):
    """What is asked, and of whom.

    Attributes:
        frames: Of a video that are sent, at equal distances, as released.
        side: Pixels of the longer side that they are scaled down to.
        keep_given: Whether a file that came with a text keeps it as its caption, and nobody is asked.
    """

    frames: int = 8
    side: int = 448
    keep_given: bool = False

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        super().__post_init__()
        check_ranges(self, {"frames": (1, 256), "side": (32, 4096)})


class CaptionServer(ItemStage[CaptionServerOptions]):
    """Sends frames, each with its number, and takes the answer as the caption."""

    name = "caption-server"
    summary = "captions by a vision model behind a server of OpenAI's protocol"
    options_type = CaptionServerOptions
    uses = ("text",)
    gives = ("caption", "tokens")
    ways: ClassVar = WAYS
    modules: ClassVar = ("cv2", "httpx")

    @property
    def batch_size(self) -> int:
        """As many as are on their way at once."""
        return self.options.concurrency

    def open(self) -> None:
        """The client and the words."""
        self._client = self.options.client()
        self._prompt = prompt_text("caption", self.options.prompt)

    def weights(self) -> str:
        """The words count as part of the model: another file of the same name is another question."""
        return prompt_text("caption", self.options.prompt)

    def model(self) -> str:
        """Its name at the server."""
        return self.options.model

    def measure_all(self, items: Sequence[Item]) -> Sequence[dict[str, Any] | ValueError]:
        """Several at once."""
        return asked_at_once(self.measure, items, self.batch_size)

    def measure(self, item: Item) -> dict[str, Any]:
        """`caption`, and the `tokens` that it took."""
        given = " ".join(str(item.columns.get("text") or "").split())
        if self.options.keep_given and given:
            return {"caption": given, "tokens": 0}
        parts: list[dict[str, Any]] = []
        for number, frame in enumerate(self._frames(item), start=1):
            parts.append({"type": "text", "text": f"Frame{number}: "})
            parts.append(picture_part(frame, self.options.side))
        parts.append({"type": "text", "text": self._prompt})
        answer = self._client.ask(
            [{"role": "user", "content": parts}],
            lambda text: cleaned(text, openings=False) or None,
            temperature=self.options.temperature,
            max_tokens=self.options.max_tokens,
        )
        return {"caption": answer.text, "tokens": answer.tokens}

    def _frames(self, item: Item) -> list[Pixels]:
        if item.kind == "image":
            return [read_image(item.path)]
        with opened(item.path) as reader:
            numbers = choose_frames("uniform", len(reader), count=self.options.frames)
            return list(reader.pick(sorted(set(numbers))))
