"""The table of flags knows every flag of the scripts, and the parsers read what the scripts read."""

from collections import Counter

import pytest
from flag_inventory import COUNTS, inventory

from ea_train.compat.parser import build_parser, parse
from ea_train.compat.table import LISTS, SCRIPTS, flags_of, sections

EASY = list(COUNTS)
NEEDED = ["--pretrained_model_name_or_path", "model"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_flag_of_the_scripts_is_in_the_table(script):
    here = {flag.dest for flag in flags_of(script) if script in flag.of}
    assert sorted(inventory(script).keys() - here) == []
    if script in COUNTS:
        assert len(here) == COUNTS[script]
        assert here == inventory(script).keys()


@pytest.mark.parametrize("script", SCRIPTS)
def test_types_and_defaults_are_the_scripts_own(script):
    for flag in flags_of(script):
        if flag.dest not in inventory(script):
            continue
        kind, default, switch = inventory(script)[flag.dest]
        found = flag.default_of(script)
        if switch:
            assert (flag.type, found) == ("switch", False), flag.name
        elif flag.type in (*LISTS, "word", "truth"):
            assert found in (None, [], "", True, False), flag.name
            assert {"ints": int}.get(flag.type, str) is kind, flag.name
        else:
            assert flag.type == kind.__name__, flag.name
            assert found == default or (default is None and found == ""), flag.name


def test_a_script_has_a_flag_once():
    for keys in (False, True):
        for script in SCRIPTS:
            names = Counter(flag.name for flag in flags_of(script, keys=keys))
            assert [name for name, count in names.items() if count > 1] == []


def test_reasons_are_short_sentences_without_a_full_stop():
    for section in sections():
        for flag in section.flags:
            assert not flag.why.endswith(".")
            assert len(flag.why) < 110
            assert flag.of or flag.older


def test_an_unknown_script_is_refused():
    with pytest.raises(ValueError, match="no script 'train_t2i'; allowed: train, train_lora"):
        flags_of("train_t2i")


@pytest.mark.parametrize("script", EASY)
def test_a_command_without_flags_has_the_defaults(script):
    given = parse(script, NEEDED)
    assert given.written == {"pretrained_model_name_or_path"}
    expected = {name: default for name, (_, default, switch) in inventory(script).items() if not switch}
    expected |= {name: False for name, (_, _, switch) in inventory(script).items() if switch}
    expected |= {"pretrained_model_name_or_path": "model"}
    if "trainable_modules" in expected:
        expected["trainable_modules_low_learning_rate"] = []
    older = {flag.dest for flag in flags_of(script) if script in flag.older}
    assert {name: value for name, value in given.values.items() if name not in older} == expected


def test_values_are_read_as_argparse_reads_them():
    words = "--learning_rate 2e-05 --validation_prompts=a --trainable_modules b c --max_grad_norm=1"
    given = parse("train", [*NEEDED, *words.split(), "--max_grad_norm", "0.05", "--random_flip"])
    assert given.values["learning_rate"] == 2e-5
    assert given.values["validation_prompts"] == ["a"]
    assert given.values["trainable_modules"] == ["b", "c"]
    assert given.values["max_grad_norm"] == 0.05
    assert given.values["random_flip"] is True
    assert "random_flip" in given.written
    steps = parse("train_reward_lora", [*NEEDED, "--backprop_step_list", "3", "9"]).values
    assert steps["backprop_step_list"] == [3, 9]


def test_lists_are_not_shared_between_commands():
    first = parse("train", NEEDED).values["trainable_modules_low_learning_rate"]
    first.append("x")
    assert parse("train", NEEDED).values["trainable_modules_low_learning_rate"] == []


def test_the_script_for_autoencoders_has_its_own_ways():
    words = ["-t", "-b", "a.yaml", "b.yaml", "--scale_lr=False", "--resume=True", "data.params.batch_size=4"]
    given = parse("train_vae", words)
    assert given.values["train"] is True
    assert given.values["base"] == ["a.yaml", "b.yaml"]
    assert given.values["scale_lr"] is False
    assert given.values["resume"] == "True"
    assert given.values["seed"] == 23
    assert parse("train_vae", ["-r"]).values["resume"] is True


def test_key_value_words_of_the_autoencoders_script_are_kept_apart():
    given = parse("train_vae", ["-t", "true", "model.base_learning_rate=1e-5", "-b", "a.yaml"])
    assert given.more == ("model.base_learning_rate=1e-5",)


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("train", [], "train.py: the following arguments are required: --pretrained_model_name_or_path"),
        (
            "train",
            [*NEEDED, "--train_batchsize=1"],
            "unknown flag --train_batchsize; did you mean '--train",
        ),
        ("train_lora", [*NEEDED, "--trainable_modules", "."], "train_lora.py: unknown flag --trainable_mod"),
        ("train", [*NEEDED, "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        ("train", [*NEEDED, "--seed"], "argument --seed: expected one argument"),
        ("train", [*NEEDED, "--mixed_precision", "fp8"], "argument --mixed_precision: invalid choice: 'fp8'"),
        ("train", [*NEEDED, "stray"], "argument 'stray' belongs to no flag"),
        ("train_lcm_lora", [*NEEDED, "--loss_type", "flow"], "argument --loss_type: invalid choice: 'flow'"),
        ("train_vae", ["-t", "perhaps"], "'perhaps' is not one of yes, true"),
        ("train_vae", ["--kay"], "unknown flag --kay; known: "),
    ],
)
def test_a_mistake_is_one_line(script, words, message):
    with pytest.raises(ValueError, match=r".") as error:
        parse(script, words)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_help_says_where_every_flag_goes(capsys):
    with pytest.raises(SystemExit) as stopped:
        build_parser("train_control").parse_args(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag.name in shown for flag in flags_of("train_control"))
    assert "-> optim.lr" in shown


def test_same_and_renamed_are_what_they_say():
    for section in sections():
        for flag in section.flags:
            names = [setting.rpartition(".")[2] for setting in flag.to]
            key = flag.dest.rpartition(".")[2]
            if flag.status == "same":
                assert names == [key], flag.name
            if flag.status == "renamed":
                assert names != [key], flag.name
