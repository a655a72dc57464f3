"""What command lines of the scripts become: settings, inputs, and what is said about them."""

import dataclasses
import inspect
import io
import typing
from pathlib import Path

import pytest
import yaml

from ea_train import schema
from ea_train.cli import main
from ea_train.compat.command import read_commands
from ea_train.compat.importing import import_flags
from ea_train.compat.parser import Launch
from ea_train.compat.report import report_lines
from ea_train.compat.runs import RECIPES, RULES, run_of
from ea_train.compat.settings import applied, nested
from ea_train.compat.table import flags_of
from ea_train.compat.translation import copied_flags
from ea_train.recipes import find

COMMANDS = {path.stem: path for path in (Path(__file__).parent / "commands").glob("*.sh")}
MODEL = ["--pretrained_model_name_or_path", "model", "--train_data_meta", "rows.json"]
ALL = ["--trainable_modules", "."]


def settings(script, *words, launch=None):
    more = ALL if script in ("train", "train_control") and "--trainable_modules" not in words else []
    return run_of(script, [*MODEL, *more, *words], launch).settings


def notes(script, *words, launch=None):
    more = ALL if script in ("train", "train_control") else []
    return dict(run_of(script, [*MODEL, *more, *words], launch).notes)


def settings_of(kind, prefix=""):
    """Dotted names of all settings of a config class, groups included."""
    found = set()
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name = f"{prefix}{field.name}"
        found.add(name)
        options = [hints[field.name], *typing.get_args(hints[field.name])]
        for option in options:
            if isinstance(option, type) and dataclasses.is_dataclass(option):
                found |= settings_of(option, f"{name}.")
    return found


@pytest.mark.parametrize("script", RECIPES)
def test_settings_of_the_table_are_there(script):
    recipe = find(RECIPES[script][0])
    known = settings_of(type(recipe.config(RECIPES[script][1])))
    known |= {"output", "RECIPE", *inspect.signature(recipe.build).parameters}
    flags = [*flags_of(script), *flags_of(script, keys=True)]
    assert [(flag.name, flag.to) for flag in flags if not set(flag.to) <= known] == []


def test_settings_of_the_table_for_open_sora_are_there():
    known = settings_of(type(find("finetune").config("gpu"))) | {"output", "RECIPE"}
    flags = [*flags_of("opensora"), *flags_of("opensora", keys=True)]
    assert [flag.name for flag in flags if not set(flag.to) <= known] == []


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"opensora_stage1"}))
def test_released_commands_are_settings_that_recipes_take(name):
    (command,) = read_commands(COMMANDS[name].read_text(), {})
    run = run_of(command.script, command.arguments, Launch(processes=1, precision=command.precision))
    config = applied(find(run.recipe).config(run.preset), run.settings)
    found = schema.flatten(schema.to_mapping(config))
    plain = {key: value for key, value in run.settings.items() if not isinstance(value, list)}
    assert {key: found[key] for key in plain} == plain


@pytest.mark.parametrize("script", RECIPES)
def test_every_flag_is_copied_translated_or_dropped(script):
    rules = [rule for rule in RULES if script in rule.scripts]
    read = {name for rule in rules for name in rule.reads}
    copied = {flag.dest for flag in copied_flags(script, rules)}
    flags = {flag.dest: flag for flag in flags_of(script)}
    forgotten = [name for name in flags.keys() - read - copied if flags[name].to]
    assert forgotten == []
    assert [name for name in copied if len(flags[name].to) != 1] == []


def test_rules_read_flags_that_their_scripts_have():
    for rule in RULES:
        for name in rule.reads:
            assert any(name in {flag.dest for flag in flags_of(script)} for script in rule.scripts), name


