"""The networks of control signals: the same numbers as the released programs, and strict loading."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ea_data.control.kinds import KINDS
from ea_data.control.makers import make_control, open_maker
from ea_data.control.networks import hed, lineart_anime, mlsd
from ea_data.control.networks.mlsd_lines import decode_lines
from ea_data.control.networks.source import Source, fetch_files

NETWORKS = {"hed": hed, "mlsd": mlsd, "lineart_anime": lineart_anime}
SMALL = {"resolution": 64}


def weights_of(table):
    """Weights that anyone can make again: sines, scaled so that nothing fades or explodes."""
    state = {}
    for number, (name, shape) in enumerate(table.items(), start=1):
        count = int(np.prod(shape))
        places = torch.arange(1, count + 1, dtype=torch.float64)
        values = torch.sin(places * (0.7 + 0.01 * number)).reshape(shape)
        if name.endswith("running_var"):
            values = 1 + 0.5 * values
        elif len(shape) == 1 and name.endswith(".weight"):
            values = 1 + 0.2 * values
        elif len(shape) == 1 or name == "norm":
            values = 0.1 * values
        else:
            values = values * (2 / np.prod(shape[1:])) ** 0.5
        state[name] = values.float()
    return state


@pytest.fixture(scope="module")
def states():
    return {kind: weights_of(module.table()) for kind, module in NETWORKS.items()}


@pytest.fixture(scope="module")
def files(states, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for kind, state in states.items():
        save_file(state, folder / f"{kind}.safetensors")
    return {kind: str(folder / f"{kind}.safetensors") for kind in states}


@pytest.fixture(autouse=True)
def _opencv():
    pytest.importorskip("cv2")


def waves(channels, height, width, low, high):
    places = torch.arange(channels * height * width, dtype=torch.float64)
    return (
        ((torch.sin(places * 0.37) / 2 + 0.5) * (high - low) + low)
        .reshape(1, channels, height, width)
        .float()
    )


@pytest.mark.parametrize(
    ("kind", "run", "given", "count", "expected"),
    [
        # Count, then mean, deviation, the value at a fifth, the last, and the largest, all as the released
        # networks of ControlNet give them for these weights.
        ("hed", hed.edge_logits, (3, 32, 48, 0, 255), 2046, (1.24225, 5.9428, -1.19586, -0.0519, 29.0884)),
        ("mlsd", mlsd.line_map, (4, 64, 96, -1, 1), 13824, (-0.03997, 0.17041, 0.26971, -0.00243, 0.35338)),
        (
            "lineart_anime",
            lineart_anime.draw_lines,
            (3, 256, 256, -1, 1),
            65536,
            (0.00962, 0.44413, -0.02606, -0.00215, 0.95327),
        ),
    ],
)
def test_networks_give_the_numbers_of_the_released_ones(states, kind, run, given, count, expected):
    with torch.inference_mode():
        made = run(states[kind], waves(*given))
    flat = made.flatten() if isinstance(made, torch.Tensor) else torch.cat([part.flatten() for part in made])
    flat = flat.double()
    assert flat.numel() == count
    found = [flat.mean(), flat.std(), flat[flat.numel() // 5], flat[-1], flat.abs().max()]
    assert [float(value) for value in found] == pytest.approx(expected, rel=2e-3, abs=2e-4)


@pytest.mark.parametrize(
    ("kind", "count"), [("hed", 14_716_168), ("mlsd", 1_552_624), ("lineart_anime", 54_405_505)]
)
def test_networks_have_the_released_number_of_weights(kind, count):
    assert sum(int(np.prod(shape)) for shape in NETWORKS[kind].table().values()) == count


@pytest.mark.parametrize("kind", ["hed", "mlsd"])
@pytest.mark.parametrize("size", [(48, 64), (1, 1), (17, 33)])
def test_signals_have_the_size_of_their_video_and_are_the_same_again(files, kind, size):
    video = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    made = make_control(video, kind, weights=files[kind], **SMALL)
    assert made.shape == video.shape
    assert made.dtype == np.uint8
    assert (made == make_control(video, kind, weights=files[kind], **SMALL)).all()
    assert (made[1:] == make_control(video[1:], kind, weights=files[kind], **SMALL)).all()


def test_line_art_has_the_size_of_its_video(files):
    video = np.random.default_rng(0).integers(0, 256, (1, 17, 33, 3)).astype(np.uint8)
    made = make_control(video, "lineart_anime", weights=files["lineart_anime"], **SMALL)
    assert made.shape == video.shape
    assert made.std() > 0


def silent(table):
    """Weights of zero, norms of one: a network that says what its last biases say."""
    ones = (".weight", "running_var")
    return {
        name: torch.ones(shape) if len(shape) == 1 and name.endswith(ones) else torch.zeros(shape)
        for name, shape in table.items()
    }


@pytest.mark.parametrize(("kind", "grey"), [("hed", 128), ("lineart_anime", 128), ("mlsd", 0)])
def test_a_silent_network(tmp_path, kind, grey):
    state = silent(NETWORKS[kind].table())
    if kind == "mlsd":
        state["block23.conv3.bias"][7] = -9  # nowhere the middle of a line
    save_file(state, tmp_path / "silent.safetensors")
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    made = make_control(picture, kind, weights=str(tmp_path), **SMALL)
    assert (made == grey).all()


def test_hed_is_brighter_where_its_maps_are(tmp_path):
    state = silent(hed.table())
    for stage in range(1, 6):
        state[f"block{stage}.projection.bias"][:] = 2.0
    save_file(state, tmp_path / "bright.safetensors")
    made = make_control(np.zeros((20, 30, 3), np.uint8), "hed", weights=str(tmp_path), **SMALL)
    assert (made == round(255 / (1 + np.exp(-2.0)))).all()


def test_lines_are_read_off_their_map():
    found = torch.full((1, 9, 32, 40), -9.0)
    found[0, 0, 10, 20] = 4.0
    found[0, 1:5, 10, 20] = torch.tensor([-5.0, 2.0, 6.0, -3.0])
    found[0, 0, 10, 21] = 3.0  # beside a larger one
    found[0, 0, 25, 5] = 3.0
    found[0, 1:5, 25, 5] = torch.tensor([0.5, 0.0, -0.5, 0.0])  # short
    assert decode_lines(found, 0.1, 2.0).tolist() == [[15, 12, 26, 7]]
    assert len(decode_lines(found, 0.1, 0.5)) == 2
    assert decode_lines(found, 0.99, 0.5).shape == (0, 4)


# ------------------------------------------------------------------------------------------------ loading


def test_pickles_need_permission(tmp_path, states, files):
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in states["hed"].items()}},
        tmp_path / hed.RELEASED,
    )
    frame = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    for weights in (tmp_path, tmp_path / hed.RELEASED):
        with pytest.raises(ValueError, match=r"^weights: .*ControlNetHED\.pth is a pickle; --allow-pickle "):
            make_control(frame, "hed", weights=str(weights), **SMALL)
        made = make_control(frame, "hed", weights=str(weights), allow_pickle=True, **SMALL)
        assert (made == make_control(frame, "hed", weights=files["hed"], **SMALL)).all()


class Harmful:
    def __reduce__(self):
        return print, ("this must not be run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"norm": Harmful()}), "not a plain dictionary of tensors"),
        (b"", "it is damaged or cut off"),
        (b"PK\x03\x04 broken", "it is damaged or cut off"),
        (pickle.dumps([1, 2]), "not a plain dictionary of tensors"),
    ],
)
def test_wrong_pickles_run_nothing_and_are_one_line(tmp_path, content, message, capsys):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_maker("hed", KINDS["hed"].options(weights=str(tmp_path / "x.pth"), allow_pickle=True))
    assert "\n" not in str(caught.value)
    assert "must not" not in capsys.readouterr().out


def test_weights_have_to_be_those_of_the_network(tmp_path, states, files):
    def opening(state, match):
        save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(ValueError, match=match):
            open_maker("mlsd", KINDS["mlsd"].options(weights=str(tmp_path / "x.safetensors")))

    state = dict(states["mlsd"])
    counters = {"block15.conv1.1.num_batches_tracked": torch.tensor(3)}
    save_file({**state, **counters}, tmp_path / "x.safetensors")
    open_maker("mlsd", KINDS["mlsd"].options(weights=str(tmp_path / "x.safetensors")))
    opening({**state, "extra": torch.zeros(1)}, "this network's: has extra$")
    opening(
        {**state, "block23.conv3.bias": torch.zeros(3)}, r"conv3\.bias has shape \(3,\); expected: \(16,\)"
    )
    del state["block23.conv3.bias"]
    opening(state, r"misses block23\.conv3\.bias$")
    with pytest.raises(ValueError, match=r"this network's: misses backbone.* and \d+ more"):
        open_maker("mlsd", KINDS["mlsd"].options(weights=files["hed"]))


def test_places_that_hold_no_weights(tmp_path):
    def opening(weights, match, **options):
        with pytest.raises(ValueError, match=match):
            open_maker("hed", KINDS["hed"].options(weights=str(weights), **options))

    opening("", r"^weights is ''; allowed: a file or directory that exists, or OWNER/NAME\[@REVISION\]")
    opening("nowhere", "^weights is 'nowhere'; allowed: a file or directory")
    opening("some/where.safetensors", "^weights is 'some/where.safetensors'; allowed: a file")
    opening(tmp_path, "has neither a safetensors file nor ControlNetHED.pth")
    (tmp_path / "x.txt").write_text("x")
    opening(tmp_path / "x.txt", "x.txt is no weight file; allowed: .safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"broken")
    opening(tmp_path, r"a\.safetensors: damaged or no safetensors file")
    (tmp_path / "b.safetensors").write_bytes(b"broken")
    opening(tmp_path, r"several safetensors files \(a.safetensors, b.safetensors\); name one")


def test_devices_that_are_not_there(files):
    with pytest.raises(ValueError, match=r"^device is 'nonsense', which cannot be used: "):
        open_maker("hed", KINDS["hed"].options(weights=files["hed"], device="nonsense"))


# ------------------------------------------------------------------------------------------------ the hub


def test_names_of_the_hub(tmp_path):
    assert Source.of("weights", "a/b") == Source(repository="a/b")
    assert Source.of("weights", "a/b@v1") == Source(repository="a/b", revision="v1")
    assert Source.of("weights", str(tmp_path)) == Source(path=tmp_path)


@pytest.mark.parametrize("kind", ["depth", "pose", "dwpose", "hed"])
def test_offline_nothing_is_asked_for(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    allowed = {"allow_pickle": True} if kind == "hed" else {}
    match = "is no file or directory and not in the local cache; offline nothing is downloaded$"
    with pytest.raises(ValueError, match=match):
        open_maker(kind, KINDS[kind].options(offline=True, **allowed))


def test_released_pickles_are_not_downloaded_unasked():
    with pytest.raises(ValueError, match=r"ControlNetHED.pth of lllyasviel/Annotators is a pickle"):
        open_maker("hed")


def test_weights_of_the_hub_are_pinned_to_their_commit(states, tmp_path, monkeypatch):
    """From a cache as the hub's library keeps it, without a connection."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--edges"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    torch.save(states["mlsd"], folder / mlsd.RELEASED)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    given = {"weights": "some/edges", "offline": True, "allow_pickle": True}
    maker = open_maker("mlsd", KINDS["mlsd"].options(**given))
    assert maker.options == KINDS["mlsd"].options(**{**given, "weights": f"some/edges@{commit}"})
    again = open_maker("mlsd", maker.options)
    assert again.options == maker.options
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert (next(maker([frame])) == next(again([frame]))).all()


