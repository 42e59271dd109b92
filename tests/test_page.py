"""The page of a comparison: its parts, what is in them, and that nothing in a word becomes part of the page."""

from __future__ import annotations

import json
import random
import shutil

import pytest

from asr_rescore.report import ChoiceCosts, Comparison, Experiment, PublishedRow, ReportWarning, to_html
from asr_rescore.report.choice_costs import COSTS_FILE, write_choice_costs
from asr_rescore.report.utterances import edits, utterance_data
from asr_rescore.report.word_changes import NOTHING, WordChanges, aligned
from made_reports import FROZEN, Page, errors, out_dir, report

REFERENCES = {"a-1": "the cat sat", "a-2": "on the mat", "b-1": "all day long"}
BEFORE = {"a-1": "a cat sat", "a-2": "on mat", "b-1": "all day long"}
AFTER = {"a-1": "the cat sat down", "a-2": "on the mat", "b-1": "all way long"}
SPEAKERS = {"a-1": "ann", "a-2": "ann", "b-1": "bob"}
COST_PARTS = {"acoustic": (10.0, 9.5), "old LM": (10.0, 10.25)}
# In tenths of nats: the difference of each part, and what each word costs in both hypotheses.
STUDENT_COSTS = [[["acoustic", "-5"], ["old LM", "2"]], [["old LM", "10 20 30 40", "10 20 30 2 40"]]]
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Experiment:
    folder = tmp_path_factory.mktemp("exp")
    dev = out_dir(
        folder / "student/decode_tg_dev", REFERENCES, BEFORE, REFERENCES, source="tuned on data/dev", tuned_here=True
    )
    test = out_dir(folder / "student/decode_tg_eval", REFERENCES, BEFORE, AFTER, speakers=SPEAKERS)
    teacher = out_dir(folder / "teacher/decode_tg_eval", REFERENCES, BEFORE, REFERENCES, 5000, speakers=SPEAKERS)
    log = '{"epoch": 1.0, "valid_ppl": 90.5}\n{"epoch": 2.0, "valid_ppl": 70.25}\n'
    (folder / "student/log.jsonl").write_text(log)
    for lmwt in (13, 15):
        (teacher / f"wer_{lmwt}_0.5").write_text("%WER 30.00 [ 3 / 10 ]\n")
    for job, seconds in enumerate((1.0, 0.5), 1):
        (teacher / f"job.{job}.json").write_text(f'{{"seconds": {seconds}}}\n')
    (folder / "student/vocab.txt").write_text("</s>\n<unk>\ncat\non\nthe\n")
    (folder / "student/unk_probs.txt").write_text("<unk>\nmat 1.0\n")
    costs = ChoiceCosts(COST_PARTS, {"old LM": ((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 0.25, 4.0))})
    entries = {"a-1": costs, "a-2": ChoiceCosts({}, {"old LM": ((1.0,), (1.0,))})}  # another number of words
    write_choice_costs(test / "scoring_kaldi" / COSTS_FILE, entries.items())
    return Experiment.read([dev, test, teacher], [PublishedRow("paper", "12M", "", {"eval": "6.30"})])


@pytest.fixture(scope="module")
def page(experiment) -> Page:
    return Page(to_html(experiment))


def test_what_would_be_empty_on_paper_is_not_printed(page):
    """Browsers print no background colours, and the map has nothing else."""
    _, _, print_rules = page.root.all("style")[0].raw.partition("@media print {")
    [hidden] = [line for line in print_rules.splitlines() if "nav," in line]
    assert "#map," in hidden and hidden.endswith("{ display: none; }")


def test_the_page_needs_nothing_else_and_each_id_is_there_once(page):
    assert page.fetched == page.handlers == []
    assert len(page.ids) == len(set(page.ids))
    assert "default-src 'none'" in str([meta.attributes for meta in page.root.all("meta")])
    assert {style.raw.count("url(") + style.raw.count("@import") for style in page.root.all("style")} == {0}


def test_the_answer_comes_first(page, experiment):
    assert page.root.one("p", **{"class": "answer"}).text == experiment.sentence.replace("\u00a0", " ")
    sections = [section.attributes["id"] for section in page.root.all("section")]
    assert sections == ["systems", "diagnosis", "significance", "utterances", "words", "details"]
    links = [link.attributes["href"] for link in page.root.one("nav").all("a")]
    assert links == [f"#{section}" for section in sections]


