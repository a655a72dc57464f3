"""The process with a learned variance: closed forms, masks, refusals."""

import math

import pytest
import torch

from ea_data.mask_strategy.language import parse_strategy
from ea_data.mask_strategy.plan import plan_loop
from ea_dit.diffusion import Guidance, denoise
from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.diffusion.iddpm_loss import IddpmLoss, SpeedSampling, gaussian_divergence
from ea_dit.diffusion.iddpm_sampling import HeldFrames, IddpmSampler, dpm_sampler, with_steps
from ea_dit.diffusion.loop import Memory, denoise_steps, draws
from ea_dit.diffusion.respacing import respaced

SHAPE = (2, 4, 3, 2, 2)


def clean_latents():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))


def knowing(process, clean):
    """The network that knows the clean latents, and says the posterior's variance."""

    def predict(x, timestep):
        step = int((process.timesteps == timestep.long()).nonzero()[0])
        kept = process.tables.kept[step].float()
        noise = (x - kept.sqrt() * clean) / (1 - kept).sqrt()
        return torch.cat((noise, -torch.ones_like(noise)), dim=1)

    return predict


@pytest.mark.parametrize("eta", [None, 0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_network_that_knows_the_answer_is_followed_to_it(eta, steps):
    process, clean = with_steps(Iddpm(), steps), clean_latents()
    sampler = IddpmSampler(process, eta=eta)
    draw = draws(torch.Generator().manual_seed(1))
    end = denoise(knowing(process, clean), sampler.start(draw(SHAPE)), sampler, draw=draw)
    torch.testing.assert_close(end, clean, atol=1e-3, rtol=1e-3)


def test_full_ddim_noise_is_the_posterior():
    process, clean = with_steps(Iddpm(), 5), clean_latents()
    x, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    prediction = knowing(process, clean)(x, process.timesteps[3])
    ancestral, ddim = (
        IddpmSampler(process, eta=eta).step(1, x, prediction, Memory(), lambda _: noise)[0]
        for eta in (None, 1.0)
    )
    torch.testing.assert_close(ancestral, ddim, atol=1e-4, rtol=1e-4)


def test_strength_runs_the_last_steps():
    process, clean = with_steps(Iddpm(), 10), clean_latents()
    sampler = IddpmSampler(process, strength=0.3)
    assert sampler.timesteps.tolist() == process.timesteps[:3].flip(0).tolist()
    noise = torch.randn(SHAPE)
    expected = process.add_noise(clean, noise, torch.full((2,), 2))
    assert torch.equal(sampler.start(noise, clean), expected)


def test_held_frames_come_out_as_they_were_given():
    process, clean = with_steps(Iddpm(), 20), clean_latents()
    sampler = IddpmSampler(process)
    hold = HeldFrames(sampler, torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.5, 1.0]]))
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    start[0, :, 0], start[1, :, 1] = clean[0, :, 0], clean[1, :, 1]
    seen = []
    predict = knowing(process, clean)

    def watch(index, total):
        seen.append(hold.frame_mask(index))
        return predict

    draw = draws(torch.Generator().manual_seed(1))
    end = denoise_steps(watch, start, sampler, draw=draw, hold=hold)
    torch.testing.assert_close(end, clean, atol=1e-3, rtol=1e-3)
    masks = torch.stack(seen)
    assert masks[:, 0, 0].sum() == 0
    assert masks[:, 1, 1].sum() == 10
    assert bool(masks[:, 0, 1:].all())