def test_a_seed_command_in_full():
    (command,) = read_commands(COMMANDS["train_control_v5.1"].read_text(), {})
    run = run_of(command.script, command.arguments, Launch(processes=1, precision="bf16"))
    assert (run.recipe, run.output, run.epochs) == ("finetune", Path("output_dir"), 100)
    assert "loop.steps" not in run.settings
    expected = {
        "model.path": "models/Diffusion_Transformer/EasyAnimateV5.1-12b-zh-Control",
        "model.recompute": True,
        "adapter.kind": "all",
        "data.manifest": "datasets/internal_datasets/metadata.json",
        "data.recipe.shapes.image_sample_size": 1024,
        "data.recipe.shapes.video_sample_size": 256,
        "data.recipe.shapes.token_sample_size": 512,
        "data.recipe.shapes.random_hw_adapt": True,
        "data.recipe.clip.stride": 3,
        "data.recipe.control": "video",
        "data.recipe.reference.mode": "first",
        "conditions.mode": "control_ref",
        "objective.loss": "flow",
        "objective.levels.spread": "ranks",
        "optim.lr": 2e-5,
        "optim.lr_scheduler": "constant_with_warmup",
        "optim.warmup_steps": 100,
        "optim.betas": [0.9, 0.999],
        "optim.eps": 1e-10,
        "optim.clipping": "abnormal",
        "loop.precision": "bf16",
        "loop.sharding": "none",
        "loop.checkpoint_every": 100,
        "loop.ema_decay": 0.0,
        "loop.seed": 42,
    }
    assert {name: run.settings[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"optim.lr": 1e-4, "optim.lr_scheduler": "constant", "loop.batch_size": 16}),
        (["--scale_lr", "--gradient_accumulation_steps", "3"], {"optim.lr": 1e-4 * 16 * 3 * 2}),
        (["--use_8bit_adam"], {"optim.kind": "adamw8bit"}),
        (["--use_came"], {"optim.kind": "came", "optim.weight_decay": 0.0}),
        (["--use_ema"], {"loop.ema_decay": 0.9999}),
        (["--max_train_steps", "7"], {"loop.steps": 7}),
        (["--seed", "5"], {"loop.seed": 5}),
        (["--seed", str(1 << 20)], {"loop.seed": 0}),
        (["--mixed_precision", "no"], {"loop.precision": "fp32"}),
        (["--mixed_precision", "fp16"], {"loop.precision": "bf16"}),
        (["--use_deepspeed"], {"loop.sharding": "fsdp2", "optim.clipping": "norm"}),
        (["--checkpoints_total_limit", "2"], {"loop.keep_checkpoints": 2}),
        (["--trainable_modules", "a", "b"], {"adapter.kind": "parts", "adapter.names": ["a", "b"]}),
        (["--trainable_modules", "a", "."], {"adapter.kind": "all"}),
        (
            ["--trainable_modules", "a", "--trainable_modules_low_learning_rate", "."],
            {"adapter.kind": "parts", "adapter.names": ["a"], "adapter.half_rate_names": ["."]},
        ),
        (["--train_mode", "inpaint"], {"conditions.mode": "inpaint", "data.recipe.masks.draw": "inpaint"}),
        (["--video_repeat", "3"], {"data.recipe.video_repeat": 3}),
        ([], {"data.recipe.video_repeat": 1, "conditions.mode": "normal", "objective.loss": "auto"}),
        (["--loss_type", "sigma", "--snr_loss"], {"objective.loss": "sigma", "objective.snr_gamma": 5.0}),
        (["--not_sigma_loss"], {"objective.loss": "ddpm"}),
        (["--loss_type=ddpm", "--train_sampling_steps=500"], {"objective.timesteps": 500}),
        (["--loss_type=ddpm", "--prediction_type=epsilon"], {"objective.prediction_type": "epsilon"}),
        (
            ["--loss_type=flow", "--weighting_scheme=logit_normal", "--logit_mean=0.5", "--logit_std=2"],
            {
                "objective.levels.density": "logit_normal",
                "objective.levels.mean": 0.5,
                "objective.levels.std": 2.0,
            },
        ),
        (
            ["--loss_type=flow", "--weighting_scheme=mode"],
            {"objective.levels.density": "mode", "objective.levels.mode_scale": 1.29},
        ),
        (["--loss_type=flow", "--weighting_scheme=cosmap"], {"objective.weighting": "cosmap"}),
        (["--noise_share_in_frames"], {"objective.noise.share_in_frames": 0.5}),
        (["--loss_type=flow", "--motion_sub_loss"], {"objective.errors.motion_share": 0.25}),
        (
            ["--motion_sub_loss", "--motion_sub_loss_ratio=0.1"],
            {"objective.errors.motion_share": 0.1},
        ),
        (["--enable_bucket", "--random_ratio_crop"], {"data.recipe.shapes.random_ratio_crop": True}),
        (["--random_ratio_crop"], {"data.recipe.shapes.random_ratio_crop": False}),
    ],
)
def test_settings_of_flags(words, expected):
    found = settings("train", *words, launch=Launch(processes=2))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--loss_type=flow", "--train_sampling_steps=500"], "objective.timesteps"),
        (["--loss_type=ddpm", "--snr_loss"], "objective.snr_gamma"),
        (["--loss_type=sigma", "--motion_sub_loss"], "objective.errors.motion_share"),
        (["--loss_type=flow", "--prediction_type=epsilon"], "objective.prediction_type"),
        (["--loss_type=ddpm", "--weighting_scheme=mode"], "objective.levels.density"),
        (["--noise_share_in_frames_ratio=0.4"], "objective.noise.share_in_frames"),
        (["--motion_sub_loss_ratio=0.4"], "objective.errors.motion_share"),
        ([], "objective.levels.spread"),
        ([], "model.transformer"),
        (["--max_train_steps=3"], "loop.epochs"),
    ],
)
def test_settings_that_a_loss_would_refuse_are_not_made(words, absent):
    assert absent not in settings("train", *words)


