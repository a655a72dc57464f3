"""The studio in a real browser, on the model in the box."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]

PROMPT = "a red circle moves to the right on a blue background"
START_SECONDS = float(os.environ.get("EA_UI_START_SECONDS", "90"))


def _chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("EA_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def server(tmp_path_factory, patience):
    """`ea-app ui` as a user starts it: its address, and the seconds that it took to answer."""
    if _chromium() is None:
        pytest.skip("no Chromium on this machine; install it or name it in EA_CHROMIUM")
    from ea_dit.pipelines.tiny import MOTION_FILE, make_tiny

    folder = tmp_path_factory.mktemp("studio")
    for name in ("camera", "control"):
        make_tiny(f"v5.1-7b-{name}", folder / "models" / name)
    make_tiny("v1-t2v", folder / "models" / "v1")
    (folder / "motion").mkdir()
    (folder / "models" / "v1" / MOTION_FILE).rename(folder / "motion" / "mm.safetensors")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-c", "import sys; from ea_app.cli import main; sys.exit(main())",
        "ui", "--port", str(port), "--state", str(folder / "state"), "--device", "cpu",
        "--models-dir", str(folder / "models"), "--motion-modules-dir", str(folder / "motion"),
    ]  # fmt: skip
    began = time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}/"
    try:
        while not _answers(address):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() - began < patience(START_SECONDS), "the server does not come up"
            time.sleep(0.2)
        yield address, time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()


def _answers(address):
    try:
        with urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def browser(server):
    """One browser for all tests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as play:
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        opened = play.chromium.launch(executable_path=_chromium(), headless=True, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, server, patience, request):
    """The studio, freshly opened; nothing may go wrong in its console or reach another machine."""
    address, _ = server
    opened = browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-US")
    opened.set_default_timeout(min(patience(120_000), 900_000))
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda asked: _note_foreign(asked.url, address, wrong))
    opened.goto(address)
    opened.wait_for_selector("#ea-generate")
    # The model has told what it can do.
    opened.wait_for_selector("#ea-width [placeholder='64']")
    yield opened
    if folder := os.environ.get("EA_SCREENSHOTS"):
        opened.screenshot(path=Path(folder, f"{request.node.name}.png"))
    opened.close()
    assert not wrong


def _note_foreign(url, address, wrong):
    if not url.startswith((address, "data:", "blob:")):
        wrong.append(f"asked for {url}")


def _ask(page, prompt=PROMPT, steps=None):
    page.fill("#ea-prompt textarea", prompt)
    if steps is not None:
        page.fill("#ea-steps input[type=number]", str(steps))
        page.press("#ea-steps input[type=number]", "Tab")
    page.click("#ea-generate")
    page.wait_for_function(
        "prompt => document.querySelector('#ea-stage .ea-prompt')?.innerText === prompt", arg=prompt
    )


def _wait_for(page, state, **options):
    page.wait_for_selector(f"#ea-stage [data-state='{state}']", **options)


def _plays(page):
    page.wait_for_function("document.querySelector('#ea-stage video')?.readyState === 4")
    return page.evaluate("document.querySelector('#ea-stage video').duration")


def test_words_become_a_video_that_plays(page):
    page.evaluate("""window.counts = new Set(); setInterval(() => {
        const at = document.querySelector('.ea-count');
        if (at) counts.add(at.innerText);
    }, 50)""")
    _ask(page, steps=100)
    _wait_for(page, "done")
    assert _plays(page) == pytest.approx(17 / 8, abs=0.1)
    assert page.evaluate("document.querySelector('#ea-stage video').videoWidth") == 64
    seen = page.evaluate("[...counts]")
    assert [text for text in seen if re.fullmatch(r"\d+/100", text)], seen


def test_a_picture_becomes_the_first_frame(page, media):
    page.click("text=Pictures")
    page.set_input_files("#ea-image input[type=file]", media / "wide.png")
    page.wait_for_function("document.querySelector('#ea-mode span')?.innerText === 'Image to video'")
    _ask(page, "a circle from a picture", steps=4)
    _wait_for(page, "done")
    assert _plays(page) > 1
    page.click("#ea-reuse")
    page.wait_for_selector(".toast-body")


