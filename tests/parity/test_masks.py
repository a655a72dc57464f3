"""Masks of EasyAnimate's inpaint training, and what becomes of them, against recorded ones."""

import inspect

import numpy as np
import pytest
import torch
from discovery import goldens, record, unknown
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors

from ea_data.masks import RELEASED_PICTURE_WEIGHTS, RELEASED_WEIGHTS, draw_mask
from ea_dit.pipelines.channels import draw_noise_strength, inpaint_condition, mask_video, resize_to_latents
from ea_dit.pipelines.request import GenerationRequest

pytestmark = pytest.mark.parity

MASKS = record("data", "masks.json")
RESIZED = record("data", "resize_mask.json").get("cases", [])
KINDS = {
    "box_all_frames": "box_anywhere",
    "everything": "all",
    "keep_leading_frames": "first_few",
    "keep_both_ends": "ends_few",
    "box_in_middle_span": "box_for_a_time",
    "per_pixel_coin": "pixels",
    "small_boxes_on_some_frames": "small_boxes",
    "ellipse_all_frames": "ellipse",
    "circle_all_frames": "disc",
    "per_frame_coin": "frames",
}


class Script:
    """A generator that plays recorded draws, and checks that they are asked for."""

    def __init__(self, draws, field):
        self.draws = list(draws)
        self.field = field

    def _next(self, kind):
        draw = self.draws.pop(0)
        assert draw["fn"] == kind
        return draw

    def integers(self, low, high, size=None, dtype=None):
        draw = self._next("int" if size is None else "int_field")
        above = draw["high_exclusive"] if "high_exclusive" in draw else draw["high_inclusive"] + 1
        assert (low, high) == (draw["low"], above)
        if size is None:
            return draw["result"]
        frames, channels, height, width = draw["shape"]
        assert (channels, size) == (1, (frames, height, width))
        return self.field

    def choice(self, population, count, *, replace):
        draw = self._next("sample_frames")
        assert (population, count, replace) == (draw["population"], draw["k"], False)
        return draw["result"]

    def random(self, count):
        return np.array([self._next("uniform")["result"] for _ in range(count)])


def test_every_kind_is_known():
    names = [kind["name"] for kind in MASKS["kinds"]]
    assert unknown(names, supported=KINDS, not_yet={}) == []
    assert {example["kind_name"] for example in MASKS["examples"]} == set(KINDS)


def test_probabilities():
    names = [kind["name"] for kind in MASKS["kinds"]]
    assert [KINDS[name] for name in names] == list(RELEASED_WEIGHTS)
    assert list(RELEASED_WEIGHTS.values()) == MASKS["probabilities_video"]
    assert [KINDS[name] for name in names[:2]] == list(RELEASED_PICTURE_WEIGHTS)
    assert list(RELEASED_PICTURE_WEIGHTS.values()) == MASKS["probabilities_single_frame"]


@pytest.mark.parametrize("example", MASKS.get("examples", []), ids=lambda example: example["name"])
def test_masks(example):
    expected = load_file(goldens() / "data" / "masks.safetensors")[example["name"]][:, 0].astype(bool)
    script = Script(example["draws"], expected)
    size = example["frames"], example["height"], example["width"]
    mask = draw_mask(KINDS[example["kind_name"]], script, *size)
    assert not script.draws, "not all recorded draws were used"
    assert mask.dtype == bool
    assert np.array_equal(mask, expected)
    assert mask.sum(axis=(1, 2)).tolist() == example["ones_per_frame"]


@pytest.mark.parametrize("case", RESIZED, ids=lambda case: case["key"])
def test_masks_at_the_size_of_latents(case):
    tensors = load_tensors(goldens() / "data" / "resize_mask.safetensors")
    mask, expected = tensors[f"{case['name']}.mask"], tensors[case["key"]]
    size, alone = tuple(expected.shape[2:]), case["process_first_frame_only"]
    resized = resize_to_latents(mask, size, first_frame_alone=alone)
    torch.testing.assert_close(resized, expected, rtol=0, atol=1e-5)
    other = resize_to_latents(mask, size, first_frame_alone=not alone)
    assert size[0] == 1 or (other - expected).abs().max() > 1e-3  # so that a mix-up would be seen


def test_noise_on_given_pixels():
    tensors = load_tensors(goldens() / "data" / "ref_noise.safetensors")
    image, nowhere = tensors["image"], torch.zeros_like(tensors["image"][:, :1], dtype=torch.bool)
    cases = {
        name: (float(name.removeprefix("out_ratio_")), tensors["noise"], expected)
        for name, expected in tensors.items()
        if name.startswith("out_ratio_")
    }
    cases["random_out"] = (tensors["random_sigma"], tensors["random_noise"], tensors["random_out"])
    assert set(tensors) == {"image", "noise", "random_sigma", "random_noise", *cases}
    for name, (strength, noise, expected) in cases.items():
        given = mask_video((image + 1) / 2, nowhere, noise_BCTHW=noise, noise_strength=strength)
        # -1 ... 1 to 0 ... 1 and back rounds; what is blank has to stay exactly blank.
        assert torch.equal(given == -1, image == -1), name
        torch.testing.assert_close(
            given, expected, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_how_much_noise():
    recorded = record("data", "ref_noise.json")
    if not recorded:
        pytest.skip("no record of the noise")
    statistics = recorded["sigma_statistics"]
    drawn = draw_noise_strength(400_000, torch.Generator().manual_seed(0)).double()
    assert float(drawn.log().mean()) == pytest.approx(recorded["mean_of_log"], abs=0.005)
    assert float(drawn.log().std()) == pytest.approx(recorded["std_of_log"], abs=0.005)
    assert float(drawn.median()) == pytest.approx(statistics["median_theory"], rel=0.01)
    assert float(drawn.mean()) == pytest.approx(statistics["mean_theory"], rel=0.01)
    quantiles = torch.quantile(drawn, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    assert quantiles == pytest.approx([statistics["empirical_p05"], statistics["empirical_p95"]], rel=0.02)
    defaults = {
        inspect.signature(inpaint_condition).parameters["noise_strength"].default,
        GenerationRequest.noise_aug_strength,
    }
    assert defaults == {recorded["inference_ratio_default"]}
    image = load_tensors(goldens() / "data" / "ref_noise.safetensors")["image"]
    assert float((image == -1).double().mean()) == pytest.approx(recorded["unchanged_fraction"], abs=1e-6)