@pytest.mark.parametrize(
    ("words", "flag", "text"),
    [
        (["--loss_type=flow", "--snr_loss"], "--snr_loss", "no effect on the loss 'flow'"),
        (["--video_repeat=0"], "--video_repeat", "left out every video"),
        ([], "--video_repeat", "left out every video"),
        (["--config_path", "x.yaml"], "--config_path", "says itself which classes"),
        (["--resume_from_checkpoint=latest"], "--resume_from_checkpoint", "bit for bit"),
        (["--resume_from_checkpoint=x/checkpoint-5"], "--resume_from_checkpoint", "not x/checkpoint-5"),
        (["--seed", str(1 << 20)], "--seed", "seeds end at 1048575; this run has 0"),
        (["--mixed_precision=fp16"], "--mixed_precision", "bf16 takes the place"),
        (["--random_hw_adapt"], "--random_hw_adapt", "without --enable_bucket it has no effect"),
        (["--loss_type=flow", "--uniform_sampling"], "--uniform_sampling", "of this loss too"),
    ],
)
def test_what_is_said_about_flags(words, flag, text):
    assert text in notes("train", *words)[flag]


def test_nothing_is_said_about_flags_that_are_not_there():
    assert notes("train", "--video_repeat=1") == {}


def test_what_the_launcher_says():
    assert settings("train", launch=Launch(precision="bf16"))["loop.precision"] == "bf16"
    own = settings("train", "--mixed_precision=no", launch=Launch(precision="bf16"))
    assert own["loop.precision"] == "fp32"
    one = settings("train", launch=Launch(processes=1, deepspeed=True))
    assert (one["loop.sharding"], one["optim.clipping"]) == ("none", "norm")
    assert settings("train", launch=Launch(processes=4, deepspeed=True))["loop.sharding"] == "fsdp2"
    assert settings("train")["optim.clipping"] == "abnormal"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"data.recipe.control": "video", "conditions.mode": "control"}),
        (
            ["--train_mode=control_ref", "--control_ref_image=random"],
            {"conditions.mode": "control_ref", "data.recipe.reference.mode": "random"},
        ),
        (
            ["--train_mode=control_camera_ref"],
            {"data.recipe.control": "camera", "data.recipe.reference.mode": "first"},
        ),
    ],
)
def test_modes_of_control_models(words, expected):
    found = settings("train_control", *words)
    assert {name: found[name] for name in expected} == expected
    if not words:
        assert "data.recipe.reference.mode" not in found


