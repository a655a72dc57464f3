"""The nodes of ComfyUI itself that the example workflows use, as far as tests need them."""

from __future__ import annotations

import torch


def _node(name, inputs, returns, run):
    types_ = {"required": inputs}
    body = {
        "INPUT_TYPES": classmethod(lambda cls: types_),
        "RETURN_TYPES": returns,
        "FUNCTION": "run",
        "run": lambda self, **given: run(given),
    }
    return type(name, (), body)


def _video(given):
    """48 frames and a bit, of a square that moves."""
    frames = torch.zeros(80, 48, 84, 3)
    for index, frame in enumerate(frames):
        frame[10:30, index % 40 : index % 40 + 20] = 0.8
    return (frames,)


def core_nodes(saved):
    """By name; what is saved ends up in the list."""
    text = ("STRING", {})
    number = ("FLOAT", {"default": 1.0})
    whole = ("INT", {"default": 1})
    return {
        "LoadImage": _node(
            "LoadImage",
            {"image": text, "upload": text},
            ("IMAGE", "MASK"),
            lambda given: (torch.linspace(0, 1, 96 * 54 * 3).reshape(1, 54, 96, 3), None),
        ),
        "LoadVideo": _node("LoadVideo", {"file": text, "upload": text}, ("VIDEO",), lambda given: ("video",)),
        "GetVideoComponents": _node(
            "GetVideoComponents",
            {"video": ("VIDEO",)},
            ("IMAGE", "AUDIO", "FLOAT"),
            lambda given: (*_video(given), None, 24.0),
        ),
        "CreateVideo": _node(
            "CreateVideo",
            {"images": ("IMAGE",), "fps": number},
            ("VIDEO",),
            lambda given: ((given["images"], given["fps"]),),
        ),
        "SaveVideo": _node(
            "SaveVideo",
            {"video": ("VIDEO",), "filename_prefix": text, "format": text, "codec": text},
            (),
            lambda given: saved.append(given["video"]) or (),
        ),
        "PrimitiveStringMultiline": _node(
            "PrimitiveStringMultiline", {"value": text}, ("STRING",), lambda given: (given["value"],)
        ),
        "SolidMask": _node(
            "SolidMask",
            {"value": number, "width": whole, "height": whole},
            ("MASK",),
            lambda given: (torch.full((1, given["height"], given["width"]), given["value"]),),
        ),
    }
