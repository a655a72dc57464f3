"""Names, types, defaults, ranges and order of the ComfyUI nodes are those that EasyAnimate released."""

from __future__ import annotations

import comfy_host
import pytest

from ea_app.catalog import bundled_names
from ea_app.comfy import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS


@pytest.fixture
def host(tmp_path, monkeypatch):
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "my_lora.safetensors").touch()
    return comfy_host.Host(tmp_path, tmp_path / "loras").install(monkeypatch)


MODELS = (
    "V3-XL-2-InP-512x512 V3-XL-2-InP-768x768 V3-XL-2-InP-960x960 V4-XL-2-InP V5-7b-zh-InP V5-7b-zh "
    "V5-12b-zh-InP V5-12b-zh-Control V5-12b-zh V5.1-7b-zh V5.1-7b-zh-InP V5.1-7b-zh-Control "
    "V5.1-7b-zh-Control-Camera V5.1-12b-zh V5.1-12b-zh-InP V5.1-12b-zh-Control V5.1-12b-zh-Control-Camera"
)
LENGTH, LENGTH_V5 = ("INT", 72, 8, 144, 8), ("INT", 49, 1, 49, 4)
SEED, STEPS, CFG = ("INT", 43, 0, 2**64 - 1, None), ("INT", 25, 1, 200, 1), ("FLOAT", 7.0, 1.0, 20.0, 0.01)
BASE, NO = ([512, 768, 960, 1024], 768), ([False, True], False)
DDPM = ["Euler", "Euler A", "DPM++", "PNDM", "DDIM"]
TEXTS = {
    "easyanimate_model": "EASYANIMATESMODEL",
    "prompt": "STRING_PROMPT",
    "negative_prompt": "STRING_PROMPT",
}
SIZE = {
    "width": ("INT", 1008, 64, 2048, 16),
    "height": ("INT", 576, 64, 2048, 16),
    "is_image": NO,
}
SAMPLING = {"seed": SEED, "steps": STEPS, "cfg": CFG}
STRENGTH = {"denoise_strength": ("FLOAT", 0.70, 0.05, 1.00, 0.01)}
OLD, NEW = (
    {"scheduler": (DDPM, "DDIM")},
    {
        "scheduler": ([*DDPM, "Flow"], "Flow"),
        "teacache_threshold": ("FLOAT", 0.10, 0.0, 1.0, 0.005),
        "enable_teacache": ([False, True], True),
    },
)
POSES = ["Static", "Pan Up", "Pan Down", "Pan Left", "Pan Right", "Zoom In", "Zoom Out", "ACW", "CW"]
PACE = {"speed": ("FLOAT", 1.0, None, None, None), "video_length": ("INT", 16, None, None, None)}
TEXT = ({"prompt": ("STRING", "", None, None, None)}, {}, ("STRING_PROMPT",), ("prompt",))
PICTURES = {"start_img": "IMAGE", "end_img": "IMAGE"}
VIDEOS = {"validation_video": "IMAGE", "control_video": "IMAGE"}
IMAGES = ("IMAGE",), ("images",)
RELEASED = {
    "TextBox": TEXT,
    "EasyAnimate_TextBox": TEXT,
    "LoadEasyAnimateModel": (
        {
            "model": (None, "EasyAnimateV5.1-12b-zh-InP"),
            "GPU_memory_mode": (
                ["model_cpu_offload", "model_cpu_offload_and_qfloat8", "sequential_cpu_offload"],
                "model_cpu_offload",
            ),
            "model_type": (["Inpaint", "Control"], "Inpaint"),
            "config": (
                [
                    "easyanimate_video_v3_slicevae_motion_module.yaml",
                    "easyanimate_video_v4_slicevae_multi_text_encoder.yaml",
                    "easyanimate_video_v5_magvit_multi_text_encoder.yaml",
                    "easyanimate_video_v5.1_magvit_qwen.yaml",
                ],
                "easyanimate_video_v5.1_magvit_qwen.yaml",
            ),
            "precision": (["fp16", "bf16"], "bf16"),
        },
        {},
        ("EASYANIMATESMODEL",),
        ("easyanimate_model",),
    ),
    "LoadEasyAnimateLora": (
        {
            "easyanimate_model": "EASYANIMATESMODEL",
            "lora_name": (["my_lora.safetensors"], None),
            "strength_model": ("FLOAT", 1.0, -100.0, 100.0, 0.01),
            "lora_cache": NO,
        },
        {},
        ("EASYANIMATESMODEL",),
        ("easyanimate_model",),
    ),
    "EasyAnimateT2VSampler": (TEXTS | {"video_length": LENGTH} | SIZE | SAMPLING | OLD, {}, *IMAGES),
    "EasyAnimateV5_T2VSampler": (TEXTS | {"video_length": LENGTH_V5} | SIZE | SAMPLING | NEW, {}, *IMAGES),
    "EasyAnimateI2VSampler": (
        TEXTS | {"video_length": LENGTH, "base_resolution": BASE} | SAMPLING | OLD,
        PICTURES,
        *IMAGES,
    ),
    "EasyAnimateV5_I2VSampler": (
        TEXTS | {"video_length": LENGTH_V5, "base_resolution": BASE} | SAMPLING | NEW,
        PICTURES,
        *IMAGES,
    ),
    "EasyAnimateV2VSampler": (
        TEXTS | {"video_length": LENGTH, "base_resolution": BASE} | SAMPLING | STRENGTH | OLD,
        VIDEOS,
        *IMAGES,
    ),
    "EasyAnimateV5_V2VSampler": (
        TEXTS | {"video_length": LENGTH_V5, "base_resolution": BASE} | SAMPLING | STRENGTH | NEW,
        VIDEOS | {"camera_conditions": ("STRING", "linked"), "ref_image": "IMAGE"},
        *IMAGES,
    ),
    "CreateTrajectoryBasedOnKJNodes": (
        {"coordinates": ("STRING", "linked"), "masks": ("MASK", "linked")},
        {},
        ("IMAGE",),
        ("image",),
    ),
    "ImageMaximumNode": ({"video_1": "IMAGE", "video_2": "IMAGE"}, {}, ("IMAGE",), ("image",)),
    "CameraBasicFromChaoJie": ({"camera_pose": (POSES, "Static")} | PACE, {}, ("CameraPose",), None),
    "CameraCombineFromChaoJie": (
        {f"camera_pose{number}": (POSES, "Static") for number in (1, 2, 3, 4)} | PACE,
        {},
        ("CameraPose",),
        None,
    ),
    "CameraJoinFromChaoJie": (
        {"camera_pose1": "CameraPose", "camera_pose2": "CameraPose"},
        {},
        ("CameraPose",),
        None,
    ),
    "CameraTrajectoryFromChaoJie": (
        {
            "camera_pose": "CameraPose",
            "fx": ("FLOAT", 0.474812461, 0, 1, 1e-9),
            "fy": ("FLOAT", 0.844111024, 0, 1, 1e-9),
            "cx": ("FLOAT", 0.5, 0, 1, 0.01),
            "cy": ("FLOAT", 0.5, 0, 1, 0.01),
        },
        {},
        ("STRING", "INT"),
        ("camera_trajectory", "video_length"),
    ),
}
DISPLAYED = {
    "TextBox": "TextBox",
    "EasyAnimate_TextBox": "EasyAnimate_TextBox",
    "LoadEasyAnimateModel": "Load EasyAnimate Model",
    "LoadEasyAnimateLora": "Load EasyAnimate Lora",
    "EasyAnimateI2VSampler": "EasyAnimate Sampler for Image to Video",
    "EasyAnimateT2VSampler": "EasyAnimate Sampler for Text to Video",
    "EasyAnimateV2VSampler": "EasyAnimate Sampler for Video to Video",
    "EasyAnimateV5_I2VSampler": "EasyAnimateV5 Sampler for Image to Video",
    "EasyAnimateV5_T2VSampler": "EasyAnimateV5 Sampler for Text to Video",
    "EasyAnimateV5_V2VSampler": "EasyAnimateV5 Sampler for Video to Video",
    "CreateTrajectoryBasedOnKJNodes": "Create Trajectory Based On KJNodes",
    "CameraBasicFromChaoJie": "CameraBasicFromChaoJie",
    "CameraTrajectoryFromChaoJie": "CameraTrajectoryFromChaoJie",
    "CameraJoinFromChaoJie": "CameraJoinFromChaoJie",
    "CameraCombineFromChaoJie": "CameraCombineFromChaoJie",
    "ImageMaximumNode": "ImageMaximumNode",
}


