"""The ComfyUI nodes, alone and in the example workflows, through a stand-in for ComfyUI."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import comfy_core
import comfy_host
import pytest
import torch

from ea_app.comfy import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

ROOT = Path(__file__).parents[2]
PACK = ROOT / "packages/ea-app/src/ea_app/comfy/pack"
WORKFLOWS = sorted((PACK / "example_workflows").glob("*.json"))
FAMILIES = {
    "EasyAnimateV3-XL-2-InP-512x512": "v3-inp",
    "EasyAnimateV4-XL-2-InP": "v4-inp",
    "EasyAnimateV5-12b-zh-InP": "v5-12b-inp",
    "EasyAnimateV5-12b-zh-Control": "v5-12b-control",
    "EasyAnimateV5.1-12b-zh-InP": "v5.1-12b-inp",
    "EasyAnimateV5.1-12b-zh-Control": "v5.1-12b-control",
    "EasyAnimateV5.1-12b-zh-Control-Camera": "v5.1-12b-camera",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """ComfyUI's folder of models with tiny ones under the released names."""
    from ea_dit.pipelines.tiny import make_tiny

    folder = tmp_path_factory.mktemp("comfy")
    for name, family in FAMILIES.items():
        make_tiny(family, folder / "EasyAnimate" / name)
    _write_lora(folder / "EasyAnimate" / "EasyAnimateV4-XL-2-InP", folder / "loras" / "my_lora.safetensors")
    return folder


def _write_lora(model, path):
    from safetensors.torch import save_file

    from ea_dit.lora import targets_of
    from ea_dit.pipelines import read_outline

    path.parent.mkdir()
    torch.manual_seed(1)
    tensors = {}
    layers = [target for target in targets_of(read_outline(model).config) if len(target.shape) == 2]
    for target in layers[:6]:
        rows, columns = target.shape
        name = target.name.replace(".", "_")
        tensors[f"lora_unet__{name}.lora_up.weight"] = torch.randn(rows, 2)
        tensors[f"lora_unet__{name}.lora_down.weight"] = torch.randn(2, columns)
        tensors[f"lora_unet__{name}.alpha"] = torch.tensor(2.0)
    save_file(tensors, path)


@pytest.fixture
def host(models, monkeypatch):
    return comfy_host.Host(models, models / "loras").install(monkeypatch)


# ------------------------------------------------------------------------------------------------- workflows


