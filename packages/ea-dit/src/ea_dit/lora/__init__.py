"""LoRA over transformers: files of every format, overlays, merging, training.

file = read_lora("style.safetensors")
overlay = attach(transformer, file, strength=0.8)
overlay.strength = 0  # exactly the model without it
"""

from ea_dit.lora.document import LoraFile, LoraHeader, LoraLayer, read_lora, read_lora_header
from ea_dit.lora.factors import Factors
from ea_dit.lora.inspection import LoraInspection, inspect_lora
from ea_dit.lora.known import known_targets
from ea_dit.lora.load import LoraUse, attach_loras, check_loras
from ea_dit.lora.matching import Match, Report, match
from ea_dit.lora.names import FORMATS, Format
from ea_dit.lora.overlay import Overlay, attach, merge, unmerge
from ea_dit.lora.targets import Target, Targets, targets_of
from ea_dit.lora.training import LoraConfig, TrainableLora, add_lora
from ea_dit.lora.writing import lora_file, save_lora

__all__ = [
    "FORMATS",
    "Factors",
    "Format",
    "LoraConfig",
    "LoraFile",
    "LoraHeader",
    "LoraInspection",
    "LoraLayer",
    "LoraUse",
    "Match",
    "Overlay",
    "Report",
    "Target",
    "Targets",
    "TrainableLora",
    "add_lora",
    "attach",
    "attach_loras",
    "check_loras",
    "inspect_lora",
    "known_targets",
    "lora_file",
    "match",
    "merge",
    "read_lora",
    "read_lora_header",
    "save_lora",
    "targets_of",
    "unmerge",
]
