"""The data set that opens files: what is in its batches, wherever and whenever they are made."""

import pickle
import shutil
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from media_folder import (
    RECIPE,
    STEP,
    batches,
    clip,
    entries,
    entries_of,
    quiet,
    same,
)
from PIL import Image

from ea_data.control.camera import plucker_rays, read_camera
from ea_data.manifest import read_manifest
from ea_data.media import picture_size, read_image, write_video
from ea_data.training.dataset import TrainingDataset
from ea_data.training.loader import TrainingLoader
from ea_data.training.recipe import (
    ClipOptions,
    MaskOptions,
    ReferenceOptions,
)


def grey(pixels_TCHW):
    """The brightness of a frame's darker half, 0 to 255."""
    return ((pixels_TCHW.amin(dim=(1, 2, 3)) + 1) * 127.5).round().tolist()


def test_every_row_comes_once_in_an_epoch_with_its_own_pixels(manifest):
    dataset = TrainingDataset(entries(manifest), RECIPE)
    seen = []
    for batch in batches(dataset, len(dataset)):
        assert batch.pixels_BTCHW.shape[1:] == (batch.shape.frames, 3, batch.shape.height, batch.shape.width)
        assert batch.pixels_BTCHW.shape == batch.control_BTCHW.shape
        assert batch.masks_BTHW.shape == batch.pixels_BTCHW[:, :, 0].shape
        for place, choices in enumerate(batch.choices):
            row = dataset.entries[choices.entry]
            seen.append(row.path.name)
            assert batch.texts[place] == ("" if choices.caption_dropped else row.text)
            assert 0 <= int(batch.references_B[place]) == choices.reference < batch.shape.frames
            if row.type == "image":
                value = int(row.path.stem[-1])
                assert grey(batch.pixels_BTCHW[place]) == [50 + value]
                assert grey(batch.control_BTCHW[place]) == [20 + value]
                assert batch.fps_B[place] == 0
            else:
                wanted = np.array([20 + STEP * frame for frame in choices.frames])
                assert np.abs(grey(batch.pixels_BTCHW[place]) - wanted).max() <= 2
                assert np.abs(grey(batch.control_BTCHW[place]) - wanted + 10).max() <= 2
                assert batch.fps_B[place] == 10
    assert sorted(seen) == sorted(entry.path.name for entry in dataset.entries)