def test_an_example_fills_prompt_and_first_frame(page):
    page.click("text=Pictures")
    page.click("[data-example='2']")
    page.wait_for_selector("#ea-mode span >> text=Image to video")
    assert page.input_value("#ea-prompt textarea") == page.get_attribute("[data-example='2']", "title")
    assert page.get_attribute("#ea-image img", "src").endswith("drawn.png")


def test_a_job_is_cancelled_half_way_and_can_go_on(page, patience):
    _ask(page, "a blue square to be stopped", steps=100)
    _wait_for(page, "running")
    page.click("#ea-cancel")
    _wait_for(page, "cancelled", timeout=patience(10_000))
    page.wait_for_selector("#ea-resume")
    page.click("#ea-resume")
    _wait_for(page, "done")


def test_three_wait_in_order_and_all_are_made(page):
    page.click("role=tab[name='Batch']")
    lines = [f"a green star number {number}" for number in (1, 2, 3)]
    page.fill("#ea-prompts textarea", "\n".join(lines))
    page.click("#ea-queue-all")
    page.wait_for_selector(".ea-queue .ea-row >> nth=2")
    assert [row.inner_text() for row in page.query_selector_all(".ea-row button:first-child")] == lines
    page.wait_for_selector(".ea-queue", state="detached")
    made = [card.get_attribute("title") for card in page.query_selector_all(".ea-card")][:3]
    assert made == lines[::-1]


def test_settings_come_back_from_history_and_from_a_dropped_file(page, server, tmp_path):
    page.click("button:has-text('Memory and file')")
    for kind, name in (("PNG pictures", "kept.zip"), ("MP4", "kept.mp4")):
        _pick(page, "#ea-format", kind)
        _ask(page, "a yellow triangle moves up", steps=3)
        _wait_for(page, "done")
        page.wait_for_selector(f"#ea-stage .ea-chips >> text={'PNG' if kind != 'MP4' else kind}")
        with urlopen(server[0] + page.get_attribute("#ea-stage a", "href")) as answer:
            (tmp_path / name).write_bytes(answer.read())
    for get_back in ("history", "kept.mp4", "kept.zip"):
        page.reload()
        page.wait_for_selector("#ea-width [placeholder='64']")
        if get_back == "history":
            page.click(".ea-card[title='a yellow triangle moves up']")
            page.wait_for_selector("#ea-stage .ea-prompt >> text=a yellow triangle moves up")
            page.click("#ea-reuse")
        else:
            page.set_input_files("#ea-restore input[type=file]", tmp_path / get_back)
        page.wait_for_function(
            "document.querySelector('#ea-prompt textarea').value === 'a yellow triangle moves up'"
        )
        assert page.input_value("#ea-steps input[type=number]") == "3"
        assert page.input_value("#ea-seed input, #ea-seed textarea") != ""


def test_a_mistake_is_a_message_that_names_the_control(page):
    page.fill("#ea-width input, #ea-width textarea", "70")
    page.fill("#ea-prompt textarea", PROMPT)
    page.click("#ea-generate")
    toast = page.wait_for_selector(".toast-body")
    assert "Size" in toast.inner_text()
    assert "multiples of 16" in toast.inner_text()
    page.fill("#ea-width input, #ea-width textarea", "")
    page.fill("#ea-prompt textarea", "")
    page.click("#ea-generate")
    page.wait_for_selector(".toast-body >> text=must not be empty")


def test_what_the_model_cannot_use_is_greyed_with_the_reason(page):
    page.click("button:has-text('Camera')")
    field = page.wait_for_selector("#ea-camera :is(input, textarea)")
    assert field.is_disabled()
    assert "default cannot use this" in page.inner_text("#ea-camera")


def _choose(page, model):
    page.click("#ea-model input")
    page.click(f"[role=option][aria-label='{model}']")
    page.wait_for_function("!document.querySelector('#ea-facts').innerText.includes('64×64')")
    for name in ("width", "height"):
        page.fill(f"#ea-{name} :is(input, textarea)", "64")
    page.fill("#ea-frames :is(input, textarea)", "9")


def _pick(page, control, choice):
    page.click(f"{control} input")
    page.click(f"[role=option][aria-label='{choice}']")


