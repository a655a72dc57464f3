"""Conditions of a request in short, for tests."""

from __future__ import annotations

from ea_dit.pipelines import Camera, ClipImage, Control, Frames, GenerationRequest, Reference, Video

KINDS = {
    "image": lambda pixels: Frames(pixels=pixels, name="image"),
    "last_image": lambda pixels: Frames(pixels=pixels, at=-1, name="last_image"),
    "control": lambda pixels: Control(pixels=pixels),
    "reference": lambda pixels: Reference(pixels=pixels),
    "camera": lambda rays: Camera(rays=rays),
    "clip_image": lambda pixels: ClipImage(pixels=pixels),
}


def request_of(values):
    """A request of fields, and of conditions by the names above; `video` and `mask` make one."""
    values = dict(values)
    conditions = list(values.pop("conditions", ()))
    conditions += [make(values.pop(name)) for name, make in KINDS.items() if name in values]
    if "video" in values:
        conditions.append(Video(pixels=values.pop("video"), mask=values.pop("mask", None)))
    return GenerationRequest(**values, conditions=tuple(conditions))