def test_flips_mirror_frames_and_control_alike(manifest):
    dataset = TrainingDataset(entries(manifest), RECIPE)
    flipped = set()
    for batch in batches(dataset, 2 * len(dataset)):
        width = batch.shape.width
        for place, choices in enumerate(batch.choices):
            flipped.add(choices.flipped)
            for pixels in (batch.pixels_BTCHW[place], batch.control_BTCHW[place]):
                right_is_brighter = pixels[..., -width // 4 :].mean() > pixels[..., : width // 4].mean()
                assert bool(right_is_brighter) == choices.flipped
    assert flipped == {False, True}
    plain = TrainingDataset(entries(manifest), replace(RECIPE, random_flip=False))
    assert not any(choices.flipped for batch in batches(plain, 6) for choices in batch.choices)


def test_a_sample_alone_is_the_sample_in_its_batch(manifest):
    dataset, other = (TrainingDataset(entries(manifest), RECIPE) for _ in range(2))
    for number in (11, 3, 7):
        batch = dataset.batch(number)
        for place, key in enumerate(batch.keys):
            choices, opened = other.sample(key, batch.shape)
            assert choices == batch.choices[place]
            alone = torch.from_numpy(opened.frames).movedim(3, 1).float() / 127.5 - 1
            assert torch.equal(alone, batch.pixels_BTCHW[place])


def test_batches_are_functions_of_their_number(manifest):
    dataset = TrainingDataset(entries(manifest), RECIPE)
    forward = batches(dataset, 8)
    again = TrainingDataset(entries(manifest), RECIPE)
    assert all(same(again.batch(number), forward[number]) for number in (7, 0, 5, 2))
    other = TrainingDataset(entries(manifest), replace(RECIPE, seed=4))
    assert [batch.keys for batch in batches(other, 8)] != [batch.keys for batch in forward]


def test_choices_do_not_depend_on_each_other(manifest):
    full = TrainingDataset(entries(manifest), RECIPE)
    bare = TrainingDataset(
        entries(manifest),
        replace(RECIPE, masks=MaskOptions(), reference=ReferenceOptions(), random_flip=False),
    )
    for number in range(6):
        one, other = full.batch(number), bare.batch(number)
        assert [c.frames for c in one.choices] == [c.frames for c in other.choices]
        assert one.texts == other.texts
        assert other.masks_BTHW is other.references_B is None


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork"), (1, "spawn")])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
# The workers are ended in the middle of a batch; a thread of a library may then abort one, which torch tells.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_workers_change_nothing(manifest, workers, context):
    dataset = TrainingDataset(entries(manifest), RECIPE)
    loader = TrainingLoader(dataset, workers=workers, context=context, prefetch=1)
    for number, batch in enumerate(islice(loader, 4)):
        assert same(batch, dataset.batch(number))


def test_a_run_goes_on_with_another_number_of_ranks(manifest):
    dataset = TrainingDataset(entries(manifest), RECIPE)
    begun = [TrainingLoader(dataset, rank=rank, world_size=2) for rank in range(2)]
    first = [batch for pair in zip(*(islice(one, 2) for one in begun), strict=True) for batch in pair]
    state = begun[0].state_after(2)
    rest = [TrainingLoader(dataset, rank=rank, world_size=3, start=state) for rank in range(3)]
    first += [batch for triple in zip(*(islice(one, 2) for one in rest), strict=True) for batch in triple]
    for number, batch in enumerate(first):
        alone = dataset.batch(number)
        assert torch.equal(batch.pixels_BTCHW, alone.pixels_BTCHW), number
        assert torch.equal(batch.masks_BTHW, alone.masks_BTHW)
        assert (batch.texts, batch.choices) == (alone.texts, alone.choices)


def test_a_data_set_can_be_sent_to_another_process(manifest):
    dataset = TrainingDataset(entries(manifest), RECIPE)
    sent = pickle.loads(pickle.dumps(dataset))
    assert sent.describe() == dataset.describe()
    assert same(sent.batch(3), dataset.batch(3))


def test_the_description_follows_what_decides_batches(manifest):
    rows = entries(manifest)
    text = TrainingDataset(rows, RECIPE).describe()
    lint_only = replace(RECIPE, captions=replace(RECIPE.captions, forbidden=("logo",), max_length=9))
    assert TrainingDataset(rows, lint_only).describe() == text
    assert TrainingDataset(rows, replace(RECIPE, seed=1)).describe() != text
    assert TrainingDataset(rows[1:], RECIPE).describe() != text
    assert TrainingDataset(rows[::-1], RECIPE).describe() != text


def test_a_run_goes_on_with_the_same_files_alone(manifest, tmp_path):
    rows = entries(manifest)
    state = TrainingLoader(TrainingDataset(rows, RECIPE)).state_after(1)
    others = [replace(row, path=tmp_path / f"copy of {row.path.name}") for row in rows]
    for other, row in zip(others, rows, strict=True):
        other.path.write_bytes(row.path.read_bytes())
    for files in (others, [rows[2], rows[1], rows[0], *rows[3:]]):
        with pytest.raises(ValueError, match=r"^the sampler's state is of another list of files; allowed: "):
            TrainingLoader(TrainingDataset(files, RECIPE), start=state)
    moved = tmp_path / "elsewhere"
    shutil.copytree(manifest.parent, moved)
    dataset = TrainingDataset(read_manifest(moved / manifest.name).entries, RECIPE)
    assert TrainingLoader(dataset, start=state).state_after(0) == state


def test_videos_repeat_and_pictures_do_not(manifest):
    dataset = TrainingDataset(entries(manifest), replace(RECIPE, video_repeat=3))
    drawn = [choices for batch in batches(dataset, len(dataset)) for choices in batch.choices]
    assert sorted(choices.entry for choices in drawn) == sorted([*range(6)] * 3 + [6, 7, 8])
    starts = {choices.frames for choices in drawn if choices.entry == 5}
    assert len(starts) > 1


def test_cameras_become_rays_of_the_frames_that_were_picked(manifest):
    recipe = replace(RECIPE, control="camera", random_flip=False, batch_size=1, clip=ClipOptions(stride=2))
    dataset = TrainingDataset(entries_of(manifest, control_file_path="camera.txt")[:1], recipe)
    batch = dataset.batch(0)
    assert batch.control_BTCHW is None
    assert batch.rays_BTCHW.shape == (1, *batch.pixels_BTCHW.shape[1:2], 6, *batch.pixels_BTCHW.shape[3:])
    camera = read_camera(manifest.parent / "camera.txt").stretched(20)
    picked = list(batch.choices[0].frames)
    whole = type(camera)(camera.intrinsics[picked], camera.world_to_camera[picked])
    expected = plucker_rays(whole, len(picked), batch.shape.height, batch.shape.width)
    assert np.array_equal(batch.rays_BTCHW[0].numpy(), expected)
    assert np.abs(expected[1:, :3]).max() > 0.001


def test_a_row_without_a_camera_has_rays_of_zeros(manifest):
    recipe = replace(RECIPE, control="camera", random_flip=False)
    dataset = TrainingDataset(entries_of(manifest, control_file_path=None)[:2], recipe)
    assert not dataset.batch(0).rays_BTCHW.any()


def test_a_wrong_camera_file_is_named(manifest, mine):
    (mine.parent / "camera.txt").write_text("\n1 2 3\n")
    recipe = replace(RECIPE, control="camera", random_flip=False)
    dataset = TrainingDataset(entries_of(mine, control_file_path="camera.txt")[:1], recipe)
    with pytest.raises(ValueError, match=r"no file of a bucket can be read: .*camera\.txt line 2: 3 values"):
        dataset.batch(0)


def test_frame_masks_are_those_of_open_sora(manifest):
    ratios = {"mask_no": 0.5, "mask_image_head": 0.5}
    recipe = replace(RECIPE, masks=MaskOptions(draw="frames", weights=ratios))
    kinds = set()
    for batch in batches(TrainingDataset(entries(manifest), recipe), 12):
        for kind, mask_THW in zip(batch.mask_kinds, batch.masks_BTHW, strict=True):
            frames_T = mask_THW.flatten(1)
            assert torch.equal(frames_T.all(1), frames_T.any(1))
            assert frames_T[1:].all()
            assert bool(frames_T[0].all()) == (kind == "mask_no" or len(frames_T) == 1)
            kinds.add(kind)
    assert kinds == set(ratios)


def test_buckets_give_their_sizes_and_clips_as_open_sora_takes_them(manifest):
    buckets = {"144p": {1: (1.0, 2), 4: (1.0, 2)}}
    recipe = replace(
        RECIPE, shapes=None, buckets=buckets, batch_size=1, clip=ClipOptions(stride=3), control="none"
    )
    large = [replace_facts(entry) for entry in entries(manifest)]
    dataset = pickle.loads(pickle.dumps(TrainingDataset(large, recipe)))
    for batch in batches(dataset, len(dataset)):
        layout = recipe.resolution_buckets
        assert (batch.shape.height, batch.shape.width) == layout.size(batch.keys[0].bucket)
        assert batch.shape.frames == (1 if batch.kind == "image" else 4)
        for choices in batch.choices:
            if batch.kind == "video":
                assert choices.frames[-1] - choices.frames[0] == 11


def replace_facts(entry):
    """A row that says its file is large, as the file is not."""
    frames = 1 if entry.type == "image" else 20
    facts = replace(entry.facts, num_frames=frames, height=144, width=256)
    return replace(entry, facts=facts)


# What is known of files.


def test_sizes_and_lengths_are_kept_only_when_asked(mine, tmp_path):
    before = sorted(mine.parent.iterdir())
    quiet(mine)
    assert sorted(mine.parent.iterdir()) == before
    cache = tmp_path / "facts.json"
    looked = []
    for _ in range(2):
        _, _ = quiet(mine, facts_cache=cache, progress=lambda done, total: looked.append((done, total)))
    assert looked == [(done, 9) for done in range(1, 10)]
    write_video(mine.parent / "clip0.mp4", clip(30, 64, 96), crf=0)
    dataset, _ = quiet(mine, replace(RECIPE, control="none"), facts_cache=cache)
    assert dataset.known(0).frames == 30


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}', '{"version": 1, "files": {"a": [1]}}', "{"])
def test_a_wrong_file_of_kept_facts_is_refused(manifest, tmp_path, text):
    (tmp_path / "facts.json").write_text(text)
    with pytest.raises(ValueError, match=r"facts\.json: not a file of kept sizes and lengths"):
        quiet(manifest, facts_cache=tmp_path / "facts.json")


