"""Shell scripts are read without being run."""

from pathlib import Path

import pytest

from ea_train.compat.command import read_commands
from ea_train.compat.parser import parse
from ea_train.compat.shell import read_statements

COMMANDS = sorted((Path(__file__).parent / "commands").glob("*.sh"))


def words(text, **variables):
    return [list(statement.words) for statement in read_statements(text, variables)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\nc", [["a", "b"], ["c"]]),
        ("a \\\n  b \\\n  c\n", [["a", "b", "c"]]),
        ("a \\\r\n b\r\n", [["a", "b"]]),
        ("a b # the rest\nc#d '# no' \"# no\"", [["a", "b"], ["c#d", "# no", "# no"]]),
        ("# only this\n\n  # and this", []),
        ("a; b && c || d | e &", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("a 'x;y' \"p|q\" r\\;s", [["a", "x;y", "p|q", "r;s"]]),
        ("a 'two\nlines'", [["a", "two\nlines"]]),
        ("X=1 Y='b c'\na $X ${X}2 \"$Y\" $Y", [["a", "1", "12", "b c", "b", "c"]]),
        ("export X=1\nX=2 a --v=$X", [["a", "--v=1"]]),
        ("export X=\na [$X] $X b", [["a", "[]", "b"]]),
        ("a '$X' \\$X \"\\$X\" '`ls`'", [["a", "$X", "$X", "$X", "`ls`"]]),
        ("Y=g\na ${X:-d} ${X-f} ${Y:-h}", [["a", "d", "f", "g"]]),
        ("a b > log.txt 2>&1 < in &> all\nc '>d' \"<e>\"", [["a", "b"], ["c", ">d", "<e>"]]),
        ('a --o=\'{"version": "v2.1"}\'', [["a", '--o={"version": "v2.1"}']]),
    ],
)
def test_statements(text, expected):
    assert words(text) == expected


def test_statements_that_are_not_needed_may_be_odd():
    found = read_statements("for i in 1; do a $Z; done\ntrain", {}, needed="train")
    assert [list(statement.words) for statement in found] == [["for", "i", "in", "1"], ["done"], ["train"]]


def test_variables_may_come_from_outside():
    assert words("a $HERE", HERE="x y") == [["a", "x", "y"]]


def test_lines_are_counted():
    found = read_statements("\n# x\na \\\n b\n\nc 'd\ne'\nf", {})
    assert [statement.line for statement in found] == [3, 6, 8]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\na $X", "line 2: the variable X is not set; set it in a line before"),
        ("a $1", "line 1: the variable 1 is not set"),
        ('a "$@"', "line 1: $@ is not set; write the value there"),
        ("a $(rm -rf x)", "line 1: a value comes from another command, which is not run"),
        ("a `ls`", "line 1: a value comes from another command, which is not run"),
        ('a "$(ls)"', "which is not run"),
        ("a ${X%.py}", "line 1: ${X%.py} is not understood; write the value there"),
        ("a ${X:-b c}", "line 1: ${ is not understood; write the value there"),
        ("a 'b", "line 1: a quote is open"),
        ("a \\", "line 1: a quote is open, or a backslash ends the script"),
    ],
)
def test_what_cannot_be_read_is_one_line(text, message):
    with pytest.raises(ValueError, match=r".") as error:
        read_statements(text, {})
    assert message in str(error.value)


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_released_commands_are_read(path):
    (command,) = read_commands(path.read_text(), {})
    assert path.stem.startswith(command.script)
    assert parse(command.script, command.arguments).written


def test_the_four_commands_for_control_models():
    found = {}
    for path in COMMANDS:
        if path.stem.startswith("train_control"):
            (command,) = read_commands(path.read_text(), {})
            found[path.stem] = (command, parse("train_control", command.arguments).values)
    assert len(found) == 4
    for name, (command, values) in found.items():
        deepspeed = name.endswith("deepspeed")
        assert values["use_deepspeed"] == deepspeed
        assert ("--use_deepspeed" in command.launcher) == deepspeed
        assert command.precision == (None if deepspeed else "bf16")
        assert values["loss_type"] == ("flow" if "v5.1" in name else "ddpm")
        assert values["trainable_modules"] == ["."]
        assert values["train_data_meta"] == "datasets/internal_datasets/metadata.json"
    launcher = found["train_control_v5_deepspeed"][0].launcher
    assert launcher["--deepspeed_config_file"] == "config/zero_stage2_config.json"
    assert launcher["--deepspeed_multinode_launcher"] == "standard"


@pytest.mark.parametrize(
    ("text", "script", "processes"),
    [
        ("accelerate launch -m ea_train.compat.train_lora --rank 4", "train_lora", None),
        ("CUDA_VISIBLE_DEVICES=0 python3 ./scripts/train.py --seed 1", "train", None),
        ("accelerate launch --num_processes=8 --multi_gpu scripts/train.py --seed 1", "train", 8),
        ("torchrun --nproc_per_node 4 scripts/train.py configs/stage1.py --lr 1", "opensora", 4),
        ("scripts/train_vae.py -t", "train_vae", None),
        ("nohup accelerate launch train_reward_lora.py --eta 0 > log 2>&1 &", "train_reward_lora", None),
    ],
)
def test_launchers(text, script, processes):
    (command,) = read_commands(text, {})
    assert (command.script, command.processes) == (script, processes)
    assert command.arguments[0][:2] in ("--", "co", "-t")


def test_other_statements_need_not_be_understood():
    text = "cd $(dirname $0)\nls $UNSET\npython train.py --seed 1\npython -m pip list\necho train.py"
    (command,) = read_commands(text, {})
    assert (command.line, command.arguments) == (3, ("--seed", "1"))


@pytest.mark.parametrize("text", ["", "echo hello", "python scripts/predict_t2v.py", "cat train.py"])
def test_a_script_without_training_is_refused(text):
    with pytest.raises(ValueError, match=r"no training command; known scripts: train\.py, train_lora\.py"):
        read_commands(text, {})
