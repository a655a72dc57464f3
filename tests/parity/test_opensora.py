"""Open-Sora 1.0 and 1.1 against recorded outputs of the original: networks, diffusion, caption cleaning."""

import json
import shutil

import pytest
import torch
from discovery import goldens, unknown
from safetensors.torch import load_file

import ea_dit
from ea_dit.diffusion.guidance import Guidance
from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.diffusion.iddpm_loss import IddpmLoss, SpeedSampling
from ea_dit.diffusion.iddpm_sampling import HeldFrames, IddpmSampler, dpm_sampler, with_steps
from ea_dit.diffusion.loop import denoise_steps
from ea_dit.diffusion.respacing import respaced
from ea_dit.text.cleaning import clean_caption

pytestmark = pytest.mark.parity

MODELS = {"stdit", "stdit2"}
OTHERS = {"scheduler", "text", "mask", "bucket", "data"}  # test_mask_strategy.py, test_opensora_data.py
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}


def cases():
    """The index of these fixtures names a case by its file."""
    folders = [goldens() / "opensora" / name for name in sorted(MODELS)]
    found = []
    for folder in folders:
        if not (folder / "case.json").is_file():
            continue
        index = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        found += [
            pytest.param(folder, info, id=f"{folder.name}-{info['file'].removesuffix('.safetensors')}")
            for info in index["cases"]
        ]
    return found


def load(folder, info, tmp_path):
    """The network of a case, some of which change the constructor's arguments."""
    shutil.copy(folder / "model.safetensors", tmp_path)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(values | info.get("config_overrides", {})))
    return ea_dit.load_transformer(tmp_path)


def run(model, given):
    conditioning = ea_dit.Conditioning(
        frame_mask=given.get("x_mask"),
        resolution=torch.stack((given["height"], given["width"]), dim=1) if "height" in given else None,
        aspect_ratio=given["ar"][:, None] if "ar" in given else None,
        num_frames=given.get("num_frames"),
        fps=given.get("fps"),
    )
    mask = given.get("mask")
    with torch.no_grad():
        return model(
            given["x"],
            given["timestep"],
            given["y"][:, 0],
            text_mask_BM=None if mask is None else mask.bool(),
            conditioning=conditioning,
        )


def test_every_fixture_is_known():
    found = [folder.name for folder in (goldens() / "opensora").iterdir() if folder.is_dir()]
    assert found, f"no fixtures of Open-Sora below {goldens()}"
    assert unknown(found, supported=MODELS | OTHERS, not_yet={}) == []


@pytest.mark.parametrize(("folder", "info"), cases())
def test_network(folder, info, tmp_path):
    tensors = load_file(folder / info["file"])
    given = {name.removeprefix("in."): tensor for name, tensor in tensors.items() if name.startswith("in.")}
    assert set(given) == set(info["inputs"])
    out = run(load(folder, info, tmp_path), given)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, tensors["out"], **TOLERANCE)


# ------------------------------------------------------------------------------------------------- diffusion


def scheduler():
    return json.loads((goldens() / "opensora" / "scheduler" / "scheduler.json").read_text(encoding="utf-8"))


def recorded(name):
    return load_file(goldens() / "opensora" / "scheduler" / f"{name}.safetensors")


def toy_network(x, t, y, frame_mask=None):
    """The formula that `scheduler.json` states, standing in for the network."""
    s = (t.float() / 1000).view(-1, 1, 1, 1, 1).expand(len(x), 1, 1, 1, 1)
    c = y[..., None]
    noise = (0.9 - 0.3 * s) * x + 0.2 * c + 0.1 * torch.sin(3 * x + 5 * s)
    if frame_mask is not None:
        noise = noise * (0.5 + 0.5 * frame_mask.float())[:, None, :, None, None]
    return torch.cat((noise, torch.tanh(0.7 * x - 0.4 * c + s)), dim=1)


def process_of(name, dtype):
    constructor = scheduler()["tables"][name]["constructor"]
    return Iddpm.from_dict({**constructor, "table_dtype": dtype})


TABLES = sorted({name.rsplit(".", 1)[0] for name in recorded("tables")})


@pytest.mark.parametrize("name", TABLES)
def test_tables(name):
    expected = {
        key.rsplit(".", 1)[1]: t for key, t in recorded("tables").items() if key.startswith(f"{name}.")
    }
    dtype = "float64" if name.endswith(".float64") else "float32"
    tables = process_of(name.split(".")[0], dtype).tables
    kept, before = tables.kept, tables.kept_before
    actual = {
        "betas": tables.betas,
        "alphas_cumprod": kept,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": kept.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - kept).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - kept).log(),
        "sqrt_recip_alphas_cumprod": (1 / kept).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / kept - 1).sqrt(),
        "posterior_variance": tables.betas * (1 - before) / (1 - kept),
        "posterior_log_variance_clipped": tables.log_variance,
        "posterior_mean_coef1": tables.clean_weight,
        "posterior_mean_coef2": tables.noisy_weight,
    }
    assert set(expected) <= set(actual)
    for key, tensor in expected.items():
        rtol = 1e-12 if dtype == "float64" else 1e-6
        torch.testing.assert_close(
            actual[key], tensor, rtol=rtol, atol=0, msg=lambda text, key=key: f"{key}: {text}"
        )