def test_two_loras_of_different_strength_make_a_webm(page, server):
    page.click("button:has-text('LoRA')")
    for slot, strength in ((1, "0.5"), (2, "-0.25")):
        _pick(page, f"#ea-lora-{slot}", "pastel")
        page.fill(f"#ea-lora-weight-{slot} input[type=number]", strength)
        page.press(f"#ea-lora-weight-{slot} input[type=number]", "Tab")
    page.click("button:has-text('Memory and file')")
    _pick(page, "#ea-memory", "a network at a time")
    _pick(page, "#ea-format", "WEBM")
    _ask(page, "a circle in soft colours", steps=4)
    _wait_for(page, "done")
    assert _plays(page) == pytest.approx(17 / 8, abs=0.1)
    with urlopen(server[0] + page.get_attribute("#ea-stage a", "href")) as answer:
        assert answer.headers["Content-Type"] == "video/webm"
        made = answer.read()
    assert made.startswith(b"\x1a\x45\xdf\xa3")
    assert b"a circle in soft colours" in made
    page.reload()
    page.wait_for_selector("#ea-width [placeholder='64']")
    page.click("button:has-text('LoRA')")
    page.click("#ea-reuse")
    page.wait_for_function("document.querySelector('#ea-lora-2 input')?.value === 'pastel'")
    weights = [page.input_value(f"#ea-lora-weight-{slot} input[type=number]") for slot in (1, 2)]
    assert [float(weight) for weight in weights] == [0.5, -0.25]


def test_what_a_job_needs_is_told_before_generate(page):
    told = "#ea-forecast span"
    page.wait_for_selector(f"{told} >> text=/^about \\d+\\.\\d GB/")
    page.fill("#ea-frames :is(input, textarea)", "2000")
    page.fill("#ea-window :is(input, textarea)", "17")
    page.wait_for_selector(f"{told} >> text=/ \\d+:\\d\\d min$/")
    page.fill("#ea-width :is(input, textarea)", "70")
    page.wait_for_selector(f"{told}.ea-wrong >> text=multiples of 16")


def test_a_family_narrows_the_models(page):
    _pick(page, "#ea-family", "V5.1 · camera")
    page.wait_for_function("document.querySelector('#ea-model input').value === 'default-camera'")
    page.click("#ea-model input")
    page.wait_for_selector("[role=option]")
    assert [found.get_attribute("aria-label") for found in page.query_selector_all("[role=option]")] == [
        "default-camera",
        "camera",
    ]


def test_a_motion_module_makes_videos_of_an_image_model(page):
    page.click("#ea-advanced button.label-wrap")
    page.wait_for_selector("#ea-motion-module >> text=default cannot use this")
    page.click("#ea-model input")
    page.click("[role=option][aria-label='v1']")
    page.wait_for_selector("#ea-frames [placeholder='1']")
    assert "--checkpoints-dir" in page.inner_text("#ea-transformer-weights")
    _pick(page, "#ea-motion-module", "mm.safetensors")
    page.wait_for_selector("#ea-frames [placeholder='80']")
    for name, value in (("width", "64"), ("height", "64"), ("frames", "4"), ("guidance-rescale", "0.5")):
        page.fill(f"#ea-{name} :is(input, textarea)", value)
    _ask(page, "a motion module", steps=2)
    _wait_for(page, "done")
    assert {"Guidance rescale 0.5", "Motion module mm.safetensors"} <= set(
        page.inner_text("#ea-stage .ea-chips").split("\n")
    )


def test_what_a_model_cannot_use_is_taken_out(page):
    _choose(page, "control")
    page.click("button:has-text('Trajectory')")
    _stroke(page, "#ea-trajectory canvas", [(0.1, 0.8), (0.9, 0.2)])
    page.wait_for_function("document.querySelector('#ea-mode span')?.innerText === 'Control'")
    page.click("#ea-model input")
    page.click("[role=option][aria-label='default']")
    page.wait_for_function("document.querySelector('#ea-mode span')?.innerText === 'Text to video'")


