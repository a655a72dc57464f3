"""Train a video autoencoder: reconstruction, edges, KL, and optionally a patch discriminator."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ea_vae
from ea_train.objectives import reconstruction as losses
from ea_train.objectives.adversarial import PatchDiscriminator, adaptive_weight, hinge_discriminator_loss
from ea_train.objectives.quality import with_interval
from ea_train.sources import ClipSource
from ea_train.tasks.autoencoder_latents import equalised
from ea_train.tasks.base import Batch, Place, StepOutput


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Objective and clip shapes.

    Attributes:
        shapes: (frames, height, width, weight) to draw from; one shape per batch.
        whole_frames: Frames of the clips that shorter shapes are cut from, at a random place; 0 makes every
            clip as long as its shape, which squeezes the movement of procedural clips into fewer frames.
        voxels_per_sample: Budget that `loop.batch_size` samples of this many voxels share: small shapes come
            in larger batches.
        l1_weight: Absolute error.
        l2_weight: Squared error.
        gradient_weight: Finite differences in space and time.
        kl_weight: KL per latent value.
        freeze_encoder: Train the decoder alone. The latents stay what they are, so a denoiser that was
            trained on them stays valid.
        disc_weight: Adversarial term; 0 builds no discriminator.
        disc_start: Step from which the adversarial term counts.
        validation_clips: Held-out clips in a validation.
        scaling_clips: Training clips from which the scale of the exported latents is measured.
    """

    shapes: tuple[tuple[float, ...], ...] = ((9, 64, 64, 1.0),)
    whole_frames: int = 0
    voxels_per_sample: int = 9 * 64 * 64
    l1_weight: float = 1.0
    l2_weight: float = 1.0
    gradient_weight: float = 0.5
    kl_weight: float = 1e-4
    freeze_encoder: bool = False
    disc_weight: float = 0.0
    disc_start: int = 1000
    validation_clips: int = 16
    scaling_clips: int = 64

    def __post_init__(self) -> None:
        """Refuse shapes that no batch can have."""
        if not self.shapes or any(len(shape) != 4 or min(shape[:3]) < 1 for shape in self.shapes):
            raise ValueError(f"task.shapes must list (frames, height, width, weight), got {self.shapes}")
        for frames, height, width, _ in self.shapes:
            if frames % 4 != 1 or height % 8 or width % 8:
                raise ValueError(
                    f"task.shapes: {frames:g} frames of {width:g}x{height:g} pixels do not fit; frames must "
                    "be 4n + 1, sides multiples of 8"
                )
        if min(self.validation_clips, self.scaling_clips) < 1:
            raise ValueError("task.validation_clips and task.scaling_clips must be at least 1")
        if self.whole_frames < 0:
            raise ValueError(f"task.whole_frames must be at least 0, got {self.whole_frames}")


