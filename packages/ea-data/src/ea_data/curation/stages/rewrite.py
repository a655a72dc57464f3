"""Captions written again by a language model, as EasyAnimate's recipe does after captioning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ea_data.curation.asking import WAYS, ServerOptions, asked_at_once, prompt_text
from ea_data.curation.caption_text import cleaned, rewritten
from ea_data.curation.stage import Item, ItemStage

__all__ = ["Rewrite", "RewriteOptions"]


@dataclass(frozen=True, kw_only=True)
class RewriteOptions(ServerOptions):
    """What is asked, and of whom.

    Attributes:
        key: Of the JSON object that answers have to be.
    """

    temperature: float = 0.7
    max_tokens: int = 1024
    attempts: int = 10
    key: str = "rewritten description"


class Rewrite(ItemStage[RewriteOptions]):
    """Answers have to be a JSON object; one that repeats the question is none."""

    name = "rewrite"
    summary = "captions written again by a language model behind a server"
    options_type = RewriteOptions
    kinds = ("video", "image", "text")
    needs = ("caption",)
    gives = ("caption", "tokens")
    ways: ClassVar = WAYS
    modules: ClassVar = ("httpx",)

    @property
    def batch_size(self) -> int:
        """As many as are on their way at once."""
        return self.options.concurrency

    def open(self) -> None:
        """The client and the words."""
        self._client = self.options.client()
        self._prompt = prompt_text("rewrite", self.options.prompt)

    def weights(self) -> str:
        """See `CaptionServer.weights`."""
        return prompt_text("rewrite", self.options.prompt)

    def model(self) -> str:
        """Its name at the server."""
        return self.options.model

    def measure_all(self, items: Sequence[Item]) -> Sequence[dict[str, Any] | ValueError]:
        """Several at once."""
        return asked_at_once(self.measure, items, self.batch_size)

    def measure(self, item: Item) -> dict[str, Any]:
        """`caption`, and the `tokens` that it took."""
        messages = [
            {"role": "system", "content": self._prompt},
            {"role": "user", "content": str(item.columns["caption"])},
        ]
        answer = self._client.ask(
            messages, self._used, temperature=self.options.temperature, max_tokens=self.options.max_tokens
        )
        return {"caption": answer.text, "tokens": answer.tokens}

    def _used(self, answer: str) -> str | None:
        text = cleaned(rewritten(answer, self.options.key) or "", openings=False)
        return None if not text or text in self._prompt else text
