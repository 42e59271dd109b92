"""The page of a comparison in a browser: sorting, filters, utterances and keys; on paper, on a phone, in the dark.

Needs a Chromium and the extra ``browser``; skipped where one of them is missing.
"""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from matplotlib.image import imread

from asr_rescore.report import ChoiceCosts, Experiment, to_html
from asr_rescore.report.choice_costs import COSTS_FILE, write_choice_costs
from made_reports import out_dir

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright to drive a browser: pip install '.[browser]'"
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium, which `apt-get install chromium` installs"),
]
SAID = {
    "a-1": "the cat sat on the mat all day long while the dog slept in the other room near the window",
    "a-2": "on the mat",
    "b-1": "all day long",
}
BEFORE = {**SAID, "a-1": SAID["a-1"].replace("cat", "hat"), "a-2": "on mat"}
STUDENT = {**SAID, "a-2": "on the mat now", "b-1": "all way long"}
TEACHER = {**SAID, "a-2": "on a mat"}
SPEAKERS = {"a-1": "ann", "a-2": "ann", "b-1": "bob"}


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A page of two systems and two sets, with every plot that transcripts alone give."""
    folder = tmp_path_factory.mktemp("exp")
    dirs = []
    for system, after, size in (("student", STUDENT, 1000), ("teacher", TEACHER, 5000)):
        for data in ("dev", "eval"):
            dirs.append(out_dir(folder / system / f"decode_tg_{data}", SAID, BEFORE, after, size, speakers=SPEAKERS))
    words = {"old LM": ((1.0, 2.0, 0.5), (1.0, 4.0, 0.8, 2.5, 0.5))}
    costs = ChoiceCosts({"acoustic": (100.0, 97.5), "old LM": (3.5, 8.8), "student": (30.0, 20.0)}, words)
    write_choice_costs(folder / "student/decode_tg_eval/scoring_kaldi" / COSTS_FILE, [("a-2", costs)])
    (folder / "student/vocab.txt").write_text("</s>\n<unk>\nall\nday\nlong\non\nthe\nmat\n")
    (folder / "student/unk_probs.txt").write_text("<unk>\ncat 1.0\n")
    (folder / "student/log.jsonl").write_text('{"epoch": 1.0, "valid_ppl": 90.5}\n{"epoch": 2.0, "valid_ppl": 70.25}\n')
    path = folder / "report.html"
    path.write_text(to_html(Experiment.read(dirs)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page in a browser, and all that its console said and that it tried to load."""

    def __init__(self, browser, file: Path, address: str = "", **options):
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url.split("#")[0]))
        self.page.goto(f"file://{file}{address}")

    def texts(self, selector: str) -> list[str]:
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def rows(self, selector: str) -> list[list[str]]:
        """The cells of a table."""
        rows = self.page.locator(f"{selector} tr")
        return [[text.strip() for text in row.locator("th, td").all_inner_texts()] for row in rows.all()]

    def close(self) -> None:
        assert self.problems == []
        assert len(self.requests) == 1, "the page is alone"
        self.context.close()


@pytest.fixture
def opened(browser, file) -> Iterator[Opened]:
    page = Opened(browser, file)
    yield page
    page.close()


def test_a_click_sorts_the_table_up_and_down(opened):
    head = opened.page.locator("#summary thead button", has_text="parameters")
    names = "#summary tbody th"
    head.click()
    assert opened.texts(names)[:2] == ["student", "teacher best"]
    head.click()
    assert opened.page.locator("#summary th[aria-sort=descending]").count() == 1
    sizes = [text for text in opened.texts("#summary tbody tr td:nth-last-child(3)") if text != "–"]
    assert sizes == ["5,000", "1,000"]


def test_filters_and_search_narrow_the_list(opened):
    listed = "#list tbody button"
    assert opened.texts(listed) == ["a-1", "a-2"], "changed by the teacher, which is best"
    opened.page.select_option("#system", "student")
    opened.page.select_option("#filter", "worse")
    assert opened.texts(listed) == ["b-1"]
    opened.page.select_option("#filter", "all")
    assert opened.texts("#count") == ["3 of 3 utterances"]
    opened.page.fill("#query", "MAT now")
    assert opened.texts(listed) == []
    opened.page.fill("#query", "mat")
    assert opened.texts(listed) == ["a-1", "a-2"]


def test_the_map_has_a_bar_for_each_utterance(opened):
    opened.page.select_option("#system", "student")
    opened.page.select_option("#filter", "all")
    bars = opened.page.locator("#map i")
    kinds = [bar.get_attribute("class").split() for bar in bars.all()]
    assert [kind[0] for kind in kinds] == ["fewer", "same", "more"]
    assert [bar.evaluate("bar => bar.style.height") for bar in bars.all()] == ["0%", "100%", "100%"]
    bars.nth(2).click()
    assert opened.page.url.endswith("b-1")
    assert bars.nth(2).get_attribute("class") == "more current"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("errors>0 words<=3", ["a-2", "b-1"]),
        ("fixed<0", ["b-1"]),
        ("mat fixed>=1", ["a-1"]),
        ("before=1 wer>33.3", ["a-2"]),
        ("Errors>1", []),
        ("errors>", []),  # no condition, but text that nobody said
    ],
)
def test_a_search_with_conditions(opened, query, found):
    opened.page.select_option("#system", "student")
    opened.page.select_option("#filter", "all")
    opened.page.fill("#query", query)
    assert opened.texts("#list tbody button") == found


