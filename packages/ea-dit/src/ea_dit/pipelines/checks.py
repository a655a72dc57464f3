"""What a model cannot do, told by its traits and its process alone: no weight is needed to say so.

Shapes: T frames, H and W pixels.
"""

from ea_dit.diffusion import Sampler, Schedule, default_sampler, sampler_for
from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.diffusion.iddpm_sampling import IddpmSampler
from ea_dit.pipelines.conditions import to_boolean
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.variants import Traits


def check_request(request: GenerationRequest, traits: Traits, process: Schedule) -> None:
    """Refuses what a model cannot do.

    Args:
        request: Valid in itself, see `GenerationRequest.validate`.
        traits: What the network wants.
        process: The schedule that it runs with.

    Raises:
        ValueError: One line that begins with the field and says what is allowed.
    """
    if request.mode not in traits.modes:
        allowed = ", ".join(sorted(traits.modes))
        raise ValueError(f"{_culprit(request)} cannot be used: this model supports {allowed}")
    _check_control(request, traits)
    traits.check_size(request.height, request.width)
    sampler = requested_sampler(request, process)
    if traits.variant == "frames":
        _check_kept_frames(request, sampler)


def check_process(process: Schedule, traits: Traits) -> None:
    """Refuses a schedule that a network was not made for: learned variances are all or nothing.

    Raises:
        ValueError: Naming the schedule that is allowed.
    """
    if isinstance(process, Iddpm) != isinstance(traits.schedule, Iddpm):
        wanted, got = type(traits.schedule).__name__, type(process).__name__
        raise ValueError(f"the scheduler must be {wanted} for this transformer, got {got}")


def requested_sampler(request: GenerationRequest, process: Schedule) -> Sampler:
    """The sampler of a run: the one that the request names, or else the one that the checkpoint names.

    Raises:
        ValueError: If the name does not fit the process, listing those that do, or it cannot make the steps.
    """
    name = default_sampler(process) if request.sampler is None else request.sampler
    return sampler_for(process, name, request.num_steps, request.strength)


def _culprit(request: GenerationRequest) -> str:
    """The one input that makes the mode what it is."""
    if request.mode == "masked_video":
        return "mask"
    names = request.tensor_names()
    return names[0] if names else f"num_frames {request.num_frames}"


def _check_control(request: GenerationRequest, traits: Traits) -> None:
    if request.control_video is not None and traits.variant == "camera":
        raise ValueError("control_video cannot be used: this model takes camera instead")
    if request.camera is not None and traits.variant == "control":
        raise ValueError("camera cannot be used: this model takes control_video instead")
    if request.ref_image is None:
        return
    if not traits.reference:
        raise ValueError("ref_image cannot be used: this model takes no reference image")
    if request.num_frames == 1:
        # The first latent frame of the reference channels is always empty, so it would change nothing.
        raise ValueError("ref_image cannot be used with one frame: num_frames must be at least 2")


def _check_kept_frames(request: GenerationRequest, sampler: Sampler) -> None:
    """Networks that hold whole frames do so step by step, in their own process."""
    if request.mode not in ("image_to_video", "masked_video"):
        return
    if request.mask is not None:
        generate_TX = to_boolean(request.mask).flatten(-2)
        if bool((generate_TX.all(dim=-1) != generate_TX.any(dim=-1)).any()):
            raise ValueError("mask must keep or redo whole frames for this model")
        if bool(generate_TX.all()):
            return
    if not isinstance(sampler, IddpmSampler):
        raise ValueError("sampler must be IDDPM or DDIM where frames are kept")  # noqa: TRY004
