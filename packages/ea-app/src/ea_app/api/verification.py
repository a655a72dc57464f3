"""Whether a model directory is whole: what loading would refuse, and what only reading all of it tells."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import file_digest
from pathlib import Path

from ea_app.api.diagnosis import Finding
from ea_app.api.networks import Network, read_network
from ea_dit.pipelines.encoders import EncoderFolder, load_tokenizer_of, text_encoders
from ea_dit.pipelines.file_checks import Check, file_checks, tensor_checks
from ea_dit.pipelines.layout import IMAGE_ENCODER, TRANSFORMER, VAE
from ea_dit.pipelines.parts import Parts, find_parts
from ea_dit.pipelines.variants import BYTE_ENCODER
from ea_dit.text.pretrained import pretrained_faults
from ea_kernels.runtime.completeness import Faults
from ea_kernels.runtime.files import CONFIG_NAME
from ea_kernels.runtime.finite import find_non_finite
from ea_kernels.runtime.stored import StoredTensor, stored_tensors

_SHOWN_FAULTS = 20

Examination = tuple[str, Callable[[], Iterable[str]]]
"""What is said of a part when all is well, and what gives sentences about its faults."""


def verify_model(directory: str | Path, *, allow_pickle: bool = False) -> Iterator[Finding]:
    """Looks for what is missing, left over, misshapen, damaged, or no number in a model directory.

    All weights are read once, from disk and without keeping them: their numbers have to be finite.

    Args:
        directory: It, or the folder of one network.
        allow_pickle: Look into weights in pickles, without running code.

    Yields:
        One finding for a part that is as it should be, else one for each fault.
    """
    directory = Path(directory)
    try:
        if (directory / CONFIG_NAME).is_file():
            network = read_network(directory, allow_pickle=allow_pickle)
            yield from _examined(network.kind, _of_network(lambda: network))
            return
        parts = find_parts(directory, allow_pickle=allow_pickle)
    except ValueError as error:
        yield Finding("directory", False, str(error))
        return
    try:
        checks = [*file_checks(parts)]
        examinations = _of_parts(parts)
    except ValueError as error:
        yield Finding("text", False, str(error))
        return
    for name in dict.fromkeys([*examinations, *(check.part for check in checks)]):
        quick = [_of_check(check) for check in checks if check.part == name]
        yield from _examined(name, [*quick, *examinations.get(name, ())])


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


def _examined(name: str, examinations: Iterable[Examination]) -> Iterator[Finding]:
    """Findings about a part; after the first that has faults, the others would only repeat them."""
    said: list[str] = []
    for says, faults in examinations:
        try:
            wrong = list(faults())
        except ValueError as error:
            wrong = [str(error)]
        for sentence in wrong[:_SHOWN_FAULTS]:
            yield Finding(name, False, sentence)
        if len(wrong) > _SHOWN_FAULTS:
            yield Finding(name, False, f"and {len(wrong) - _SHOWN_FAULTS} more")
        if wrong:
            return
        said.append(says)
    yield Finding(name, True, "; ".join(said))


def _of_check(check: Check) -> Examination:
    def faults() -> Iterator[str]:
        check.run()
        yield from ()

    return check.says, faults


def _of_parts(parts: Parts) -> dict[str, list[Examination]]:
    """What is examined beyond the quick checks, by part."""
    layout, pickles = parts.layout, parts.allow_pickle
    found = {
        TRANSFORMER: _of_network(
            partial(read_network, layout.transformer, motion_module=parts.motion_module, allow_pickle=pickles)
        ),
        VAE: _of_network(partial(read_network, layout.vae, allow_pickle=pickles)),
    }
    for encoder in text_encoders(layout, parts.traits.text):
        found[encoder.name] = _of_encoder(parts, encoder)
        if encoder.reads_tokens:
            found[encoder.tokenizer_name] = [("it loads", partial(_of_tokenizer, encoder))]
    if parts.traits.image_states is not None and layout.image_encoder is not None:
        found[IMAGE_ENCODER] = _of_pretrained("clip", layout.image_encoder, allow_pickle=pickles)
    return found


def _of_network(read: Callable[[], Network]) -> list[Examination]:
    return [
        ("its tensors fit its config", lambda: _sentences(read().faults())),
        ("all numbers are finite", lambda: _non_finite(read().tensors)),
    ]


def _of_encoder(parts: Parts, encoder: EncoderFolder) -> list[Examination]:
    try:
        kind = encoder.kind
    except ValueError:
        return []  # the quick checks say it
    if kind != BYTE_ENCODER:
        return _of_pretrained(kind, encoder.folder, allow_pickle=parts.allow_pickle)
    checks = [check for check in tensor_checks(parts) if check.part == encoder.name]
    return [*map(_of_check, checks), _finite(encoder.folder, allow_pickle=parts.allow_pickle)]


def _of_pretrained(kind: str, folder: Path, *, allow_pickle: bool) -> list[Examination]:
    return [
        (
            "its tensors fit its config",
            lambda: _sentences(pretrained_faults(kind, folder, allow_pickle=allow_pickle)),
        ),
        _finite(folder, allow_pickle=allow_pickle),
    ]


def _of_tokenizer(encoder: EncoderFolder) -> Iterator[str]:
    load_tokenizer_of(encoder)
    yield from ()


def _finite(folder: Path, *, allow_pickle: bool) -> Examination:
    return (
        "all numbers are finite",
        lambda: _non_finite(stored_tensors(folder, allow_pickle=allow_pickle)),
    )


def _sentences(faults: Faults) -> list[str]:
    return [sentence for kind in faults.by_kind() for sentence in kind]


def _non_finite(tensors: Iterable[StoredTensor]) -> Iterator[str]:
    for tensor in find_non_finite(tensors):
        yield f"tensor {tensor.name!r} in {tensor.file.name} holds NaN or infinity"
