"""Finetune a released video autoencoder of any family, with the objective that it was released with.

Reconstruction summed over a frame, LPIPS, KL, and from some step on two discriminators, of frames and of
clips. What the reductions are matters: the released weights of the terms belong to them.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

import ea_vae
from ea_train.objectives import reconstruction as losses
from ea_train.objectives.adversarial import adaptive_weight, hinge_discriminator_loss
from ea_train.objectives.discriminators import SMALLEST_SIDE, ClipDiscriminator, FrameDiscriminator
from ea_train.objectives.perceptual import LEAST_SIDE, Lpips
from ea_train.objectives.quality import ssim, with_interval
from ea_train.tasks.autoencoder_clips import CutSize, CutSource
from ea_train.tasks.base import Batch, Place, StepOutput

_HALVES = {
    "encoder": ("encoder", "quant_conv"),
    "decoder": ("decoder", "post_quant_conv"),
}


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Objective and cuts; the defaults are those of the released slice autoencoder.

    Attributes:
        num_frames: Frames of a clip; a length that the autoencoder gives back as it was.
        side: Height and width of clips and pictures.
        strides: Clips take every n-th frame, n drawn from 1 to this.
        image_share: Share of batches that hold pictures instead of clips.
        learns: Both halves, or one while the other stands still.
        l1_weight: Absolute error.
        l2_weight: Squared error.
        lpips_weight: LPIPS, added to every value of a frame; needs `lpips_files`.
        lpips_files: One or two weight files, see `ea_train.objectives.perceptual`.
        kl_weight: KL of a clip.
        outlier_weight: Latents beyond three standard deviations.
        disc_weight: Adversarial term; 0 builds no discriminators.
        disc_start: Step, counted from 1, from which discriminators learn and the adversarial term counts.
        disc_width: Channels of the discriminators' first layers.
        allow_pickle: Accept `lpips_files` in pickles, read without running code.
        validation_clips: Held-out clips in a validation.
    """

    num_frames: int = 25
    side: int = 256
    strides: int = 1
    image_share: float = 0.2
    learns: Literal["all", "decoder", "encoder"] = "all"
    l1_weight: float = 1.0
    l2_weight: float = 0.0
    lpips_weight: float = 1.0
    lpips_files: tuple[str, ...] = ()
    kl_weight: float = 1e-6
    outlier_weight: float = 0.0
    disc_weight: float = 0.5
    disc_start: int = 50_001
    disc_width: int = 64
    allow_pickle: bool = False
    validation_clips: int = 16

    def __post_init__(self) -> None:
        """Refuse an objective that cannot be meant."""
        for name in ("num_frames", "side", "strides", "disc_start", "disc_width", "validation_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("l1", "l2", "lpips", "kl", "outlier", "disc"):
            if getattr(self, f"{name}_weight") < 0:
                raise ValueError(
                    f"task.{name}_weight must not be negative, got {getattr(self, name + '_weight')}"
                )
        if not 0 <= self.image_share <= 1:
            raise ValueError(f"task.image_share must be from 0 to 1, got {self.image_share}")
        if self.l1_weight == self.l2_weight == self.lpips_weight == 0:
            raise ValueError(
                "task: l1_weight, l2_weight and lpips_weight are all 0; nothing would be learned"
            )
        if self.lpips_weight and self.side < LEAST_SIDE:
            raise ValueError(
                f"task.side must be at least {LEAST_SIDE} with LPIPS (task.lpips_weight), got {self.side}"
            )
        if self.disc_weight and self.side < SMALLEST_SIDE:
            raise ValueError(
                f"task.side must be at least {SMALLEST_SIDE} with discriminators (task.disc_weight), "
                f"got {self.side}"
            )
        if self.disc_width % 8:
            raise ValueError(f"task.disc_width must be a multiple of 8, got {self.disc_width}")

    @property
    def cut(self) -> CutSize:
        """Size of the clips."""
        return CutSize(num_frames=self.num_frames, side=self.side, strides=self.strides)


class FinetuneTask:
    """Reconstruction of clips and pictures through the posterior sample.

    Args:
        vae: The autoencoder, trained through the pass that its config describes.
        config: Objective.
        train: Training cuts.
        heldout: Validation cuts.

    Raises:
        ValueError: The autoencoder does not give clips of this size back, or LPIPS' files cannot be used.
    """

    def __init__(
        self,
        vae: ea_vae.VideoAutoencoder[Any],
        config: FinetuneConfig,
        *,
        train: CutSource,
        heldout: CutSource,
    ) -> None:
        _check_size(vae.geometry, config)
        self.config, self.vae = config, vae
        self.train_cuts, self.heldout_cuts = train, heldout
        self.modules: dict[str, nn.Module] = {"vae": vae}
        self.trainable = {"generator": ["vae"]}
        self.inputs = {"training clips": train.describe()}
        vae.requires_grad_()
        for half in {"all": (), "decoder": _HALVES["encoder"], "encoder": _HALVES["decoder"]}[config.learns]:
            # CogVideoX has no convolutions around its latents.
            getattr(vae, half, nn.Identity()).requires_grad_(requires_grad=False)
        self.lpips: Lpips | None = None
        if config.lpips_weight:
            self.lpips = _load_lpips(config)
        self.judges: nn.ModuleDict | None = None
        if config.disc_weight:
            self.judges = nn.ModuleDict(
                {
                    "frames": FrameDiscriminator(config.disc_width),
                    "clips": ClipDiscriminator(config.disc_width),
                }
            )
            self.modules["discriminator"] = self.judges
            self.trainable["discriminator"] = ["discriminator"]

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """Cuts of one kind."""
        rng = random.Random(seed << 44 | place.batch)
        pictures = rng.random() < self.config.image_share or "video" not in self.train_cuts.kinds
        kind = "image" if pictures else "video"
        cuts = [self.train_cuts.cut(rng.randrange(1 << 40), kind, self.config.cut) for _ in range(size)]
        return {"video": torch.stack(cuts)}

    def step(self, batch: Batch, generator: torch.Generator, place: Place) -> StepOutput:
        """Losses of one batch."""
        config, video = self.config, batch["video"]
        posterior = self.vae.encode_clip(video)
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        posterior = ea_vae.Posterior(mean=mean, logvar=logvar)
        output = self.vae.decode_clip(posterior.sample(generator)).float()
        error = output - video
        map_BCTHW = config.l1_weight * error.abs() + config.l2_weight * error.square()
        reconstruction = losses.summed_per_frame(map_BCTHW)
        metrics = {"l1": error.abs().mean(), "psnr": losses.psnr(output.detach(), video).mean()}
        if self.lpips is not None:
            distance = self.lpips.to(video.device)(_frames(output), _frames(video)).mean()
            reconstruction = reconstruction + config.lpips_weight * distance * video[0, :, 0].numel()
            metrics["lpips"] = distance
        kl = posterior.kl().mean()
        total = reconstruction + config.kl_weight * kl
        metrics |= {"kl": kl / mean[0].numel(), "latent_std": mean.std()}
        if config.outlier_weight:
            penalty = losses.outlier_penalty(mean)
            total = total + config.outlier_weight * penalty
            metrics["outliers"] = penalty
        found = {"generator": total}
        if self.judges is not None:
            # Steps are counted from 1 in released settings.
            active = place.step + 1 >= config.disc_start
            found |= self._adversarial(total, reconstruction, output, video, metrics, active=active)
        return StepOutput(losses=found, metrics={name: value.detach() for name, value in metrics.items()})

    def _adversarial(
        self,
        total: Tensor,
        reconstruction: Tensor,
        output: Tensor,
        video: Tensor,
        metrics: dict[str, Tensor],
        *,
        active: bool,
    ) -> dict[str, Tensor]:
        assert self.judges is not None
        if not active:
            return {"generator": total, "discriminator": video.new_zeros((), requires_grad=True)}
        term = -torch.stack([judge(output).mean() for judge in self.judges.values()]).sum()
        half = "encoder" if self.config.learns == "encoder" else "decoder"
        last = self.vae.get_parameter(f"{half}.conv_out.weight")
        weight = self.config.disc_weight * adaptive_weight(reconstruction, term, last)
        metrics["disc_weight"], total = weight, total + weight * term
        judged = [(judge(video), judge(output.detach())) for judge in self.judges.values()]
        metrics["logits_real"] = torch.stack([real.mean() for real, _ in judged]).mean()
        metrics["logits_fake"] = torch.stack([fake.mean() for _, fake in judged]).mean()
        hinge = torch.stack([hinge_discriminator_loss(real, fake) for real, fake in judged]).sum()
        return {"generator": total, "discriminator": hinge}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """PSNR and SSIM of held-out clips through the posterior mean, with their confidence intervals."""
        device = next(self.vae.parameters()).device
        kind = self.heldout_cuts.kinds[0]
        peaks, likenesses = [], []
        for index in range(self.config.validation_clips):
            video = self.heldout_cuts.cut(index, kind, self.config.cut)[None].to(device)
            output = self.vae.decode_clip(self.vae.encode_clip(video).mode())
            peaks.append(losses.psnr(output, video).cpu())
            likenesses.append(ssim(output, video).cpu())
        figures = with_interval("val/psnr", torch.cat(peaks))
        return figures | with_interval("val/ssim", torch.cat(likenesses))

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write the autoencoder in its released layout; the scale of its latents stays."""
        ea_vae.save_vae(self.vae, directory, metadata=metadata)


def _frames(video_BCTHW: Tensor) -> Tensor:
    return rearrange(video_BCTHW, "b c t h w -> (b t) c h w")


def _load_lpips(config: FinetuneConfig) -> Lpips:
    if not config.lpips_files:
        raise ValueError(
            "task.lpips_weight needs the weights of VGG-16 and of LPIPS: give task.lpips_files, or set "
            "task.lpips_weight to 0"
        )
    files = [Path(file) for file in config.lpips_files]
    return Lpips.from_files(*files, allow_pickle=config.allow_pickle)


def _check_size(geometry: ea_vae.LatentGeometry, config: FinetuneConfig) -> None:
    if not geometry.is_whole(config.num_frames):
        shorter, longer = (
            geometry.round_frames_down(config.num_frames),
            geometry.round_frames_up(config.num_frames),
        )
        raise ValueError(
            f"task.num_frames {config.num_frames}: this autoencoder gives clips of other lengths back; the "
            f"nearest that it keeps are {shorter} and {longer}"
        )
    if config.side % geometry.space:
        raise ValueError(f"task.side must be a multiple of {geometry.space}, got {config.side}")