def respacings():
    return [
        pytest.param(
            int(key.rsplit("_", 1)[1]), respacing, expected, id=f"{key.rsplit('_', 1)[1]}-{respacing}"
        )
        for key, entries in scheduler().items()
        if key.startswith("timestep_respacing_of_")
        for respacing, expected in entries.items()
    ]


@pytest.mark.parametrize(("count", "respacing", "expected"), respacings())
def test_respacing(count, respacing, expected):
    if isinstance(expected, dict):
        with pytest.raises(ValueError, match="timestep_respacing"):
            respaced(count, respacing)
        return
    if isinstance(expected, str):
        expected = range(count)
    assert list(respaced(count, respacing)) == list(expected)


LOSSES = {
    "iddpm": {},
    "iddpm_masked": {"masked": True},
    "iddpm_rescale_learned_sigmas": {"kind": "rescaled_mse"},
    "iddpm_use_kl": {"kind": "kl"},
    "iddpm_predict_xstart": {"predict_xstart": True},
    "speed": {"weighting": "p2"},
    "speed_masked": {"weighting": "p2", "masked": True},
}


def test_every_loss_is_known():
    assert unknown(scheduler()["training_losses"]["terms"], supported=LOSSES, not_yet={}) == []


@pytest.mark.parametrize("name", list(scheduler()["training_losses"]["terms"]))
def test_losses(name):
    options = dict(LOSSES[name])
    tensors = recorded("losses")
    process = Iddpm(predict_xstart=options.pop("predict_xstart", False))
    mask = tensors["in.mask"] if options.pop("masked", False) else None
    sample = process.noised(tensors["in.x_start"], tensors["in.noise"], tensors["in.t"], mask)
    prediction = toy_network(sample.noisy, process.timesteps[sample.steps], tensors["in.y"], mask)
    terms = IddpmLoss(process, **options)(prediction, sample)
    for key, actual in (("loss", terms.loss), ("mse", terms.squared), ("vb", terms.bound)):
        if f"{name}.{key}" in tensors:
            torch.testing.assert_close(actual, tensors[f"{name}.{key}"], rtol=1e-4, atol=1e-6)


def test_estimates_and_noised_latents():
    tensors, process = recorded("losses"), Iddpm()
    clean, noise, steps = (tensors[f"in.{key}"] for key in ("x_start", "noise", "t"))
    sample = process.noised(clean, noise, steps)
    torch.testing.assert_close(sample.noisy, tensors["q_sample"], rtol=1e-6, atol=1e-6)
    least = process.add_noise(clean, noise, torch.zeros_like(steps))
    torch.testing.assert_close(least, tensors["q_sample_t0"], rtol=1e-6, atol=1e-6)
    masked = process.noised(clean, noise, steps, tensors["in.mask"]).noisy
    torch.testing.assert_close(masked, tensors["masked_x_t"], rtol=1e-6, atol=1e-6)
    for clip, prefix in ((None, "p_mean_variance"), (1.0, "p_mean_variance_clipped")):
        estimate = process.estimate(tensors["model_output"], sample.noisy, steps, clip=clip)
        actual = {"mean": estimate.mean, "log_variance": estimate.log_variance, "pred_xstart": estimate.clean}
        actual["variance"] = estimate.log_variance.exp()
        found = {key.split(".")[1]: t for key, t in tensors.items() if key.startswith(f"{prefix}.")}
        for key, expected in found.items():
            torch.testing.assert_close(actual[key].expand_as(expected), expected, rtol=2e-5, atol=2e-5)


def test_speed_sampling():
    index, tensors = scheduler()["iddpm_speed"], recorded("speed")
    sampling = SpeedSampling(Iddpm())
    assert sampling.meaningful == index["meaningful_steps"]
    kept = sampling.process.tables.kept
    torch.testing.assert_close(sampling.weights, tensors["p"], rtol=1e-4, atol=0)
    torch.testing.assert_close(kept / (1 - kept), tensors["snr"], rtol=1e-6, atol=2e-7)
    torch.testing.assert_close(1 - kept, tensors["weights"], rtol=1e-6, atol=0)
    for step, partner in index["dual_timestep_examples"].items():
        assert int(sampling.partner(torch.tensor(int(step)))) == partner
    for name, draw in index["draws_torch_cpu_manual_seed"].items():
        seed, count = (int("".join(filter(str.isdigit, part))) for part in name.split("_"))
        drawn = sampling.sample(count, torch.Generator().manual_seed(seed))
        assert drawn.tolist() == draw["t"], name


