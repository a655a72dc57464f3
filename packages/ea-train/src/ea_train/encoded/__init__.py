"""What encoders make of clips and captions, kept in an `ea_data.store` between runs.

* `plan`: which encodings a run needs, and what decides the numbers of each;
* `digests`: what is in the media files, read once;
* `samples`: encodings of a batch, out of the store and into it.
"""
