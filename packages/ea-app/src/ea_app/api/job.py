"""From options and files to a job: everything that can be checked without loading a model is checked here."""

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from ea_app.api.extraction import Extraction, concerning_source
from ea_app.api.fields import FILE_INPUTS, REFERENCES, STRATEGY, keyframe_input
from ea_app.api.inputs import Source, Text, read_inputs
from ea_app.api.loops import Placed, loop_fields, place_references
from ea_app.api.notices import option_notices, written_rate
from ea_app.api.steering import draw_texts, read_texts
from ea_app.api.weights import WEIGHT_KEYS, concerning_weights
from ea_app.catalog import Model, find
from ea_app.limits import limits_of
from ea_app.options import InputError, complete, concerning, parse

DRAWN_SEED_BITS = 31
"""Drawn seeds are short enough to be typed again."""

_MACHINE = ("model", "device", "dtype", "vae_dtype", "memory", "output", "format", *WEIGHT_KEYS)

_FINER = {
    **{name: name for name in ("guidance_rescale", "noise_aug_strength", "clip_apply_ratio", "timesteps")},
    "teacache": "teacache_threshold",
    **{name: name for name in ("teacache_start", "teacache_curve")},
}
"""Options that few give, and the fields of a request that they fill."""
# Called the same in a request, which has their defaults.


class CancelToken:
    """A switch that stops a job from another thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the job to stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to."""
        return self._event.is_set()


@dataclass(frozen=True, kw_only=True)
class PromptServer:
    """What may rewrite a prompt.

    Attributes:
        url: Address of a chat server that speaks OpenAI's protocol.
        model: Name of the language model there.
    """

    url: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to generate: the scalar fields of a request, and the contents of the files it uses.

    Attributes:
        fields: Scalar fields of `GenerationRequest`.
        arrays: Its pixels by name, see `ea_app.api.inputs.Inputs`.
        placed: What a mask strategy puts where.
        sources: The files or texts they came from; an input without one cannot be replayed.
        notices: What the user should know before it runs.
        prompt_server: What is still to rewrite the prompt, see `ea_app.api.enhance`; None when nothing is.
        enhancement: What became of that, for the record: original and enhanced text, server, model.
        extraction: How a control signal is still to be made of the control video; None when it is not.
    """

    fields: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    placed: tuple[Placed, ...] = ()
    sources: Mapping[str, Source | Text] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    prompt_server: PromptServer | None = None
    enhancement: Mapping[str, Any] | None = None
    extraction: Extraction | None = None

    @property
    def frames(self) -> int:
        """Number of frames it will have."""
        return self.fields["num_frames"]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it reads."""
        return tuple(source.path for source in self.sources.values() if isinstance(source, Source))

    @property
    def texts(self) -> Mapping[str, str]:
        """What is kept of the inputs in `TEXT_INPUTS`, by name."""
        return {name: source.text for name, source in self.sources.items() if isinstance(source, Text)}

    def drawn(self) -> Self:
        """The same job with what is to be drawn from texts among the arrays, and what is put where.

        Raises:
            InputError: A text that is no path.
        """
        arrays, notices = draw_texts(self.texts, self.fields)
        strategy = self.sources.get(STRATEGY)
        placed = place_references(strategy, self.arrays, self.fields) if isinstance(strategy, Text) else ()
        return replace(
            self, arrays={**self.arrays, **arrays}, placed=placed, notices=(*self.notices, *notices)
        )

    def extracted(self, notify: Callable[[str], None] | None = None) -> Self:
        """The same job with the control signal that it asks for in the place of the video.

        Args:
            notify: Is told what is about to be downloaded for that.

        Raises:
            InputError: Something is not installed, or weights are not there or wrong.
        """
        if self.extraction is None:
            return self
        source = self.sources["control"]
        assert isinstance(source, Source)
        with concerning("control"):
            made, used = self.extraction.apply(self.arrays["control"], notify)
        return replace(
            self,
            arrays={**self.arrays, "control": made},
            sources={**self.sources, "control": replace(source, extraction=used)},
            extraction=None,
        )


def find_model(
    name: str,
    *,
    download: bool = True,
    motion_module: str | Path | None = None,
    allow_pickle: bool = False,
) -> Model:
    """`catalog.find`, with the mistake named as one in the option `model` or `motion-module`."""
    with concerning_weights({"motion_module": motion_module}):
        return find(name, download=download, motion_module=motion_module, allow_pickle=allow_pickle)


