"""The node that a prompt is written into."""

from typing import Any, ClassVar

from ea_app.comfy.inputs import CATEGORY, PROMPT


class TextBox:
    """Hands its text on. Workflows know it by two names."""

    RETURN_TYPES: ClassVar = (PROMPT,)
    RETURN_NAMES: ClassVar = ("prompt",)
    FUNCTION: ClassVar = "process"
    CATEGORY: ClassVar = CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {"required": {"prompt": ("STRING", {"multiline": True, "default": ""})}}

    def process(self, prompt: str) -> tuple[str]:
        """Run the node."""
        return (prompt,)