@pytest.mark.parametrize("eta", [None, 0.5])
@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.3, 0.55, 0.99, 1.0])
def test_a_frame_with_an_edit_ratio_joins_in_its_step(ratio, eta):
    steps = 20
    process, clean = with_steps(Iddpm(), steps), clean_latents()
    sampler = IddpmSampler(process, eta=eta)
    hold = HeldFrames(sampler, torch.tensor([[1.0, ratio, 1.0]] * 2))
    joining = int(ratio * steps)
    masks, given, after, draws_made = [], [], [], []

    def draw(shape):
        draws_made.append(torch.randn(shape, generator=torch.Generator().manual_seed(len(draws_made))))
        return draws_made[-1]

    def network(index, total):
        masks.append(hold.frame_mask(index)[:, 1].tolist())

        def predict(x, timestep):
            given.append(x.clone())
            return torch.cat((x.tanh(), x.sin() * 0.1), dim=1)

        return predict

    denoise_steps(
        network, clean, sampler, draw=draw, hold=hold, on_state=lambda state: after.append(state.latents)
    )  # fmt: skip
    frame, memory = clean[:, :, 1], Memory()
    for index in range(steps):
        level = steps - 1 - index
        noise, step_noise = draws_made[2 * index : 2 * index + 2]
        if level == joining:
            frame = process.add_noise(clean, noise, torch.full((2,), level))[:, :, 1]
        assert torch.equal(given[index][:, :, 1], frame)
        assert masks[index] == [level < joining] * 2
        if level <= joining:
            prediction = torch.cat((given[index].tanh(), given[index].sin() * 0.1), dim=1)
            stepped, memory = sampler.step(
                index, given[index], prediction, memory, lambda shape, noise=step_noise: noise
            )  # fmt: skip
            frame = stepped[:, :, 1]
        assert torch.equal(after[index][:, :, 1], frame)
    assert len(draws_made) == 2 * steps


def test_ratios_of_a_mask_strategy_mean_what_the_sampler_takes_them_for():
    plan = plan_loop(parse_strategy("0;0,1,0,-2,2,0.55"), 0, frames=6, reference_lengths=[1, 2])
    ratios = torch.from_numpy(plan.edit_ratios())[None]
    hold = HeldFrames(IddpmSampler(with_steps(Iddpm(), 20)), ratios)
    masks = torch.stack([hold.frame_mask(index)[0] for index in range(20)])
    # Steps in which the network takes a frame for noisy: none where it is kept, all where nothing is put.
    assert masks.sum(dim=0).tolist() == [0, 20, 20, 20, 11, 11]


def test_samplers_that_add_noise_need_a_source():
    sampler = IddpmSampler(with_steps(Iddpm(), 2))
    with pytest.raises(ValueError, match="draw must be given"):
        denoise(lambda x, t: torch.cat((x, x), dim=1), torch.randn(SHAPE), sampler)


def test_an_exact_prediction_has_no_loss_beyond_the_first_step():
    process, clean, noise = Iddpm(), clean_latents(), torch.randn(SHAPE)
    sample = process.noised(clean, noise, torch.tensor([500, 1]))
    prediction = torch.cat((noise, -torch.ones_like(noise)), dim=1)
    terms = IddpmLoss(process)(prediction, sample)
    torch.testing.assert_close(terms.loss, torch.zeros(2), atol=1e-4, rtol=0)
    assert float(IddpmLoss(process, kind="kl")(prediction, sample).loss.max()) < 0.1


def test_only_the_variance_learns_from_the_bound():
    process = Iddpm()
    sample = process.noised(clean_latents(), torch.randn(SHAPE), torch.tensor([500, 20]))
    prediction = torch.randn(2, 8, 3, 2, 2, requires_grad=True)
    IddpmLoss(process)(prediction, sample).bound.sum().backward()
    assert prediction.grad[:, :4].abs().max() == 0
    assert prediction.grad[:, 4:].abs().max() > 0


def test_condition_frames_count_in_no_loss():
    process, prediction = Iddpm(), torch.randn(2, 8, 3, 2, 2)
    mask = torch.tensor([[False, True, True], [False, False, False]])
    sample = process.noised(clean_latents(), torch.randn(SHAPE), torch.tensor([500, 20]), mask)
    terms = IddpmLoss(process)(prediction, sample)
    changed = prediction.clone()
    changed[:, :, 0] += 3.0
    assert torch.equal(IddpmLoss(process)(changed, sample).loss, terms.loss)
    assert terms.loss[1] == 0
    assert bool(terms.loss.isfinite().all())
    with pytest.raises(ValueError, match="'kl' takes no frame mask"):
        IddpmLoss(process, kind="kl")(prediction, sample)


def test_divergence_of_normal_distributions():
    mean, other = torch.tensor(0.3), torch.tensor(-0.2)
    actual = gaussian_divergence(mean, torch.tensor(math.log(0.5)), other, torch.tensor(math.log(2.0)))
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(0.3, 0.5**0.5), torch.distributions.Normal(-0.2, 2.0**0.5)
    )
    torch.testing.assert_close(actual, exact)


