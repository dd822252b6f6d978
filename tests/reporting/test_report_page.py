"""A report in a browser: it shows what there is, obeys mouse and keyboard, and asks for nothing."""

import base64

import pytest

from charlm.reporting.facts import gather
from charlm.reporting.page import page
from charlm.reporting.source import open_run

pytest_plugins = ["support.browser"]
pytestmark = pytest.mark.slow  # a browser


@pytest.fixture(scope="module")
def facts(model):
    return gather(open_run(model, None))


@pytest.fixture
def shown(browser, tmp_path):
    """Opens the page of some facts; nothing went wrong in it, and nothing left it."""
    path = tmp_path / "report.html"

    def show(facts, **how):
        path.write_text(page(facts))
        return browser.open(path.as_uri(), **how)

    yield show
    assert browser.errors == []
    assert set(browser.requests) == {path.as_uri()}


@pytest.mark.parametrize("how", [{}, {"dark": True}, {"width": 360, "height": 740}], ids=str)
def test_it_shows_everything_and_fits(shown, facts, how):
    opened = shown(facts, **how)
    assert "run" in opened.title()
    for chart in ("curves", "memory-chart", "gradient-chart"):
        assert opened.locator(f"#{chart} svg polyline").count() >= 1
    assert opened.locator("#samples-list li").count() == len(facts["samples"])
    pieces = facts["passage"]["pieces"]
    for text in ("passage-text", "units-text"):
        assert opened.locator(f"#{text} > span").count() == len(pieces)
    assert opened.locator("#settings-groups tr").count() > 30
    assert "charlm train" in opened.locator("#command").inner_text()
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Every part is there to be seen, and none is wider than the page.
    for section in opened.locator("section").all():
        box = section.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= opened.viewport_size["width"]


def test_dark_is_dark(shown, facts):
    ink = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(shown(facts, dark=True).evaluate(ink)) < 60
    assert min(shown(facts).evaluate(ink)) > 200


def test_a_character_under_the_mouse_tells_its_probability(shown, facts):
    opened = shown(facts)
    place = next(i for i, piece in enumerate(facts["passage"]["pieces"]) if piece[1] > 0.7)
    character, nats, likeliest = facts["passage"]["pieces"][place]
    opened.locator("#passage-text > span").nth(place).hover()
    readout = opened.locator("#passage-readout")
    said = readout.inner_text()
    assert f"{nats / 0.6931471805599453:.2f} bits" in said
    assert ("a space" if character == " " else character) in said
    assert readout.locator("li").count() == len(likeliest)
    assert opened.locator("#passage-text .at").count() == 1
    assert opened.locator("#passage-text [class*=hot-]").count() > 0


def test_the_arrow_keys_go_through_the_passage(shown, facts):
    opened = shown(facts)
    at = "[...document.querySelectorAll('#passage-text > span')].findIndex(s => s.matches('.at'))"
    opened.locator("#passage-text").focus()
    assert opened.evaluate(at) == 0
    for key, place in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        opened.keyboard.press(key)
        assert opened.evaluate(at) == place
    opened.keyboard.press("ArrowDown")
    line = [piece[0] for piece in facts["passage"]["pieces"]].index("\n")
    assert opened.evaluate(at) == line + 2
    opened.keyboard.press("ArrowUp")
    assert opened.evaluate(at) == 1
    opened.keyboard.press("End")
    assert opened.evaluate(at) == len(facts["passage"]["pieces"]) - 1
    assert "the end of a line" in opened.locator("#passage-readout").inner_text()


def colours(opened):
    return opened.evaluate(
        "[...document.querySelectorAll('#units-text > span')].map(s => s.className)"
    )


