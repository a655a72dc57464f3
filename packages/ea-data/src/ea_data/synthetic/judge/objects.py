"""From foreground pixels to objects: which regions, over the frames, are one coloured thing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from ea_data.synthetic.contrast import to_lab
from ea_data.synthetic.judge.segment import Float, Mask, components, erode
from ea_data.synthetic.vocabulary import COLOURS, SHAPE_RGB, Rgb

_MIN_AREA: Final = 0.0025  # of the frame, for a region to count
_MIN_SHARE: Final = 0.08  # of the pixels of the largest object
_MIN_TOGETHER: Final = 0.3  # of the frames: two colours seen less often side by side are one object
_MIN_SEEN: Final = 0.3  # of the frames
_MIXED: Final = 0.25  # of a region: more of another object's colour means that two objects touch
_LAB_WEIGHTS: Final = np.array([0.6, 1.0, 1.0])  # shading changes lightness more than hue


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One object over the clip.

    Attributes:
        colour: One of `COLOURS`.
        rgb: Its typical colour, shape (3,).
        regions: Frame number -> mask (H, W), only frames where it stands alone.
        area: Pixels in all.
    """

    colour: str
    rgb: Float
    regions: dict[int, Mask]
    area: int


@dataclass(frozen=True, kw_only=True)
class _Region:
    time: int
    mask: Mask
    area: int
    core: Float
    colour: str


def nearest_names(rgb: Float, palette: Mapping[str, Rgb], names: tuple[str, ...]) -> tuple[str, ...]:
    """Nearest named colour of each row of (N, 3) colours in 0..255."""
    prototypes = to_lab([palette[name] for name in names]) * _LAB_WEIGHTS
    distance = np.linalg.norm(to_lab(rgb)[:, None] * _LAB_WEIGHTS - prototypes, axis=-1)
    return tuple(names[index] for index in distance.argmin(axis=1))


def find_objects(frames: Float, mask: Mask) -> list[Sighting]:
    """Group the foreground of a clip into objects.

    Args:
        frames: Shape (T, H, W, 3), 0..255.
        mask: Foreground, shape (T, H, W).
    """
    regions = _regions(frames, mask)
    by_colour = _merge(regions, len(frames))
    colours = tuple(by_colour)
    sightings = []
    for colour, members in by_colour.items():
        largest: dict[int, _Region] = {}
        for region in members:
            if region.time not in largest or region.area > largest[region.time].area:
                largest[region.time] = region
        alone = [
            region
            for region in largest.values()
            if len(colours) == 1 or not _touched(region, colour, colours)
        ]
        kept = alone if len(alone) >= max(2, len(frames) // 4) else list(largest.values())
        if len(kept) < _MIN_SEEN * len(frames):
            continue
        kept.sort(key=lambda region: region.time)
        core = np.concatenate([region.core for region in kept])
        rgb = np.median(core, axis=0)
        sightings.append(
            Sighting(
                colour=nearest_names(rgb[None], SHAPE_RGB, COLOURS)[0],
                rgb=rgb,
                regions={region.time: region.mask for region in kept},
                area=sum(region.area for region in kept),
            )
        )
    return sightings


def _regions(frames: Float, mask: Mask) -> list[_Region]:
    inner = erode(mask)
    smallest = max(4, _MIN_AREA * mask[0].size)
    found: list[tuple[int, Mask, int, Float]] = []
    for time in range(len(frames)):
        labels, count = components(mask[time])
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        for number in range(1, count + 1):
            if areas[number] < smallest:
                continue
            own = labels == number
            core = own & inner[time]
            chosen = core if core.sum() >= 6 else own
            found.append((time, own, int(areas[number]), frames[time][chosen]))
    if not found:
        return []
    names = nearest_names(np.stack([np.median(core, axis=0) for *_, core in found]), SHAPE_RGB, COLOURS)
    return [
        _Region(time=time, mask=own, area=area, core=core, colour=name)
        for (time, own, area, core), name in zip(found, names, strict=True)
    ]


def _merge(regions: list[_Region], num_frames: int) -> dict[str, list[_Region]]:
    """Regions by object, named by its colour; colours that never stand side by side are one object."""
    by_colour: dict[str, list[_Region]] = {}
    for region in regions:
        by_colour.setdefault(region.colour, []).append(region)
    ranked = sorted(by_colour, key=lambda colour: -sum(region.area for region in by_colour[colour]))
    kept: dict[str, list[_Region]] = {}
    for colour in ranked:
        members = by_colour[colour]
        area = sum(region.area for region in members)
        times = {region.time for region in members}
        hosts = [
            other
            for other in kept
            if len(times & {region.time for region in kept[other]}) < _MIN_TOGETHER * num_frames
        ]
        if not kept:
            kept[colour] = members
        elif hosts:
            kept[hosts[0]] = kept[hosts[0]] + members
        elif area >= _MIN_SHARE * sum(region.area for region in next(iter(kept.values()))):
            kept[colour] = members
    return kept


def _touched(region: _Region, colour: str, colours: tuple[str, ...]) -> bool:
    names = nearest_names(region.core[:: max(1, len(region.core) // 64)], SHAPE_RGB, COLOURS)
    others = sum(name in colours and name != colour for name in names)
    return others > _MIXED * len(names)