def test_files_and_folders(tmp_path):
    found = settings("train_lora", "--vae_path", "a/vae/weights.safetensors", "--train_data_dir", "clips")
    assert (found["model.vae"], found["data.root"]) == ("a/vae", "clips")
    found = settings("train_lora", "--vae_path", "a/vae")
    assert (found["model.vae"], found["data.root"]) == ("a/vae", ".")
    for number in (9, 100):
        (tmp_path / f"checkpoint-{number}/transformer").mkdir(parents=True)
    words = [*MODEL, f"--output_dir={tmp_path}", "--resume_from_checkpoint=latest"]
    with pytest.raises(ValueError, match=r"optimiser is not read; .* --transformer_path=.*checkpoint-100/tr"):
        run_of("train_lora", words)


def test_a_lora():
    found = settings("train_lora", "--rank=16", "--network_alpha=8")
    assert found["adapter.kind"] == "lora"
    assert (found["adapter.rank"], found["adapter.alpha"]) == (16, 8.0)


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("train", MODEL, "train.py: --trainable_modules is missing; '.' trains everything"),
        (
            "train",
            [*MODEL, *ALL, "--train_mode=i2v"],
            "train.py: --train_mode is 'i2v'; allowed: normal, inpaint",
        ),
        ("train_lora", [*MODEL, "--loss_type=l2"], "--loss_type is 'l2'; allowed: sigma, ddpm, flow"),
        (
            "train_control",
            [*MODEL, *ALL, "--train_mode=inpaint"],
            "--train_mode is 'inpaint'; allowed: control, control_ref, control_camera_ref",
        ),
        ("train_control", [*MODEL, *ALL, "--control_ref_image=last"], "allowed: first_frame, random"),
        ("train_vae", ["-b", "none.yaml"], "train_vae.py: --base none.yaml: no such file; released ones are"),
        ("train_vae", ["model.params.kpt_path=x"], "unknown key model.params.kpt_path; did you mean"),
        ("train_vae", ["data.params.batch_size=["], "data.params.batch_size=[: not a YAML value"),
    ],
)
def test_a_mistake_is_one_line(script, words, message):
    with pytest.raises(ValueError, match=r".") as error:
        run_of(script, words)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_yaml_file_for_autoencoders(tmp_path):
    values = {
        "model": {
            "base_learning_rate": "1e-4",
            "target": "somewhere.Autoencoder",
            "params": {
                "ckpt_path": "models/vae/diffusion_pytorch_model.safetensors",
                "train_decoder_only": True,
                "mini_batch_encoder": 8,
                "lossconfig": {"target": "x", "params": {"disc_start": 9, "perceptual_weight": 0.0}},
            },
        },
        "data": {
            "params": {
                "batch_size": 3,
                "train": {"params": {"data_json_path": "list.json", "size": 128, "video_len": 9}},
                "validation": {"target": "y", "params": {"size": 128}},
            }
        },
        "lightning": {"trainer": {"accumulate_grad_batches": 2}, "callbacks": {"image_logger": {"a": 1}}},
    }
    base = tmp_path / "autoencoder_kl_32x32x4_mag.yaml"
    base.write_text(yaml.safe_dump(values))
    run = run_of(
        "train_vae",
        ["-t", "-b", str(base), "data.params.batch_size=4", "task.lpips_weight=0"],
        Launch(processes=2),
    )
    assert (run.recipe, run.preset) == ("vae", "released-mag")
    assert run.output == Path("logs/autoencoder_kl_32x32x4_mag")
    assert run.inputs == {"model": Path("models/vae"), "data": Path("list.json")}
    assert run.settings == {
        "loop.seed": 23,
        "optim.lr": pytest.approx(1e-4 * 4 * 2 * 2),
        "task.learns": "decoder",
        "task.disc_start": 9,
        "task.lpips_weight": 0,
        "loop.batch_size": 4,
        "task.side": 128,
        "task.num_frames": 9,
        "loop.grad_accum": 2,
    }
    unscaled = run_of("train_vae", ["-b", str(base), "--scale_lr=False", "--max_steps=5", "-n", "mine"])
    assert unscaled.settings["optim.lr"] == 1e-4
    assert unscaled.settings["loop.steps"] == 5
    assert unscaled.output == Path("logs/mine")


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"opensora_stage1"}))
def test_released_commands_become_recipes(name):
    (command,) = read_commands(COMMANDS[name].read_text(), {})
    text = import_flags(COMMANDS[name].read_text(), {})
    run = run_of(command.script, command.arguments, Launch(precision=command.precision))
    assert f"# ea-train {run.recipe} --output {run.output}" in text
    found = yaml.safe_load(text)
    assert found.keys() == nested(run.settings).keys()
    assert all(f"# {flag}: " in text for flag, _ in run.notes)
    shown = list(report_lines(run))
    assert max(map(len, shown)) <= 110
    assert shown[0].endswith(f"settings of `ea-train {run.recipe}`")


