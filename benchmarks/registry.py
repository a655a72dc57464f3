"""The benchmarks by name, and the bars that the project sets itself."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bar:
    """What a figure must reach.

    Attributes:
        figure: Its name in the result.
        least: Smallest value that passes, None when there is none.
        most: Largest value that passes, None when there is none.
    """

    figure: str
    least: float | None = None
    most: float | None = None

    def passed(self, value: float) -> bool:
        """Whether a value reaches it."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        return f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        module: File in this folder with `add_arguments(parser)` and `run(arguments)`.
        about: One line.
        bars: What its figures must reach; figures without a bar are reported too.
        of_a_model: Whether it measures a model; otherwise there is no `--model`.
        suite: Name of the suite that it belongs to, see `suite.py`; empty if to none.
    """

    module: str
    about: str
    bars: tuple[Bar, ...] = field(default=())
    of_a_model: bool = True
    suite: str = ""


BENCHMARKS: dict[str, Benchmark] = {
    "prompt_following": Benchmark(
        "prompt_following",
        "does the clip show what a held-out prompt says",
        (Bar("colour", least=0.95), Bar("shape", least=0.90), Bar("motion", least=0.90)),
    ),
    "image_to_video": Benchmark(
        "image_to_video",
        "does a clip start, and end, with the given picture, and does the prompt's motion happen",
        (
            Bar("first_frame_psnr", least=25.0),
            Bar("motion", least=0.85),
            Bar("both_ends_first_psnr", least=25.0),
            Bar("both_ends_last_psnr", least=25.0),
        ),
    ),
    "steering": Benchmark(
        "steering",
        "do keyframes, masks and strength do what they say",
        (
            Bar("keyframe_first_psnr", least=25.0),
            Bar("mask_kept_psnr", least=25.0),
            Bar("strength_monotone", least=0.9),
        ),
    ),
    "control_following": Benchmark(
        "control_following",
        "does a control model follow edges and trajectories",
        (Bar("edge_f1", least=0.7), Bar("trajectory_pixels", most=3.0)),
    ),
    "camera_following": Benchmark(
        "camera_following",
        "does a camera model go where the rays say",
        (Bar("camera_direction_picture", least=0.9), Bar("camera_direction_alone", least=0.9)),
    ),
    "style_lora": Benchmark(
        "style_lora",
        "does a style LoRA change the look, and nothing else",
        (
            Bar("style", least=0.9),
            Bar("colour", least=0.9),
            Bar("shape", least=0.85),
            Bar("motion", least=0.85),
        ),
    ),
    "long_video": Benchmark(
        "long_video",
        "does a long video need more memory than a window, and are its joints visible",
        (Bar("peak_ratio", most=1.5),),
    ),
    "step_caching": Benchmark(
        "step_caching",
        "leaving out steps: how many, how much faster, how far from the frames of all steps",
        (Bar("times_faster", least=1.5), Bar("psnr_lowest", least=35.0)),
    ),
    "vae_reconstruction": Benchmark(
        "vae_reconstruction",
        "how much the autoencoder keeps of held-out scenes, and of real clips",
        (Bar("psnr", least=32.0), Bar("ssim", least=0.95)),
    ),
    "training_cache": Benchmark(
        "training_cache",
        "how long training waits for data that is encoded already, and how soon a stopped run goes on",
        (Bar("data_wait", most=0.02), Bar("resume_seconds", most=10.0)),
    ),
    "cold_start": Benchmark(
        "cold_start",
        "seconds from the command to the file, and whether the same request gives the same frames",
        (
            Bar("help_seconds", most=1.0),
            Bar("seconds_64x64x17", most=15.0),
            Bar("seconds_128x128x17", most=40.0),
            Bar("identical_twice", least=1.0),
            Bar("identical_replay", least=1.0),
        ),
    ),
    "job_queue": Benchmark(
        "job_queue",
        "what the queue costs beside the pipeline alone; seconds to get over a cancel and a killed worker",
        (
            Bar("overhead", most=0.05),
            Bar("cancel_seconds", most=2.0),
            Bar("restart_seconds", most=10.0),
            Bar("idle_gigabytes", most=1.5),
        ),
    ),
    "studio_start": Benchmark(
        "studio_start",
        "seconds until the studio and the REST server answer and the page is painted; memory while idle",
        (
            Bar("studio_seconds", most=10.0),
            Bar("server_seconds", most=10.0),
            Bar("first_paint_seconds", most=2.0),
            Bar("idle_gigabytes", most=1.5),
        ),
    ),
    "training_step": Benchmark(
        "training_step",
        "how fast is a training step, and how much memory does it take, beside diffusers with accelerate",
        (Bar("throughput_ratio", least=1.2), Bar("peak_memory_ratio", most=0.9)),
        of_a_model=False,
    ),
    "mmdit_forward": Benchmark(
        "mmdit_forward",
        "how fast is one pass of an MMDiT, and in what memory, beside diffusers",
        (
            Bar("forward_ratio", least=1.12),
            Bar("forward_memory_ratio", most=1.10),
        ),
        of_a_model=False,
        suite="cpu",
    ),
    "mmdit_training": Benchmark(
        "mmdit_training",
        "how fast are forward and backward of an MMDiT, and in what memory, beside diffusers",
        (Bar("training_ratio", least=1.05), Bar("training_memory_ratio", most=1.10)),
        of_a_model=False,
        suite="cpu",
    ),
    "vae_speed": Benchmark(
        "vae_speed",
        "how fast are clips encoded and decoded, and in what memory, beside diffusers",
        (
            Bar("encode_17x128_ratio", least=1.2),
            Bar("encode_49x256_ratio", least=1.35),
            Bar("decode_17x128_ratio", least=1.35),
            Bar("decode_49x256_ratio", least=1.6),
            Bar("encode_17x128_memory_ratio", most=1.10),
            Bar("encode_49x256_memory_ratio", most=1.10),
            Bar("decode_17x128_memory_ratio", most=1.10),
            Bar("decode_49x256_memory_ratio", most=1.10),
        ),
        of_a_model=False,
        suite="cpu",
    ),
    "shared_convolutions": Benchmark(
        "shared_convolutions",
        "how much faster, and how exact, are convolutions that do with half the products",
        (Bar("256x64_times", least=1.5),),
        of_a_model=False,
    ),
    "batch_order": Benchmark(
        "batch_order",
        "seconds and memory to plan an epoch of ten million rows, seconds to continue in the middle of one",
        (
            Bar("plan_seconds", most=30.0),
            Bar("plan_gigabytes", most=2.0),
            Bar("resume_seconds", most=1.0),
            Bar("resolution_plan_seconds", most=30.0),
            Bar("resolution_plan_gigabytes", most=2.0),
            Bar("resolution_resume_seconds", most=1.0),
        ),
        of_a_model=False,
    ),
    "mask_shapes": Benchmark(
        "mask_shapes",
        "how much faster than a loop over pixels are the masks of training",
        (Bar("ellipse_times", least=100.0), Bar("disc_times", least=100.0)),
        of_a_model=False,
    ),
    "cache_store": Benchmark(
        "cache_store",
        "how many encoded samples a second does one core read, and how fast is the index of ten million",
        (
            Bar("samples_per_second", least=2000.0),
            Bar("pairs_per_second", least=2000.0),
            Bar("index_seconds", most=10.0),
            Bar("index_gigabytes", most=2.0),
        ),
        of_a_model=False,
    ),
    "clip_reading": Benchmark(
        "clip_reading",
        "how fast are clips decoded, scaled and cropped, beside merely decoding their frames",
        (Bar("share_of_raw", least=0.9),),
        of_a_model=False,
    ),
    "curation": Benchmark(
        "curation",
        "clips a second of every stage without weights; motion vectors beside dense flow",
        (Bar("vectors_over_farneback", least=10.0), Bar("rank_vectors_farneback", least=0.9)),
        of_a_model=False,
    ),
    "curation_scaling": Benchmark(
        "curation_scaling",
        "curation by two workers, a pool and Ray, against one process: wall and processor time",
        (Bar("ray_speedup", least=1.6),),
        of_a_model=False,
    ),
    "control_signals": Benchmark(
        "control_signals",
        "frames a second that one core turns into each kind of control signal",
        of_a_model=False,
    ),
    "conversion": Benchmark(
        "conversion",
        "seconds and memory to convert a model directory to diffusers' layout and back",
        (Bar("peak_gigabytes", most=1.0),),
        of_a_model=False,
    ),
}
