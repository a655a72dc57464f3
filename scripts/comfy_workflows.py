"""Write the example workflows of the ComfyUI node pack: `python scripts/comfy_workflows.py`.

They use nodes of the pack and of ComfyUI itself only. Which widgets a node of ours has is asked of the node;
a test runs this and compares.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

FOLDER = Path(__file__).parents[1] / "packages/ea-app/src/ea_app/comfy/pack/example_workflows"

WIDGETS = ("INT", "FLOAT", "STRING")
CORE: Mapping[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]] = {
    # By node: names of widgets, inputs with a link, outputs.
    "LoadImage": (("image", "upload"), (), (("IMAGE", "IMAGE"), ("MASK", "MASK"))),
    "LoadVideo": (("file", "upload"), (), (("VIDEO", "VIDEO"),)),
    "GetVideoComponents": (
        (),
        (("video", "VIDEO"),),
        (("images", "IMAGE"), ("audio", "AUDIO"), ("fps", "FLOAT")),
    ),
    "CreateVideo": (("fps",), (("images", "IMAGE"),), (("VIDEO", "VIDEO"),)),
    "SaveVideo": (("filename_prefix", "format", "codec"), (("video", "VIDEO"),), ()),
    "PrimitiveStringMultiline": (("value",), (), (("STRING", "STRING"),)),
    "SolidMask": (("value", "width", "height"), (), (("MASK", "MASK"),)),
}

POSITIVE = "A brown dog shakes its head on a light sofa in a quiet room, soft warm light."
NEGATIVE = "Twisted body, limb deformities, text captions, comic, static, ugly, error, messy code."
V5_YAML = "easyanimate_video_v5_magvit_multi_text_encoder.yaml"
V51_YAML = "easyanimate_video_v5.1_magvit_qwen.yaml"
V4_YAML = "easyanimate_video_v4_slicevae_multi_text_encoder.yaml"
V3_YAML = "easyanimate_video_v3_slicevae_motion_module.yaml"


@dataclass
class Graph:
    """A workflow that grows."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    links: list[list[Any]] = field(default_factory=list)

    def add(
        self, kind: str, widgets: Mapping[str, Any], links: Mapping[str, tuple[int, int]], **more: Any
    ) -> int:
        """Add a node; links are (node, output) by input. Returns its number."""
        names, inputs, outputs = shape_of(kind)
        number = len(self.nodes) + 1
        if unknown := sorted((set(widgets) - set(names)) | (set(links) - {name for name, _ in inputs})):
            raise ValueError(f"{kind} has no {unknown[0]}")
        values: list[Any] = []
        for name in names:
            values.append(widgets[name] if name in widgets else default_of(kind, name))
            values += ["fixed"] if name == "seed" else []
        sockets = [
            {"name": name, "type": type_, "link": self._link(number, slot, type_, links.get(name))}
            for slot, (name, type_) in enumerate(inputs)
        ]
        node = {
            "id": number, "type": kind, "pos": [360 * ((number - 1) // 3), 320 * ((number - 1) % 3)],
            "size": [330, 280], "flags": {}, "order": number - 1, "mode": 0, "inputs": sockets,
            "outputs": [{"name": name, "type": type_, "links": []} for name, type_ in outputs],
            "properties": {"Node name for S&R": kind}, "widgets_values": values, **more,
        }  # fmt: skip
        self.nodes.append(node)
        return number

    def _link(self, number: int, slot: int, type_: str, origin: tuple[int, int] | None) -> int | None:
        if origin is None:
            return None
        link = len(self.links) + 1
        self.links.append([link, *origin, number, slot, type_])
        self.nodes[origin[0] - 1]["outputs"][origin[1]]["links"].append(link)
        return link

    def to_dict(self) -> dict[str, Any]:
        """As ComfyUI saves it."""
        return {
            "last_node_id": len(self.nodes), "last_link_id": len(self.links), "nodes": self.nodes,
            "links": self.links, "groups": [], "config": {}, "extra": {}, "version": 0.4,
        }  # fmt: skip


def shape_of(kind: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Names of widgets, inputs with a link, and outputs of a node."""
    if kind in CORE:
        return CORE[kind]
    node, given = _inputs(kind)
    widgets = tuple(name for name, entry in given.items() if is_widget(entry))
    linked = tuple((name, entry[0]) for name, entry in given.items() if not is_widget(entry))
    names = getattr(node, "RETURN_NAMES", node.RETURN_TYPES)
    return widgets, linked, tuple(zip(names, node.RETURN_TYPES, strict=True))


def is_widget(entry: Any) -> bool:
    """Whether an input is typed in, not linked."""
    forced = len(entry) > 1 and entry[1].get("forceInput")
    return not forced and (isinstance(entry[0], list) or entry[0] in WIDGETS)


def default_of(kind: str, name: str) -> Any:
    """What a widget of ours holds at first."""
    return _inputs(kind)[1][name][1]["default"]


def _inputs(kind: str) -> tuple[Any, dict[str, Any]]:
    from ea_app.comfy import NODE_CLASS_MAPPINGS, loading

    node: Any = NODE_CLASS_MAPPINGS[kind]
    # There is no ComfyUI here to ask for folders.
    with patch.multiple(loading, models_folder=lambda: Path("no-such-folder"), lora_names=list):
        types = node.INPUT_TYPES()
    return node, {**types["required"], **types.get("optional", {})}


def build(model: str, yaml: str, mode: str, **options: Any) -> Graph:
    """One workflow: model, words, what is given, the sampler, a file."""
    graph = Graph()
    kind = "Control" if mode in ("control", "camera", "trajectory") else "Inpaint"
    loader = graph.add("LoadEasyAnimateModel", {"model": model, "model_type": kind, "config": yaml}, {})
    if mode == "lora":
        links = {"easyanimate_model": (loader, 0)}
        loader = graph.add(
            "LoadEasyAnimateLora", {"lora_name": "my_lora.safetensors", "strength_model": 0.6}, links
        )
    positive = graph.add("EasyAnimate_TextBox", {"prompt": POSITIVE}, {}, title="Prompt")
    negative = graph.add("EasyAnimate_TextBox", {"prompt": NEGATIVE}, {}, title="Negative prompt")
    links = {"easyanimate_model": (loader, 0), "prompt": (positive, 0), "negative_prompt": (negative, 0)}
    frames = options.pop("frames")
    prefix = "EasyAnimateV5_" if frames % 4 else "EasyAnimate"
    kinds = {"i2v": "I2VSampler", "v2v": "V2VSampler"} | dict.fromkeys(
        ("control", "camera", "trajectory"), "V2VSampler"
    )
    links |= _given(graph, mode, frames)
    sampler = prefix + kinds.get(mode, "T2VSampler")
    widgets = {"video_length": frames, "steps": 50 if prefix.endswith("_") else 25, **options}
    images = graph.add(sampler, widgets, links)
    video = graph.add("CreateVideo", {"fps": 8 if frames % 4 else 24}, {"images": (images, 0)})
    save = {"filename_prefix": "video/EasyAnimate", "format": "auto", "codec": "auto"}
    graph.add("SaveVideo", save, {"video": (video, 0)})
    return graph


def _given(graph: Graph, mode: str, frames: int) -> dict[str, tuple[int, int]]:
    """What is given to the sampler beside words."""
    if mode == "i2v":
        return {"start_img": (graph.add("LoadImage", {"image": "start.png", "upload": "image"}, {}), 0)}
    if mode in ("v2v", "control"):
        file = graph.add("LoadVideo", {"file": "video.mp4", "upload": "image"}, {})
        images = graph.add("GetVideoComponents", {}, {"video": (file, 0)})
        return {"validation_video" if mode == "v2v" else "control_video": (images, 0)}
    if mode not in ("camera", "trajectory"):
        return {}
    links = {"ref_image": (graph.add("LoadImage", {"image": "start.png", "upload": "image"}, {}), 0)}
    if mode == "camera":
        moves = {"camera_pose1": "Pan Up", "camera_pose2": "Pan Left", "video_length": frames}
        pose = graph.add("CameraCombineFromChaoJie", moves, {})
        intrinsics = {"fx": 0.532139961, "fy": 0.946026558}
        path = graph.add("CameraTrajectoryFromChaoJie", intrinsics, {"camera_pose": (pose, 0)})
        return links | {"camera_conditions": (path, 0)}
    points = [{"x": 60 + 10 * frame, "y": 190} for frame in range(frames)]
    text = graph.add("PrimitiveStringMultiline", {"value": json.dumps(points)}, {})
    mask = graph.add("SolidMask", {"value": 0.0, "width": 672, "height": 384}, {})
    drawn = graph.add("CreateTrajectoryBasedOnKJNodes", {}, {"coordinates": (text, 0), "masks": (mask, 0)})
    return links | {"control_video": (drawn, 0)}


def workflows() -> dict[str, Graph]:
    """All of them, by name."""
    v4 = {"frames": 72, "scheduler": "DDIM"}
    v5 = {"frames": 49, "scheduler": "DDIM", "enable_teacache": False}
    v51 = {"frames": 49, "enable_teacache": False}
    wide, near = {"width": 672, "height": 384}, {"base_resolution": 512}
    v3_model, v4_model, v5_model = (
        "EasyAnimateV3-XL-2-InP-512x512",
        "EasyAnimateV4-XL-2-InP",
        "EasyAnimateV5-12b-zh",
    )
    v51_model = "EasyAnimateV5.1-12b-zh"
    made = {
        "v3_t2v": build(v3_model, V3_YAML, "t2v", **v4, **wide),
        "v3_i2v": build(v3_model, V3_YAML, "i2v", **v4, **near),
        "v4_t2v": build(v4_model, V4_YAML, "t2v", **v4, **wide),
        "v4_i2v": build(v4_model, V4_YAML, "i2v", **v4, **near),
        "v4_v2v": build(v4_model, V4_YAML, "v2v", **v4, **near),
        "v4_lora": build(v4_model, V4_YAML, "lora", **v4, **wide),
        "v5_t2v": build(f"{v5_model}-InP", V5_YAML, "t2v", **v5, **wide),
        "v5_i2v": build(f"{v5_model}-InP", V5_YAML, "i2v", **v5, **near),
        "v5_v2v": build(f"{v5_model}-InP", V5_YAML, "v2v", **v5, **near),
        "v5_v2v_control": build(f"{v5_model}-Control", V5_YAML, "control", **v5, **near),
        "v5.1_t2v": build(f"{v51_model}-InP", V51_YAML, "t2v", **v51, **wide),
        "v5.1_i2v": build(f"{v51_model}-InP", V51_YAML, "i2v", **v51, **near),
        "v5.1_v2v": build(f"{v51_model}-InP", V51_YAML, "v2v", **v51, **near),
        "v5.1_v2v_control": build(f"{v51_model}-Control", V51_YAML, "control", **v51, **near),
        "v5.1_control_camera": build(f"{v51_model}-Control-Camera", V51_YAML, "camera", **v51, **near),
        "v5.1_control_trajectory": build(f"{v51_model}-Control", V51_YAML, "trajectory", **v51, **near),
    }
    return {f"easyanimate{name}": graph for name, graph in made.items()}


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name, graph in workflows().items():
        text = json.dumps(graph.to_dict(), indent=1, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
        print(f"wrote {name}.json")


if __name__ == "__main__":
    main()
