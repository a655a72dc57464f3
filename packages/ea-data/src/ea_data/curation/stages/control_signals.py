"""Control signals of clips, in files beside them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from ea_data.control.extras import load
from ea_data.control.kinds import Kind, find_kind
from ea_data.control.makers import ControlMaker, open_maker
from ea_data.control.options import Options
from ea_data.curation.names import short_name
from ea_data.curation.network_marks import network_mark
from ea_data.curation.ranges import check_ranges
from ea_data.curation.reading import load_cv2, opened
from ea_data.curation.stage import Item, ItemStage
from ea_data.media import open_writer, read_image
from ea_data.store import digest_file, digest_text

__all__ = ["ControlSignals", "ControlSignalsOptions"]

_STEM_BYTES: Final = 80
_MARK: Final = 8
_LOWEST_FPS, _HIGHEST_FPS = 0.1, 240.0
_WEIGHTS: Final = ("weights", "detector")
_NO_RESULT: Final = ("device", "offline", "allow_pickle")


@dataclass(frozen=True, kw_only=True)
class ControlSignalsOptions:
    """Which signals are made, and how.

    Attributes:
        kinds: Names of `ea-data control --help`; the first one is the `control_file_path` of a row. Those of
            EasyAnimate V5's report are canny, depth, dwpose, hed, lineart_anime, mlsd and scribble.
        settings: Options of kinds by their names, such as `{canny: {low: 50}}`.
        device: Of kinds with weights, as torch or onnxruntime names it.
        offline: Download nothing.
        allow_pickle: Read weights in a pickle too, as those of hed, mlsd and lineart_anime are; nothing in it
            is run.
        crf: Quality of H.264, 0 (best) to 51.
    """

    kinds: tuple[str, ...] = ("canny", "scribble")
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    device: str = "cpu"
    offline: bool = False
    allow_pickle: bool = False
    crf: int = 14

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"crf": (0, 51)})
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"kinds is {list(self.kinds)}; allowed: one or more, each once")
        self.of_kinds()
        if unused := sorted(set(self.settings) - set(self.kinds)):
            raise ValueError(f"settings has {unused[0]!r}; allowed: {', '.join(self.kinds)}")

    def of_kinds(self) -> dict[str, Options]:
        """The options of every kind, in their order.

        Raises:
            ValueError: No such kind or option, or a wrong value.
        """
        shared = {name: getattr(self, name) for name in _NO_RESULT}
        found: dict[str, Options] = {}
        for name in self.kinds:
            kind = find_kind(name)
            fields = kind.options.__dataclass_fields__
            given = {key: value for key, value in shared.items() if key in fields}
            found[name] = kind.options.of(name, {**given, **self.settings.get(name, {})})
        return found


class ControlSignals(ItemStage[ControlSignalsOptions]):
    """Writes a file of each kind for every clip and picture, frame by frame as the clip has them."""

    name = "control-signals"
    summary = "control signals (edges, depth, poses, lines) in files beside the clips"
    options_type = ControlSignalsOptions
    needs = ("stem",)
    gives = ("controls",)
    ways: ClassVar = _NO_RESULT
    libraries: ClassVar = ("av", "opencv-python-headless")
    modules: ClassVar = ("cv2",)

    def check(self) -> None:
        """OpenCV, and what networks need."""
        super().check()
        if any(find_kind(name).has_weights for name in self.options.kinds):
            load("torch")

    def downloads(self) -> str:
        """Of all kinds with weights, which are opened for it once."""
        told: list[str] = []
        for name, options in self.options.of_kinds().items():
            if find_kind(name).has_weights:
                open_maker(name, options, notify=told.append)
        return f"{self.name}: {'; '.join(told)}" if told else ""

    def networks(self) -> tuple[str, ...]:
        """Those of all kinds."""
        own = self.options.of_kinds().values()
        return tuple(dict.fromkeys(getattr(each, name) for each in own for name in _named(each)))

    def weights(self) -> str:
        """The version of every kind, and the commits of its networks."""
        return json.dumps([_mark(find_kind(name), own) for name, own in self.options.of_kinds().items()])

    def open(self) -> None:
        """All makers."""
        load_cv2()
        self._makers = {name: open_maker(name, own) for name, own in self.options.of_kinds().items()}

    def files(self, value: Any) -> dict[str, str]:
        """Those of all kinds."""
        return {made["name"]: made["digest"] for made in value["controls"].values()}

    def measure(self, item: Item) -> dict[str, Any]:
        """`controls`: for each kind the name of its file below the folder of the row, and its digest."""
        item.folder.mkdir(parents=True, exist_ok=True)
        made: dict[str, dict[str, str]] = {}
        for name, maker in self._makers.items():
            path = item.folder / self._file_name(item, name, maker)
            self._write(path, item, maker)
            made[name] = {"name": path.name, "digest": digest_file(path)}
        return {"controls": made}

    def _file_name(self, item: Item, name: str, maker: ControlMaker) -> str:
        """Another one for other options, so that plans do not take each other's files away."""
        mark = digest_text(_mark(find_kind(name), maker.options) + str(self.options.crf))[:_MARK]
        suffix = ".png" if item.kind == "image" else ".mp4"
        return f"{short_name(item.path.stem, _STEM_BYTES)}-{name}-{mark}{suffix}"

    def _write(self, path: Path, item: Item, maker: ControlMaker) -> None:
        note = json.dumps({"control": maker.kind, "version": find_kind(maker.kind).version})
        if item.kind == "image":
            with open_writer(path, metadata=note, repeatable=True) as writer:
                for frame in maker([read_image(item.path)]):
                    writer.add(frame)
            return
        with opened(item.path) as reader:
            fps = min(max(reader.fps, _LOWEST_FPS), _HIGHEST_FPS)
            crf = self.options.crf
            with open_writer(path, fps=fps, crf=crf, metadata=note, repeatable=True) as writer:
                for frame in maker(reader):
                    writer.add(frame)


def _mark(kind: Kind, options: Options) -> str:
    """What the signal depends on beside the pixels."""
    pins = {name: network_mark(getattr(options, name)) for name in _named(options)}
    values = {**asdict(options), **pins}
    for name in _NO_RESULT:
        values.pop(name, None)
    return json.dumps([kind.name, kind.version, values], sort_keys=True)


def _named(options: Options) -> list[str]:
    return [name for name in _WEIGHTS if name in options.__dataclass_fields__]
