"""Released sizes of the image autoencoder."""

from ea_vae.families.kl2d.config import ImageVaeConfig

# Stable Diffusion's autoencoder (83,653,863 parameters), which EasyAnimate V1 and Open-Sora 1.0 and 1.1 use.
V1 = ImageVaeConfig()

PRESETS = {"v1": V1, "opensora": V1}
