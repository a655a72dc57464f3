"""What stands in for jobs and models in tests of the studio without a browser."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from ea_app.api.abilities import Abilities
from ea_app.jobs import JobView, NoSuchJobError, State

ABILITIES = Abilities(
    modes=("image_to_video", "masked_video", "text_to_image", "text_to_video", "video_to_video"),
    variant="inpaint", reference=False, clip=False, samplers=("Flow", "Flow_LCM"), sampler="Flow",
    generation="EasyAnimate V5.1",
)  # fmt: skip


def uploaded(uploads, name="a.png"):
    """A picture where the page puts what a visitor gives; its path."""
    place = uploads.folder / "0123"
    place.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 40)).save(place / name)
    return str(place / name)


class Jobs:
    """Remembers what is submitted, and runs nothing."""

    def __init__(self):
        self.views = {}

    def submit(self, prompt, **options):
        job_id = f"{len(self.views):024x}"
        options = {"seed": 7, **options}
        self.views[job_id] = JobView(id=job_id, prompt=prompt, options=options, seed=7, state=State.QUEUED)
        return self.views[job_id]

    def get(self, job_id):
        if job_id not in self.views:
            raise NoSuchJobError(job_id)
        return self.views[job_id]

    def recent(self, limit=100, offset=0):
        return list(self.views.values())[::-1][:limit]

    def unfinished(self):
        return [view for view in self.views.values() if not view.over]

    def change(self, job_id, **changes):
        self.views[job_id] = replace(self.views[job_id], **changes)
