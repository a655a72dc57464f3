"""Poses and depth: known skeletons, DWPose's crops, and tiny random models of transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx_files import brightest_place

from ea_data.control.kinds import KINDS
from ea_data.control.makers import make_control, open_maker
from ea_data.control.networks.depth import NearnessScale
from ea_data.control.networks.dwpose import RELEASED, PoseNetwork
from ea_data.control.networks.skeleton import Person, draw_people, from_coco, from_coco_wholebody

EASY = {"person_score": 0.001, "point_score": 0.001}


@pytest.fixture(autouse=True)
def _libraries():
    pytest.importorskip("cv2")


# ------------------------------------------------------------------------------------------------ drawing


def standing():
    """COCO's 17 joints of somebody who faces us, 200 pixels high."""
    places = {
        0: (100, 20), 1: (106, 15), 2: (94, 15), 3: (112, 18), 4: (88, 18), 5: (130, 50), 6: (70, 50),
        7: (140, 90), 8: (60, 90), 9: (145, 130), 10: (55, 130), 11: (115, 120), 12: (85, 120),
        13: (115, 160), 14: (85, 160), 15: (115, 195), 16: (85, 195),
    }  # fmt: skip
    return np.array([places[i] for i in range(17)], np.float32)


def test_joints_and_limbs_have_the_colours_of_released_control_videos():
    drawn = draw_people([from_coco(standing(), np.ones(17), 0.3)], 210, 200)
    assert drawn[50, 100].tolist() == [255, 85, 0]  # the neck, between the shoulders
    assert drawn[20, 100].tolist() == [255, 0, 0]  # the nose
    assert drawn[50, 85].tolist() == [153, 0, 0]  # neck to the right shoulder, which is on the left
    assert drawn[50, 115].tolist() == [153, 51, 0]  # neck to the left shoulder
    assert drawn[50, 70].tolist() == [255, 170, 0]  # the right shoulder
    assert drawn[195, 115].tolist() == [85, 0, 255]  # the left ankle
    assert drawn[35, 100].tolist() == [0, 0, 153]  # neck to nose
    assert drawn[150, 30].tolist() == [0, 0, 0]


def test_joints_that_are_not_sure_are_left_out_with_their_limbs():
    scores = np.ones(17)
    scores[6] = 0.29
    drawn = draw_people([from_coco(standing(), scores, 0.3)], 210, 200)
    assert not drawn[48:53, 66:88].any()
    assert not drawn[50, 100].any()  # no neck without both shoulders
    assert drawn[195, 115].any()
    assert not draw_people([from_coco(standing(), np.zeros(17), 0.3)], 210, 200).any()
    assert not draw_people([], 5, 7).any()


def test_hands_and_faces():
    points = np.full((133, 2), -1.0, np.float32)
    scores = np.zeros(133)
    points[:17], scores[:17] = standing(), 1
    points[23], scores[23] = (100, 40), 1
    points[91], points[92] = (150, 140), (170, 140)  # wrist and thumb of the left hand
    scores[91:93] = 1
    drawn = draw_people([from_coco_wholebody(points, scores, 0.3)], 210, 200)
    assert drawn[40, 100].tolist() == [255, 255, 255]
    assert drawn[140, 150].tolist() == [0, 0, 255]
    assert drawn[140, 160].tolist() == [255, 0, 0]
    assert not drawn[205].any()


def test_far_away_joints_do_not_break_drawing():
    body = np.full((18, 2), 1e9, np.float32)
    body[1] = 3
    draw_people([Person(body=body), Person(body=-body)], 20, 20)
    same = np.full((18, 2), 10, np.float32)
    assert draw_people([Person(body=same)], 20, 20).any()


# ------------------------------------------------------------------------------------------------ DWPose


