"""The playground in headless Chromium: it shows, works, and asks for nothing from elsewhere."""

import math
import os
import re
import time
from pathlib import Path

import pytest
from support.serving import PATIENCE_S, serving

pytest_plugins = ["support.browser"]
pytestmark = pytest.mark.slow  # a browser
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

# Where somebody wants to look at them.
PICTURES = os.environ.get("CHARLM_PICTURES")
WINDOWS = {
    "light": {},
    "dark": {"dark": True},
    "phone": {"width": 375, "height": 740},
    "phone-dark": {"width": 375, "height": 740, "dark": True},
}


@pytest.fixture(scope="module")
def server(model):
    with serving(model) as served:
        yield served


def until(page, claim):
    """Waits until the page has it so; playwright's own way is against the page's policy."""
    began = time.monotonic()
    while not page.evaluate(claim):
        assert time.monotonic() - began < PATIENCE_S, claim
        page.wait_for_timeout(20)


def opened(served, browser, **window):
    """The page, ready to be used."""
    page = browser.open(served.url, **window)
    until(page, "document.querySelector('#model').options.length == 1")
    return page


@pytest.fixture
def page(server, browser):
    """The page, which has done nothing wrong when the test is over."""
    yield opened(server, browser)
    assert browser.errors == []
    assert all(url.startswith((server.url, "data:")) for url in browser.requests)


def write(page, prompt="the king", seed="4", length="40"):
    page.fill("#prompt", prompt)
    page.fill("#seed", seed)
    page.evaluate(f"document.querySelector('#max_tokens').value = {length}")
    page.click("#write")
    done(page)


def done(page):
    until(page, "document.querySelector('#stop').disabled && !running")


def text_of(page):
    return page.evaluate("characters.join('')")


def test_it_writes_what_the_model_writes(server, page):
    write(page)
    asked = {"model": "run", "prompt": "the king", "seed": 4, "max_tokens": 40, "echo": True}
    wanted = server.complete(**asked, temperature=0.8)[1]["choices"][0]["text"]
    assert text_of(page) == wanted
    spans = page.locator("#text span")
    assert spans.count() == len(wanted)
    assert page.inner_text("#text").replace("↵", "") == wanted
    assert page.locator("#text .given").count() == len("the king")
    assert re.match(r"40 tokens, [\d,]+/s, \d\.\d\d bits each, seed 4$", page.inner_text("#status"))


def test_surprise_has_a_colour(page):
    write(page)
    bits = page.evaluate("tokens.map((token) => bitsOf(token.logprob))")
    levels = page.evaluate("tokens.map((token) => token.span.className.split(' ')[0])")
    edges = (2, 4, 6, 8, 12)
    assert levels == [f"s{sum(cost >= edge for edge in edges)}" for cost in bits]
    colours = page.evaluate(
        "['s0', 's1', 's5'].map((name) =>"
        " getComputedStyle(document.querySelector(`#scale .${name}`)).backgroundColor)"
    )
    assert len(set(colours)) == 3


def test_alternatives_of_a_character_are_shown_and_gone_on_from(page):
    write(page)
    before = text_of(page)
    page.locator("#text span").nth(20).click()
    assert page.is_visible("#alternatives")
    shares = page.locator("#list small").all_inner_texts()
    assert 10 <= len(shares) <= 11
    assert page.locator("#list .came").count() == 1
    values = [float(re.search(r"[\d.]+", share)[0]) for share in shares]
    assert values == sorted(values, reverse=True)
    page.locator("#list button:not(.came)").first.click()
    done(page)
    assert text_of(page)[:20] == before[:20]
    assert text_of(page)[20] != before[20]
    assert page.input_value("#seed") == "5"
    assert page.is_hidden("#alternatives")


def test_the_keyboard_is_enough(page):
    page.focus("#prompt")
    page.keyboard.type("what say")
    page.keyboard.press("Control+Enter")
    done(page)
    page.locator("#text [tabindex='0']").focus()
    page.keyboard.press("Enter")
    assert page.is_visible("#alternatives")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.number") == "3"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.number") == "2"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#list') != null")
    page.keyboard.press("Escape")
    assert page.is_hidden("#alternatives")
    assert page.evaluate("document.activeElement.dataset.number") == "2"


def test_it_can_be_stopped(page):
    page.evaluate("document.querySelector('#max_tokens').max = 4000")
    page.evaluate("document.querySelector('#max_tokens').value = 4000")
    page.click("#write")
    until(page, "tokens.length > 10")
    page.keyboard.press("Escape")
    done(page)
    assert len(text_of(page)) < 4000
    assert page.is_hidden("#error")


