"""How the page looks: colours and measures for gradio, and the rest as CSS."""

from gradio.themes import Base
from gradio.themes.utils import colors, sizes

_FONT = (
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Microsoft YaHei",
    "sans-serif",
)
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> Base:
    """Neutral greys with one accent."""
    made = Base(
        primary_hue=colors.indigo,
        secondary_hue=colors.indigo,
        neutral_hue=colors.zinc,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        font=_FONT,
        font_mono=_MONO,
    )
    return made.set(
        body_background_fill="#fafafa",
        body_background_fill_dark="#111113",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_padding="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_title_text_weight="500",
        block_title_text_size="*text_sm",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_400",
        block_info_text_size="12px",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="#8b8b94",
        input_placeholder_color_dark="#7c7c86",
        input_padding="9px 12px",
        input_radius="8px",
        input_background_fill="#ffffff",
        input_background_fill_dark="#1b1b1f",
        input_border_width="1px",
        input_border_color="*neutral_200",
        input_border_color_dark="#2c2c32",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_400",
        input_shadow="none",
        input_shadow_focus="0 0 0 3px rgb(99 102 241 / 0.15)",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#1b1b1f",
        button_secondary_border_color="*neutral_200",
        button_secondary_border_color_dark="#2c2c32",
        button_border_width="1px",
        panel_border_width="0px",
        layout_gap="16px",
        form_gap_width="0px",
    )
