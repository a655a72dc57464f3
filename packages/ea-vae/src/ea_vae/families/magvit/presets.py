"""Released sizes of the MAGVIT family; every preset is an edit of the base."""

from ea_vae.families.magvit.config import MagvitConfig

# V5 and V5.1 share one autoencoder (244,375,507 parameters).
V5 = MagvitConfig()
# The configuration that the released VAE training script uses (246,478,803 parameters).
V5_MID_ATTENTION = V5.edited(mid_attention="spatial")

PRESETS = {"v5": V5, "v5.1": V5, "v5-mid-attention": V5_MID_ATTENTION}
