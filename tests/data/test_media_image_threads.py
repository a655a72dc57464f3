"""Pictures that are opened in several threads at once."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from ea_data.media import picture_size
from ea_data.media.quiet import pillow_without_warnings


def test_warnings_are_heard_again_when_threads_have_opened_pictures(tmp_path):
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        sizes = set(pool.map(lambda _: picture_size(tmp_path / "a.png"), range(300)))
    assert sizes == {(4, 6)}
    assert warnings.filters == before


def test_those_of_pillow_alone_are_silent_until_the_last_one_leaves():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        first, second = pillow_without_warnings(), pillow_without_warnings()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        warnings.warn_explicit("theirs", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
        warnings.warn("ours", UserWarning, stacklevel=1)
        second.__exit__(None, None, None)
        warnings.warn_explicit("theirs later", UserWarning, "x.py", 2, module="PIL.TiffImagePlugin")
    assert [str(one.message) for one in heard] == ["ours", "theirs later"]
