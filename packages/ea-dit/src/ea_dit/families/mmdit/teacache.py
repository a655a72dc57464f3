"""How far the outputs of released networks move when their modulated inputs do, as measured by their makers.

Source: EasyAnimate's code for V5.1. Polynomials of the relative change, the highest power first.
"""

from ea_dit.families.mmdit.config import MMDiTConfig

Curve = tuple[float, ...]

V5_1_12B: Curve = (-10.47857366, 8.33844143, -0.78477557, 0.68798618, 0.0136149)
V5_1_7B: Curve = (1.07862322, -4.19362456, 3.06725828, 0.33161686, 0.02374758)

_LAYERS = {(48, 48): V5_1_12B, (36, 18): V5_1_7B}
_HEADS = 48


def released_curve(config: MMDiTConfig) -> Curve | None:
    """The polynomial of a network, None where none was released."""
    if config.num_attention_heads != _HEADS or config.text_embed_dim_t5 is not None:
        return None
    return _LAYERS.get((config.num_layers, config.num_joint_layers))
