"""What a model cannot do, told by its traits and its process alone: no weight is needed to say so.

Shapes: T frames, H and W pixels.
"""

from ea_dit.diffusion import Sampler, Schedule, default_sampler, sampler_for
from ea_dit.diffusion.iddpm_sampling import IddpmSampler
from ea_dit.pipelines.conditions import (
    STEERING,
    Camera,
    ClipImage,
    Control,
    Reference,
    Video,
    only,
    placed,
)
from ea_dit.pipelines.pixels import to_boolean
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.teacache import IDENTITY, Skipping
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
    _check_conditions(request, traits)
    traits.check_size(request.height, request.width)
    requested_skipping(request, traits)
    sampler = requested_sampler(request, process)
    if traits.variant == "frames":
        _check_kept_frames(request, sampler)
    elif edited := [frames for frames in placed(request.conditions) if frames.edit_ratio]:
        raise ValueError(f"{edited[0].name} must have the edit ratio 0 for this model")


def check_process(process: Schedule, traits: Traits) -> None:
    """Refuses a schedule that a network was not made for: it would run and make noise.

    Raises:
        ValueError: Naming the schedule that is allowed.
    """
    wanted, got = type(traits.schedule), type(process)
    if wanted is not got:
        raise ValueError(f"the scheduler must be {wanted.__name__} for this transformer, got {got.__name__}")


def requested_sampler(request: GenerationRequest, process: Schedule) -> Sampler:
    """The sampler of a run: the one that the request names, or else the one that the checkpoint names.

    Raises:
        ValueError: If the name does not fit the process, listing those that do, or it cannot make the steps.
    """
    name = default_sampler(process) if request.sampler is None else request.sampler
    return sampler_for(process, name, request.num_steps, request.strength, timesteps=request.timesteps or ())


def requested_skipping(request: GenerationRequest, traits: Traits) -> Skipping | None:
    """How steps are left out; None where all are run.

    Raises:
        ValueError: If the model cannot, or no coefficients were released for it.
    """
    if request.teacache_threshold is None:
        return None
    if not traits.skips_steps:
        raise ValueError("teacache_threshold cannot be used: only models of V5 and V5.1 can leave out steps")
    curve = IDENTITY if request.teacache_curve == "identity" else traits.teacache_curve
    if curve is None:
        raise ValueError(
            "teacache_curve must be 'identity', which is rough, for this model: "
            "coefficients were released for V5.1 with 7B and 12B"
        )
    return Skipping(request.teacache_threshold, curve, request.teacache_start)


def _culprit(request: GenerationRequest) -> str:
    """What makes the mode what it is."""
    if request.mode == "masked_video":
        return "mask"
    steering = [given for given in request.conditions if isinstance(given, STEERING)]
    given = [*steering, *placed(request.conditions)] or list(request.conditions)
    return given[0].name if given else f"num_frames {request.num_frames}"


def _check_conditions(request: GenerationRequest, traits: Traits) -> None:
    control, camera, reference, seen = (
        only(request.conditions, kind) for kind in (Control, Camera, Reference, ClipImage)
    )
    if control is not None and traits.variant == "camera":
        raise ValueError(f"{control.name} cannot be used: this model takes a camera path instead")
    if camera is not None and traits.variant == "control":
        raise ValueError(f"{camera.name} cannot be used: this model takes a control video instead")
    if seen is not None and traits.image_states is None:
        raise ValueError(f"{seen.name} cannot be used: this model does not read pictures with CLIP")
    if reference is None:
        return
    if not traits.reference:
        raise ValueError(f"{reference.name} cannot be used: this model takes no reference image")
    if request.num_frames == 1:
        # The first latent frame of the reference channels is always empty, so it would change nothing.
        raise ValueError(f"{reference.name} cannot be used with one frame: num_frames must be at least 2")


def _check_kept_frames(request: GenerationRequest, sampler: Sampler) -> None:
    """Networks that hold whole frames do so step by step, in their own process."""
    hands_over = request.is_long and request.mode != "video_to_video"
    if request.mode not in ("image_to_video", "masked_video") and not hands_over:
        return
    video = only(request.conditions, Video)
    if video is not None and video.mask is not None:
        generate_TX = to_boolean(video.mask).flatten(-2)
        if bool((generate_TX.all(dim=-1) != generate_TX.any(dim=-1)).any()):
            raise ValueError("mask must keep or redo whole frames for this model")
        if bool(generate_TX.all()) and not hands_over:
            return
    if not isinstance(sampler, IddpmSampler):
        raise ValueError("sampler must be IDDPM or DDIM where frames are kept")  # noqa: TRY004