def runs():
    return [pytest.param(entry, run, id=run) for entry in scheduler()["sampling"] for run in entry["runs"]]


class RecordedNoise:
    """Plays the recorded draws in order."""

    def __init__(self, tensors, run):
        self.draws = [tensors[name] for name in sorted(tensors) if name.startswith(f"{run}.noise")]
        self.used = 0

    def __call__(self, shape):
        self.used += 1
        assert tuple(self.draws[self.used - 1].shape) == tuple(shape)
        return self.draws[self.used - 1]


def sampler_of(info):
    if info["kind"] == "dpm":
        return dpm_sampler(Iddpm(), info["steps"])
    process = Iddpm(timestep_respacing=info["respacing"]) if "respacing" in info else None
    process = with_steps(Iddpm(), info["steps"]) if process is None else process
    assert process.timesteps.tolist() == info["timestep_map"]
    return IddpmSampler(process, eta=info.get("eta"))


def check_call(info, index, timestep, mask):
    """What the original's network was given in a call; both halves of its batch get the same."""
    if "model_calls_t" in info:
        assert float(timestep) == pytest.approx(info["model_calls_t"][index][0], rel=1e-6)
        return
    call = info["model_calls"][index]
    assert int(timestep) == call["t"][0]
    rows = None if mask is None else ["".join(str(int(on)) for on in row) for row in mask]
    assert call["x_mask"] == (None if rows is None else rows * 2)


@pytest.mark.parametrize(("entry", "run"), runs())
def test_sampling(entry, run):
    info, tensors = entry["runs"][run], recorded(entry["file"].removesuffix(".safetensors"))
    sampler = sampler_of(info)
    # The fixture guides all channels of the noise where it names none.
    start = tensors["in.z"]
    guidance = Guidance(scale=info["cfg"], cfg_channel=info.get("cfg_channel") or start.shape[1])
    texts = torch.cat((tensors["in.y_null"], tensors["in.y"]))
    hold = HeldFrames(sampler, torch.tensor(info["mask"])) if "mask" in info else None

    def predictor_at(index, total):
        def predict(x, timestep):
            mask = None if hold is None else hold.frame_mask(index)
            check_call(info, index, timestep, mask)
            both = None if mask is None else guidance.double(mask)
            prediction = guidance.combine(
                toy_network(guidance.double(x), timestep.expand(2 * len(x)), texts, both)
            )
            return prediction[:, : start.shape[1]] if info["kind"] == "dpm" else prediction

        return predict

    steps, noise = [], RecordedNoise(tensors, run)
    out = denoise_steps(
        predictor_at,
        start,
        sampler,
        draw=noise,
        hold=hold,
        on_state=lambda state: steps.append(state.latents),
    )
    assert noise.used == len(noise.draws) == info.get("n_noise_draws", 0)
    assert len(steps) == len(sampler.timesteps)
    for number, latents in enumerate(steps):
        expected = tensors.get(f"{run}.step{number:02d}.sample")
        if expected is not None:
            torch.testing.assert_close(latents, expected, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(out, tensors[f"{run}.out"], rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize(
    ("ratio", "step"),
    [(float(k), v) for k, v in scheduler()["edit_ratio_to_step"]["examples_100_steps"].items()],
)
def test_edit_ratios(ratio, step):
    hold = HeldFrames(IddpmSampler(with_steps(Iddpm(), 100)), torch.tensor([[ratio]]))
    joined = [index for index in range(100) if bool(hold.frame_mask(index))]
    # The network takes the frame for noisy in the steps below the one in which it joins.
    assert joined == list(range(100 - step, 100))


def test_edit_ratios_are_cut_in_float32():
    for steps, surprises in scheduler()["edit_ratio_to_step"]["truncation_surprises"].items():
        for ratio, values in surprises.items():
            hold = HeldFrames(IddpmSampler(with_steps(Iddpm(), int(steps))), torch.tensor([[float(ratio)]]))
            assert sum(bool(hold.frame_mask(index)) for index in range(int(steps))) == values["got"]


# -------------------------------------------------------------------------------------------------- captions


def captions():
    path = goldens() / "opensora" / "text" / "caption_cleaning.json"
    return json.loads(path.read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize(("passes", "key"), [(0, "lower_strip_only"), (1, "once"), (2, "twice")])
def test_captions_are_cleaned(passes, key):
    cleaned = {case["in"]: clean_caption(case["in"], passes=passes) for case in captions()}
    assert cleaned == {case["in"]: case[key] for case in captions()}
