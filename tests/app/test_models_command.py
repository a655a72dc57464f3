"""`ea-app models`: list, inspect, verify, fetch, make-tiny."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ea_app import catalog

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy of the tiny model that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def edit_weights(folder, change):
    file = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file)


def test_the_bare_command_lists(command):
    listed = command("models", "list")
    assert listed[0] == 0
    assert command("models") == listed
    assert "--model also takes a model directory" in listed[1]
    quiet = command("models", "--quiet")
    assert quiet == command("models", "list", "--quiet") == command("models", "--quiet", "list")
    assert "--model also" not in quiet[1]


def test_inspect_says_what_it_is(model, command):
    code, out, err = command("models", "inspect", model)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{model}: EasyAnimate V5.1, inpaint variant, easyanimate layout"
    assert re.match(
        r"  transformer +EasyAnimateTransformer3DModel: 0\.\d+ M parameters, F16, 0\.\d MB", lines[1]
    )
    assert re.match(r"  vae +AutoencoderKLMagvit: ", lines[2])
    assert re.match(r"  text_encoder +ByteTextEncoder: ", lines[3])
    modes = "image-to-video, masked-video, text-to-image, text-to-video, video-to-video"
    assert lines[4] == f"  modes          {modes}"
    assert lines[5] == "  released for   672x384, 49 frames at 8 per second, 50 steps, guidance 6"
    code, out, _ = command("models", "inspect", model / "vae")
    assert (code, out.splitlines()[0]) == (
        0,
        f"{model / 'vae'}: autoencoder, easyanimate and diffusers layout",
    )


def test_inspect_says_what_the_release_made(tmp_path, command):
    from ea_dit.pipelines.tiny import make_tiny

    last = {}
    for family in ("v1-image", "v4-inp", "open-sora-1.1"):
        _, out, _ = command("models", "inspect", make_tiny(family, tmp_path / family))
        last[family] = out.splitlines()[-1].split(maxsplit=2)
        assert last[family][:2] == ["released", "for"]
    assert {family: words[2] for family, words in last.items()} == {
        "v1-image": "512x512, 1 frame, 30 steps, guidance 6",
        "v4-inp": "672x384, 144 frames at 24 per second, 25 steps, guidance 7",
        "open-sora-1.1": "426x240, 16 frames at 8 per second, 100 steps, guidance 7",
    }


def test_verify_is_content_with_a_whole_model(model, command):
    code, out, err = command("models", "verify", model)
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", "transformer"],
        ["ok", "vae"],
        ["ok", "text_encoder"],
        ["ok", "scheduler"],
    ]
    assert command("models", "verify", model, "--quiet") == (0, "", "")


def test_verify_names_every_fault(model, command):
    def spoil(state):
        state["proj.bias"] = torch.ones(3)
        state["new"] = torch.ones(1)
        del state["proj_out.bias"], state["proj_out.weight"]

    edit_weights(model / "transformer", spoil)
    weights = next((model / "text_encoder").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    (model / "scheduler/scheduler_config.json").write_text('{"_class_name": "Other"}')
    code, out, _ = command("models", "verify", model, "--quiet")
    assert code == 1
    for sentence in (
        r"transformer +tensor 'proj\.bias' has shape \[3\], expected \[32\]",
        "transformer +unexpected tensor 'new'",
        r"transformer +missing tensor 'proj_out\.bias'",
        r"transformer +missing tensor 'proj_out\.weight'",
        "text_encoder +.*is cut off",
        "scheduler +.*_class_name must be one of",
    ):
        assert re.search(f"^FAIL  {sentence}", out, re.MULTILINE), sentence
    assert len(out.splitlines()) == 6
    shutil.rmtree(model / "vae")
    code, out, _ = command("models", "verify", model)
    assert code == 1
    assert re.fullmatch(r"FAIL  directory +.*vae/config\.json is missing\n", out)


def take(model, other, part):
    shutil.rmtree(model / part)
    shutil.copytree(other / part, model / part)


def edit_config(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def swap(model, one, other):
    (model / one).rename(model / "kept")
    (model / other).rename(model / one)
    (model / "kept").rename(model / other)


def spoil_number(folder):
    file = next(folder.glob("*.safetensors"))
    state = load_file(file)
    name = next(name for name, tensor in state.items() if tensor.is_floating_point() and tensor.numel())
    state[name].view(-1)[-1] = float("nan")
    save_file(state, file)


def drop_tensors(folder):
    """Takes a tensor away, and cuts another."""
    file = next(folder.glob("*.safetensors"))
    state = load_file(file)
    first, second, *_ = sorted(name for name, tensor in state.items() if tensor.ndim == 2)
    del state[first]
    state[second] = state[second][:-1].contiguous()
    save_file(state, file)


V5, V51, V3 = "v5-12b-inp", "v5.1-7b-t2v", "v3-inp"
NOT_WHOLE = {
    "no tokenizer": (V5, lambda m, o: shutil.rmtree(m / "tokenizer"), "tokenizer +the tokenizer of the text"),
    "no tokenizer_2": (
        V5,
        lambda m, o: shutil.rmtree(m / "tokenizer_2"),
        "tokenizer_2 +the tokenizer of the",
    ),
    "no text encoder": (
        V5,
        lambda m, o: shutil.rmtree(m / "text_encoder"),
        "directory +.*text_encoder/config",
    ),
    "no second text encoder": (
        V5,
        lambda m, o: shutil.rmtree(m / "text_encoder_2"),
        "text +.*text_encoder_2/config",
    ),
    "swapped encoders": (
        V5,
        lambda m, o: swap(m, "text_encoder", "text_encoder_2"),
        "text_encoder +.*model_type must be bert for this transformer, got 'mt5'",
    ),
    "swapped tokenizers": (
        V5,
        lambda m, o: swap(m, "tokenizer", "tokenizer_2"),
        "tokenizer_2 +.*has 81 tokens, but its text encoder knows only 42",
    ),
    "corrupt tokenizer": (
        V51,
        lambda m, o: (m / "tokenizer/tokenizer.json").write_text("{"),
        r"tokenizer +.*tokenizer\.json: not valid JSON",
    ),
    "no tokenizer.json": (
        V51,
        lambda m, o: (m / "tokenizer/tokenizer.json").unlink(),
        r"tokenizer +.*no tokenizer here: tokenizer\.json, spiece\.model or",
    ),
    "Open-Sora's tokenizer": (
        "open-sora-1.1",
        lambda m, o: (m / "t5-v1_1-xxl/tokenizer.json").unlink(),
        r"tokenizer +.*no tokenizer here: tokenizer\.json, spiece\.model or",
    ),
    "BERT in V5.1": (
        V51,
        lambda m, o: take(m, o(V5), "text_encoder"),
        "text_encoder +.*model_type must be qwen2_vl .*, got 'bert'",
    ),
    "missing tensor": (
        V51,
        lambda m, o: drop_tensors(m / "text_encoder"),
        "text_encoder +missing tensor '",
    ),
    "misshapen tensor": (
        V51,
        lambda m, o: drop_tensors(m / "text_encoder"),
        r"text_encoder +tensor '.*' has shape \[\d+, \d+\], expected \[\d+, \d+\]",
    ),
    "V3 with V5's autoencoder": (V3, lambda m, o: take(m, o(V5), "vae"), "vae +.*got 4 and 16"),
    "V5.1 with V3's autoencoder": (V51, lambda m, o: take(m, o(V3), "vae"), "vae +.*got 16 and 4"),
    "V5.1 with V3's process": (
        V51,
        lambda m, o: take(m, o(V3), "scheduler"),
        "scheduler +.*must be FlowMatching for this transformer, got DdpmSchedule",
    ),
    "text as shift": (
        V51,
        lambda m, o: edit_config(m / "scheduler/scheduler_config.json", shift="x"),
        "scheduler +.*shift must be a finite number, got 'x'",
    ),
    "scaling factor": (
        V51,
        lambda m, o: edit_config(m / "vae/config.json", scaling_factor=-1),
        "vae +.*scaling_factor must be above 0, got -1",
    ),
    "truncated encoder": (
        V51,
        lambda m, o: os.truncate(m / "text_encoder/model.safetensors", 20000),
        r"text_encoder +.*model\.safetensors: is cut off",
    ),
    "NaN in the transformer": (
        V51,
        lambda m, o: spoil_number(m / "transformer"),
        r"transformer +tensor '.*' in diffusion_pytorch_model\.safetensors holds NaN or infinity",
    ),
    "NaN in the image encoder": (
        V3,
        lambda m, o: spoil_number(m / "image_encoder"),
        r"image_encoder +tensor '.*' in model\.safetensors holds NaN or infinity",
    ),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Makes a tiny directory of a family once."""
    from ea_dit.pipelines.tiny import make_tiny

    made = {}

    def get(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp("tiny") / family)
        return made[family]

    return get


