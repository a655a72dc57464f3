"""EasyAnimate's nodes: this folder lies in ComfyUI's `custom_nodes`, the code is that of `ea-app`."""

from ea_app.comfy import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
