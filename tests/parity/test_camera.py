"""Ray maps of camera paths against recorded ones of the original program."""

import json

import numpy as np
import pytest
from discovery import goldens
from safetensors.numpy import load_file

from ea_data.control.camera import CameraPath, camera_from_text, plucker_rays
from ea_data.control.moves import parse_camera

pytestmark = pytest.mark.parity

FOLDER = goldens() / "data"
CASES = json.loads((FOLDER / "camera.json").read_text())["cases"] if (FOLDER / "camera.json").exists() else []
# A case may name a file instead of holding poses; this one is the move of the same name, see its test.
FILES = {"shared media Pan_Left.txt": lambda: parse_camera("pan left", 49)}


def path_of(case):
    if "params" not in case:
        return FILES[case["file"]]()
    rows = [" ".join(map(repr, row)) for row in case["params"]]
    return camera_from_text("\n".join(["header", *rows]), case["name"])


def test_there_are_cases():
    assert len(CASES) >= 4
    assert any("params" in case for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_rays_are_the_recorded_ones(case):
    (expected,) = [
        values
        for name, values in load_file(FOLDER / "camera.safetensors").items()
        if name.split(".")[0] == case["name"]
    ]
    path = path_of(case)
    frames, height, width, _ = case["output_shape_f_h_w_c"]
    assert (len(path), height, width) == (frames, case["height"], case["width"])
    source = (case["pose_width"], case["pose_height"])
    rays = plucker_rays(path, frames, height, width, source_size=source)
    assert rays.dtype == np.float32
    rays = rays[case.get("stored_frames", slice(None))]
    assert rays.shape == (*expected.shape[:1], 6, *expected.shape[1:3])
    assert np.abs(rays.transpose(0, 2, 3, 1) - expected).max() <= 1e-6


@pytest.mark.parametrize(
    "case", [case for case in CASES if "relative_c2w" in case], ids=lambda case: case["name"]
)
def test_poses_are_relative_to_the_first(case):
    # The place of a camera shows in the rays: of a camera at o, moment = o x direction.
    path, expected = path_of(case), np.array(case["relative_c2w"])
    rays = plucker_rays(path, len(path), 8, 8).astype(np.float64)
    origins = np.broadcast_to(expected[:, :3, 3, None, None], rays[:, 3:].shape)
    assert np.abs(np.cross(origins, rays[:, 3:], axis=1) - rays[:, :3]).max() < 1e-6


def test_three_poses_are_like_any_other_number():
    # The original crosses over the wrong axis when there are exactly three.
    path = parse_camera("pan left 0.5 + clockwise", 4)
    three = CameraPath(path.intrinsics[:3], path.world_to_camera[:3])
    assert np.array_equal(plucker_rays(three, 3, 8, 8), plucker_rays(path, 4, 8, 8)[:3])
