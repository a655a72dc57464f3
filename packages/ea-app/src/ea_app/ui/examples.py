"""Pictures with prompts to begin with. They are drawn, so no file has to be kept for them."""

import base64
import io
from html import escape

from PIL import Image

from ea_app.options import InputError
from ea_app.ui.text import Language, word
from ea_data.synthetic import SceneSpec, caption, render, sample_scene

_SEED = 5
_SCENES = (16, 42, 46, 49, 51)
"""Scenes of that seed with one shape that moves."""
_THUMBNAIL = 64


def gallery(language: Language) -> str:
    """Buttons with the pictures."""
    buttons = "".join(_button(number, language) for number in range(len(_SCENES)))
    return f'<p class="ea-label">{word("examples", language)}</p><div class="ea-examples">{buttons}</div>'


def example(number: object, language: Language, width: int, height: int) -> tuple[str, str]:
    """One of them.

    Args:
        number: Its place in the gallery.
        language: Of the prompt.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Returns:
        The prompt, and the first frame as the data address of a PNG.

    Raises:
        InputError: There is no such example.
    """
    if not isinstance(number, int) or not 0 <= number < len(_SCENES):
        allowed = f"must be a number from 0 to {len(_SCENES) - 1}"
        raise InputError("examples", f"{allowed}, got {str(number)[:20]!r}")
    scene = _scene(number)
    return caption(scene, language, 0), _png(scene, width, height)


def _scene(number: int) -> SceneSpec:
    return sample_scene(_SEED, _SCENES[number])


def _button(number: int, language: Language) -> str:
    scene = _scene(number)
    title, source = escape(caption(scene, language, 0)), _png(scene, _THUMBNAIL, _THUMBNAIL)
    image = f'<img src="{source}" alt="{title}">'
    return f'<button type="button" data-example="{number}" title="{title}">{image}</button>'


def _png(scene: SceneSpec, width: int, height: int) -> str:
    file = io.BytesIO()
    Image.fromarray(render(scene, num_frames=1, height=height, width=width)[0]).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
