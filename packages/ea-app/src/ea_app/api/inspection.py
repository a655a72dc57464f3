"""What a model directory holds, and whether all of it is there: from configs and headers, without weights."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from pathlib import Path

from ea_app.api.diagnosis import Finding
from ea_app.api.networks import Network, read_network
from ea_dit.diffusion import schedule_from_dict
from ea_dit.pipelines.encoders import check_text_encoders
from ea_dit.pipelines.generations import Generation, generation_of
from ea_dit.pipelines.layout import IMAGE_ENCODER, TRANSFORMER, Layout, find_layout, find_motion_module
from ea_dit.pipelines.variants import traits_of
from ea_kernels.runtime.files import CONFIG_NAME, read_config, read_json
from ea_kernels.runtime.stored import StoredTensor, stored_tensors

_SHOWN_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a model.

    Attributes:
        name: Such as "transformer".
        path: Its folder or file.
        class_name: What it is, in the words of its config.
        parameters: Numbers in its tensors; 0 for parts without weights.
        dtypes: Their number types by share, the largest first, such as ("BF16",).
        size: Bytes of its tensors.
    """

    name: str
    path: Path
    class_name: str
    parameters: int
    dtypes: tuple[str, ...]
    size: int


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a directory is.

    Attributes:
        directory: It.
        generation: Release of its transformer, None without a transformer.
        variant: What its transformer is given beside the text, None without a transformer.
        layout: Whose tensor names it has.
        modes: What it can be asked for.
        parts: Its parts.
    """

    directory: Path
    generation: Generation | None
    variant: str | None
    layout: str
    modes: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def family(self) -> str:
        """Such as "EasyAnimate V5.1"."""
        return "autoencoder" if self.generation is None else self.generation.name


def inspect_model(directory: str | Path, *, allow_pickle: bool = False) -> Inspection:
    """Tells what a model directory, or the folder of one network, is.

    Args:
        directory: It.
        allow_pickle: Look into weights in pickles, without running code.

    Raises:
        ValueError: If it is none, or a part is not understood or damaged.
    """
    directory = Path(directory)
    layout, networks = _networks(directory, allow_pickle=allow_pickle)
    transformer = next((network for network in networks if network.kind == TRANSFORMER), None)
    traits = None if transformer is None else traits_of(transformer.config)
    main = networks[0] if transformer is None else transformer
    encoders = () if layout is None else _encoders(layout)
    return Inspection(
        directory=directory,
        generation=None if transformer is None else generation_of(transformer.config),
        variant=None if traits is None else traits.variant,
        layout=main.layouts,
        modes=() if traits is None else tuple(sorted(traits.modes)),
        parts=(
            *(_part(network.kind, network.path, network.class_name, network.tensors) for network in networks),
            *(
                _part(name, path, _class_of(path), stored_tensors(path, allow_pickle=allow_pickle))
                for name, path in encoders
            ),
        ),
    )


def verify_model(directory: str | Path, *, allow_pickle: bool = False) -> Iterator[Finding]:
    """Looks for what is missing, left over, misshapen or damaged in a model directory.

    No weight is read, so only the files' lengths tell of damage inside; `check_hashes` reads them.

    Args:
        directory: It.
        allow_pickle: Look into weights in pickles, without running code.

    Raises:
        ValueError: If the directory is no model at all.
    """
    directory = Path(directory)
    try:
        layout, networks = _networks(directory, allow_pickle=allow_pickle)
    except ValueError as error:
        yield Finding("directory", False, str(error))
        return
    for network in networks:
        yield from _verify_network(network)
    if layout is None:
        return
    transformer = next(network for network in networks if network.kind == TRANSFORMER)
    traits = traits_of(transformer.config)
    yield _tried("text", "fits the transformer", lambda: check_text_encoders(layout, traits.text))
    for name, path in _encoders(layout):
        whole = partial(stored_tensors, path, allow_pickle=allow_pickle)
        yield _tried(name, "its files are whole", whole)
    if traits.image_states is not None and layout.image_encoder is None:
        yield Finding(IMAGE_ENCODER, False, "is missing; the transformer reads it")
    scheduler = layout.scheduler
    if scheduler is not None:
        yield _tried("scheduler", "is understood", lambda: schedule_from_dict(read_json(scheduler)))


def file_hashes(directory: str | Path) -> Iterator[tuple[str, str]]:
    """SHA-256 of every file below a directory but hidden ones, with its path there."""
    directory = Path(directory)
    for file in sorted(directory.rglob("*")):
        inside = file.relative_to(directory)
        if file.is_file() and not any(part.startswith(".") for part in inside.parts):
            with file.open("rb") as stream:
                yield file_digest(stream, "sha256").hexdigest(), inside.as_posix()


def read_hashes(file: str | Path) -> dict[str, str]:
    """Reads a list of SHA-256 hashes as `sha256sum` writes it: hashes by path.

    Raises:
        ValueError: If it cannot be read or is no such list.
    """
    file = Path(file)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read ({error})") from None
    hashes: dict[str, str] = {}
    for line in filter(str.strip, lines):
        digest, _, path = line.partition(" ")
        if len(digest) != 64 or not path.lstrip(" *"):
            raise ValueError(f"{file}: {line!r} is not a line of sha256sum")
        hashes[path.lstrip(" *").removeprefix("./")] = digest.lower()
    return hashes


def check_hashes(directory: str | Path, wanted: Mapping[str, str]) -> Iterator[Finding]:
    """Compares every file that a list names; see `read_hashes`."""
    directory = Path(directory)
    for path, digest in wanted.items():
        if not (directory / path).is_file():
            yield Finding("sha256", False, f"{path}: is missing")
            continue
        with (directory / path).open("rb") as stream:
            same = file_digest(stream, "sha256").hexdigest() == digest
        yield Finding("sha256", same, path if same else f"{path}: has another hash")


def _networks(directory: Path, *, allow_pickle: bool) -> tuple[Layout | None, list[Network]]:
    """The networks, and where the other parts are if it is a whole model."""
    if (directory / CONFIG_NAME).is_file():
        return None, [read_network(directory, allow_pickle=allow_pickle)]
    layout = find_layout(directory, allow_pickle=allow_pickle)
    transformer = read_network(layout.transformer, allow_pickle=allow_pickle)
    motion = None
    if not traits_of(transformer.config).moves:
        motion = find_motion_module(directory, allow_pickle=allow_pickle)
    if motion is not None:
        transformer = read_network(layout.transformer, motion_module=motion, allow_pickle=allow_pickle)
    return layout, [transformer, read_network(layout.vae, allow_pickle=allow_pickle)]


def _encoders(layout: Layout) -> Iterator[tuple[str, Path]]:
    yield "text_encoder", layout.text_encoder
    if layout.second_text_encoder is not None:
        yield "text_encoder_2", layout.second_text_encoder
    if layout.image_encoder is not None:
        yield IMAGE_ENCODER, layout.image_encoder


def _class_of(folder: Path) -> str:
    values = read_config(folder)
    return str(values.get("_class_name") or (values.get("architectures") or [values.get("model_type")])[0])


def _part(name: str, path: Path, class_name: str, tensors: Iterable[StoredTensor]) -> Part:
    counts: dict[str, int] = {}
    size = 0
    for tensor in tensors:
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.count
        size += tensor.size
    return Part(
        name=name,
        path=path,
        class_name=class_name,
        parameters=sum(counts.values()),
        dtypes=tuple(sorted(counts, key=lambda dtype: -counts[dtype])),
        size=size,
    )


def _verify_network(network: Network) -> Iterator[Finding]:
    wrong = [sentence for kind in network.faults().by_kind() for sentence in kind]
    for sentence in wrong[:_SHOWN_FAULTS]:
        yield Finding(network.kind, False, sentence)
    if len(wrong) > _SHOWN_FAULTS:
        yield Finding(network.kind, False, f"and {len(wrong) - _SHOWN_FAULTS} more")
    if not wrong:
        detail = f"{len(network.tensors)} tensors, all of a {network.class_name}, {network.layouts} names"
        yield Finding(network.kind, True, detail)


def _tried(subject: str, detail: str, check: Callable[[], object]) -> Finding:
    try:
        check()
    except ValueError as error:
        return Finding(subject, False, str(error))
    return Finding(subject, True, detail)
