"""The share of a frame that text boxes cover."""

from collections.abc import Sequence

__all__ = ["text_share"]

_DIGITS = 5

Rectangle = tuple[float, float, float, float]
Quad = Sequence[Sequence[float]]


def text_share(width: int, height: int, rectangles: Sequence[Rectangle], quads: Sequence[Quad] = ()) -> float:
    """The sum of the areas of boxes, divided by that of the frame; what two boxes share counts twice.

    Unlike in EasyAnimate's tool, rotated boxes count too: there a slip gave them no area.

    Args:
        width: Of the frame.
        height: Of the frame.
        rectangles: (left, right, top, bottom) in pixels; one that ends before it begins has no area.
        quads: Four corners (x, y) in their order round the box.
    """
    area = sum(
        (right - left) * (bottom - top)
        for left, right, top, bottom in rectangles
        if right > left and bottom > top
    )
    area += sum(_area(quad) for quad in quads)
    return round(area / (width * height), _DIGITS)


def _area(corners: Quad) -> float:
    """Of a polygon, by its corners."""
    total = 0.0
    for (x, y), (next_x, next_y) in zip(corners, [*corners[1:], corners[0]], strict=True):
        total += x * next_y - next_x * y
    return abs(total) / 2