def test_an_utterance_shows_words_costs_and_why(opened):
    opened.page.select_option("#set", label="decode_tg_eval")
    opened.page.select_option("#system", "student")
    opened.page.click("#list tbody button:text-is('a-2')")
    assert opened.texts("#utterance h3") == ["a-2, speaker ann"]
    assert opened.rows("#utterance table") == [
        ["reference", "on", "the", "mat", "", "end"],
        ["first pass", "on", "—", "mat", "", ""],
        ["cost: old LM", "1.0", "", "2.0", "", "0.5"],
        ["student", "on", "✓ the", "mat", "+now", ""],
        ["cost: old LM", "1.0", "4.0", "0.8", "2.5", "0.5"],
        ["teacher", "on", "a", "mat", "", ""],
    ]
    assert opened.texts("#utterance .cheaper") == ["0.8"], "1.2 cheaper than in the first pass's hypothesis"
    assert opened.texts("#utterance .why") == [
        "Why: with its weights, student finds its hypothesis 7.2 cheaper than that of the first pass: "
        "student −10.0, acoustic −2.5, old LM +5.3."
    ]
    assert opened.texts("#utterance .oov") == ["+now", "a"], "cat is in the student's class, now is unknown"
    opened.page.select_option("#system", "teacher")
    assert opened.page.locator("#utterance .costs, #utterance .why, #utterance .oov").count() == 0


def test_keys_go_to_utterances_and_errors(opened):
    opened.page.select_option("#filter", "all")
    opened.page.locator("#utterances h2").click()
    opened.page.keyboard.press("n")
    assert opened.texts("#utterance h3") == ["a-2, speaker ann"]
    assert "#utt=decode_tg_" in opened.page.url
    opened.page.keyboard.press("e")
    assert opened.page.evaluate("document.activeElement.textContent") == "a"
    opened.page.keyboard.press("p")
    assert opened.texts("#utterance h3") == ["a-1, speaker ann"]
    opened.page.keyboard.press("/")
    opened.page.keyboard.type("long")
    assert opened.texts("#list tbody button") == ["a-1", "b-1"], "typed into the search"


def test_an_address_opens_its_utterance(browser, file):
    page = Opened(browser, file, f"#utt={quote('decode_tg_eval/b-1', safe='')}")
    assert page.texts("#utterance h3") == ["b-1, speaker bob"]
    assert page.page.input_value("#filter") == "all", "it did not change"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_plots_can_be_read_in_light_and_dark(browser, file, scheme):
    page = Opened(browser, file, color_scheme=scheme)
    colour = "(name, selector) => getComputedStyle(document.querySelector(selector))[name]"
    paper = page.page.evaluate(f"({colour})('backgroundColor', 'body')")
    for selector, name in (("body", "color"), (".plot text", "fill"), (".remark", "color"), (".sub", "color")):
        ink = page.page.evaluate(f"({colour})('{name}', '{selector}')")
        assert contrast(ink, paper) >= 4.5, (selector, ink, paper)
    page.close()


def test_nothing_in_a_plot_is_darker_than_dark_paper(browser, file):
    page = Opened(browser, file, color_scheme="dark")
    pixels = imread(io.BytesIO(page.page.locator(".plot").first.screenshot()), format="png")[:, :, :3]
    assert pixels.max(axis=2).min() >= 0x17 / 255, "ticks and rings, too, have the colour of the text"
    page.close()


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours ``rgb(r, g, b)``, as WCAG defines it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.strip("rgb()").split(",")[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def test_a_phone_scrolls_in_one_direction_only(browser, file):
    page = Opened(browser, file, viewport={"width": 390, "height": 800}, has_touch=True)
    assert page.page.evaluate("document.documentElement.scrollWidth") == 390
    page.page.select_option("#system", "student")
    assert page.page.locator("#utterance table").count() > 1, "a long utterance goes on below"
    assert page.page.evaluate("document.documentElement.scrollWidth") == 390
    right_ends = "elements => elements.map(element => element.getBoundingClientRect().right)"
    for selector in ("#list td", "caption"):
        assert max(page.page.locator(selector).evaluate_all(right_ends)) <= 390, f"{selector} can be read as it stands"
    page.page.locator("#summary thead button").first.tap()
    assert page.page.locator("#summary th[aria-sort]").count() == 1
    page.close()


def test_paper_has_all_but_the_controls(browser, file):
    page = Opened(browser, file, color_scheme="dark")
    page.page.emulate_media(media="print")
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not any(page.page.locator(selector).first.is_visible() for selector in ("nav", "#filters", "#list", ".copy"))
    assert page.page.locator("#details pre").first.is_visible(), "what is folded away on a screen"
    page.close()


def test_a_large_page_answers_at_once(browser, tmp_path):
    draw = random.Random(1)
    words = [f"word{number}" for number in range(300)]
    said = {f"utt{number:04}": " ".join(draw.choices(words, k=20)) for number in range(2000)}
    after = {utt: text.replace("word1", "word2") for utt, text in said.items()}
    out = out_dir(tmp_path / "lm/decode_tg_eval", said, said, after)
    path = tmp_path / "report.html"
    path.write_text(to_html(Experiment.read([out])), encoding="utf-8")
    page = Opened(browser, path)
    page.page.fill("#query", "utt1234")
    page.page.select_option("#filter", "all")
    assert page.texts("#count") == ["1 of 2000 utterances"]
    page.page.fill("#query", "")
    assert page.page.locator("#list tbody tr").count() == 30, "the others follow when they are asked for"
    page.page.click("#more")
    assert page.page.locator("#list tbody tr").count() == 330
    page.close()
