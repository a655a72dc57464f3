"""Released sizes of the MAGVIT family; every preset is an edit of the base."""

from ea_vae.families.magvit.config import MagvitConfig

# V5 and V5.1 share one autoencoder (244,375,507 parameters).
V5 = MagvitConfig()
# The configuration that the released VAE training script uses (246,478,803 parameters).
V5_MID_ATTENTION = V5.edited(mid_attention="spatial")

# V2, V3 and V4 share their sizes (245,979,879 parameters) and differ in how they go through a clip.
V2 = V5.edited(
    latent_channels=4,
    scaling_factor=0.18215,
    per_frame_norm=False,
    mid_attention="3d",
    temporal_mode="slices",
    encoder_slice_frames=9,
    decoder_slice_latents=3,
)
V3 = V2.edited(temporal_mode="neighbours", encoder_slice_frames=8, decoder_slice_latents=2, use_tiling=True)
V4 = V3.edited(temporal_mode="cached-decoder", use_tiling=False)
# V4's code also knows norms per frame with attention within frames. Which of the two was released is unknown.
V4_FRAME_NORM = V4.edited(per_frame_norm=True, mid_attention="spatial")

PRESETS = {
    "v2": V2,
    "v3": V3,
    "v4": V4,
    "v4-frame-norm": V4_FRAME_NORM,
    "v5": V5,
    "v5.1": V5,
    "v5-mid-attention": V5_MID_ATTENTION,
}