def _told(entry):
    """An input as the table above writes it."""
    kind, settings = entry[0], entry[1] if len(entry) > 1 else {}
    if isinstance(kind, list):
        return (kind, settings["default"])
    if settings.get("forceInput"):
        return (kind, "linked")
    if not settings:
        return kind
    return (kind, *(settings.get(key) for key in ("default", "min", "max", "step")))


@pytest.mark.parametrize("name", RELEASED)
def test_inputs_and_outputs_are_the_released_ones(name, host):
    node = NODE_CLASS_MAPPINGS[name]
    required, optional, types, names = RELEASED[name]
    given = node.INPUT_TYPES()
    found = {key: _told(entry) for key, entry in given["required"].items()}
    if name == "LoadEasyAnimateModel":
        models = given["required"]["model"][0]
        assert models == [*(f"EasyAnimate{name}" for name in MODELS.split()), *bundled_names()]
        found["model"] = (None, found["model"][1])
    assert found == required
    assert list(found) == list(required)
    assert {key: _told(entry) for key, entry in given.get("optional", {}).items()} == optional
    assert list(given.get("optional", {})) == list(optional)
    assert types == node.RETURN_TYPES
    assert getattr(node, "RETURN_NAMES", None) == names
    assert ("CameraCtrl" if name.startswith("Camera") else "EasyAnimateWrapper") == node.CATEGORY
    assert callable(getattr(node, node.FUNCTION))


def test_names_are_the_released_ones():
    assert set(NODE_CLASS_MAPPINGS) == set(RELEASED)
    assert NODE_DISPLAY_NAME_MAPPINGS == DISPLAYED


def test_other_model_directories_are_offered_too(host, tmp_path):
    (tmp_path / "EasyAnimate" / "my-model").mkdir(parents=True)
    (names, _) = NODE_CLASS_MAPPINGS["LoadEasyAnimateModel"].INPUT_TYPES()["required"]["model"]
    assert names[-1 - len(bundled_names()) :] == ["my-model", *bundled_names()]