def test_the_sliders_say_where_they_are(page):
    page.locator("#temperature").press("ArrowRight")
    assert page.inner_text("#temperature-value") == "0.85"


def test_an_error_is_told(server, browser):
    page = opened(server, browser)
    write(page, prompt="\N{SNOWMAN}")
    assert "U+2603" in page.inner_text("[role=alert]")
    # Chromium says of itself that a request was refused.
    assert all("400" in error for error in browser.errors)


@pytest.fixture(scope="module")
def byte_run(charlm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    text = "zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich – äöü\n" * 40
    done = charlm("prep", "-", "-o", folder / "data", "--level", "byte", stdin=text)
    assert done.returncode == 0, done.stderr
    small = ("--steps", 60, "--width", 32, "--batch", 4, "--context", 32, "--device", "cpu")
    done = charlm("train", folder / "data", "-o", folder / "run", "--lr", 0.02, *small)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_character_of_several_bytes_costs_them_all(byte_run, browser):
    prompt = "zwölf – ä"
    with serving(byte_run) as served:
        page = opened(served, browser)
        write(page, prompt=prompt)
        asked = {"model": "run", "prompt": prompt, "seed": 4, "max_tokens": 40, "echo": True}
        (wanted,) = served.complete(**asked, temperature=0.8, logprobs=0)[1]["choices"]
    logprobs = wanted["logprobs"]["token_logprobs"]
    assert page.locator("#text .given").count() == len(prompt)
    given = page.evaluate("tokens.filter((one) => one.span.classList.contains('given'))")
    assert sum(one["count"] for one in given) == len(prompt.encode())
    found = page.evaluate("[...tokens, ...(begun ? [begun] : [])]")
    assert sum(one["count"] for one in found) == len(logprobs)
    assert sum(one["logprob"] for one in found) == pytest.approx(sum(logprobs), rel=1e-4)
    drawn = -sum(logprobs[len(prompt.encode()) :]) / math.log(2) / 40
    status = re.match(r"40 tokens, [\d,]+/s, ([\d.]+) bits each", page.inner_text("#status"))
    assert float(status[1]) == pytest.approx(drawn, abs=0.006)
    # What else was likely where it began, by which one can go on.
    page.locator("#text span").nth(2).click()
    assert page.locator("#list .came").count() == 1
    assert browser.errors == []


def test_what_is_left_out_was_not_given(model, browser):
    with serving(model, "--unknown", "skip") as served:
        page = opened(served, browser)
        write(page, prompt="the \N{SNOWMAN}\N{SNOWMAN}king")
        assert text_of(page).startswith("the king")
        assert page.locator("#text .given").count() == len("the king")


def test_a_token_can_be_given(model, browser):
    with serving(model, "--token", "secret") as served:
        page = browser.open(served.url)
        page.wait_for_selector("#token", state="visible")
        page.fill("#token", "secret")
        page.press("#token", "Tab")
        until(page, "document.querySelector('#model').options.length == 1")
        write(page)
        assert len(text_of(page)) == 48


@pytest.mark.parametrize("window", WINDOWS)
def test_everything_can_be_read(server, browser, window):
    """Nothing is cut off at the side, and letters stand out from what is behind them."""
    page = opened(server, browser, **WINDOWS[window])
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{window}-empty.png", full_page=True)
    write(page, length="200")
    page.locator("#text span").nth(30).click()
    above, panel = (page.locator(name).bounding_box() for name in (".chosen", "#alternatives"))
    if "phone" in window:
        assert 0 <= above["y"] <= panel["y"] - above["height"]
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{window}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for name in ("#status", "#write", "#list small", ".s5", ".hint", "label"):
        assert contrast(page, name) >= 4.5, name
    assert browser.errors == []


def contrast(page, name):
    """The contrast of an element's letters as WCAG 2 reckons it, from 1 to 21."""
    letters, behind = page.evaluate(
        """(name) => {
          const element = document.querySelector(name);
          let under = element;
          const clear = "rgba(0, 0, 0, 0)";
          while (getComputedStyle(under).backgroundColor == clear) under = under.parentElement;
          return [getComputedStyle(element).color, getComputedStyle(under).backgroundColor];
        }""",
        name,
    )
    light, dark = sorted((luminance(letters), luminance(behind)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