def _script():
    spec = importlib.util.spec_from_file_location("comfy_workflows", ROOT / "scripts/comfy_workflows.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["comfy_workflows"] = module
    spec.loader.exec_module(module)
    return module


def test_workflows_are_what_the_script_writes():
    made = _script().workflows()
    assert sorted(made) == [path.stem for path in WORKFLOWS]
    for path in WORKFLOWS:
        assert json.loads(path.read_text()) == json.loads(json.dumps(made[path.stem].to_dict()))


def _shrink(prompt):
    """The same with tiny numbers, as nobody waits for 49 frames of 672x384 here."""
    small = {"width": 32, "height": 32, "base_resolution": 64, "steps": 2, "video_length": 5}
    for node in prompt.values():
        node["inputs"] |= {key: value for key, value in small.items() if key in node["inputs"]}
        if node["class_type"] == "PrimitiveStringMultiline":
            node["inputs"]["value"] = json.dumps(json.loads(node["inputs"]["value"])[:5])
    return prompt


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs(path, host):
    saved = []
    nodes = NODE_CLASS_MAPPINGS | comfy_core.core_nodes(saved)
    prompt = comfy_host.prompt_of(json.loads(path.read_text()), nodes)
    comfy_host.validate(prompt, nodes)
    comfy_host.execute(_shrink(prompt), nodes)
    ((images, fps),) = saved
    assert images.dtype == torch.float32
    assert images.shape[0] == 5
    assert images.shape[3] == 3
    assert images.shape[1] % 16 == images.shape[2] % 16 == 0
    assert 0 <= images.min() < images.max() <= 1
    assert fps == (8 if "v5" in path.stem else 24)
    assert host.bars == 1
    assert [step for step, _, _ in host.progress][-1] == host.progress[-1][1]


# --------------------------------------------------------------------------------------------------- samplers


def _model(name="EasyAnimateV5.1-12b-zh-InP", model_type="Inpaint", **more):
    node = NODE_CLASS_MAPPINGS["LoadEasyAnimateModel"]()
    given = {"GPU_memory_mode": "model_cpu_offload", "config": "", "precision": "bf16"}
    (model,) = node.loadmodel(model=name, model_type=model_type, **(given | more))
    return model


def _sample(node, model, **changes):
    given = {
        "prompt": "a circle",
        "negative_prompt": "",
        "video_length": 5,
        "seed": 1,
        "steps": 2,
        "cfg": 2.0,
    }
    given |= {"scheduler": "Flow", "teacache_threshold": 0.1, "enable_teacache": False}
    if "T2V" in node:
        given |= {"width": 32, "height": 32, "is_image": False}
    else:
        given |= {"base_resolution": 64}
    if "V2V" in node:
        given |= {"denoise_strength": 0.7}
    (images,) = NODE_CLASS_MAPPINGS[node]().process(easyanimate_model=model, **(given | changes))
    return images


def test_the_same_as_the_engine(host, models):
    from ea_app import Engine, GenerationRequest

    images = _sample("EasyAnimateV5_T2VSampler", _model(), seed=2**63 + 5, negative_prompt="blue")
    engine = Engine.load(
        str(models / "EasyAnimate" / "EasyAnimateV5.1-12b-zh-InP"), device="cpu", dtype="bfloat16"
    )
    request = GenerationRequest(
        prompt="a circle", negative_prompt="blue", width=32, height=32, num_frames=5, num_steps=2,
        guidance_scale=2.0, seed=5, sampler="Flow",
    )  # fmt: skip
    assert torch.equal((images * 255).round().byte(), engine.generate(request).frames)


def test_a_picture(host):
    assert _sample("EasyAnimateV5_T2VSampler", _model(), is_image=True).shape == (1, 32, 32, 3)


def test_several_start_and_end_pictures_take_their_places(host):
    start, end = torch.full((2, 64, 64, 3), 0.1), torch.full((1, 64, 64, 4), 0.9)
    model = _model()
    both = _sample("EasyAnimateV5_I2VSampler", model, video_length=9, start_img=start, end_img=end)
    only = _sample("EasyAnimateV5_I2VSampler", model, video_length=9, start_img=start)
    assert both.shape == only.shape == (9, 64, 64, 3)
    assert not torch.equal(both, only)


def test_the_size_has_the_shape_of_what_is_given(host):
    wide = torch.rand(1, 54, 96, 3)
    assert _sample("EasyAnimateV5_I2VSampler", _model(), start_img=wide).shape[1:3] == (48, 80)
    camera = _model("EasyAnimateV5.1-12b-zh-Control-Camera", "Control")
    made = _sample("EasyAnimateV5_V2VSampler", camera, camera_conditions="pan left")
    assert made.shape[1:3] == (80, 48)  # as released, upright when nothing says


def test_a_lora_is_put_on_weighed_and_taken_off_without_loading_again(host, monkeypatch):
    from ea_app.api.engine import Engine

    loads, load = [], Engine.load
    monkeypatch.setattr(Engine, "load", lambda *given, **more: loads.append(1) or load(*given, **more))
    model = _model("EasyAnimateV4-XL-2-InP")
    lora = NODE_CLASS_MAPPINGS["LoadEasyAnimateLora"]()
    node = "EasyAnimateT2VSampler"

    def sample(chosen):
        return _sample(node, chosen, scheduler="DDIM", video_length=8)

    def put(chosen, weight):
        name = "my_lora.safetensors"
        given = {"lora_name": name, "strength_model": weight, "lora_cache": False}
        return lora.load_lora(easyanimate_model=chosen, **given)[0]

    plain = sample(model)
    strong = sample(put(model, 2.0))
    assert len(loads) == 2
    assert not torch.equal(plain, strong)
    assert torch.equal(sample(put(put(model, 1.5), 0.5)), strong)
    assert torch.equal(sample(put(model, 0.0)), plain)
    assert torch.equal(sample(model), plain)
    assert len(loads) == 2
    assert lora.load_lora(model, lora_name=None, strength_model=1.0) == (model,)
    with pytest.raises(ValueError, match=r"^lora_name: ComfyUI knows no LoRA 'none'"):
        lora.load_lora(model, lora_name="none", strength_model=1.0)
    with pytest.raises(ValueError, match=r"^strength_model: my_lora.safetensors adds up to 150"):
        put(put(model, 100.0), 50.0)


def test_the_button_stops_a_job_and_is_reset(host):
    host.stop_after = 2
    model = _model()
    with pytest.raises(comfy_host.Interrupted):
        _sample("EasyAnimateV5_T2VSampler", model, steps=200)
    assert max(step for step, _, _ in host.progress) < 5
    assert not host.interrupted
    host.stop_after = None
    assert len(_sample("EasyAnimateV5_T2VSampler", model)) == 5


def test_progress_counts_the_steps(host):
    _sample("EasyAnimateV5_T2VSampler", _model(), steps=3)
    assert [(step, total) for step, total, _ in host.progress] == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_skipping_of_steps_is_told_to_be_none_where_no_coefficients_were_released(host, caplog):
    caplog.set_level("INFO")
    model = _model()
    with_it = _sample("EasyAnimateV5_T2VSampler", model, enable_teacache=True)
    assert "all steps are run" in caplog.text
    assert torch.equal(with_it, _sample("EasyAnimateV5_T2VSampler", model))


def test_steps_are_skipped_where_coefficients_were_released(host, caplog, monkeypatch):
    from ea_dit.pipelines import variants

    model = _model()
    exact = _sample("EasyAnimateV5_T2VSampler", model, steps=6)
    caplog.set_level("INFO")
    monkeypatch.setattr(variants, "released_curve", lambda config: (1.0, 0.0))
    model = _model()
    given = {"steps": 6, "enable_teacache": True, "teacache_threshold": 0.5}
    assert not torch.equal(exact, _sample("EasyAnimateV5_T2VSampler", model, **given))
    assert "of 6 steps were left out" in caplog.text
    assert torch.equal(
        exact, _sample("EasyAnimateV5_T2VSampler", model, **{**given, "teacache_threshold": 0.0})
    )


VIDEO = torch.rand(4, 32, 32, 3)
WRONG = [
    ("T2V", "InP", {"width": 40}, r"^width .*multiple"),
    ("T2V", "InP", {"scheduler": "DDIM"}, r"^scheduler .*Flow"),
    ("T2V", "InP", {"prompt": " "}, r"^prompt "),
    ("I2V", "InP", {}, r"^start_img: give"),
    ("I2V", "InP", {"start_img": torch.rand(5, 32, 32, 3)}, r"^video_length must be above the number of"),
    ("V2V", "InP", {}, r"^validation_video: is needed"),
    ("V2V", "InP", {"validation_video": VIDEO}, r"^validation_video: has 4 frames, video_length is 5"),
    ("V2V", "InP", {"control_video": VIDEO}, r"^control_video: is for Control models"),
    ("V2V", "InP", {"camera_conditions": "[]"}, r"^camera_conditions: is for Control models"),
    ("V2V", "Control", {}, r"^control_video: give"),
    ("V2V", "Control", {"validation_video": VIDEO}, r"^validation_video: is for Inpaint models"),
    ("V2V", "Control", {"control_video": VIDEO}, r"^control_video: has 4 frames"),
    ("V2V", "Control", {"camera_conditions": "pan left"}, r"^camera_conditions .* control video instead"),
    ("V2V", "Control-Camera", {"control_video": torch.rand(5, 32, 32, 3)}, r"^control_video .* camera path"),
    (
        "V2V",
        "Control-Camera",
        {"camera_conditions": "[1, 2]"},
        r"^camera_conditions: must be a list of poses",
    ),
    ("V2V", "Control-Camera", {"camera_conditions": "[]"}, r"^camera_conditions: must be a list of poses"),
    ("V2V", "Control-Camera", {"camera_conditions": "[[[["}, r"^camera_conditions: is no JSON"),
    ("V2V", "Control-Camera", {"camera_conditions": "fly"}, r"expected a move"),
    ("V2V", "Control-Camera", {"camera_conditions": json.dumps([["a"] * 18])}, r"^camera_conditions line 2"),
]


@pytest.mark.parametrize(("node", "model", "changes", "message"), WRONG)
def test_a_mistake_names_its_input_before_weights_are_read(node, model, changes, message, host, monkeypatch):
    from ea_app.api.engine import Engine

    monkeypatch.setattr(Engine, "load", None)
    chosen = _model(f"EasyAnimateV5.1-12b-zh-{model}", "Control" if "Control" in model else "Inpaint")
    with pytest.raises(ValueError, match=message):
        _sample(f"EasyAnimateV5_{node}Sampler", chosen, **changes)


def test_models_that_are_not_there_or_of_another_type(host):
    with pytest.raises(
        ValueError, match=r"^model: .*EasyAnimateV5-7b-zh is missing; put the model directory"
    ):
        _model("EasyAnimateV5-7b-zh")
    with pytest.raises(ValueError, match=r"^model_type: must be Control for EasyAnimateV5-12b-zh-Control"):
        _model("EasyAnimateV5-12b-zh-Control")
    with pytest.raises(ValueError, match=r"^model_type: must be Inpaint for default, got Control"):
        _model("default", "Control")


def test_outside_of_comfyui_one_line_says_so():
    with pytest.raises(RuntimeError, match="folder_paths is missing: these nodes run inside ComfyUI only"):
        NODE_CLASS_MAPPINGS["LoadEasyAnimateModel"].INPUT_TYPES()


# ------------------------------------------------------------------------------------ camera and drawing


def test_camera_nodes_make_the_paths_of_words():
    from ea_data.control.moves import parse_camera

    basic, combine, join, text = (
        NODE_CLASS_MAPPINGS[f"Camera{name}FromChaoJie"]()
        for name in ("Basic", "Combine", "Join", "Trajectory")
    )
    (zoom,) = basic.run("Zoom In", 0.5, 6)
    torch.testing.assert_close(zoom, parse_camera("zoom in 0.5", 6).world_to_camera)
    given = {f"camera_pose{number}": pose for number, pose in enumerate(["Pan Up", "CW", "CW", "Static"], 1)}
    (both,) = combine.run(speed=1.0, video_length=4, **given)
    torch.testing.assert_close(both, parse_camera("pan up + cw 2", 4).world_to_camera)
    before = both.copy()
    (joined,) = join.run(both, zoom)
    expected = parse_camera("pan up + cw 2 for 4, then zoom in 0.5", 10).world_to_camera
    torch.testing.assert_close(joined, expected)
    assert (both == before).all()
    poses, count = text.run(joined, 0.5, 0.9, 0.5, 0.5)
    assert count == 10
    assert [len(row) for row in json.loads(poses)] == [18] * 10
    assert json.loads(poses)[0][:6] == [0.5, 0.9, 0.5, 0.5, 0, 0]
    with pytest.raises(ValueError, match="video_length: must be at least 1, got 0"):
        basic.run("CW", 1.0, 0)


def test_words_and_the_text_of_a_path_steer_alike(host):
    model = _model("EasyAnimateV5.1-12b-zh-Control-Camera", "Control")
    (path,) = NODE_CLASS_MAPPINGS["CameraBasicFromChaoJie"]().run("Pan Left", 1.0, 5)
    (poses, _) = NODE_CLASS_MAPPINGS["CameraTrajectoryFromChaoJie"]().run(
        path, 0.532139961, 0.946026558, 0.5, 0.5
    )
    by_nodes = _sample("EasyAnimateV5_V2VSampler", model, camera_conditions=poses)
    by_words = _sample("EasyAnimateV5_V2VSampler", model, camera_conditions="pan left")
    assert torch.equal(by_nodes, by_words)


def test_a_trajectory_is_drawn():
    node = NODE_CLASS_MAPPINGS["CreateTrajectoryBasedOnKJNodes"]()
    mask = torch.zeros(1, 90, 160)
    first = json.dumps([{"x": 40, "y": 40}] * 3)
    second = "[{'x': 120, 'y': 50}, {'x': 130, 'y': 50}, {'x': 140, 'y': 50}]"
    (one,) = node.createtrajectory(first, mask)
    (both,) = node.createtrajectory([first, second], mask)
    assert one.shape == both.shape == (3, 90, 160, 3)
    assert one[0, 40, 40].tolist() == pytest.approx([0.96] * 3, abs=0.05)  # a small spot misses the peak
    assert one[:, :, 80:].max() == 0
    assert both[2, 50, 140, 0] > both[0, 50, 140, 0]
    for wrong, message in (
        ("[]", "coordinates: '\\[\\]'; expected"),
        ("not json at all", "coordinates line 1"),
        ('[{"x": 1, "z": 2}]', "coordinates"),
    ):
        with pytest.raises(ValueError, match=message):
            node.createtrajectory(wrong, mask)


def test_the_brighter_of_two_videos():
    node = NODE_CLASS_MAPPINGS["ImageMaximumNode"]()
    first, second = torch.zeros(3, 4, 4, 3), torch.ones(2, 2, 2, 3) * 0.5
    first[0, 0, 0] = 0.9
    (made,) = node.imagemaximum(first, second)
    assert made.shape == (2, 4, 4, 3)
    assert made[0, 0, 0, 0] == pytest.approx(0.9)
    assert made[1].unique().tolist() == [0.5]


# ------------------------------------------------------------------------------------------- the folder


def test_the_folder_is_loaded_as_comfyui_does_it(tmp_path, monkeypatch):
    """By its path, under a name that is none, before anything of ComfyUI is asked for."""
    from ea_app.cli import main

    assert main(["comfy", str(tmp_path)]) == 0
    folder = tmp_path / "ea-app"
    assert sorted(path.name for path in folder.iterdir()) == ["__init__.py", "example_workflows"]
    assert len(list((folder / "example_workflows").iterdir())) == 16
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    assert module.NODE_CLASS_MAPPINGS is NODE_CLASS_MAPPINGS
    assert module.NODE_DISPLAY_NAME_MAPPINGS is NODE_DISPLAY_NAME_MAPPINGS


def test_putting_the_folder_where_it_is_renews_it(tmp_path, capsys):
    from ea_app.cli import main

    assert main(["comfy", str(tmp_path), "--quiet"]) == 0
    (tmp_path / "ea-app" / "__init__.py").write_text("old")
    assert main(["comfy", str(tmp_path)]) == 0
    assert "NODE_CLASS_MAPPINGS" in (tmp_path / "ea-app" / "__init__.py").read_text()
    assert f"wrote {tmp_path / 'ea-app'}" in capsys.readouterr().out
    assert main(["comfy", str(tmp_path / "none")]) == 2
    assert "folder: " in capsys.readouterr().err