@pytest.mark.parametrize("name", NOT_WHOLE)
def test_verify_finds_what_generate_refuses(name, tiny, command, tmp_path):
    family, spoil, message = NOT_WHOLE[name]
    model = Path(shutil.copytree(tiny(family), tmp_path / "model"))
    spoil(model, tiny)
    code, out, err = command("models", "verify", model, "--quiet")
    assert (code, err) == (1, "")
    assert re.search(f"^FAIL  {message}", out, re.MULTILINE), out
    if not name.startswith("NaN"):
        given = ("--size", "32", "--frames", "1", "--steps", "1", "--seed", "1", "--output", "out.png")
        code, out, err = command("generate", "x", "--model", model, *given)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("ea-app: error: model: ")


@pytest.mark.parametrize(
    "family", ["v1-t2v", "v3-inp", "v4-inp", "v5-12b-inp", "v5.1-7b-t2v", "open-sora-1.1"]
)
def test_verify_is_content_with_every_release(family, tiny, command):
    code, out, err = command("models", "verify", tiny(family))
    assert (code, err) == (0, "")
    assert all(line.startswith("ok") for line in out.splitlines())
    assert re.search("^ok    tokenizer +its files are there; it loads$", out, re.MULTILINE)
    assert re.search(
        "^ok    text_encoder .*; its tensors fit its config; all numbers are fin", out, re.MULTILINE
    )


