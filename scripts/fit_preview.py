"""Fit the map from latents to colours that previews use, and write it into a model's `model.json`.

    python scripts/fit_preview.py packages/ea-app/src/ea_app/assets/default

Every scaled latent of procedural clips is compared with the mean colour of the pixels that it stands for; the
map is the least-squares solution. It prints how much of the variance of other clips the map explains.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

CLIPS, HELD_OUT, SEED = 48, 16, 20


def main() -> None:
    """Fit, check, write."""
    import torch
    from torch.nn.functional import adaptive_avg_pool3d

    from ea_app.api.preview import fit_latent_rgb
    from ea_app.catalog import find
    from ea_data.synthetic import render, sample_scene
    from ea_dit.pipelines.decoding import load_decoder
    from ea_vae import scale_latents

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    info, vae = find(str(directory)).info, load_decoder(directory, dtype="float32", device="cpu")
    size = {"num_frames": info.native_frames, "height": info.native_height, "width": info.native_width}
    clips = [torch.from_numpy(render(sample_scene(SEED, index), **size)) for index in range(CLIPS + HELD_OUT)]
    fitted = fit_latent_rgb(vae, clips[:CLIPS])
    matrix, error, spread = torch.tensor(fitted), 0.0, 0.0
    for clip in clips[CLIPS:]:
        video = clip.movedim(-1, 0)[None].float() / 255
        with torch.no_grad():
            latents = scale_latents(vae.encode(video * 2 - 1).mode(), vae.config.scaling_factor)[0]
        means = adaptive_avg_pool3d(video[0], latents.shape[1:])
        seen = torch.einsum("cthw,cr->rthw", latents, matrix[:-1]) + matrix[-1][:, None, None, None]
        error += float((seen - means).square().sum())
        spread += float((means - means.mean((1, 2, 3), keepdim=True)).square().sum())
    print(f"explains {1 - error / spread:.1%} of the variance of {HELD_OUT} other clips")
    path = directory / "model.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"latent_rgb": fitted}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    for row in fitted:  # a row on one line
        text = text.replace(json.dumps(row, indent=2).replace("\n", "\n    "), json.dumps(row))
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
