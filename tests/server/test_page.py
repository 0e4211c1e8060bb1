"""The page in a browser: Chromium, driven by Playwright. No request leaves this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("RCC_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the page is not tested")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: the page is not tested in a browser")

EVIL = """<!doctype html><title>Prices</title><h1>Prices</h1><p>The bell costs 9 euros.</p>
<p>&lt;script&gt;document.title = "owned"&lt;/script&gt; &lt;img src=x onerror="document.title = 'owned'"&gt;</p>
<script>document.title = "owned"</script><img src="http://evil.example/x.png">"""
WAIT = 180_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--no-first-run", "--disable-sync"]  # fmt: skip
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


class Visit:
    """A page that was opened, with what it asked for and what went wrong in it."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda told: self.faults.append(told.text) if told.type == "error" else None)
        self.url = url
        self.page.goto(f"{url}/")

    def ask(self, question: str) -> None:
        self.page.fill("#question", question)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(f".turn:has-text({question!r}) .facts")


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    visits: list[Visit] = []

    def begun(server: Any, *, ready: bool = True, **options: Any) -> Visit:
        visits.append(Visit(browser, server.url, **options))
        if ready:
            visits[-1].page.wait_for_selector("body.ready")
        return visits[-1]

    yield begun
    for each in visits:
        each.context.close()
        assert [fault for fault in each.faults if "401" not in fault] == []
        hosts = {urlsplit(url).netloc for url in each.asked if not url.startswith(("data:", "blob:"))}
        assert hosts == {urlsplit(each.url).netloc}


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_from_the_first_file_to_the_cited_span(visit, start, tmp_path):
    server = start(None)
    page = (seen := visit(server)).page
    leave = write(
        tmp_path, "leave.md", "# Leave\n\nThe warden approves leave. 🌊 A request is sent two weeks before.\n"
    )
    evil, noise = write(tmp_path, "evil.html", EVIL), write(tmp_path, "noise.bin", bytes(range(256)) * 40)
    page.click("text=Choose files")
    page.fill("dialog input", "handbook")
    with page.expect_file_chooser() as chooser:
        page.click("dialog >> text=Choose files")
    chooser.value.set_files([leave, evil, noise])
    # Progress of every file, and why one was skipped.
    page.wait_for_selector(".job:has-text('Added')")
    page.wait_for_selector(".states .added:has-text('leave.md')")
    assert "noise.bin" in page.inner_text(".states .skipped") and "skipped" in page.inner_text(".states .skipped")
    page.wait_for_selector(".files li:has-text('leave.md')")
    assert page.inner_text(".cards").split()[:2] == ["Documents", "2"]
    # Ask: the answer streams and is cited; the document opens at the span.
    page.click("#tab-ask")
    seen.ask("Who approves leave?")
    assert page.is_checked("#grounded")
    assert "confident" in page.inner_text(".facts") and "first word" in page.inner_text(".facts")
    if page.query_selector(".places a"):
        page.click(".places a >> nth=0")
        page.wait_for_selector("#cited")
        assert page.inner_text("#cited").strip()
    # A place behind a character that JavaScript counts twice is still the right one.
    text = server.reader.text("handbook", "leave.md")
    at = text.index("two weeks")
    page.goto(f"{server.url}/#/handbook/leave.md?start={at}&end={at + 9}")
    page.locator("#cited", has_text="two weeks").wait_for()
    assert page.inner_text("#cited") == "two weeks"
    box = page.locator("#cited").bounding_box()
    assert (
        box
        and box["y"] > 0
        and page.locator("#cited").evaluate("e => getComputedStyle(e).backgroundColor") != "rgba(0, 0, 0, 0)"
    )
    # A document full of HTML and scripts is text.
    page.goto(f"{server.url}/#/handbook/evil.html")
    page.wait_for_selector(".text:has-text('The bell costs 9 euros.')")
    assert "<script>" in page.inner_text(".text") and page.title() != "owned"
    assert page.query_selector(".text script, .text img") is None


def test_documents_and_collections_are_removed_and_renamed_after_a_question(visit, start):
    server = start()
    page = visit(server).page
    page.click(".collections a")
    page.click("#tab-documents")
    page.click("button[title='Remove ferry.md']")
    page.click("dialog >> text=Cancel")
    assert len(server.reader.documents("handbook")) == 3
    page.click("button[title='Remove ferry.md']")
    page.click("dialog >> text=Remove >> nth=-1")
    page.wait_for_selector(".files li:has-text('ferry.md')", state="detached")
    assert [record.id for record in server.reader.documents("handbook")] == ["leave.md", "people/pilot.txt"]
    page.click("button[title='Rename handbook']")
    page.fill("dialog input", "guide")
    page.keyboard.press("Enter")
    page.wait_for_selector(".collections a:has-text('guide')")
    page.click("button[title='Remove guide']")
    page.click("dialog button.danger")
    page.wait_for_selector(".welcome")
    assert server.reader.collections() == []


def test_a_changed_file_is_added_again_and_a_folder_keeps_its_paths(visit, start, tmp_path):
    server = start()
    page = visit(server).page
    page.click(".collections a")
    page.click("#tab-documents")
    with page.expect_file_chooser() as chooser:
        page.click("text=Choose files")
    chooser.value.set_files([write(tmp_path, "ferry.md", "The ferry is out of order.")])
    page.wait_for_selector(".states .replaced:has-text('ferry.md')")
    write(tmp_path, "box/sub/bell.md", "The bell rings twice.")
    with page.expect_file_chooser() as chooser:
        page.click("text=Choose a folder")
    chooser.value.set_files(tmp_path / "box")
    page.wait_for_selector(".files li:has-text('box/sub/bell.md')")
    assert server.reader.text("handbook", "ferry.md") == "The ferry is out of order."


def test_with_the_keyboard_alone_on_a_phone(visit, server):
    page = visit(server, viewport={"width": 390, "height": 844}, has_touch=True).page

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    def focused() -> str:
        return page.evaluate(
            "document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || document.activeElement.id"
        )

    press("Tab")
    assert "Skip" in focused()
    press("Tab")
    assert page.evaluate("document.activeElement.id") == "menu"
    press("Enter")
    page.wait_for_selector("body.menu")
    # The list of collections comes from the server, which may be busy.
    page.wait_for_selector(".collections a:has-text('handbook')")
    for _ in range(12):
        if "handbook" in focused():
            break
        press("Tab")
    assert "handbook" in focused()
    press("Enter")
    page.wait_for_selector("#question")
    page.wait_for_selector("body:not(.menu)")
    press("/")
    page.keyboard.type("Who approves leave?")
    press("Enter")
    page.wait_for_selector(".turn .facts")
    # Nothing is wider than the phone.
    assert page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll('body *')].every(e => e.closest('#side') || e.closest('.sr') || e.getBoundingClientRect().right <= innerWidth + 1)"
    )
    page.goto(f"{page.url.split('#')[0]}#/handbook/leave.md?start=0&end=7")
    page.wait_for_selector("#cited")
    press("Escape")
    page.wait_for_selector("#document", state="hidden")


def test_dark_mode_and_a_key(visit, start):
    server = start(api_key="secret")
    page = visit(server, ready=False, color_scheme="dark").page
    page.fill("dialog input", "secret")
    page.keyboard.press("Enter")
    page.wait_for_selector(".collections a:has-text('handbook')")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