def test_dpm_solver_follows_a_straight_path():
    """With one clean answer the solver is exact at any number of steps."""
    clean = clean_latents()
    sampler = dpm_sampler(Iddpm(), 6)
    grid = sampler.grid
    calls = iter(range(6))

    def predict(x, timestep):
        level = grid.levels[next(calls)]
        return (x - level.alpha * clean) / level.sigma

    noise = torch.randn(SHAPE)
    start = grid.levels[0].alpha * clean + grid.levels[0].sigma * noise
    end = denoise(predict, start, sampler)
    last = grid.levels[-1]
    torch.testing.assert_close(end, last.alpha * clean + last.sigma * noise, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="timestep_respacing must be empty"):
        dpm_sampler(with_steps(Iddpm(), 10), 5)


def test_fast_sampling_draws_pairs():
    steps = SpeedSampling(Iddpm()).sample(9, torch.Generator().manual_seed(0))
    assert steps.shape == (9,)
    assert torch.equal((700 - steps[:4]).abs(), steps[5:])
    assert SpeedSampling(Iddpm()).sample(1, torch.Generator().manual_seed(0)).shape == (1,)


def test_only_the_leading_channels_are_guided():
    negative, positive = torch.randn(1, 8, 2), torch.randn(1, 8, 2)
    guided = Guidance(scale=7.0, cfg_channel=3).combine(torch.cat((negative, positive)))
    torch.testing.assert_close(guided[:, :3], negative[:, :3] + 7 * (positive[:, :3] - negative[:, :3]))
    assert torch.equal(guided[:, 3:], positive[:, 3:])
    with pytest.raises(ValueError, match="cfg_channel must be at least 1, got 0"):
        Guidance(cfg_channel=0)


def test_settings_round_trip_and_read_open_soras():
    process = Iddpm(timestep_respacing="10,5", table_dtype="float64")
    assert Iddpm.from_dict(process.to_dict()) == process
    released = {"type": "iddpm", "num_sampling_steps": 100, "cfg_scale": 7.0, "cfg_channel": 3}
    assert len(Iddpm.from_dict(released)) == 100
    assert len(Iddpm.from_dict({"type": "iddpm-speed", "timestep_respacing": ""})) == 1000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"_class_name": "DDIMScheduler"}, "is for DDIMScheduler, not for IDDPM"),
        ({"steps": 3}, "unknown key 'steps'; known: diffusion_steps"),
        ({"learn_sigma": False}, "learn_sigma must be True, got False"),
        ({"noise_schedule": "cosine"}, "noise_schedule must be 'linear', got 'cosine'"),
        ({"table_dtype": "bfloat16"}, "table_dtype must be 'float32' or 'float64'"),
        ({"timestep_respacing": "1001"}, "'1001': cannot take 1001 of 1000 steps"),
        ({"timestep_respacing": "ddim999"}, "'ddim999': no stride takes 999 of 1000 steps"),
        ({"timestep_respacing": "many"}, "must be 'a,b,...' or 'ddimN' of whole numbers, got 'many'"),
        ({"diffusion_steps": "x"}, "diffusion_steps must be a whole number of at least 1, got 'x'"),
        ({"diffusion_steps": 10**9}, "diffusion_steps must be at most 1000000, got 1000000000"),
        ({"predict_xstart": "x"}, "predict_xstart must be true or false, got 'x'"),
        ({"timestep_respacing": 50}, "timestep_respacing must be text such as '100' or 'ddim50', got 50"),
        ({"diffusion_steps": 0}, "diffusion_steps must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        Iddpm.from_dict(values)


def test_wrong_calls_are_named():
    process = Iddpm()
    with pytest.raises(ValueError, match="must have 8 channels, noise and variance, got 4"):
        process.estimate(torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="eta must be at least 0 and at most 1, got 2"):
        IddpmSampler(process, eta=2)
    with pytest.raises(ValueError, match="strength must be above 0"):
        IddpmSampler(process, strength=0)
    with pytest.raises(ValueError, match="numbers between 0 and 1"):
        HeldFrames(IddpmSampler(process), torch.tensor([[1.5]]))
    with pytest.raises(ValueError, match="kind must be"):
        IddpmLoss(process, kind="l1")
    with pytest.raises(ValueError, match="weighting must be"):
        IddpmLoss(process, weighting="snr")
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        dpm_sampler(process, 0)
    assert respaced(10, "3") == (0, 4, 9)
