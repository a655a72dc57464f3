"""Starts for narrow autoencoders: from nothing, as a blurred copy of the input, and from pictures to clips.

A randomly initialised MAGVIT of this family loses absolute colour: its group norms divide every frame by its
own contrast, and a narrow network takes tens of thousands of steps to carry brightness past them. Here the
first six channels of the residual stream carry +RGB and -RGB through average-pooling and repeating
resamplers. SiLU(x) - SiLU(-x) = x makes the pair pass the activation before each output convolution
unchanged, and constants in the last third of the channels, larger than the signal, keep the norms' divisor
nearly the same for every frame. All other weights are small and random, and everything is trained; only the
start differs.
"""

import torch
from torch import Tensor, nn

from ea_vae import MagvitVae
from ea_vae.families.magvit.model import Stage
from ea_vae.layers.causal_conv import CausalConv3d
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.resnet import ResidualLayer

_SIGNAL = 6
_CONSTANT = 4.0
_NOISE = 0.5
_CENTRE = (2, 1, 1)


@torch.no_grad()
def start_as_copy(vae: MagvitVae) -> None:
    """Initialise `vae` in place.

    Raises:
        ValueError: Fewer than eight channels at some resolution, or fewer than three latent channels.
    """
    if min(vae.config.block_out_channels) < 8 or vae.config.latent_channels < 3:
        raise ValueError(
            "channels must be at least 8 and latent channels at least 3, got "
            f"{vae.config.block_out_channels} and {vae.config.latent_channels}"
        )
    for name, layer in vae.named_modules():
        if isinstance(layer, nn.Conv3d):
            _small_random(layer, name)
            if name.endswith("resample.conv"):
                _resample(layer)
            elif name.endswith("shortcut"):
                _carry(layer)
    for layer in (vae.quant_conv, vae.post_quant_conv):
        layer.weight.copy_(torch.eye(layer.out_channels)[..., None, None, None])
        _bias(layer).zero_()
    for half in (vae.encoder, vae.decoder):
        _split_signs(half.conv_in)
    last = vae.decoder.stages[-1]
    assert isinstance(last, Stage)
    _anchor(vae.encoder.mid.layers, vae.encoder.norm_out)
    _anchor(last.layers, vae.decoder.norm_out)
    _join_signs(vae.encoder.conv_out)
    _join_signs(vae.decoder.conv_out)
    _open_latents(vae.encoder.conv_out, vae.config.latent_channels)


@torch.no_grad()
def start_moving(vae: MagvitVae) -> None:
    """Turn an autoencoder that was trained on single pictures into a start for clips, in place.

    A single picture meets all time taps of a causal convolution, so only their sums have learned anything.
    The sum moves to the last tap: pictures stay as they are, and a clip is treated frame by frame instead of
    being blurred over time.
    """
    for layer in vae.modules():
        if isinstance(layer, CausalConv3d):
            total = layer.weight.sum(dim=2)
            layer.weight.zero_()
            layer.weight[:, :, -1] = total


def _small_random(layer: nn.Conv3d, name: str) -> None:
    fan_in = layer.weight[0].numel()
    scale = 0.1 if name.endswith("conv2") else 1.0 if name.endswith("conv1") else _NOISE
    nn.init.normal_(layer.weight, std=scale * fan_in**-0.5)
    nn.init.zeros_(_bias(layer))


def _bias(layer: nn.Conv3d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _resample(layer: nn.Conv3d) -> None:
    # The signal alone is copied; the other channels are copied too but keep some of their random mixing.
    layer.weight[:_SIGNAL] = 0.0
    layer.weight[_SIGNAL:, :_SIGNAL] *= 0.5
    times, rows = ((2,), (1,)) if layer.stride[1] == 1 else ((1, 2) if layer.stride[0] == 2 else (2,), (0, 1))
    share = 1.0 / (len(times) * len(rows) ** 2)
    for channel in range(layer.out_channels):
        for time in times:
            for row in rows:
                for column in rows:
                    layer.weight[channel, channel, time, row, column] += share


def _carry(layer: nn.Conv3d) -> None:
    layer.weight[:_SIGNAL] = 0.0
    for channel in range(min(layer.in_channels, layer.out_channels)):
        layer.weight[channel, channel] = 1.0


def _split_signs(layer: nn.Conv3d) -> None:
    layer.weight[:_SIGNAL] = 0.0
    for colour in range(3):
        layer.weight[(colour, colour, *_CENTRE)] = 1.0
        layer.weight[(colour + 3, colour, *_CENTRE)] = -1.0


def _anchor(layers: nn.ModuleList, norm: ClipGroupNorm) -> None:
    # Constants that outweigh the signal, in channels that the norm then silences.
    last = layers[-1]
    assert isinstance(last, ResidualLayer)
    anchors = last.conv2.out_channels // 3
    values = torch.full((anchors,), _CONSTANT)
    values[1::2] *= -1
    _bias(last.conv2)[-anchors:] = values
    norm.weight[-anchors:] = 0.0


def _join_signs(layer: nn.Conv3d) -> None:
    # Anchors in a third of the channels make the norm divide by about this.
    gain = _CONSTANT / 3**0.5
    layer.weight[:3] *= 0.1
    for colour in range(3):
        layer.weight[(colour, colour, *_CENTRE)] = gain
        layer.weight[(colour, colour + 3, *_CENTRE)] = -gain


def _open_latents(layer: nn.Conv3d, latent_channels: int) -> None:
    # Latents that start quieter than the posterior's noise are never found again, so the other channels start
    # loud, as random features of the neighbourhood, and the noise starts small.
    layer.weight[3:latent_channels] *= 12.0
    layer.weight[latent_channels:] *= 0.1
    _bias(layer)[latent_channels:] = -6.0
