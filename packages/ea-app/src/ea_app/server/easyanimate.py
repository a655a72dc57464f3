"""EasyAnimate's three routes, with its field names and answers, for clients that were written for it.

A failure has a status of its own here, where EasyAnimate answers 200 to everything; the text stands in
`message` as it does there, and in our shape beside it. Models and LoRAs are named by the ids of
`GET /v1/models`. Of a path the last part counts: "models/Diffusion_Transformer/NAME" is the model NAME.
"""

import base64
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from ea_app.jobs import JobsError, JobView, Reason, State
from ea_app.options import InputError
from ea_app.server.bodies import read_values
from ea_app.server.errors import ApiError, as_api_error, body_of, of_validation
from ea_app.server.parts import Parts, parts_of
from ea_app.server.schema import validated

router = APIRouter(prefix="/easyanimate", tags=["easyanimate"])

NONE = "none"
"""EasyAnimate's word for nothing."""

_STATUS_OF_REASON = {
    Reason.MISTAKE: 422,
    Reason.TIMEOUT: 504,
    Reason.MEMORY: 507,
}


def _word(raw: Any) -> Any:
    return raw if raw is not None else NONE


_Name = Annotated[str, BeforeValidator(_word), Field(max_length=1000)]
_Media = Annotated[str | None, Field(description="base64 or a data: URL")]


class Edition(BaseModel):
    """What `update_edition` takes."""

    model_config = ConfigDict(extra="forbid")

    edition: Literal["v1", "v2", "v3", "v4", "v5", "v5.1"] = "v2"


class DiffusionTransformer(BaseModel):
    """What `update_diffusion_transformer` takes."""

    model_config = ConfigDict(extra="forbid")

    diffusion_transformer_path: _Name = NONE