@pytest.fixture
def dwpose_file(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / RELEASED
    path.write_bytes(brightest_place(96, 72))
    return path


@pytest.mark.parametrize("box", [(10, 20, 60, 90), (0, 0, 200, 150), (100, 30, 90, 20), (-20, -10, 80, 90)])
def test_points_of_dwpose_come_back_to_the_frame(dwpose_file, box):
    frame = np.zeros((150, 200, 3), np.uint8)
    x, y = round(box[0] + 0.6 * box[2]), round(box[1] + 0.4 * box[3])
    frame[y - 2 : y + 3, x - 2 : x + 3] = 255
    network = PoseNetwork(dwpose_file, "cpu")
    points, scores = network(frame, np.array(box, np.float32))
    pixel = max(box[2] / 72, box[3] / 96) * 1.25
    assert points.shape == (133, 2)
    assert np.abs(points - (x, y)).max() <= 2.5 + pixel
    assert scores.shape == (133,)
    assert scores.min() > 2  # white, normalised


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or no onnx file"),
        (b"no onnx at all", "damaged or no onnx file"),
        (brightest_place(8, 8, names=("a", "b")), "it has no outputs simcc_x and simcc_y"),
        (brightest_place(8, 6, points=17), "it gives (1, 17, 12), (1, 17, 16)"),
    ],
)
def test_other_onnx_files_are_refused(dwpose_file, content, message):
    dwpose_file.write_bytes(content)
    with pytest.raises(ValueError, match=r"^weights: ") as caught:
        PoseNetwork(dwpose_file, "cpu")(np.zeros((9, 9, 3), np.uint8), np.array([0, 0, 5, 5], np.float32))
    assert message in str(caught.value)


def test_devices_of_dwpose(dwpose_file):
    with pytest.raises(ValueError, match=r"^device is 'mps'; allowed for dwpose: cpu, or cuda"):
        PoseNetwork(dwpose_file, "mps")


# -------------------------------------------------------------------------------------------- transformers


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny random models of transformers: depth, poses, and what finds people."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    pytest.importorskip("scipy")
    torch.manual_seed(0)
    dinov2 = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    depth = transformers.DepthAnythingConfig(
        backbone_config=dinov2, reassemble_hidden_size=16, neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4, patch_size=14,
    )  # fmt: skip
    vitpose = transformers.VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        out_indices=[2],
    )  # fmt: skip
    resnet = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    detector = transformers.RTDetrConfig(
        backbone_config=resnet, encoder_hidden_dim=16, d_model=16, encoder_in_channels=[8, 16, 16],
        encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_in_channels=[16, 16, 16], num_queries=6,
        decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2, num_denoising=0,
        id2label={0: "person", 1: "ball"},
    )  # fmt: skip
    pose = transformers.VitPoseConfig(backbone_config=vitpose, num_labels=17)
    folder = tmp_path_factory.mktemp("models")
    made = {
        "depth": (
            transformers.DepthAnythingForDepthEstimation(depth),
            "DPTImageProcessor",
            {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
        ),
        "pose": (
            transformers.VitPoseForPoseEstimation(pose),
            "VitPoseImageProcessor",
            {"size": {"height": 64, "width": 48}},
        ),
        "detector": (
            transformers.RTDetrForObjectDetection(detector),
            "RTDetrImageProcessor",
            {"size": {"height": 64, "width": 64}},
        ),
    }
    for weight in made["depth"][0].head.parameters():  # the usual start gives one depth everywhere
        torch.nn.init.normal_(weight, std=0.3) if weight.ndim > 1 else torch.nn.init.ones_(weight)
    for name, (model, processor, settings) in made.items():
        model.save_pretrained(folder / name)
        text = json.dumps({"image_processor_type": processor, **settings})
        (folder / name / "preprocessor_config.json").write_text(text)
    return folder


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("size", [(40, 60), (1, 1), (17, 33)])
def test_depth_of_a_tiny_model(models, size):
    video = noise(3, *size, 3)
    options = {"weights": str(models / "depth"), "resolution": 56}
    made = make_control(video, "depth", **options)
    assert made.shape == video.shape
    assert made.dtype == np.uint8
    assert (made == make_control(video, "depth", **options)).all()
    alone = make_control(video, "depth", smoothing=0.0, **options)
    assert (alone[1:] == make_control(video[1:], "depth", smoothing=0.0, **options)).all()
    assert (alone[0] == made[0]).all()
    if min(size) > 1:
        assert alone.reshape(3, -1).max(axis=1).tolist() == [255] * 3
        assert alone.reshape(3, -1).min(axis=1).tolist() == [0] * 3


def test_every_video_has_its_own_range_of_depths(models):
    video = noise(2, 40, 60, 3)
    maker = open_maker("depth", KINDS["depth"].options(weights=str(models / "depth"), resolution=56))
    first = list(maker(video))
    again = list(maker(video))
    assert all((a == b).all() for a, b in zip(first, again))


def test_metres_are_turned_round(models, tmp_path):
    import torch
    from transformers import AutoModelForDepthEstimation

    frame = noise(56, 84, 3)
    for file in (models / "depth").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"depth_estimation_type": "metric", "max_depth": 20}
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = make_control(frame, "depth", weights=str(tmp_path), resolution=56)[0, ..., 0].astype(int)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = torch.from_numpy((frame / 255 - mean) / deviation).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        metres = AutoModelForDepthEstimation.from_pretrained(tmp_path)(pixels).predicted_depth[0].numpy()
    assert made.flat[metres.argmin()] == 255
    assert made.flat[metres.argmax()] == 0
    order = metres.flatten().argsort(stable=True)
    assert (np.diff(made.flatten()[order]) <= 1).all()


