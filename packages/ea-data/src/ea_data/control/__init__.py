"""Signals that steer a video beside its prompt.

* `ea_data.control.camera`: the path of a camera, its text file, and the ray maps that camera models read;
* `ea_data.control.moves`: paths from words, such as "pan left + zoom in";
* `ea_data.control.source`: either of the two, as it is given on a command line;
* `ea_data.control.trajectory`: points that move through the picture, drawn as spots of heat;
* `ea_data.control.kinds`: kinds of signals that are made of a video, with their options;
* `ea_data.control.makers`: making them: edges, scribbles, lines, depth, poses;
* `ea_data.control.files`: reading the files of these.
"""

__all__: list[str] = []