class InferForward(BaseModel):
    """What `infer_forward` takes; a sampler that is not given is the model's own."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    base_model_path: _Name = NONE
    motion_module_path: _Name = NONE
    lora_model_path: _Name = NONE
    lora_alpha_slider: float = 0.55
    prompt_textbox: str
    negative_prompt_textbox: str | None = None
    sampler_dropdown: str | None = None
    sample_step_slider: Any = 30
    resize_method: Literal["Generate by"] = "Generate by"
    width_slider: Any = 672
    height_slider: Any = 384
    base_resolution: Any = 512
    is_image: bool = False
    generation_method: Literal[False, "Video Generation", "Image Generation", "Long Video Generation"] = (
        "Video Generation"
    )
    length_slider: Any = 49
    overlap_video_length: Any = 4
    partial_video_length: Any = None
    cfg_scale_slider: Any = 6
    start_image: _Media = None
    end_image: _Media = None
    validation_video: _Media = None
    validation_video_mask: _Media = None
    control_video: _Media = None
    denoise_strength: Any = 0.70
    seed_textbox: Any = 43


_OURS: Mapping[str, str] = {
    "prompt_textbox": "prompt",
    "negative_prompt_textbox": "negative",
    "sampler_dropdown": "sampler",
    "sample_step_slider": "steps",
    "cfg_scale_slider": "guidance",
    "start_image": "image",
    "end_image": "last_image",
    "validation_video": "video",
    "validation_video_mask": "mask",
    "control_video": "control",
}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()} | {
    "size": "width_slider",
    "frames": "length_slider",
    "window": "partial_video_length",
    "overlap": "overlap_video_length",
    "strength": "denoise_strength",
    "seed": "seed_textbox",
    "lora": "lora_model_path",
}


def _body(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/update_edition", openapi_extra=_body(Edition))
async def update_edition(request: Request) -> JSONResponse:
    """Check the name of an edition. A model says itself which it is of, so that nothing has to change."""
    try:
        Edition.model_validate(await _values(request))
    except (HTTPException, ValidationError) as error:
        return _failed(error)
    return JSONResponse({"message": "Success"})


@router.post("/update_diffusion_transformer", openapi_extra=_body(DiffusionTransformer))
async def update_diffusion_transformer(request: Request) -> JSONResponse:
    """Choose the model of `infer_forward` for all clients, by its id or a path that ends with it."""
    parts = parts_of(request)
    try:
        path = DiffusionTransformer.model_validate(await _values(request)).diffusion_transformer_path
        if path != NONE:
            identity = PurePosixPath(path.replace("\\", "/")).name
            parts.catalogue.model(identity, "diffusion_transformer_path")
            parts.chosen = identity
    except (HTTPException, ValidationError) as error:
        return _failed(error)
    except InputError as error:
        return _failed(ApiError(404, str(error), param=error.field, code="no_such_model"))
    return JSONResponse({"message": "Success"})


@router.post("/infer_forward", openapi_extra=_body(InferForward))
async def infer_forward(request: Request) -> JSONResponse:
    """Make a video or a picture and wait for it. A client that leaves cancels it."""
    parts = parts_of(request)
    try:
        given = InferForward.model_validate(await _values(request))
        fields = validated(translated(given, parts))
        with parts.watching.place():
            view = await run_in_threadpool(parts.submitter.submit, fields)
            view = await _finished(request, parts, view)
            return JSONResponse(await run_in_threadpool(_answer, view))
    except (HTTPException, ValidationError, InputError, JobsError) as error:
        return _failed(error)


def translated(given: InferForward, parts: Parts) -> dict[str, Any]:
    """The same request in our fields.

    Raises:
        InputError: What is not to be had here.
    """
    for name in ("base_model_path", "motion_module_path"):
        if getattr(given, name) != NONE:
            raise InputError(name, "must be none: files are not taken; the model has what it needs")
    fields = {ours: value for theirs, ours in _OURS.items() if (value := getattr(given, theirs)) is not None}
    fields |= {"model": parts.chosen, "size": [given.width_slider, given.height_slider]}
    fields["frames"] = _frames(given)
    if given.generation_method == "Long Video Generation":
        fields["overlap"] = given.overlap_video_length
        if given.partial_video_length is not None:
            fields["window"] = given.partial_video_length
    if given.lora_model_path != NONE:
        stem = PurePosixPath(given.lora_model_path.replace("\\", "/")).name.removesuffix(".safetensors")
        fields["lora"] = [f"{stem}:{given.lora_alpha_slider!r}"]
    if given.validation_video is not None:
        fields["strength"] = given.denoise_strength
    if not _draws(given.seed_textbox):
        fields["seed"] = given.seed_textbox
    return fields


def _frames(given: InferForward) -> Any:
    picture = given.is_image or given.generation_method == "Image Generation"
    return 1 if picture else given.length_slider


def _draws(seed: Any) -> bool:
    """Whether a seed asks for a drawn one, as the released interface writes it."""
    return seed is None or str(seed).strip() in ("", "-1")


async def _values(request: Request) -> dict[str, Any]:
    return await read_values(request, parts_of(request).settings.body_seconds, lenient=True)


async def _finished(request: Request, parts: Parts, view: JobView) -> JobView:
    """Wait for a job.

    Raises:
        ApiError: It did not end well, or the client has left.
    """
    last = view
    async for seen in parts.watching.changes(view.id, request.is_disconnected):
        last = seen or last
    if last.state is State.DONE:
        return last
    if last.state is State.FAILED:
        status = 500 if last.reason is None else _STATUS_OF_REASON.get(last.reason, 500)
        message = parts.submitter.hide(last.error or "it failed")
        raise ApiError(status, message, param=last.error_field, code=str(last.reason))
    if last.state is State.CANCELLED:
        raise ApiError(409, "it was cancelled", code="cancelled")
    if parts.watching.ending or last.state is State.INTERRUPTED:
        wait = {"Retry-After": "30"}
        raise ApiError(
            503, f"the server ends; see GET /v1/videos/{view.id} later", code="ending", headers=wait
        )
    await run_in_threadpool(parts.jobs.cancel, view.id)
    raise ApiError(408, "the client has left", code="disconnected")


def _answer(view: JobView) -> dict[str, Any]:
    assert view.output is not None
    content = base64.b64encode(view.output.read_bytes()).decode()
    return {"message": "Success", "save_sample_path": view.output.name, "base64_encoding": content}


def _failed(error: Exception) -> JSONResponse:
    """A failure as EasyAnimate's clients read it, with our shape beside."""
    match error:
        case ValidationError():
            told = of_validation(error, InferForward.model_fields)
        case ApiError():
            told = error
        case HTTPException():
            told = ApiError(error.status_code, str(error.detail))
        case _:
            told = as_api_error(error)
    param = _THEIRS.get(told.param or "", told.param)
    message = str(told.detail)
    if param != told.param and told.param is not None:
        message = f"{param}{message.removeprefix(told.param)}"
    body = {"message": f"Error. error information is {message}"}
    shape = body_of(told.status_code, message, param, told.code)
    return JSONResponse({**body, **shape}, status_code=told.status_code, headers=told.headers)