def test_paths_of_weights_are_pinned_to_their_place(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("w.safetensors").write_bytes(Path(files["mlsd"]).read_bytes())
    maker = open_maker("mlsd", KINDS["mlsd"].options(weights="w.safetensors"))
    assert maker.options.weights == str(tmp_path / "w.safetensors")


class Hub:
    """As much of huggingface_hub as is used, with a repository of two files."""

    def __init__(self, real, folder):
        self.errors, self.constants = real.errors, real.constants
        self.folder, self.asked = folder, []

    def hf_hub_download(self, *, repo_id, revision, filename, local_files_only=False, dry_run=False):
        from huggingface_hub.file_download import DryRunFileInfo

        self.asked.append((repo_id, revision, filename, local_files_only, dry_run))
        path = self.folder / filename
        if local_files_only and not path.exists():
            raise self.errors.LocalEntryNotFoundError("not here")
        if dry_run:
            return DryRunFileInfo("c0ffee", 12_345_678, filename, str(path), path.exists(), not path.exists())
        if repo_id == "gone/gone":
            raise self.fails
        path.touch()
        return str(path)


def test_what_is_downloaded_is_told_with_its_size(tmp_path, monkeypatch):
    import huggingface_hub

    hub = Hub(huggingface_hub, tmp_path)
    monkeypatch.setattr("ea_data.control.networks.source.load", lambda name: hub)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    told = []
    source = Source(repository="a/b", revision="v1")
    assert fetch_files(source, ["x.json", "y.bin"], offline=False, notify=told.append) == tmp_path
    assert told == ["downloading 25 MB: x.json, y.bin of a/b@v1"]
    assert {asked[:2] for asked in hub.asked} == {("a/b", "v1")}
    hub.asked.clear()
    fetch_files(source, ["x.json", "y.bin"], offline=False, notify=told.append)
    assert len(told) == 1
    assert all(asked[3] for asked in hub.asked)  # only the local cache was looked at
    (tmp_path / "y.bin").unlink()
    for error, reason in (
        (OSError("disk"), r"it cannot be downloaded \(OSError\)"),
        (hub.errors.LocalEntryNotFoundError("x"), "the hub cannot be reached"),
    ):
        hub.fails = error
        with pytest.raises(ValueError, match=f"^gone/gone is no file .*, and {reason}$"):
            fetch_files(Source(repository="gone/gone"), ["y.bin"], offline=False, notify=told.append)