def test_the_range_of_depths_follows_the_frames():
    scale = NearnessScale(0.5)
    assert scale(np.array([[0.0, 10.0]], np.float32)).tolist() == [[0, 255]]
    assert scale(np.array([[0.0, 20.0]], np.float32)).tolist() == [[0, 255]]  # the range is 0 to 15
    assert scale(np.array([[0.0, 8.75]], np.float32)).tolist() == [[0, 188]]  # 0 to 11.875
    assert not NearnessScale(0.5)(np.ones((2, 2), np.float32)).any()
    alone = NearnessScale(0.0)
    for top in (1.0, 100.0):
        assert alone(np.array([[0.0, top]], np.float32)).tolist() == [[0, 255]]


@pytest.mark.parametrize("size", [(50, 70), (1, 1), (17, 33)])
def test_poses_of_tiny_models(models, size):
    video = noise(2, *size, 3)
    options = {"weights": str(models / "pose"), "detector": str(models / "detector"), **EASY}
    made = make_control(video, "pose", **options)
    assert made.shape == video.shape
    assert made.dtype == np.uint8
    assert (made == make_control(video, "pose", **options)).all()
    assert made.any() or size != (50, 70)
    strict = {**options, "person_score": 1.0}
    assert not make_control(video, "pose", **strict).any()  # nobody there


def test_poses_of_a_tiny_dwpose(models, dwpose_file):
    video = noise(2, 50, 70, 3)
    options = {"weights": str(dwpose_file.parent), "detector": str(models / "detector"), **EASY}
    made = make_control(video, "dwpose", **options)
    assert made.shape == video.shape
    assert made.any()
    assert (made == make_control(video, "dwpose", **options)).all()


def test_models_that_are_something_else(models, tmp_path):
    def opening(kind, match, **options):
        with pytest.raises(ValueError, match=match) as caught:
            open_maker(kind, KINDS[kind].options(offline=True, **options))
        assert "\n" not in str(caught.value)

    pose, depth, detector = (str(models / name) for name in ("pose", "depth", "detector"))
    opening(
        "depth",
        "^weights: .*: the model there is of the type vitpose; allowed: depth_anything$",
        weights=pose,
    )
    opening("pose", "^detector: .* of the type vitpose; allowed: rt_detr or", weights=pose, detector=pose)
    opening(
        "pose", "^weights: .* of the type rt_detr; allowed: vitpose$", weights=detector, detector=detector
    )
    opening("depth", "^weights: .* has no config.json$", weights=str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "preprocessor_config.json").write_text("{}")
    opening("depth", "has no safetensors file$", weights=str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    opening("depth", "^weights: .*: ", weights=str(tmp_path))
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((models / "depth" / name).read_bytes())
    opening("depth", "^weights: .*: ", weights=str(tmp_path))
    opening("depth", "^device is 'nonsense', which cannot be used: ", weights=depth, device="nonsense")


def test_a_model_that_misses_a_tensor(models, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in (models / "depth").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    gone = sorted(state)[0]
    del state[gone]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"a tensor is missing: {gone}$"):
        open_maker("depth", KINDS["depth"].options(weights=str(tmp_path)))
