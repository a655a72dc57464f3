"""`/v1/models`, `/health` and `/metrics`."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ea_app.catalog import Model
from ea_app.jobs import State
from ea_app.options import InputError
from ea_app.server.catalogue import Catalogue
from ea_app.server.errors import ApiError
from ea_app.server.parts import Parts, parts_of

router = APIRouter()

_ALL = 1 << 31


@router.get("/health", tags=["server"])
def health() -> dict[str, str]:
    """Whether somebody listens. Needs no token, and tells nothing else."""
    return {"status": "ok"}


@router.get("/ready", tags=["server"])
def ready(request: Request) -> JSONResponse:
    """Whether a worker can take a job: 200, or 503 while none can."""
    workers = parts_of(request).jobs.workers()
    able = sum(worker.ready for worker in workers)
    body = {"status": "ok" if able else "starting", "workers": len(workers), "ready": able}
    return JSONResponse(body, status_code=200 if able else 503)


@router.get("/v1/models", tags=["models"])
def models(request: Request) -> dict[str, Any]:
    """What `model` and `lora` may be. The first model is meant where none is named."""
    catalogue = parts_of(request).catalogue
    found = [_shown(identity, model, catalogue) for identity, model in catalogue.models.items()]
    loras = [{"id": identity, "object": "lora"} for identity in catalogue.loras]
    return {"object": "list", "data": found, "loras": loras}


@router.get("/v1/models/{model_id}", tags=["models"])
def model(request: Request, model_id: str) -> dict[str, Any]:
    """What one model makes, and its defaults."""
    catalogue = parts_of(request).catalogue
    try:
        return _shown(model_id, catalogue.model(model_id), catalogue)
    except InputError as error:
        raise ApiError(404, error.reason, param="model_id", code="no_such_model") from None


def _shown(identity: str, found: Model, catalogue: Catalogue) -> dict[str, Any]:
    info = found.info
    return {
        "id": identity,
        "object": "model",
        "created": 0,
        "owned_by": "local",
        "default": identity == catalogue.default,
        "name": info.name,
        "description": info.description,
        "size": f"{info.native_width}x{info.native_height}",
        "frames": info.native_frames,
        "fps": info.fps,
        "steps": info.steps,
        "guidance": info.guidance,
        "min_side": info.min_side,
        "max_side": info.max_side,
        "side_multiple": info.size_multiple,
        "max_frames_at_once": info.max_frames,
        "languages": list(info.languages),
    }


@router.get("/metrics", tags=["server"])
def metrics(request: Request) -> Response:
    """Numbers for Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Jobs(parts_of(request)))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Jobs(Collector):
    """Counts jobs and workers when it is asked."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """The numbers now."""
        jobs = self._parts.jobs
        views, workers = jobs.recent(_ALL), jobs.workers()
        states = Counter(view.state for view in views)
        by_state = GaugeMetricFamily("ea_jobs", "Jobs that are remembered, by state.", labels=["state"])
        for state in State:
            by_state.add_metric([str(state)], states[state])
        yield by_state
        reasons = Counter(str(view.reason) for view in views if view.reason is not None)
        failed = GaugeMetricFamily("ea_jobs_failed", "Failed jobs that are remembered.", labels=["reason"])
        for reason, count in sorted(reasons.items()):
            failed.add_metric([reason], count)
        yield failed
        seconds = sum(view.timings.get("job", 0.0) for view in views)
        yield GaugeMetricFamily("ea_job_seconds", "Seconds that the remembered jobs took.", value=seconds)
        yield GaugeMetricFamily("ea_workers", "Worker processes.", value=len(workers))
        able = sum(worker.ready for worker in workers)
        yield GaugeMetricFamily("ea_workers_ready", "Workers that are ready or busy.", value=able)
        busy = sum(worker.job is not None for worker in workers)
        yield GaugeMetricFamily("ea_workers_busy", "Workers that have a job.", value=busy)
        watched = self._parts.watching.count
        yield GaugeMetricFamily("ea_waiting_clients", "Event streams and waiting calls.", value=watched)
