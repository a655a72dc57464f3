"""The options of a generation job."""

from ea_app.options.option import FROM_MODEL, KEYFRAME, MAX_FRAMES, MAX_SEED, SIDE_MULTIPLE, Option

_NUMBERS = ("float32", "bfloat16", "float16", "fp32", "bf16", "fp16")
_DTYPES = ("auto", *_NUMBERS)
# The names of ea_kernels.runtime.placement, which this module cannot import: it would load torch.
FORMATS = ("mp4", "webm", "gif", "webp", "png")
"""Kinds of results."""
_MEMORY = (
    "auto",
    "model_full_load",
    "model_cpu_offload",
    "model_cpu_offload_and_qfloat8",
    "sequential_cpu_offload",
    "low_gpu_memory_mode",
)

OPTIONS: tuple[Option, ...] = (
    Option(name="negative", kind="text", group="what", default="", metavar="TEXT", help="what to avoid"),
    Option(name="seed", kind="int", group="what", maximum=MAX_SEED, metavar="N",
           help="the same seed gives the same result; drawn and printed if not given"),
    Option(name="size", kind="size", group="what", default=FROM_MODEL, metavar="WxH",
           help="width x height in pixels, 128x96 or 128 for a square; for most models multiples of "
                f"{SIDE_MULTIPLE}"),
    Option(name="frames", kind="int", group="what", default=FROM_MODEL, minimum=1, maximum=MAX_FRAMES,
    metavar="N",
           help="number of frames; 1 makes an image"),
    Option(name="window", kind="int", group="what", default=FROM_MODEL, minimum=2, maximum=1025, metavar="N",
           help="frames that are made at once; longer videos are made in windows that overlap"),
    Option(name="overlap", kind="int", group="what", default=FROM_MODEL, minimum=1, maximum=1024, metavar="N",
           help="frames that a window shares with the one before"),
    Option(name="join", kind="choice", group="what", default="latents", choices=("latents", "pixels"),
           metavar="HOW", help="what windows hand over: latents, or only frames as EasyAnimate does"),
    Option(name="steps", kind="int", group="what", default=FROM_MODEL, minimum=1, maximum=1000, metavar="N",
           help="denoising steps"),
    Option(name="timesteps", kind="numbers", group="what", metavar="T,T,...",
           help="falling timesteps, one for each step, in the place of --steps and the sampler's own"),
    Option(name="teacache", kind="float", group="what", maximum=1, metavar="T",
           help="leave out steps in which little changes, faster and approximate: the larger, the more; "
           "0.05 to 0.1 for V5.1 [off if not given]"),
    Option(name="teacache-start", kind="int", group="what", minimum=1, maximum=1000, metavar="N",
           help="steps at the beginning that --teacache always runs [1 if not given]"),
    Option(name="teacache-curve", kind="choice", group="what", choices=("released", "identity"),
           metavar="NAME", help="how --teacache counts changes: with the coefficients released for V5.1, or "
           "as they are, which is rough and for any other model of V5 and V5.1 [released if not given]"),
    Option(name="guidance", kind="float", group="what", default=FROM_MODEL, maximum=100, metavar="G",
           help="how closely to follow the prompt; 1 and below switch guidance off"),
    Option(name="sampler", kind="text", group="what", default=FROM_MODEL, metavar="NAME",
           help="how noise is removed, such as Euler or Flow_DPM++; a wrong name lists those of the model"),
    Option(name="guidance-rescale", kind="float", group="what", default=0.0, maximum=1, metavar="R",
           help="how much of the contrast that guidance adds is taken back"),
    Option(name="noise-aug-strength", kind="float", group="what", default=0.0563, maximum=1, metavar="S",
           help="noise on given pixels before they are encoded; of InP models that were trained with it"),
    Option(name="clip-apply-ratio", kind="float", group="what", default=0.4, maximum=1, metavar="R",
           help="share of the steps, the last ones, in which models with CLIP (V3, V4) see the picture"),
    Option(name="image", kind="file", group="inputs", metavar="FILE", help="picture of the first frame"),
    Option(name="last-image", kind="file", group="inputs", metavar="FILE", help="picture of the last frame"),
    Option(name=KEYFRAME, kind="keyframes", group="inputs", metavar="N:FILE,...",
           help="pictures of frames by number, such as 0:a.png,24:b.png,last:c.png; the first is 0"),
    Option(name="clip-image", kind="file", group="inputs", metavar="FILE",
           help="picture that models with CLIP (V3, V4) see in the place of the first frame"),
    Option(name="video", kind="file", group="inputs", metavar="FILE",
           help="video to change, see --strength and --mask"),
    Option(name="mask", kind="file", group="inputs", metavar="FILE",
           help="picture or video for --video: white is made anew, black is kept"),
    Option(name="strength", kind="float", group="inputs", default=FROM_MODEL, maximum=1, above=True,
           metavar="S", help="how much of --video is changed"),
    Option(name="control", kind="file", group="inputs", metavar="FILE_OR_KIND",
           help="video or picture of edges, depth, poses or the like to follow; for Control models. With "
           "--control-from the kind of signal to make, such as canny"),
    Option(name="control-from", kind="file", group="inputs", metavar="FILE",
           help="video or picture that the signal named by --control is made of"),
    Option(name="control-options", kind="text", group="inputs", metavar="NAME=VALUE,...",
           help="options of that kind, such as low=50,high=150; see ea-data control KIND --help"),
    Option(name="reference", kind="file", group="inputs", metavar="FILE",
           help="picture of what is to be seen; for Control and Camera models that read one"),
    Option(name="camera", kind="text", group="inputs", metavar="FILE_OR_MOVES",
           help='camera text file, or words such as "pan left + zoom in, then clockwise"; for Camera models'),
    Option(name="trajectory", kind="file", group="inputs", metavar="FILE",
           help="JSON file with points that move through the picture; for Control models"),
    Option(name="references", kind="files", group="inputs", metavar="FILE;...",
           help="pictures and videos of which --mask-strategy speaks"),
    Option(name="mask-strategy", kind="text", group="inputs", metavar="TEXT",
           help='which frames of --references go where, such as "0;0,1,0,-1": the language of Open-Sora'),
    Option(name="loops", kind="int", group="inputs", minimum=1, maximum=1000, metavar="N",
           help="clips of --frames each that go on from each other; a prompt may have a text for each"),
    Option(name="output", kind="file", group="output", metavar="FILE",
           help=".mp4, .webm, .gif, .webp, .png for one frame, or .zip with a .png for every frame; an "
           "existing file is replaced [default: out.mp4, or out.png for one frame]"),
    Option(name="format", kind="choice", group="output", choices=FORMATS, metavar="NAME",
           help="kind of file where --output names none; png makes a .zip of several frames [default: mp4, "
           "or png for one frame]"),
    Option(name="fps", kind="int", group="output", default=FROM_MODEL, minimum=1, maximum=120, metavar="N",
           help="frames per second of the file; with --video or --control that video's own unless given"),
    Option(name="enhance-prompt", kind="url", group="words", metavar="URL",
           help="chat server that speaks OpenAI's protocol, such as http://localhost:8000/v1; its key is "
           "read from EA_PROMPT_API_KEY"),
    Option(name="enhance-model", kind="text", group="words", metavar="NAME",
           help="language model that the server is asked for"),
    Option(name="model", kind="text", group="machine", default="default", metavar="NAME",
           help="bundled model, model directory, or owner/name of the hub"),
    Option(name="motion-module", kind="file", group="machine", metavar="FILE",
           help="motion modules of EasyAnimate V1, where they are not in the model's directory"),
    Option(name="transformer-weights", kind="file", group="machine", metavar="FILE",
           help="personalised checkpoint in the place of the model's own denoiser (V1: of its image model)"),
    Option(name="lora", kind="file", group="machine", many=True, metavar="FILE[:WEIGHT]",
           help="LoRA over the denoiser, a file or the name of one in the box, at a weight from -100 to 100, "
                "1 if not given; may be given several times"),
    Option(name="lora-unmatched", kind="choice", group="machine", default="refuse",
           choices=("refuse", "skip"), metavar="WORD",
           help="what becomes of a LoRA's layers that the denoiser has no place for"),
    Option(name="device", kind="text", group="machine", default="auto", metavar="NAME",
           help="auto, cpu, cuda or cuda:N"),
    Option(name="dtype", kind="choice", group="machine", default="auto", choices=_DTYPES, metavar="NAME",
           help="number type of the computation"),
    Option(name="vae-dtype", kind="choice", group="machine", default="auto",
           choices=("auto", "same", *_NUMBERS), metavar="NAME",
           help="number type of the autoencoder; auto is that of --dtype, but float32 for those that "
           "overflow in float16 (V2 to V5)"),
    Option(name="memory", kind="choice", group="machine", default="auto", choices=_MEMORY, metavar="MODE",
           help="where weights are while they are not used; all modes but the one with qfloat8, which rounds "
                "weights, make the same frames"),
)  # fmt: skip
"""Everything but the prompt."""

PLANNED = (
    *("size", "frames", "window", "overlap", "steps", "teacache", "guidance"),
    *("dtype", "vae_dtype", "memory"),
)
"""Keys of the options that decide what memory and time a job needs."""


def option(key: str) -> Option:
    """The option with this key.

    Raises:
        KeyError: There is none.
    """
    return {entry.key: entry for entry in OPTIONS}[key]
