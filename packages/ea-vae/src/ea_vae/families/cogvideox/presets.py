"""Released sizes of the CogVideoX-style autoencoder."""

from ea_vae.families.cogvideox.config import DIFFUSERS_SLICE_FRAMES, CogVideoXConfig

# As EasyAnimate's training code makes it (215,583,907 parameters), and as CogVideoX released it.
EASYANIMATE = CogVideoXConfig()
DIFFUSERS = EASYANIMATE.edited(encoder_slice_frames=DIFFUSERS_SLICE_FRAMES)

PRESETS = {"cogvideox": EASYANIMATE, "cogvideox-diffusers": DIFFUSERS}