def test_rows_that_say_all_are_not_opened(manifest):
    entry = entries(manifest)[0]
    facts = replace(entry.facts, num_frames=50, height=64, width=96)
    gone = replace(entry, path=entry.path.with_name("gone.mp4"), facts=facts)
    dataset, told = quiet((gone,))
    assert (dataset.known(0).frames, told) == (50, [])


@pytest.mark.parametrize("number", [-1, -9])
def test_negative_numbers_are_refused(manifest, number):
    dataset, _ = quiet(manifest)
    with pytest.raises(ValueError, match=rf"^batch is {number}; allowed: 0 or more"):
        dataset.batch(number)


@pytest.mark.parametrize("threads", [-1, 65])
def test_a_wrong_number_of_threads_is_refused(manifest, threads):
    with pytest.raises(ValueError, match=rf"^threads is {threads}; allowed: 0 \(one per core\) to 64"):
        quiet(manifest, threads=threads)


@pytest.mark.parametrize("changes", [{"workers": -1}, {"prefetch": 0}])
def test_a_wrong_number_of_workers_is_refused(manifest, changes):
    dataset, _ = quiet(manifest)
    with pytest.raises(ValueError, match=r"workers, prefetch are .*; allowed: 0 or more, 1 or more"):
        TrainingLoader(dataset, **changes)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_picture_is_that_of_its_pixels(tmp_path, orientation):
    image = Image.new("RGB", (40, 24))
    exif = image.getexif()
    exif[274] = orientation
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert picture_size(tmp_path / "turned.jpg") == read_image(tmp_path / "turned.jpg").shape[:2]


def test_the_size_of_what_is_no_picture_is_refused(manifest):
    with pytest.raises(ValueError, match=r"clip0\.mp4: it is a mp4 video, not a picture"):
        picture_size(manifest.parent / "clip0.mp4")