def _stroke(page, canvas, points):
    page.locator(canvas).scroll_into_view_if_needed()
    box = page.locator(canvas).bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def test_a_camera_path_is_built_and_filmed(page):
    _choose(page, "camera")
    page.click("button:has-text('Camera')")
    for _ in range(2):
        page.click("#ea-camera-editor [data-do=add]")
    page.select_option("#ea-camera-editor .ea-part >> nth=0 >> select >> nth=1", "zoom in")
    page.select_option("#ea-camera-editor .ea-part >> nth=1 >> select >> nth=0", "clockwise")
    speed = "#ea-camera-editor .ea-part >> nth=1 >> input >> nth=0"
    page.fill(speed, "0.5")
    page.press(speed, "Tab")
    page.wait_for_function(
        "document.querySelector('#ea-camera :is(input, textarea)').value"
        " === 'pan left + zoom in, then clockwise 0.5'"
    )
    page.wait_for_selector("#ea-mode span >> text=Control")
    _ask(page, "a camera path", steps=2)
    _wait_for(page, "done")
    assert "pan left + zoom in, then clockwise 0.5" in page.inner_text("#ea-stage .ea-chips")


def test_a_trajectory_is_drawn_on_the_reference_and_followed(page, media):
    _choose(page, "control")
    page.click("button:has-text('Pictures')")
    page.set_input_files("#ea-reference input[type=file]", media / "wide.png")
    page.click("button:has-text('Trajectory')")
    page.wait_for_selector("#ea-trajectory img:not([hidden])")
    _stroke(page, "#ea-trajectory canvas", [(0.1, 0.8), (0.4, 0.5), (0.9, 0.2)])
    page.wait_for_function("document.querySelector('#ea-mode span')?.innerText === 'Control'")
    _ask(page, "a drawn path", steps=2)
    _wait_for(page, "done")


def test_edges_of_a_control_video_are_shown_and_used(page, media):
    _choose(page, "control")
    page.click("button:has-text('Control video')")
    page.set_input_files("#ea-control input[type=file]", media / "clip.mp4")
    plain = page.wait_for_selector("#ea-control-preview img").get_attribute("src")
    page.click("#ea-control-kind input")
    page.click("[role=option][aria-label='canny']")
    page.wait_for_function(
        "before => document.querySelector('#ea-control-preview img')?.src !== before", arg=plain
    )
    _ask(page, "edges of a clip", steps=2)
    _wait_for(page, "done")


def test_a_mask_is_painted_on_a_video(page, media):
    page.click("button:has-text('Video and mask')")
    page.set_input_files("#ea-video input[type=file]", media / "clip.mp4")
    page.wait_for_selector("#ea-mask-drawn img:not([hidden])")
    _stroke(page, "#ea-mask-drawn canvas", [(0.3, 0.3), (0.6, 0.4), (0.7, 0.7)])
    page.wait_for_function("document.querySelector('#ea-mode span')?.innerText === 'Masked video'")
    _ask(page, "a green star grows", steps=4)
    _wait_for(page, "done")


def test_a_pair_is_compared_while_it_is_made(page):
    page.fill("#ea-prompt textarea", "a pair of circles")
    page.fill("#ea-steps input[type=number]", "4")
    page.press("#ea-steps input[type=number]", "Tab")
    page.click("role=tab[name='Compare']")
    page.click("#ea-vary-run")
    page.wait_for_selector("#ea-comparison figure >> nth=1")
    page.wait_for_function("document.querySelectorAll('#ea-comparison video').length === 2")
    assert "Seed" in page.inner_text("#ea-comparison table")
    assert page.is_hidden("#ea-stage")


@pytest.mark.parametrize("width", [390, 820, 1024, 1440])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    for tab in ("Batch", "Compare", "Create"):
        page.click(f"role=tab[name='{tab}']")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        assert page.evaluate("document.querySelector('#ea-main').scrollWidth") <= width, tab


def test_the_page_speaks_chinese_and_has_a_dark_side(browser, server):
    page = browser.new_page(locale="zh-CN")
    page.goto(server[0])
    page.wait_for_selector("#ea-generate:has-text('生成')")
    before = page.evaluate("document.body.classList.contains('dark')")
    page.click("#ea-theme")
    assert page.evaluate("document.body.classList.contains('dark')") is not before
    page.close()


def test_the_page_is_there_soon(browser, server):
    address, started = server
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("#ea-generate")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"server up after {started:.1f} s, first paint after {paint / 1000:.2f} s")
    assert Path("/proc/loadavg").exists() is False or paint < 1000 * float(
        os.environ.get("EA_UI_PAINT_SECONDS", "10")
    )
    page.close()