def test_comments_name_the_flags():
    text = import_flags(f"python train.py {' '.join(MODEL + ALL)} --learning_rate=3e-5 --loss_type=ddpm", {})
    assert "  lr: 3.0e-05  # --learning_rate\n" in text
    assert "  loss: ddpm  # --loss_type\n" in text
    assert "# loop.steps is to be set: 100 epochs" in text
    assert text.index("model:") < text.index("objective:") < text.index("loop:")


def test_several_commands_are_several_documents():
    one = f"python train_lora.py {' '.join(MODEL)} --rank"
    text = import_flags(f"{one} 4\n{one} 8\n", {})
    assert [document["adapter"]["rank"] for document in yaml.safe_load_all(text)] == [4, 8]


def test_the_line_of_a_mistake_is_named():
    with pytest.raises(ValueError, match=r"line 3: train\.py: unknown flag --sead; did you mean '--seed'\?"):
        import_flags("# x\n\npython train.py --pretrained_model_name_or_path a --sead 1", {})


def test_the_command(tmp_path, capsys, monkeypatch):
    path = COMMANDS["train_lora_v5.1"]
    assert main(["import-flags", str(path)]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["adapter"] == {"kind": "lora", "rank": 128, "alpha": 64.0}
    assert main(["import-flags", str(path), "--output", str(tmp_path / "lora.yaml")]) == 0
    assert (tmp_path / "lora.yaml").read_text() == printed
    monkeypatch.setenv("MY_MODEL", "a b")
    line = 'python scripts/train_lora.py --pretrained_model_name_or_path="$MY_MODEL" --train_data_meta=a'
    assert main(["import-flags", line]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["path"] == "a b"
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    assert main(["import-flags", "-"]) == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.sh", "nowhere.sh"),
        ("python train_lora.py --rank x", "argument --rank: invalid int value: 'x'"),
        ("echo hello world", "no training command"),
    ],
)
def test_mistakes_of_the_command(source, message, capsys):
    assert main(["import-flags", source]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ea-train: error: ")
    assert message in lines[0]


REWARD = ["--pretrained_model_name_or_path", "model", "--prompt_path", "prompts.txt"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--reward_fn=HPSReward", '--reward_fn_kwargs={"version": "v2.1", "model_path": "h.pt"}'],
            {"name": "hps-v2.1", "best": 1.0, "weight": 1.0, "head": "h.pt"},
        ),
        (["--reward_fn=AestheticReward"], {"name": "aesthetic-v2", "best": 10.0, "weight": 0.1}),
        (
            ["--reward_fn=AestheticReward", '--reward_fn_kwargs={"version": "v2.5", "max_reward": null}'],
            {"name": "aesthetic-v2.5", "best": None, "weight": 0.1},
        ),
        (
            ["--reward_fn=PickScoreReward", '--reward_fn_kwargs={"model_path": "dir", "device": "cuda"}'],
            {"name": "pickscore", "best": 1.0, "weight": 1.0, "encoder": "dir"},
        ),
        (["--reward_fn=MPSReward"], {"name": "mps", "best": 1.0, "weight": 1.0}),
        (["--reward_fn=scores.py:warmth"], {"name": "scores.py:warmth"}),
    ],
)
def test_rewards(words, expected):
    run = run_of("train_reward_lora", [*REWARD, *words])
    assert run.settings["task.rewards"] == [expected]
    config = applied(find(run.recipe).config(run.preset), run.settings)
    assert config.task.rewards[0].name == expected["name"]
    assert config.prompts == "prompts.txt"


