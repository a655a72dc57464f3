"""`ea-train prove-resume`: the verdict, and what it refuses."""

import pytest
import torch

from ea_train import cli
from ea_train.loop import checkpoint, prove


@pytest.fixture
def ends(tmp_path, monkeypatch):
    """Runs whose processes only leave a last checkpoint with the given weights, straight and killed."""

    def make(straight, killed):
        calls = []

        def run(arguments):
            calls.append(arguments)
            name = "straight" if str(tmp_path / "out" / "straight") in arguments else "killed"
            folder = tmp_path / "out" / name / "checkpoints"
            if any(argument.startswith("--kill-after") for argument in arguments):
                checkpoint.save(folder, 2, [("module-net", {"weight": torch.zeros(1)})], {})
                return -9
            weights = straight if name == "straight" else killed
            checkpoint.save(folder, 6, [("module-net", weights)], {})
            return 0

        monkeypatch.setattr(prove, "_run", run)
        return calls

    return make


def _prove(tmp_path, *more):
    return cli.main(["prove-resume", "default-text", "-k", "3", "--output", str(tmp_path / "out"), *more])


def test_equal_ends_are_status_0(ends, tmp_path, capsys):
    weights = {"weight": torch.tensor([1.0, float("nan")]), "step": torch.tensor(3)}
    calls = ends(weights, weights)
    assert _prove(tmp_path, "--preset", "tiny", "--set", "loop.seed=3") == 0
    shown = capsys.readouterr()
    assert shown.out == "2 tensors, 0.0 MB: every bit is the same\n"
    assert shown.err.splitlines() == [
        "1/3 6 steps without a break",
        "2/3 killed after step 3",
        "3/3 the same command again, from step 2",
    ]
    assert [call[0] for call in calls] == ["default-text"] * 3
    assert all({"--preset", "loop.seed=3", "--set=loop.steps=6"} <= set(call) for call in calls)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (torch.tensor([1.0, 2.5]), "by at most 0.5"),
        (torch.tensor([1.0, 2.0], dtype=torch.float64), "by at most nan"),
        (torch.tensor([1.0]), "by at most nan"),
    ],
)
def test_other_ends_are_status_1(other, said, ends, tmp_path, capsys):
    ends({"a": torch.zeros(2), "b": torch.tensor([1.0, 2.0])}, {"a": torch.zeros(2), "b": other})
    assert _prove(tmp_path) == 1
    assert capsys.readouterr().out == f"1 of 2 tensors differ, {said}; the first is module-net.b\n"


def test_signs_of_zero_count(ends, tmp_path):
    ends({"a": torch.zeros(1)}, {"a": -torch.zeros(1)})
    assert _prove(tmp_path) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "3"], "-k must be from 1 to 2, the steps before the last, got 3"),
        (["--set", "loop.stepz=1"], "config.loop: unknown key 'stepz'"),
        (["--wrong"], "unrecognized arguments: --wrong"),
        (["--dry-run"], "--dry-run trains nothing"),
    ],
)
def test_mistakes_are_one_line(options, message, tmp_path, capsys):
    assert _prove(tmp_path, "--preset", "tiny", *options) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_in_use_is_refused(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes").write_text("mine")
    assert _prove(tmp_path) == 2
    assert "is not empty; name a new folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["default-text", "default-vae"])
def test_a_killed_recipe_ends_with_the_same_bits(recipe, tmp_path, capsys):
    folder = str(tmp_path / "out")
    assert cli.main(["prove-resume", recipe, "-k", "3", "--output", folder, "--preset", "tiny"]) == 0
    assert "every bit is the same" in capsys.readouterr().out
