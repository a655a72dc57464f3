"""Video and image files, manifests and the procedural shape dataset for training video generators.

What there is lives in the modules, so that using one loads only what it needs:

* `ea_data.media`: read and write videos, pictures and masks;
* `ea_data.manifest`: lists of files and captions;
* `ea_data.transforms`, `ea_data.masks`: pixel geometry and masks;
* `ea_data.geometry`, `ea_data.sampling`: sizes, buckets and batch sizes; frames of clips and random choices;
* `ea_data.training`: recipes, the order, shape and assembly of batches, and the data set that opens files;
* `ea_data.store`: encoded latents and texts, kept between runs;
* `ea_data.mask_strategy`, `ea_data.frame_masks`: which frames of which references go where; masks of frames;
* `ea_data.control`: camera paths, trajectories, and control signals that are made of a video;
* `ea_data.synthetic`: the procedural data set, `ea_data.synthetic.export` to write it out, and
  `ea_data.synthetic.judge` to say what a clip shows.
"""

__all__: list[str] = []
