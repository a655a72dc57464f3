"""Captions by a vision model of transformers on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from PIL import Image

from ea_data.control.extras import load
from ea_data.control.networks.pretrained import placed
from ea_data.control.networks.source import Source, fetch_repository
from ea_data.curation.asking import prompt_text
from ea_data.curation.caption_text import cleaned
from ea_data.curation.frame_choice import choose_frames
from ea_data.curation.network_marks import network_mark
from ea_data.curation.ranges import check_ranges
from ea_data.curation.reading import Pixels, opened, scaled
from ea_data.curation.stage import Item, ItemStage
from ea_data.media import read_image

__all__ = ["CaptionLocal", "CaptionLocalOptions"]

# Processors of the newer vision models need torchvision, and SmolVLM's the words for numbers.
_MODULES: Final = (
    "cv2",
    "torch",
    "torchvision",
    "transformers",
    "safetensors",
    "huggingface_hub",
    "num2words",
)
_DTYPES: Final = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class CaptionLocalOptions:
    """Which model is asked, and what.

    Attributes:
        weights: Directory, or OWNER/NAME[@REVISION] of the hub, of a model for `image-text-to-text` that
            transformers knows by itself; code of a repository is never run.
        prompt: `en` or `zh` for the words that come with this package, or a text file.
        frames: Of a video that are shown, at equal distances.
        side: Pixels of the longer side that they are scaled down to.
        max_tokens: Longest answer.
        keep_given: Whether a file that came with a text keeps it as its caption, and the model is not asked.
        device: Of torch.
        dtype: Of the weights at work: float32, bfloat16 or float16.
        offline: Download nothing.
    """

    weights: str = "HuggingFaceTB/SmolVLM2-2.2B-Instruct@482adb537c021c86670beed01cd58990d01e72e4"
    prompt: str = "en"
    frames: int = 8
    side: int = 448
    max_tokens: int = 512
    keep_given: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    offline: bool = False

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"frames": (1, 256), "side": (32, 4096), "max_tokens": (1, 1 << 16)})
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}; allowed: {', '.join(_DTYPES)}")


class CaptionLocal(ItemStage[CaptionLocalOptions]):
    """Shows frames, each with its number, and takes the likeliest answer as the caption."""

    name = "caption-local"
    summary = "captions by a vision model of transformers on this machine"
    options_type = CaptionLocalOptions
    uses = ("text",)
    gives = ("caption", "tokens")
    ways: ClassVar = ("device", "offline")
    libraries: ClassVar = ("torch", "torchvision", "transformers")
    modules: ClassVar = _MODULES
    extra = "curation-models"

    def networks(self) -> tuple[str, ...]:
        """The model."""
        return (self.options.weights,)

    def weights(self) -> str:
        """The commit of the model, and the words, which count as part of it."""
        return f"{network_mark(self.options.weights)}\n{prompt_text('caption', self.options.prompt)}"

    def downloads(self) -> str:
        """Of the model."""
        told: list[str] = []
        source = Source.of(f"{self.name}.weights", self.options.weights)
        if source.path is None:
            fetch_repository(source, offline=self.options.offline, notify=told.append)
        return f"{self.name}: {told[0]}" if told else ""

    def open(self) -> None:
        """The model and its processor.

        Raises:
            ValueError: They cannot be had, are damaged, or are of another kind.
        """
        options = self.options
        self._prompt = prompt_text("caption", options.prompt)
        torch, transformers = load("torch"), load("transformers")
        source = Source.of("weights", options.weights)
        folder = source.path or fetch_repository(source, offline=options.offline, notify=_silent)
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor = transformers.AutoProcessor.from_pretrained(folder, **local)
            model = transformers.AutoModelForImageTextToText.from_pretrained(
                folder, dtype=getattr(torch, options.dtype), use_safetensors=True, **local
            )
        except (OSError, ValueError, RuntimeError, LookupError, ImportError, TypeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"weights: {folder} is no model for image-text-to-text: {reason}") from error
        if not getattr(self._processor, "chat_template", None):
            raise ValueError(f"weights: {folder} has no chat template, so that it cannot be asked")
        self._model = placed(model.eval(), options.device)

    def measure(self, item: Item) -> dict[str, Any]:
        """`caption`, and the `tokens` that the model wrote."""
        given = " ".join(str(item.columns.get("text") or "").split())
        if self.options.keep_given and given:
            return {"caption": given, "tokens": 0}
        frames = [scaled(frame, self.options.side) for frame in self._frames(item)]
        answer, tokens, whole = self._answer(frames)
        caption = cleaned(answer, openings=False)
        if not whole:
            raise ValueError(f"the caption was cut off at max_tokens, {tokens}")
        if not caption:
            raise ValueError("the model wrote nothing that can be used")
        return {"caption": caption, "tokens": tokens}

    def _frames(self, item: Item) -> list[Pixels]:
        if item.kind == "image":
            return [read_image(item.path)]
        with opened(item.path) as reader:
            numbers = choose_frames("uniform", len(reader), count=self.options.frames)
            return list(reader.pick(sorted(set(numbers))))

    def _answer(self, frames: Sequence[Pixels]) -> tuple[str, int, bool]:
        """What the model writes of frames (H, W, 3), how many tokens that are, and whether it ends."""
        torch = load("torch")
        parts: list[dict[str, Any]] = []
        for number in range(1, len(frames) + 1):
            parts += [{"type": "text", "text": f"Frame{number}: "}, {"type": "image"}]
        parts.append({"type": "text", "text": self._prompt})
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True
        )
        pictures = [Image.fromarray(frame) for frame in frames]
        given = self._processor(text=[text], images=[pictures], return_tensors="pt")
        given = given.to(self._model.device, dtype=self._model.dtype)
        with torch.inference_mode():
            made = self._model.generate(**given, max_new_tokens=self.options.max_tokens, do_sample=False)
        new = made[0, given["input_ids"].shape[1] :]
        ends = self._model.generation_config.eos_token_id
        whole = int(new[-1]) in (ends if isinstance(ends, list) else [ends])
        return self._processor.decode(new, skip_special_tokens=True), len(new), whole


def _silent(_: str) -> None:
    pass