class AutoencoderTask:
    """Reconstruction of clips through the posterior sample.

    Args:
        vae: The autoencoder, trained through its whole-clip pass.
        config: Objective.
        train: Training clips.
        heldout: Validation clips.
    """

    def __init__(
        self, vae: ea_vae.MagvitVae, config: AutoencoderConfig, *, train: ClipSource, heldout: ClipSource
    ) -> None:
        self.config = config
        self.train_clips = train
        self.heldout_clips = heldout
        self.vae = vae
        if config.freeze_encoder:
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"vae": vae}
        self.trainable = {"generator": ["vae"]}
        self.inputs = {"training clips": train.describe()}
        self.discriminator: PatchDiscriminator | None = None
        if config.disc_weight:
            self.discriminator = PatchDiscriminator()
            self.modules["discriminator"] = self.discriminator
            self.trainable["discriminator"] = ["discriminator"]

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """Clips of one shape drawn for this step, as many as the voxel budget allows."""
        rng = random.Random(seed << 32 | place.batch)
        shapes = self.config.shapes
        frames, height, width, _ = rng.choices(shapes, weights=[shape[3] for shape in shapes])[0]
        frames, height, width = int(frames), int(height), int(width)
        count = max(1, round(size * self.config.voxels_per_sample / (frames * height * width)))
        whole = max(self.config.whole_frames, frames)
        clips = []
        for _ in range(count):
            clip = self.train_clips.clip(rng.randrange(1 << 40), num_frames=whole, height=height, width=width)
            start = rng.randint(0, whole - frames)
            clips.append(clip[:, start : start + frames])
        return {"video": torch.stack(clips)}

    def step(self, batch: Batch, generator: torch.Generator, place: Place) -> StepOutput:
        """Losses of one batch of clips."""
        config, video = self.config, batch["video"]
        posterior = self.vae.encode_clip(video)
        noise = torch.randn(posterior.mean.shape, generator=generator).to(video.device)
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        output = self.vae.decode_clip(mean + torch.exp(0.5 * logvar) * noise).float()
        l1, l2 = F.l1_loss(output, video), F.mse_loss(output, video)
        edges = losses.gradient_loss(output, video)
        kl = losses.kl_to_unit_normal(mean, logvar)
        total = config.l1_weight * l1 + config.l2_weight * l2 + config.gradient_weight * edges
        metrics = {
            "l1": l1,
            "kl": kl,
            "psnr": losses.psnr(output.detach(), video).mean(),
            "latent_std": mean.std(),
        }
        found = {"generator": total + config.kl_weight * kl}
        if self.discriminator is not None:
            self._add_adversarial(found, total, output, video, active=place.step >= config.disc_start)
        return StepOutput(losses=found, metrics={name: value.detach() for name, value in metrics.items()})

    def _add_adversarial(
        self, found: dict[str, Tensor], reconstruction: Tensor, output: Tensor, video: Tensor, *, active: bool
    ) -> None:
        assert self.discriminator is not None
        if active:
            term = -self.discriminator(output).mean()
            last = self.vae.get_parameter("decoder.conv_out.weight")
            weight = self.config.disc_weight * adaptive_weight(reconstruction, term, last)
            found["generator"] = found["generator"] + weight * term
        real, fake = self.discriminator(video), self.discriminator(output.detach())
        found["discriminator"] = hinge_discriminator_loss(real, fake)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean PSNR of held-out clips at the first shape, through the posterior mean."""
        device = next(self.vae.parameters()).device
        values = []
        for index in range(self.config.validation_clips):
            video = self._clip(self.heldout_clips, index)[None].to(device)
            values.append(losses.psnr(self.vae.decode_clip(self.vae.encode_clip(video).mode()), video))
        return with_interval("val/psnr", torch.cat(values).cpu())

    @torch.no_grad()
    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write the autoencoder in its released layout.

        Every latent channel is scaled to unit variance, unless the encoder was frozen.
        """
        vae = self.vae
        if not self.config.freeze_encoder:
            vae = equalised(vae, *self._latent_statistics())
            vae.config = vae.config.edited(scaling_factor=1.0)
        ea_vae.save_vae(vae, directory, metadata=metadata)

    def _latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (K,) of sampled latents at the first shape."""
        device = next(self.vae.parameters()).device
        means, variances = [], []
        for index in range(self.config.scaling_clips):
            posterior = self.vae.encode_clip(self._clip(self.train_clips, index)[None].to(device))
            means.append(posterior.mean.float())
            variances.append(posterior.logvar.float().exp())
        mean, noise = torch.cat(means), torch.cat(variances)
        axes = (0, 2, 3, 4)
        return mean.mean(axes), (mean.var(axes) + noise.mean(axes)).sqrt()

    def _clip(self, source: ClipSource, index: int) -> Tensor:
        """The beginning of a clip, at the first shape."""
        frames, height, width = (int(number) for number in self.config.shapes[0][:3])
        whole = max(self.config.whole_frames, frames)
        return source.clip(index, num_frames=whole, height=height, width=width)[:, :frames]