def test_the_table_has_a_row_for_each_system_and_values_to_sort_by(page):
    table = page.root.one("table", id="summary")
    rows = {row[0]: row[1:] for row in table.rows()}
    assert rows["system"] == ["dev: decode_tg_dev", "eval: decode_tg_eval", "parameters", "valid ppl", "s/utt"]
    assert [*rows][1:] == ["first pass", "student", "teacher best", "N-best oracle", "lattice oracle", "paper"]
    assert [cell.split()[0] for cell in rows["student"]] == ["0.00*", "22.22", "1,000", "50.00", "–"]
    assert rows["paper"] == ["–", "6.30", "12M", "–", "–"]
    assert rows["teacher best"][0] == "–", "it was not run on dev"
    assert rows["teacher best"][-1] == "0.5", "1.5 seconds for three utterances"
    values = [cell.attributes["data-value"] for cell in table.all("tr")[2].all("td")]
    assert [float(value) for value in values[:-1]] == pytest.approx([0, 200 / 9, 1000, 50])
    assert values[-1] == "", "an earlier version did not note how long its jobs took"


@pytest.mark.parametrize(("after", "tags"), [(1, ["best"]), (4, []), (5, [])])
def test_only_a_system_with_a_gain_is_marked_as_the_best(after, tags):
    experiment = Experiment.of(Comparison.of([report(first_pass=errors(4), rescored=errors(after), **FROZEN)]))
    systems = Page(to_html(experiment)).root.one("section", id="systems")
    assert [tag.text for tag in systems.all("span", **{"class": "tag"})] == tags


def test_parts_of_one_decode_directory_are_named_once():
    parts = [report(data=data) for data in ("dev_a", "dev_b")]
    page = Page(to_html(Experiment.of(Comparison.of(parts))))
    assert page.root.one("table", id="summary").rows()[0][1:3] == ["decode_tg_dev (dev_a)", "decode_tg_dev (dev_b)"]


def test_a_plot_is_described_and_takes_the_colours_of_the_page(page):
    figures = page.root.one("section", id="systems").all("figure")
    assert [figure.one("strong").text for figure in figures] == [
        *("WER by system.", "Size and WER.", "Training.", "LMWT and word insertion penalty."),
        "Utterances before and after.",
    ]
    assert all(figure.one("div", role="img").attributes["aria-label"] for figure in figures)
    drawn = figures[0].one("svg")
    assert {"first pass", "student", "teacher"} <= {text.text for text in drawn.all("text")}


def test_each_system_is_compared_with_the_first_pass_and_the_best(page):
    section = page.root.one("section", id="significance")
    captions = [table.one("caption").text for table in section.all("table")]
    compared = "Each system compared with the first pass"
    assert captions == [compared, compared, "teacher, which has the fewest errors, compared with each other system"]
    header, student, _ = section.all("table")[1].rows()
    assert "by 2 speakers" in header
    assert student[:2] == ["student", "+0.00"]


def test_utterances_are_stored_as_what_differs_from_the_reference(page, experiment):
    data = json.loads(page.root.one("script", id="data").raw)
    assert data == utterance_data(experiment)
    [dev, test] = data["sets"]
    assert (dev["name"], dev["rows"]) == ("decode_tg_dev", ["first pass", "student"])
    assert test["rows"] == ["first pass", "student", "teacher"]
    assert test["utts"] == [
        ["a-1", "ann", "the cat sat", ["0=a", "3+down", ""], [0, 1, 2], [None, STUDENT_COSTS, None]],
        ["a-2", "ann", "on the mat", ["1-", ""], [0, 1, 1], None],
        ["b-1", "bob", "all day long", ["", "1=way"], [0, 1, 0], None],
    ]
    unknown = [data["oov"][number] for number in test["oov"]]
    assert unknown == [[], ["a", "all", "day", "down", "long", "sat", "way"], []], "mat is in the student's class"


@pytest.mark.parametrize(
    ("reference", "hypothesis", "text"),
    [
        ("a b c", "a x c d", "1=x 3+d"),
        ("a", "", "0-"),
        ("", "a b", "0+a 0+b"),
        ("a b", "a b", ""),
        ("a b", "a =+- b", "1+=+-"),
    ],
)
def test_edits_by_hand(reference, hypothesis, text):
    assert edits(aligned(reference.split(), hypothesis.split())) == text


def test_words_fixed_broken_and_confused_by_hand():
    changes = WordChanges()
    said, before, after = ({utt: text.split() for utt, text in texts.items()} for texts in (REFERENCES, BEFORE, AFTER))
    changes.add(said, before, after)
    assert changes.fixed == {"the": 2}
    assert changes.broken == changes.wrong == {"day": 1}
    assert changes.confusions == {("day", "way"): 1, (NOTHING, "down"): 1}
    assert changes.confusions_before == {("the", "a"): 1, ("the", NOTHING): 1}
    assert changes.oov({"the", "mat"}.__contains__) == [("the", 2, 0), ("mat", 1, 0)]