def make_job(model: Model, /, **options: Any) -> Job:
    """Turn options into a job for a model.

    Args:
        model: Decides defaults and limits.
        **options: Values or texts by option key, see `ea_app.options.OPTIONS`, and `prompt`. None means not
            given. Options about the machine and the output are ignored.

    Returns:
        The job, its files read. Where it asks for a better prompt, that is still to be done.

    Raises:
        InputError: The first mistake found, naming its option and what is allowed.
    """
    given = parse(options)
    if {"output", "format"} <= set(given):
        raise InputError("format", "cannot be combined with --output, whose ending says it")
    values = complete(
        {key: value for key, value in given.items() if key not in _MACHINE}, limits_of(model.info)
    )
    extraction = Extraction.from_options(values)
    files = {name: values[key] for name in FILE_INPUTS if (key := name.replace("-", "_")) in values}
    files |= {f"{REFERENCES} {number}": path for number, path in enumerate(values.get("references", ()))}
    files |= {keyframe_input(at): path for at, path in values.get("keyframe", {}).items()}
    if extraction is not None:
        files["control"] = values["control_from"]
    texts = {name: Text(text=text) for name, text in read_texts(values).items()}
    if STRATEGY in texts:
        texts[STRATEGY] = replace(texts[STRATEGY], loops=values.get("loops"))
    size, length = values["size"], values.get("frames")
    with concerning_source(extraction):
        inputs = read_inputs(files, size, length, model.info.native_frames)
    notices = (*option_notices(values, model.info), *inputs.notices)
    if "seed" not in values:
        values["seed"] = secrets.randbits(DRAWN_SEED_BITS)
        notices = (*notices, f"seed: {values['seed']} (drawn; --seed {values['seed']} makes this again)")
    frames = values.get("frames") or inputs.frames or model.info.native_frames
    if "window" in values and "window" not in given and frames > values["window"]:
        notices = (*notices, f"frames: {frames} are made in windows of {values['window']}")
    rate, of_rate = written_rate(values.get("fps") or inputs.fps or model.info.fps)
    notices = (*notices, *of_rate)
    if "reference" in files and frames == 1:
        raise InputError("reference", "needs at least 2 frames; it changes nothing in an image")
    plain_video = "video" in files and "mask" not in files
    fields = {
        "prompt": values["prompt"],
        "negative_prompt": values["negative"],
        "width": size[0],
        "height": size[1],
        "num_frames": frames,
        "num_steps": values["steps"],
        "guidance_scale": values["guidance"],
        "seed": values["seed"],
        "strength": values.get("strength", model.info.strength if plain_video else 1.0),
        "sampler": values.get("sampler"),
        "window_frames": values.get("window"),
        "overlap_frames": values.get("overlap", model.info.overlap_frames if "window" in values else None),
        "join": values.get("join", "latents"),
        "fps": rate,
    }
    fields |= {field: values[key] for key, field in _FINER.items() if key in values}
    fields |= loop_fields(values, frames, model.info)
    return Job(
        fields=fields,
        arrays=inputs.arrays,
        sources={**inputs.sources, **texts},
        notices=notices,
        prompt_server=_prompt_server(values, fields),
        extraction=extraction,
    ).drawn()


def _prompt_server(values: Mapping[str, Any], fields: Mapping[str, Any]) -> PromptServer | None:
    if "enhance_prompt" not in values:
        return None
    if fields.get("window_prompts"):
        raise InputError(
            "enhance-prompt", "cannot be used with texts for single loops; enhance each by itself"
        )
    return PromptServer(url=values["enhance_prompt"], model=values["enhance_model"])


def job_from_record(model: Model, record: Mapping[str, Any], sources: Mapping[str, Source | Text]) -> Job:
    """Make the job of a record again.

    Args:
        model: The model it ran on.
        record: As `ea_app.api.record` reads it.
        sources: Its input files, already found and compared, and texts, by name.

    Raises:
        InputError: A file cannot be read.
    """
    fields = dict(record["request"])
    size = (fields["width"], fields["height"])
    files = {name: str(source.path) for name, source in sources.items() if isinstance(source, Source)}
    texts = {name: source for name, source in sources.items() if isinstance(source, Text)}
    inputs = read_inputs(files, size, fields["num_frames"], model.info.native_frames)
    control = sources.get("control")
    return Job(
        fields=fields,
        arrays=inputs.arrays,
        sources={**inputs.sources, **texts},
        notices=inputs.notices,
        enhancement=record.get("enhancement"),
        extraction=control.extraction if isinstance(control, Source) else None,
    ).drawn()
