"""The pages as a reader meets them: in a real browser, over real runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from tests_dashboard import CONTRAST, EVIL, write_coco

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import expect

TOKEN = "a-token-of-enough-signs"


class Reader:
    """A page of the browser, with what it asked for and what it complained of."""

    def __init__(self, context: Any) -> None:
        self.page = context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None,
        )


@pytest.fixture
def reader(browser: Any) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Reader(context)
    context.close()


def test_a_run_is_watched_from_the_empty_list_to_its_end_and_evil_words_stay_words(world, reader):
    url, _ = world.serve()
    page = reader.page
    page.goto(url)
    expect(page.locator(".empty")).to_contain_text("synapse-mcp run hello greet")

    run_id = world.train(words=EVIL)
    row = page.locator(f'[data-run="{run_id}"]')
    expect(row).to_contain_text("running")
    expect(row.locator("[role=progressbar]")).to_have_attribute("aria-valuenow", "50")
    row.click()

    bar = page.locator(".progress-line [role=progressbar]")
    expect(bar).to_have_attribute("aria-valuenow", "50")
    expect(page.locator(".said")).to_contain_text("train · 4 of 8")
    expect(page.locator(".chart h3")).to_have_text(["loss"])
    expect(page.locator(".chart path.series")).to_have_count(2)
    half = page.locator(".chart path.series").first.get_attribute("d")
    world.gate.touch()

    expect(page.locator(".run-head .state")).to_have_text("succeeded")
    expect(page.locator(".chart line.level").last).to_be_attached()
    assert len(page.locator(".chart path.series").first.get_attribute("d")) > len(half)
    expect(page.locator(".legend")).to_contain_text("validation")
    expect(page.locator(".entry").first).to_have_text(f"printed {EVIL}")
    expect(page.locator(".entry.at-warning")).to_contain_text(EVIL)
    expect(page.locator(".side")).to_contain_text(EVIL)
    expect(page).to_have_title("trainer/train succeeded · Synapse")
    assert page.locator("img[src=x], main script").count() == 0
    assert all(asked.startswith(url) for asked in reader.asked), reader.asked
    assert reader.complaints == []


def test_a_failure_says_what_and_where_and_a_log_is_searched(world, reader):
    url, _ = world.serve()
    page = reader.page
    run_id = world.begin("hello", "misbehave", way="fail")
    world.ended(run_id)
    page.goto(f"{url}#/runs/{run_id}")

    expect(page.locator(".failure")).to_contain_text("asked to fail")
    expect(page.locator(".steps .step")).to_have_count(2)
    page.get_by_label("Search the log").fill("^Traceback")
    expect(page.locator(".entry", has_not_text="Traceback")).to_have_count(0)
    expect(page.locator(".entry").first).to_have_text("Traceback (most recent call last):")
    page.get_by_label("Search the log").fill("(")
    expect(page.locator(".log .note")).to_contain_text("regular expression")
    page.get_by_label("Search the log").fill("")
    page.get_by_label("Least level").select_option("error")
    expect(page.locator(".entry.at-error").last).to_contain_text("step_failed")
    page.goto(f"{url}#/runs/run-nothing")
    expect(page.locator(".failure")).to_contain_text("run-nothing")


def test_curves_are_read_with_the_keyboard(world, reader):
    url, _ = world.serve()
    world.gate.touch()
    run_id = world.train()
    world.ended(run_id)
    page = reader.page
    page.goto(f"{url}#/runs/{run_id}")
    drawing = page.locator(".drawing")

    drawing.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")

    expect(drawing).to_have_attribute(
        "aria-label", "Curves of loss over epoch, at epoch 7: train 0.1429, validation 0.1714, test 0.2"
    )
    drawing.hover(position={"x": 60, "y": 60})
    expect(page.locator(".chart h3")).to_contain_text("at epoch 1")


def test_every_page_fits_and_can_be_read_wide_and_narrow_light_and_dark(world, browser, tmp_path):
    url, _ = world.serve()
    world.gate.touch()
    for run_id in (world.train(words="word" * 40), world.begin("hello", "misbehave", way="fail")):
        world.ended(run_id)
    write_coco(tmp_path / "coco")
    pages = ["#/runs", f"#/runs/{run_id}", "#/models", "#/deployments", f"#/datasets?path={tmp_path}/coco"]

    for width, scheme in itertools.product((1280, 390), ("light", "dark")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        reader = Reader(context)
        page = reader.page
        for address in pages:
            page.goto(url + address)
            expect(page.locator("h1")).to_be_visible()
            expect(page.locator(".loading")).to_have_count(0)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (address, width)
            weak = page.evaluate(CONTRAST)
            assert weak == [], (address, scheme)
        picture = page.locator(".picture img")
        expect(picture).to_be_visible()
        page.wait_for_function("document.querySelector('.picture img').naturalWidth > 100")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).map(Number)")
        assert (sum(paper[:3]) > 600) is (scheme == "light")
        assert reader.complaints == []
        context.close()


def test_a_server_that_is_gone_is_told_and_found_again(world, reader):
    url, service = world.serve()
    port = int(url.rstrip("/").rpartition(":")[2])
    page = reader.page
    page.goto(url)
    expect(page.locator("#line")).to_have_text("connected")

    service.stop()
    expect(page.get_by_role("alert")).to_contain_text("Reconnecting")
    expect(page.locator("#line")).to_have_text("reconnecting")
    world.begin("hello", "greet")
    world.serve(port=port)

    expect(page.locator("#line")).to_have_text("connected")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("[data-run]")).to_contain_text("greet")


def test_the_token_is_asked_for_once(world, reader):
    url, _ = world.serve(TOKEN)
    page = reader.page
    page.goto(url)
    page.get_by_label("The token").fill("something else altogether")
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")

    page.get_by_label("The token").fill(TOKEN)
    page.get_by_role("button").click()

    expect(page.locator(".empty")).to_contain_text("No runs yet")
    page.reload()
    expect(page.locator(".empty")).to_contain_text("No runs yet")
    assert not any(TOKEN in asked for asked in reader.asked)
    assert page.evaluate("document.cookie") == ""
