"""ComfyUI nodes with the names, inputs and outputs of EasyAnimate's, over the Engine.

`ea-app comfy FOLDER` puts the folder `pack` into ComfyUI's `custom_nodes`; all it does is import this.
ComfyUI itself is only asked for things when a node runs, see `ea_app.comfy.host`.
"""

from types import MappingProxyType
from typing import Final

from ea_app.comfy.camera import (
    CameraBasicFromChaoJie,
    CameraCombineFromChaoJie,
    CameraJoinFromChaoJie,
    CameraTrajectoryFromChaoJie,
)
from ea_app.comfy.loading import LoadEasyAnimateLora, LoadEasyAnimateModel
from ea_app.comfy.pictures import CreateTrajectoryBasedOnKJNodes, ImageMaximumNode
from ea_app.comfy.sampling import (
    EasyAnimateI2VSampler,
    EasyAnimateT2VSampler,
    EasyAnimateV2VSampler,
    EasyAnimateV5I2VSampler,
    EasyAnimateV5T2VSampler,
    EasyAnimateV5V2VSampler,
)
from ea_app.comfy.text import TextBox

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

_NODES: Final = MappingProxyType(
    {
        "TextBox": (TextBox, "TextBox"),
        "EasyAnimate_TextBox": (TextBox, "EasyAnimate_TextBox"),
        "LoadEasyAnimateModel": (LoadEasyAnimateModel, "Load EasyAnimate Model"),
        "LoadEasyAnimateLora": (LoadEasyAnimateLora, "Load EasyAnimate Lora"),
        "EasyAnimateI2VSampler": (EasyAnimateI2VSampler, "EasyAnimate Sampler for Image to Video"),
        "EasyAnimateT2VSampler": (EasyAnimateT2VSampler, "EasyAnimate Sampler for Text to Video"),
        "EasyAnimateV2VSampler": (EasyAnimateV2VSampler, "EasyAnimate Sampler for Video to Video"),
        "EasyAnimateV5_I2VSampler": (EasyAnimateV5I2VSampler, "EasyAnimateV5 Sampler for Image to Video"),
        "EasyAnimateV5_T2VSampler": (EasyAnimateV5T2VSampler, "EasyAnimateV5 Sampler for Text to Video"),
        "EasyAnimateV5_V2VSampler": (EasyAnimateV5V2VSampler, "EasyAnimateV5 Sampler for Video to Video"),
        "CreateTrajectoryBasedOnKJNodes": (
            CreateTrajectoryBasedOnKJNodes,
            "Create Trajectory Based On KJNodes",
        ),
        "CameraBasicFromChaoJie": (CameraBasicFromChaoJie, "CameraBasicFromChaoJie"),
        "CameraTrajectoryFromChaoJie": (CameraTrajectoryFromChaoJie, "CameraTrajectoryFromChaoJie"),
        "CameraJoinFromChaoJie": (CameraJoinFromChaoJie, "CameraJoinFromChaoJie"),
        "CameraCombineFromChaoJie": (CameraCombineFromChaoJie, "CameraCombineFromChaoJie"),
        "ImageMaximumNode": (ImageMaximumNode, "ImageMaximumNode"),
    }
)

NODE_CLASS_MAPPINGS: Final = {name: node for name, (node, _) in _NODES.items()}
"""Classes by the name that workflows know."""

NODE_DISPLAY_NAME_MAPPINGS: Final = {name: title for name, (_, title) in _NODES.items()}
"""What the menu of ComfyUI calls them."""