def test_verify_compares_hashes(model, command, tmp_path):
    assert command("models", "verify", model, "--write-hashes", "list")[0] == 0
    lines = (tmp_path / "list").read_text().splitlines()
    assert len(lines) == sum(path.is_file() for path in model.rglob("*"))
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+", line) for line in lines)
    assert command("models", "verify", model, "--hashes", "list")[0] == 0
    edit_weights(model / "vae", lambda state: next(iter(state.values())).add_(1))
    (model / "model.json").unlink()
    code, out, _ = command("models", "verify", model, "--hashes", "list", "--quiet")
    assert code == 1
    assert re.search(r"FAIL  sha256 +vae/\S+: has another hash\n", out)
    assert re.search(r"FAIL  sha256 +model\.json: is missing\n", out)
    assert len(out.splitlines()) == 2
    (tmp_path / "list").write_text("hello\n")
    code, _, err = command("models", "verify", model, "--hashes", "list")
    assert (code, err) == (2, "ea-app: error: hashes: list: 'hello' is not a line of sha256sum\n")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that answers from a folder; what it was asked for."""
    import huggingface_hub

    asked = []
    folder = tmp_path / "cache" / COMMIT
    folder.mkdir(parents=True)

    def download(name, *, revision, local_dir, ignore_patterns, local_files_only):
        asked.append((name, revision, local_dir, local_files_only))
        if name == "not/there":
            raise ConnectionError("no connection")
        return str(local_dir or folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def test_fetch_pins_a_revision(hub, command, tmp_path):
    code, out, err = command("models", "fetch", "owner/name")
    assert (code, out) == (0, f"owner/name: {tmp_path / 'cache' / COMMIT}\n")
    assert err == f"--model owner/name@{COMMIT} stays with these files\n"
    command("models", "fetch", "owner/name", "--revision", "v1", "--offline")
    command("models", "fetch", "owner/name@v2", "--to", "here")
    assert hub == [
        ("owner/name", None, None, False),
        ("owner/name", "v1", None, True),
        ("owner/name", "v2", "here", False),
    ]
    for arguments, message in (
        (["name"], "name: must be owner/name of the hub, got 'name'"),
        (["a/b@v1", "--revision", "v2"], "name: 'a/b@v1' names a revision already, got 'v2' as well"),
        (["not/there"], "name: .*neither a directory nor in the local cache, and it cannot be downloaded"),
    ):
        code, _, err = command("models", "fetch", *arguments)
        assert code == 2
        assert re.match(f"ea-app: error: {message}", err)


def test_a_model_name_may_pin_a_revision(hub):
    with pytest.raises(ValueError, match="is no model directory"):
        catalog.find(f"owner/name@{COMMIT}")
    assert hub == [("owner/name", COMMIT, None, False)]


def test_make_tiny_writes_a_whole_model(command, tmp_path):
    code, out, _ = command("models", "make-tiny", "open-sora-1.0", "tiny")
    assert (code, out) == (0, "wrote tiny: random weights, open-sora-1.0\n")
    code, out, _ = command("models", "inspect", "tiny")
    assert (code, out.splitlines()[0]) == (0, "tiny: Open-Sora 1.0, frames variant, open-sora layout")
    assert command("models", "verify", "tiny")[0] == 0
    assert catalog.find(str(tmp_path / "tiny")).size() > 10_000
    code, _, err = command("models", "make-tiny", "v4-inp", "tiny")
    assert (code, err) == (2, "ea-app: error: directory: tiny must be a new or an empty directory\n")
    code, _, err = command("models", "make-tiny", "v6", "other")
    assert code == 2
    assert re.match(r"ea-app: error: family: must be one of .*v5\.1-12b-inp.*; got 'v6'\n", err)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect"], "dir: is missing; see ea-app models inspect --help"),
        (["inspect", "none"], "directory: none is no directory"),
        (["inspect", "."], "directory: .*transformer/config.json is missing"),
        (["verify", ".", "--hashes", "none"], "hashes: none is no file"),
        (["sing"], "action: invalid choice: 'sing'"),
    ],
)
def test_wrong_arguments(arguments, message, command):
    code, out, err = command("models", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"ea-app: error: {message}", err)


def test_mistakes_in_arguments_do_not_load_torch():
    code = (
        "import sys\nfrom ea_app.cli import main\n"
        "assert main(['models', 'inspect', 'none']) == 2\n"
        "assert main(['convert', 'none', 'x', '--layout', 'diffusers']) == 2\n"
        "assert main(['models', 'fetch', 'none']) == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
