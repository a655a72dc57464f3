"""RAFT behind the stage `motion`, with random weights of the small network."""

import numpy as np
import pytest
import torch
from curation_corpus import FPS, pan
from safetensors.torch import save_file

from ea_data.control.extras import MissingExtraError
from ea_data.curation import raft
from ea_data.curation.curate import Engines, curate
from ea_data.curation.plan import load_plan, plan_of
from ea_data.curation.raft import Raft, fetch_raft
from ea_data.curation.registry import open_stage
from ea_data.curation.stage import Item
from ea_data.media import write_video

optical_flow = pytest.importorskip("torchvision.models.optical_flow")

COLUMNS = {"width": 160, "height": 96}


def _state():
    torch.manual_seed(0)
    return {
        name: value.contiguous() for name, value in optical_flow.raft_small(weights=None).state_dict().items()
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("raft") / "small.safetensors"
    save_file(_state(), path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "a.mp4", pan(1, 9, height=96, width=160), fps=FPS)


def _opened(weights, **options):
    stage = open_stage("motion", {"method": "raft_small", "weights": str(weights), "fps": 4, **options})
    stage.check()
    stage.open()
    return stage


def test_the_flow_is_what_torchvision_gives(weights):
    frames = pan(3, 2, height=136, width=200)
    found = Raft("raft_small", str(weights), device="cpu", offline=True, allow_pickle=False)(*frames)
    model = optical_flow.raft_small(weights=None).eval()
    model.load_state_dict(_state())
    with torch.inference_mode():
        pair = [torch.from_numpy(frame).permute(2, 0, 1)[None] / 127.5 - 1 for frame in frames]
        expected = model(*pair)[-1][0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(96, 160), (129, 130), (16, 300)])
def test_every_size_gives_a_flow_of_its_size(weights, height, width):
    network = Raft("raft_small", str(weights), device="cpu", offline=True, allow_pickle=False)
    frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    flow = network(*frames)
    assert flow.shape == (height, width, 2)
    assert np.isfinite(flow).all()


def test_a_score_of_a_clip(weights, clip):
    item = Item(path=clip, kind="video", columns=COLUMNS)
    scores = [
        _opened(weights, **more).measure(item)["motion_score"] for more in ({}, {}, {"unit": "percent"})
    ]
    assert scores[0] == scores[1] > 0
    assert scores[2] == pytest.approx(100 * scores[0] / np.hypot(160, 96), abs=1e-4)


def test_the_weights_and_not_their_place_are_in_the_key(weights, tmp_path):
    (tmp_path / "small.safetensors").write_bytes(weights.read_bytes())
    first, moved = (_opened(path) for path in (weights, tmp_path / "small.safetensors"))
    assert first.weights() == moved.weights() == moved.model()
    state = _state()
    state["context_encoder.conv.bias"] = state["context_encoder.conv.bias"] + 1
    save_file(state, tmp_path / "small.safetensors")
    assert _opened(tmp_path / "small.safetensors").weights() != first.weights()


def test_the_manifest_names_the_weights(weights, clip, tmp_path):
    options = {"method": "raft_small", "weights": str(weights), "fps": 4, "least": 0, "most": 1e6}
    plan = plan_of("p", {"stages": [{"probe": {"least_seconds": 1, "least_pixels": 1}}, {"motion": options}]})
    curate(plan, clip.parent, tmp_path / "out", engines=Engines(name="inline"), samples=0)
    assert '"models": "motion: small.safetensors#' in (tmp_path / "out" / "metadata.jsonl").read_text()


def test_the_plan_of_the_paper_uses_raft_and_one_percent_of_text():
    steps = {step.label: step.options for step in load_plan("paper").steps}
    assert (steps["motion"]["method"], steps["text"]["most"]) == ("raft", 0.01)


def test_released_weights_are_a_pickle_that_has_to_be_allowed():
    with pytest.raises(ValueError, match=r"raft_large_C_T_SKHT_V2-ff5fadd5\.pth, are a pickle; allow_pickle"):
        open_stage("motion", {"method": "raft"}).check()


def test_what_is_downloaded_is_told_and_held_to_its_hash(tmp_path, monkeypatch):
    asked = []

    def download(url, path, hash_prefix, progress):
        asked.append((url.rpartition("/")[2], hash_prefix))
        torch.save(_state(), path)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    stage = open_stage("motion", {"method": "raft_small", "allow_pickle": True})
    stage.check()
    assert stage.downloads() == "motion: downloading 4 MB: raft_small_C_T_V2-01064c6d.pth of torchvision"
    assert asked == [("raft_small_C_T_V2-01064c6d.pth", "01064c6d")]
    assert stage.downloads() == ""
    assert stage.weights() == "raft_small_C_T_V2-01064c6d.pth"
    stage.open()


def test_weights_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match="offline nothing is downloaded"):
        fetch_raft("raft", offline=True, notify=print)

    def fails(*_, **__):
        raise RuntimeError('invalid hash value (expected "ff5fadd5", got "00")')

    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    with pytest.raises(ValueError, match=r"cannot be downloaded: invalid hash value"):
        fetch_raft("raft", offline=False, notify=lambda _: None)


def test_without_torchvision_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(raft, "_MODULE", "torchvision_that_is_not_there")
    with pytest.raises(MissingExtraError, match=r"install it with: pip install 'ea-data\[curation-models\]'"):
        open_stage("motion", {"method": "raft", "allow_pickle": True}).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "dis", "weights": "x"}, "weights is 'x'; allowed: none with method dis"),
        ({"method": "raft_tiny"}, "'raft_tiny' is not one of"),
        ({"method": "raft", "weights": "nowhere.safetensors"}, "allowed: a file or directory that exists"),
        ({"method": "raft", "weights": "SMALL"}, "other weights than this network's"),
        ({"method": "raft_small", "weights": "SMALL", "device": "abacus"}, "device is 'abacus'"),
    ],
)
def test_wrong_options(weights, options, message):
    options = {key: str(weights) if value == "SMALL" else value for key, value in options.items()}
    with pytest.raises(ValueError, match=message):
        open_stage("motion", options).open()
