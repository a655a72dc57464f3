"""Whether this installation works, part by part."""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ea_app.api.job import find_model
from ea_app.api.record import versions
from ea_app.options import InputError
from ea_data.media import OUTPUT_SUFFIXES


@dataclass(frozen=True)
class Finding:
    """One examined part.

    Attributes:
        subject: What was looked at.
        works: Whether it does.
        detail: One line.
    """

    subject: str
    works: bool
    detail: str


def examine(model: str = "default") -> Iterator[Finding]:
    """Look at versions, devices, encoders and a model.

    Args:
        model: Name of the model to load.
    """
    found = versions()
    yield Finding(
        "versions", "unknown" not in found.values(), ", ".join(f"{k} {v}" for k, v in found.items())
    )
    yield _devices()
    yield from _arithmetic()
    yield _encoders()
    yield _model(model)


def _devices() -> Finding:
    import torch  # noqa: PLC0415  (seconds to import; the first finding is there at once)

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    gpus = ", ".join(names) if names else "no usable GPU"
    return Finding("device", True, f"{platform.machine()} with {torch.get_num_threads()} threads; {gpus}")


def _arithmetic() -> Iterator[Finding]:
    """What would compute on the best device, and why: attention of usual heads, norms, eight bits, graphs."""
    from ea_kernels.attention import describe  # noqa: PLC0415
    from ea_kernels.linear import describe_linear  # noqa: PLC0415
    from ea_kernels.runtime.device import resolve_device, resolve_dtype  # noqa: PLC0415
    from ea_kernels.runtime.graphs import describe_graphs  # noqa: PLC0415
    from ea_kernels.triton_ops.availability import describe_kernels  # noqa: PLC0415

    device = resolve_device("auto")
    dtype = resolve_dtype("auto", device)

    def attention() -> str:
        chosen, others = describe(device, dtype)
        return f"{chosen.name} ({chosen.reason}). {_rest(others)}"

    def norms() -> str:
        name, reason = describe_kernels(device, dtype)
        return f"{name} ({reason})"

    def eight_bits() -> str:
        chosen, others = describe_linear(device)
        return f"{chosen.name} ({chosen.reason}). {_rest(others)}"

    def graphs() -> str:
        return describe_graphs(device)

    subjects = {"attention": attention, "norms": norms, "qfloat8": eight_bits, "graphs": graphs}
    for subject, told in subjects.items():
        try:
            yield Finding(subject, True, told())
        except ValueError as error:
            yield Finding(subject, False, str(error))


def _rest(others: Mapping[str, str]) -> str:
    return "Others: " + "; ".join(f"{name}: {reason}" for name, reason in others.items())


def _encoders() -> Finding:
    import av.codec  # noqa: PLC0415
    from PIL import features  # noqa: PLC0415

    missing = [] if "libx264" in av.codec.codecs_available else ["mp4 (libx264)"]
    missing += [] if "libvpx-vp9" in av.codec.codecs_available else ["webm (libvpx-vp9)"]
    missing += [] if features.check("webp") else ["webp"]
    if missing:
        return Finding("encoders", False, f"missing: {', '.join(missing)}")
    return Finding("encoders", True, f"{', '.join(OUTPUT_SUFFIXES)} can be written")


def _model(name: str) -> Finding:
    from ea_app.api.engine import Engine  # noqa: PLC0415

    try:
        model = find_model(name)
        described = Engine.load(model, device="cpu").describe()
    except InputError as error:
        return Finding("model", False, str(error))
    modes = ", ".join(described["modes"])
    return Finding("model", True, f"{name} ({model.size() / 1e6:.0f} MB) loads; {modes}")
