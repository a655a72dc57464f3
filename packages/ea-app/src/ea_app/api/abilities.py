"""What a model can do, from its configs: for front ends that show it before anybody asks for a job.

`python -m ea_app.api.abilities [--motion-module=FILE] NAME...` prints it as a line of JSON each, so
that a server learns it without torch in its process.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ea_app.catalog import find
from ea_app.model_info import ModelInfo

_SECONDS = 120.0
_MOTION = "--motion-module="


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a model can do.

    Attributes:
        modes: What it can be asked for, such as "image_to_video".
        variant: What its transformer is given beside the text: "text", "inpaint", "control", "camera"
            or "frames".
        reference: Whether it reads a picture of what is to be seen.
        clip: Whether it reads pictures with CLIP.
        samplers: Names of the samplers that fit it.
        sampler: The one that its checkpoint names.
        generation: What it is of, such as "EasyAnimate V5.1".
        noisy: Whether given pixels get a little noise.
        motion_modules: Whether it takes motion modules from a file beside its directory.
        step_curve: How changes are counted when steps are left out: "released", or "identity" where no
            coefficients were released; "" where all steps have to be run.
    """

    modes: tuple[str, ...]
    variant: str
    reference: bool
    clip: bool
    samplers: tuple[str, ...]
    sampler: str
    generation: str = ""
    noisy: bool = False
    motion_modules: bool = False
    step_curve: str = ""


def read_abilities(name: str, motion_module: str | None = None) -> Abilities:
    """Tells what a model can do. Imports torch.

    Args:
        name: A bundled name, a directory, or a hub id whose files are here.
        motion_module: File of V1's motion modules, where it is not in the directory.

    Raises:
        ValueError: No such model, or one that is not understood.
    """
    from ea_dit.diffusion import default_sampler, sampler_names  # noqa: PLC0415  (seconds to import)
    from ea_dit.pipelines import read_outline  # noqa: PLC0415
    from ea_dit.pipelines.generations import V1, V1_IMAGE, generation_of  # noqa: PLC0415

    directory = find(name, download=False, motion_module=motion_module).directory
    outline = read_outline(directory, motion_module=motion_module, weights=False)
    generation, inpaint = generation_of(outline.config).name, outline.traits.inpaint
    return Abilities(
        modes=tuple(sorted(outline.traits.modes)),
        variant=outline.traits.variant,
        reference=bool(outline.traits.reference),
        clip=outline.traits.image_states is not None,
        samplers=sampler_names(outline.process),
        sampler=default_sampler(outline.process),
        generation=generation,
        noisy=inpaint is not None and inpaint.noisy_pixels,
        motion_modules=generation in (V1.name, V1_IMAGE.name),
        step_curve=_step_curve(outline.traits),
    )


def _step_curve(traits: Any) -> str:
    """Of `ea_dit.pipelines.variants.Traits`."""
    if not traits.skips_steps:
        return ""
    return "identity" if traits.teacache_curve is None else "released"


def ask(name: str, motion_module: str | None = None) -> tuple[ModelInfo, Abilities]:
    """`read_abilities` and the model's defaults, in a process of its own.

    Raises:
        ValueError: No such model, or one that is not understood.
    """
    match ask_all([name], motion_module)[name]:
        case str() as wrong:
            raise ValueError(wrong)
        case found:
            return found


def ask_all(
    names: Sequence[str], motion_module: str | None = None
) -> dict[str, tuple[ModelInfo, Abilities] | str]:
    """`ask` for several models, in one process; a text in place of an answer says what is wrong."""
    motion = [] if motion_module is None else [f"{_MOTION}{motion_module}"]
    command = [sys.executable, "-m", "ea_app.api.abilities", *motion, *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        late = f"did not say what it can do within {_SECONDS:g} seconds"
        return {name: f"{name} {late}" for name in names}
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    lines = done.stderr.strip().splitlines()
    missing = {"error": lines[-1] if lines else "cannot be looked into"}
    told += [missing] * (len(names) - len(told))
    return {name: _read(answer) for name, answer in zip(names, told, strict=True)}


def _read(told: Mapping[str, Any]) -> tuple[ModelInfo, Abilities] | str:
    if "error" in told:
        return str(told["error"])
    found: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in told["abilities"].items()
    }
    return ModelInfo.from_dict(told["info"]), Abilities(**found)


def _tell(name: str, motion_module: str | None) -> dict[str, Any]:
    try:
        info = find(name, download=False, motion_module=motion_module).info
        return {"info": info.to_dict(), "abilities": asdict(read_abilities(name, motion_module))}
    except (ValueError, OSError) as error:
        return {"error": " ".join(str(error).split())}


def _main(arguments: Sequence[str]) -> int:
    motion = next((given.removeprefix(_MOTION) for given in arguments if given.startswith(_MOTION)), None)
    for name in arguments:
        if not name.startswith(_MOTION):
            sys.stdout.write(f"{json.dumps(_tell(name, motion))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
