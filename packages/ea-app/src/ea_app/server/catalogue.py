"""Which models and LoRAs clients may name, by ids that the operator gave them. Paths stay here."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ea_app.api.job import find_model
from ea_app.api.loras import find_loras
from ea_app.catalog import DEFAULT, Model
from ea_app.options import InputError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAMED = re.compile(r"(?P<id>[^=]*)=(?P<name>.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What may be named.

    Attributes:
        models: By id; the first is what is meant where none is named.
        loras: Paths by id.
    """

    models: Mapping[str, Model]
    loras: Mapping[str, Path]

    @classmethod
    def of(cls, models: Iterable[str] = (), loras: Iterable[str] = ()) -> Self:
        """Find what the operator named.

        Args:
            models: Bundled names, directories or hub ids, each with or without `ID=` before it; none means
                the bundled model. An id that is not given is the last part of the name.
            loras: Files, in the same way; the id is the name without its ending.

        Raises:
            InputError: Something is not there, or two have the same id.
        """
        found: dict[str, Model] = {}
        for text in list(models) or [DEFAULT]:
            identity, name = _split("model", text, Path(text).name)
            _add("model", found, identity, find_model(name, download=False))
        files: dict[str, Path] = {}
        for text in loras:
            identity, name = _split("lora", text, Path(text).stem)
            (source,) = find_loras([Path(name)])
            _add("lora", files, identity, source.source.path)
        return cls(models=found, loras=files)

    @property
    def default(self) -> str:
        """Id of the first model."""
        return next(iter(self.models))

    def model(self, identity: str, field: str = "model") -> Model:
        """A model by its id.

        Raises:
            InputError: There is none; the message lists what there is.
        """
        if identity not in self.models:
            raise InputError(field, f"must be one of {', '.join(self.models)}; got {_shown(identity)}")
        return self.models[identity]

    def lora(self, text: str, field: str = "lora") -> str:
        """What `ID` or `ID:WEIGHT` stands for, as the option `lora` takes it.

        Raises:
            InputError: There is none, or the weight is not allowed.
        """
        identity, _, weight = text.partition(":")
        if identity not in self.loras:
            allowed = f"one of {', '.join(self.loras)}" if self.loras else "left out: this server has none"
            raise InputError(field, f"must be {allowed}; got {_shown(identity)}")
        try:
            number = float(weight or 1)
        except ValueError:
            number = float("nan")
        if not abs(number) <= 100:
            raise InputError(
                field, f"must be ID or ID:WEIGHT with a weight from -100 to 100, got {_shown(text)}"
            )
        return f"{self.loras[identity]}:{number!r}"

    def id_of_model(self, name: str) -> str:
        """The id of a model by its name in a job; the last part of a name that is no longer here."""
        found = next((identity for identity, model in self.models.items() if model.name == name), None)
        return found or Path(name).name

    def id_of_lora(self, text: str) -> str:
        """The reverse of `lora`."""
        path, _, weight = text.rpartition(":")
        found = next((identity for identity, one in self.loras.items() if str(one) == path), None)
        return f"{found or Path(path).stem}:{float(weight):g}"


def _split(field: str, text: str, own: str) -> tuple[str, str]:
    found = _NAMED.fullmatch(text)
    identity, name = (found["id"], found["name"]) if found and not Path(text).exists() else (own, text)
    if not _ID.fullmatch(identity):
        rule = "give it an id of letters, digits, dots, dashes and underscores, such as my-model=PATH"
        raise InputError(field, f"{text!r}: {rule}")
    return identity, name


def _add(
    field: str, found: dict[str, object] | dict[str, Model] | dict[str, Path], key: str, value: object
) -> None:
    if key in found:
        raise InputError(field, f"two have the id {key!r}; give one another, such as {key}-2=PATH")
    found[key] = value  # pyright: ignore[reportArgumentType]


def _shown(text: str) -> str:
    return repr(text[:100])
