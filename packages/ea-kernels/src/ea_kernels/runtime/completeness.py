"""Whether a checkpoint has exactly the tensors of a model, by names and shapes."""

from collections.abc import Mapping
from dataclasses import dataclass

from ea_kernels.runtime.key_map import KeyMap, Shape


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What is wrong with a checkpoint.

    Attributes:
        unfit: Sentences about tensors with a wrong shape, or that stand for the same tensor of ours.
        unexpected: Released names that the model has no place for.
        missing: Released names of places that stay empty.
    """

    unfit: tuple[str, ...]
    unexpected: tuple[str, ...]
    missing: tuple[str, ...]

    def by_kind(self) -> list[list[str]]:
        """Sentences of each kind, one for each tensor, the kinds that there are."""
        unexpected = [f"unexpected tensor {name!r}" for name in self.unexpected]
        missing = [f"missing tensor {name!r}" for name in self.missing]
        return [kind for kind in (list(self.unfit), unexpected, missing) if kind]


def compare_shapes(
    released: Mapping[str, Shape], expected: Mapping[str, Shape], *, key_map: KeyMap
) -> Faults:
    """Compare the tensors of a checkpoint with those of a model.

    Args:
        released: Shapes by released name.
        expected: Shapes by our name.
        key_map: Released names to ours.
    """
    seen: dict[str, str] = {}
    unfit: list[str] = []
    unexpected: list[str] = []
    for released_name, stored_shape in released.items():
        try:
            parts = key_map.shapes(released_name, stored_shape)
        except ValueError as error:
            unfit.append(f"tensor {released_name!r}: {error}")
            # Its places are not empty, they are taken by something else.
            seen |= dict.fromkeys(key_map.to_ours(released_name), released_name)
            continue
        for name, shape in parts.items():
            if name in seen:
                unfit.append(f"tensors {seen[name]!r} and {released_name!r} are the same ({name})")
            seen[name] = released_name
            if name not in expected:
                unexpected.append(released_name)
            elif shape != expected[name]:
                wanted = list(expected[name])
                unfit.append(f"tensor {released_name!r} has shape {list(shape)}, expected {wanted}")
    missing = [key_map.to_released(name) for name in expected if name not in seen]
    return Faults(
        unfit=tuple(unfit),
        unexpected=tuple(dict.fromkeys(unexpected)),
        missing=tuple(dict.fromkeys(missing)),
    )


def check_shapes(
    released: Mapping[str, Shape], expected: Mapping[str, Shape], *, key_map: KeyMap, where: str
) -> None:
    """Refuse a checkpoint that is not exactly that of a model.

    Args:
        released: Shapes by released name.
        expected: Shapes by our name.
        key_map: Released names to ours.
        where: File or directory, for the message.

    Raises:
        ValueError: On the first tensor that is misshapen, left over or missing, with the number of others.
    """
    for kind in compare_shapes(released, expected, key_map=key_map).by_kind():
        more = f" and {len(kind) - 1} more" if len(kind) > 1 else ""
        raise ValueError(f"{where}: {kind[0]}{more}")
