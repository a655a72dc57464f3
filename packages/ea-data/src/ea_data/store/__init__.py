"""A store of latents and text embeddings that were encoded once.

Samples are found by a key, a hash of all that decides their numbers; they lie in safetensors files, each
with a manifest that is written last, and every one is checked against its checksum when it is read.

* `Recipe`, `digest_file`, `digest_text`: what a sample is made of, and its key;
* `Field`: one array of a sample, bfloat16 included;
* `CacheWriter`, `CacheStore`, `read_or_make`: writing and reading;
* `ea_data.store.verify`, `.plan`, `.explain`, `.collect`: what `ea-data cache` does.
"""

from ea_data.store.errors import CacheError, CorruptSampleError, MissingSampleError
from ea_data.store.fields import Field
from ea_data.store.recipe import Recipe, digest_bytes, digest_file, digest_text
from ea_data.store.store import CacheStore, read_or_make
from ea_data.store.writer import CacheWriter

__all__ = [
    "CacheError",
    "CacheStore",
    "CacheWriter",
    "CorruptSampleError",
    "Field",
    "MissingSampleError",
    "Recipe",
    "digest_bytes",
    "digest_file",
    "digest_text",
    "read_or_make",
]