def test_a_unit_is_chosen_by_mouse_and_by_keyboard(shown, facts):
    opened = shown(facts)
    name, slider = opened.locator("#units-name"), opened.locator("#units-slider")
    chosen = "document.querySelector('#units-name').selectedOptions[0].textContent"
    units = facts["units"]
    strongest = max(units["tracking"], key=lambda each: abs(each[2]))
    assert opened.evaluate(chosen) == units["names"][strongest[1]]
    name.select_option("5")
    assert slider.input_value() == "5"
    before = colours(opened)
    assert any("hot-" in one for one in before)
    assert any("cold-" in one for one in before)
    slider.focus()
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate(chosen) == units["names"][6]
    assert colours(opened) != before
    opened.locator("#units-before").click()
    assert opened.evaluate(chosen) == units["names"][5]
    assert colours(opened) == before
    opened.locator("#units-after").focus()
    opened.keyboard.press("Enter")
    assert opened.evaluate(chosen) == units["names"][6]
    what, unit, _ = units["tracking"][-1]
    opened.locator("#units-tracking").select_option(label=next(
        label for label in opened.locator("#units-tracking option").all_inner_texts()
        if label.startswith(f"{what}: ")
    ))  # fmt: skip
    assert opened.evaluate(chosen) == units["names"][unit]


def test_a_units_colours_are_its_values(shown, facts):
    """Red where it is highest and blue where it is lowest, and the value is told."""
    opened = shown(facts)
    units, count = facts["units"], len(facts["passage"]["pieces"])
    levels = base64.b64decode(units["levels"])[7 * count : 8 * count]
    opened.locator("#units-name").select_option("7")
    found = colours(opened)
    highest, lowest = levels.index(255), levels.index(0)
    assert "hot-4" in found[highest]
    assert "cold-4" in found[lowest]
    opened.locator("#units-text > span").nth(highest).hover()
    assert f"{units['high'][7]:.3f}" in opened.locator("#units-readout").inner_text()


def test_curves_are_chosen_and_read(shown, facts):
    opened = shown(facts)
    first = opened.locator("#curves polyline").first.get_attribute("points")
    opened.locator("#curves-across").select_option("steps")
    assert opened.locator("#curves polyline").first.get_attribute("points") != first
    assert "updates" in opened.locator("#curves .keys").inner_text()
    opened.locator("#curves svg").focus()
    opened.keyboard.press("Home")
    train = facts["curves"][0]
    said = opened.locator("#curves .keys").inner_text()
    assert f"at {train['steps'][0]:g} updates" in said
    assert f"training {train['bits'][0]:.4g}".rstrip("0") in said.replace("\n", " ")
    box = opened.locator("#curves svg").bounding_box()
    opened.mouse.move(box["x"] + box["width"] - 12, box["y"] + 50)
    last = facts["curves"][1]["steps"][-1]  # a run ends with a validation
    assert f"at {last:g} updates" in opened.locator("#curves .keys").inner_text()
    opened.locator("#curves-up").select_option("gradient")
    assert opened.locator("#curves polyline").count() == 1


def test_the_keyboard_reaches_every_control(shown, facts):
    opened = shown(facts)
    reached = set()
    for _ in range(40):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {
        "curves-up", "curves-across", "passage-text", "units-tracking", "units-name",
        "units-before", "units-slider", "units-after", "units-text", "command", "svg", "A",
    } <= reached  # fmt: skip


def test_evil_text_is_shown_as_text(shown, facts):
    evil = "</script><script>document.title='owned'</script><img src=x onerror=document.title='o'>"
    odd = "\x1b[2J\u202e\udce9\0"
    pieces = [[evil, 1.0, []], [odd, 2.0, []], ["", 0.5, []]]
    opened = shown(facts | {
        "name": evil,
        "samples": [{"text": evil + odd, "steps": 1, "bits": 1.0, "best": True}],
        "passage": facts["passage"] | {"pieces": pieces},
        "settings": [[evil, [[evil, evil]]]],
        "command": evil,
        "units": None,
        "memory": None,
        "missing": {"units": evil, "memory": evil},
    })  # fmt: skip
    assert opened.title() == f"{evil}: charlm report"
    assert opened.locator("img").count() == 0
    assert opened.locator("script").count() == 2
    assert evil in opened.locator("#samples-list pre").inner_text()
    assert evil in opened.locator("#memory-note").inner_text()
    assert not opened.locator("#units-body").is_visible()
    shown_odd = opened.locator("#passage-text > span").nth(1).inner_text()
    assert shown_odd == "\u241b[2J\\u202e\\xe9\u2400"