def test_the_words_of_the_best_system_come_first(page):
    section = page.root.one("section", id="words")
    names = [details.one("summary").text for details in section.all("details")]
    assert names == ["teacher, on decode_tg_eval", "student, on decode_tg_eval"]
    fixed = section.all("details")[1].all("table")[0]
    assert fixed.rows() == [["word", "fixed", "broken"], ["the", "2", "0"]]


def test_nothing_in_a_word_or_name_becomes_part_of_the_page(tmp_path):
    word = HOSTILE
    out = out_dir(
        tmp_path / "student/decode_tg_eval",
        {f"{word}-1": f"a {word} b", "2": "]]> --> {{7*7}} $x$"},
        {f"{word}-1": f"a {word}{word} b", "2": "\"' onerror=alert(1)"},
        {f"{word}-1": f"{word}&amp; b", "2": "</script><img src=x>"},
        system=word,
        failures={word: word},
        speakers={f"{word}-1": word, "2": "two"},
        warnings=(ReportWarning("oov", word),),
    )
    other = out_dir(tmp_path / "b/decode_tg_eval", *[{f"{word}-1": f"a {word} b", "2": "]]> --> {{7*7}} $x$"}] * 3, 7)
    page = Page(to_html(Experiment.read([out, other])))
    assert page.fetched == page.handlers == []
    assert len(page.root.all("script")) == 2, "the data and the page's own"
    assert page.root.all("img") == []
    data = page.root.one("script", id="data").raw
    assert "<" not in data and "&" not in data
    [shown] = json.loads(data)["sets"]
    assert shown["rows"] == ["first pass", word, "b"]
    assert ["2", "two", "]]> --> {{7*7}} $x$"] in [utt[:3] for utt in shown["utts"]]
    text = page.root.text
    assert "{{7*7}}" in text and word in page.root.one("table", id="summary").text


def test_without_transcripts_the_page_says_so(tmp_path):
    folder = out_dir(tmp_path / "student/decode_tg_eval", REFERENCES, BEFORE, AFTER)
    shutil.rmtree(folder / "scoring_kaldi")
    page = Page(to_html(Experiment.read([folder])))
    section = page.root.one("section", id="utterances").text
    assert "There are no transcripts to show" in section
    assert "student, decode_tg_eval: no transcripts: " in section
    assert "cannot be tested by MAPSSWE" in page.root.one("p", **{"class": "answer"}).text


def test_reports_alone_make_a_page():
    page = Page(to_html(Experiment.of(Comparison.of([report(), report("teacher")]))))
    assert "utt9: no lattice" in page.root.one("section", id="diagnosis").text


def test_utterances_beyond_the_largest_page_are_left_out_and_those_that_changed_stay(experiment, monkeypatch):
    monkeypatch.setattr("asr_rescore.report.utterances.LARGEST", 200)
    data = utterance_data(experiment)
    assert [[utt[0] for utt in shown["utts"]] for shown in data["sets"]] == [["a-1"], ["a-2"]]
    assert data["left_out"] == 4
    assert "4 utterances are left out" in Page(to_html(experiment)).root.one("section", id="utterances").text


@pytest.mark.slow
def test_ten_systems_on_four_sets_of_500_utterances_take_at_most_3_megabytes(tmp_path):
    draw = random.Random(0)
    words = [f"word{number}" for number in range(2000)]

    def heard(text):
        return " ".join(draw.choice(words) if draw.random() < 0.15 else word for word in text.split())

    directories = []
    for data in ("dev", "test", "eval", "other"):
        said = {f"speaker{k % 9}-utterance{k:04}": " ".join(draw.choices(words, k=17)) for k in range(500)}
        before = {utt: heard(text) for utt, text in said.items()}
        for number in range(10):
            after = {utt: heard(text) for utt, text in said.items()}
            speakers = {utt: utt.split("-")[0] for utt in said}
            folder = tmp_path / f"system{number}/decode_{data}"
            directories.append(out_dir(folder, said, before, after, 1000 + number, speakers=speakers))
            words_of_one = {"old LM": ((5.5,) * 18, (5.5,) * 18), f"system{number}": ((15.5,) * 18, (4.5,) * 18)}
            costs = ((utt, ChoiceCosts(COST_PARTS, words_of_one)) for utt in said)
            write_choice_costs(folder / "scoring_kaldi" / COSTS_FILE, costs)
    html = to_html(Experiment.read(directories))
    assert len(html.encode()) <= 3_000_000
    data = json.loads(Page(html).root.one("script", id="data").raw)
    assert data["left_out"] == 0
    assert 50 < sum(utt[5] is not None for shown in data["sets"] for utt in shown["utts"]) < 2000, "as many as fit"