def test_how_rewards_learn():
    words = "--reward_fn=MPSReward --backprop --backprop_strategy=tail --backprop_num_steps=7 --eta=0.5"
    more = ["--low_vram", "--stop_latent_model_input_gradient"]
    run = run_of("train_reward_lora", [*REWARD, *words.split(), *more])
    config = applied(find(run.recipe).config(run.preset), run.settings)
    assert (config.task.backprop.strategy, config.task.backprop.count) == ("tail", 7)
    assert config.task.backprop.stop_input_gradient
    assert (config.task.eta, config.task.num_frames, config.task.height) == (0.5, 49, 384)
    assert not config.model.low_vram
    assert dict(run.notes)["--low_vram"].startswith("the backward pass")
    steps = run_of("train_reward_lora", [*REWARD, "--reward_fn=a:b", "--backprop_step_list", "3", "4"])
    assert applied(find("reward").config("gpu"), steps.settings).task.backprop.steps == (3, 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (REWARD, "--reward_fn is 'aesthetic_loss_fn'; allowed: AestheticReward, HPSReward"),
        (REWARD[:2], "--reward_fn is"),
        ([*REWARD[:2], "--reward_fn=MPSReward"], "--prompt_path is missing; give a text file"),
        ([*REWARD, "--reward_fn=HPSReward", "--reward_fn_kwargs={"], "--reward_fn_kwargs is no JSON"),
        ([*REWARD, "--reward_fn=HPSReward", "--reward_fn_kwargs=[1]"], "must be a JSON object, got [1]"),
        (
            [*REWARD, "--reward_fn=HPSReward", '--reward_fn_kwargs={"version": "v3"}'],
            "--reward_fn_kwargs version is 'v3'; allowed: v2.0, v2.1",
        ),
        (
            [*REWARD, "--reward_fn=HPSReward", '--reward_fn_kwargs={"size": 3}'],
            "--reward_fn_kwargs: HPSReward has no option 'size'",
        ),
        ([*REWARD, "--reward_fn=a:b", '--reward_fn_kwargs={"x": 1}'], "a function takes none"),
    ],
)
def test_mistakes_with_rewards(words, message):
    with pytest.raises(ValueError, match=r".") as error:
        run_of("train_reward_lora", words)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_distillation():
    words = "--w_min=3 --loss_type=huber --timestep_scaling_factor=5 --snr_loss --train_mode=inpaint"
    run = run_of("train_lcm_lora", [*MODEL, *words.split()])
    config = applied(find(run.recipe).config(run.preset), run.settings)
    assert (config.task.w_min, config.task.loss, config.task.timestep_scaling) == (3.0, "huber", 5.0)
    assert (config.adapter.kind, config.conditions.mode) == ("lora", "inpaint")
    assert "a loss and noise of its own" in dict(run.notes)["--snr_loss"]
