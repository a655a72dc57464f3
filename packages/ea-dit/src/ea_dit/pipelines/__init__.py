"""The generation pipeline: tensor in, tensor out."""

from ea_dit.diffusion.loop import Cancelled
from ea_dit.pipelines.components import Components, load_components
from ea_dit.pipelines.conditions import Camera, ClipImage, Condition, Control, Echo, Frames, Reference, Video
from ea_dit.pipelines.outline import Outline, read_outline
from ea_dit.pipelines.pipeline import GenerationPipeline, GenerationResult, load_pipeline
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.stages import PromptStates, seeded_noise

__all__ = [
    "Camera",
    "Cancelled",
    "ClipImage",
    "Components",
    "Condition",
    "Control",
    "Echo",
    "Frames",
    "GenerationPipeline",
    "GenerationRequest",
    "GenerationResult",
    "Outline",
    "PromptStates",
    "Reference",
    "Video",
    "load_components",
    "load_pipeline",
    "read_outline",
    "seeded_noise",
]
