"""The samplers: a request of the inputs, run on the engine, with ComfyUI's bar and button."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from ea_app.comfy.host import Bar, Watch
from ea_app.comfy.inputs import (
    CATEGORY,
    IMAGE,
    Inputs,
    base_resolution,
    length,
    scheduler,
    size,
    steps,
    strength,
    texts,
)
from ea_app.comfy.loading import ChosenModel
from ea_app.comfy.requests import control_request, picture_request, text_request, video_request
from ea_app.options import InputError
from ea_dit.pipelines import Cancelled, GenerationRequest

_LOG = logging.getLogger(__name__)
_THEIRS: Final = {
    "num_frames": "video_length",
    "num_steps": "steps",
    "guidance_scale": "cfg",
    "sampler": "scheduler",
    "strength": "denoise_strength",
}
"""How nodes call fields of a request."""


class _Sampler(ABC):
    """What all samplers share."""

    RETURN_TYPES: ClassVar = (IMAGE,)
    RETURN_NAMES: ClassVar = ("images",)
    FUNCTION: ClassVar = "process"
    CATEGORY: ClassVar = CATEGORY
    V5: ClassVar = False

    def process(self, easyanimate_model: ChosenModel, **given: Any) -> tuple[Tensor]:
        """Run the node.

        Args:
            easyanimate_model: From the loader.
            **given: The other inputs by name, as ComfyUI gives them.

        Returns:
            (T, H, W, 3) in 0 ... 1.

        Raises:
            ValueError: An input that is wrong or that the model cannot use; the message begins with its name.
        """
        request = self._request(easyanimate_model, given)
        if given.get("enable_teacache"):
            request = _skipping(request, easyanimate_model, given["teacache_threshold"])
        return (_run(easyanimate_model, request),)

    @abstractmethod
    def _request(self, model: ChosenModel, given: Mapping[str, Any]) -> GenerationRequest:
        """What the pipeline is asked for."""


class EasyAnimateT2VSampler(_Sampler):
    """From words."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {
            "required": {
                **texts(),
                **length(v5=cls.V5),
                **size(),
                **steps(),
                **scheduler(v5=cls.V5),
            }
        }

    def _request(self, model: ChosenModel, given: Mapping[str, Any]) -> GenerationRequest:
        del model
        return text_request(given)


class EasyAnimateV5T2VSampler(EasyAnimateT2VSampler):
    """From words, V5 and V5.1."""

    V5: ClassVar = True


class EasyAnimateI2VSampler(_Sampler):
    """From first and last pictures."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {
            "required": {
                **texts(),
                **length(v5=cls.V5),
                **base_resolution(),
                **steps(),
                **scheduler(v5=cls.V5),
            },
            "optional": {"start_img": (IMAGE,), "end_img": (IMAGE,)},
        }

    def _request(self, model: ChosenModel, given: Mapping[str, Any]) -> GenerationRequest:
        del model
        return picture_request(given)


class EasyAnimateV5I2VSampler(EasyAnimateI2VSampler):
    """From first and last pictures, V5 and V5.1."""

    V5: ClassVar = True


class EasyAnimateV2VSampler(_Sampler):
    """From a video; with Control models from a control video, with Camera models from a camera path."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        videos: Inputs = {"validation_video": (IMAGE,), "control_video": (IMAGE,)}
        if cls.V5:
            videos |= {
                "camera_conditions": ("STRING", {"forceInput": True}),
                "ref_image": (IMAGE,),
            }
        return {
            "required": {
                **texts(),
                **length(v5=cls.V5),
                **base_resolution(),
                **steps(),
                **strength(),
                **scheduler(v5=cls.V5),
            },
            "optional": videos,
        }

    def _request(self, model: ChosenModel, given: Mapping[str, Any]) -> GenerationRequest:
        make: Callable[[Mapping[str, Any]], GenerationRequest]
        make = control_request if model.steered else video_request
        return make(given)


class EasyAnimateV5V2VSampler(EasyAnimateV2VSampler):
    """From a video, V5 and V5.1."""

    V5: ClassVar = True


def _skipping(request: GenerationRequest, model: ChosenModel, threshold: float) -> GenerationRequest:
    """The same request with steps left out, where coefficients were released for the model."""
    if model.outline.traits.teacache_curve is not None:
        return replace(request, teacache_threshold=threshold)
    _LOG.info("enable_teacache: all steps are run; coefficients were released for V5.1 only")
    return request


def _run(model: ChosenModel, request: GenerationRequest) -> Tensor:
    """Run a request; what is wrong with it is said before weights are read."""
    watch = Watch()
    try:
        # ComfyUI runs nodes in inference mode, whose tensors could not be used outside of it.
        with torch.inference_mode(mode=False):
            model.outline.check(request)
            engine = model.load()
            result = engine.generate(request, on_event=Bar(), cancel=watch)
            for notice in result.notices:
                _LOG.info(notice)
            return result.frames.float() / 255
    except Cancelled:
        watch.raise_if_interrupted()
        raise
    except (InputError, ValueError) as error:
        raise ValueError(_renamed(str(error))) from error


def _renamed(message: str) -> str:
    """A message with the name of the input instead of the request's field."""
    for ours, theirs in _THEIRS.items():
        if message.startswith(ours):
            return theirs + message.removeprefix(ours)
    return message
