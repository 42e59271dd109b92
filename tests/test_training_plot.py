"""plot_training: the pictures, and what is refused."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from asr_rescore.cli.main import main
from asr_rescore.report.plots.figure import FAINT, INK
from asr_rescore.report.plots.training import training_plot
from asr_rescore.report.training_curve import TrainingCurve

BEGINNINGS = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}


@pytest.fixture
def training(tmp_path):
    def write(name: str, epochs: int = 4, averaging_from: int = 3) -> Path:
        directory = tmp_path / name
        directory.mkdir(parents=True)
        lines = []
        for epoch in range(1, epochs + 1):
            line = {"epoch": epoch, "lr": 20.0, "averaging": epoch >= averaging_from, "train_loss": 5.0 / epoch}
            # A line within an epoch has no valid ppl.
            lines += [
                line | {"epoch": epoch - 0.5, "averaging": epoch > averaging_from},
                line | {"valid_ppl": 90.0 / epoch},
            ]
        (directory / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return directory

    return write


def test_what_is_read(training):
    curve = TrainingCurve.read(training("lm", epochs=2, averaging_from=2))
    assert curve == TrainingCurve(
        "lm",
        epochs=(1.0, 2.0),
        valid_ppl=(90.0, 45.0),
        train_loss=((0.5, 5.0), (1.0, 5.0), (1.5, 2.5), (2.0, 2.5)),
        lr=((0.5, 20.0), (1.0, 20.0), (1.5, 20.0), (2.0, 20.0)),
        averaging_from=2.0,
    )
    assert TrainingCurve.read(training("other", epochs=2)).averaging_from is None


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_the_name_decides_the_format_and_the_same_trainings_give_the_same_bytes(training, tmp_path, capsys, kind):
    directories = [str(training("teacher")), str(training("student", epochs=40))]
    pictures = [tmp_path / f"one.{kind}", tmp_path / f"two.{kind.upper()}"]
    for picture in pictures:
        assert main(["plot_training", *directories, str(picture)]) == 0
        assert capsys.readouterr().out == f"{picture}: epochs of teacher 4, student 40\n"
    assert pictures[0].read_bytes().startswith(BEGINNINGS[kind])
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_what_the_picture_names(training, tmp_path):
    """Models of the same name are told apart by their paths, and a $ is a $."""
    directories = [str(training(name)) for name in ("a/lm", "b/lm", "$x$")]
    assert main(["plot_training", *directories, str(tmp_path / "p.svg")]) == 0
    texts = {element.text for element in ElementTree.parse(tmp_path / "p.svg").iter() if element.text}
    shown = {*directories[:2], "$x$", "train loss, nats per token", "valid perplexity, logarithmic"}
    assert "learning rate" not in texts  # it is constant
    assert shown | {"epoch (dotted: the averaging of weights begins)"} <= texts
    assert not [text for text in texts if "mathdefault" in text]
    assert not {INK, FAINT} & set((tmp_path / "p.svg").read_text().split('"'))


def test_a_line_that_a_kill_cut_off_is_left_out(training):
    directory = training("lm", epochs=2)
    whole = TrainingCurve.read(directory)
    with (directory / "log.jsonl").open("a") as stream:
        stream.write('{"epoch": 3.0, "valid_p')
    assert TrainingCurve.read(directory) == whole


@pytest.mark.parametrize(("name", "shown"), [("_lm", " _lm"), ("a\udcffb", "a\\udcffb")])
def test_names_that_a_legend_cannot_show_as_they_are(training, tmp_path, name, shown):
    """Nothing is left out or ends the plot: neither names with an underscore first, nor those that are no text."""
    picture = tmp_path / "p.svg"
    assert main(["plot_training", str(training(name)), str(picture)]) == 0
    assert shown in {element.text for element in ElementTree.parse(picture).iter()}


@pytest.mark.parametrize(
    ("log", "picture", "status", "message"),
    [
        (None, "p.png", 1, "log.jsonl: found no such file"),
        (
            "",
            "p.png",
            1,
            "log.jsonl: found no line, expected the log of a training; wait for the end of its first epoch",
        ),
        ('{"epoch": -1, "valid_ppl": 3}\n', "p.png", 1, "log.jsonl: line 1"),
        ('{"epoch": 1e308, "valid_ppl": 3}\n', "p.png", 1, "log.jsonl: line 1"),
        ('{"epoch": 1, "train_loss": 1e308}\n', "p.png", 1, "log.jsonl: line 1"),
        ('{"epoch": 1, "valid_ppl": 1e308}\n', "p.png", 1, "log.jsonl: line 1"),
        ("", "p.gif", 2, "p.gif: expected a picture, named *.png, *.svg, *.pdf; add one of these endings"),
        ("", "forgotten", 2, "forgotten: expected a picture"),
    ],
)
def test_what_is_refused(tmp_path, capsys, log, picture, status, message):
    (tmp_path / "lm").mkdir()
    if log is not None:
        (tmp_path / "lm/log.jsonl").write_text(log)
    assert main(["plot_training", str(tmp_path / "lm"), str(tmp_path / picture)]) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / picture).exists()


def test_an_ensemble_has_no_training_of_its_own(tmp_path, capsys):
    (tmp_path / "lm").mkdir()
    members = [{"name": name, "hash": "0"} for name in ("teacher.1", "teacher.2")]
    (tmp_path / "lm/provenance.json").write_text(json.dumps({"members": members}))
    assert main(["plot_training", str(tmp_path / "lm"), str(tmp_path / "p.png")]) == 1
    assert capsys.readouterr().err == (
        f"asr-rescore plot_training: error: {tmp_path / 'lm'}: found an ensemble, which was not trained itself (no "
        "log.jsonl), expected a model of train_lm or distill_lm; give the directories of its members: teacher.1, "
        "teacher.2\n"
    )
    (tmp_path / "lm/provenance.json").write_text("{}")
    assert main(["plot_training", str(tmp_path / "lm"), str(tmp_path / "p.png")]) == 1
    assert "log.jsonl: found no such file" in capsys.readouterr().err


def test_learning_rates_over_decades_have_labels_that_do_not_overlap():
    rates = ((1.0, 5e-3), (2.0, 1e-3), (3.0, 4e-5))
    svg = training_plot([TrainingCurve("lm", (1.0, 2.0, 3.0), (200.0, 150.0, 120.0), (), rates, None)])
    labels = [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert [label for label in labels if label.startswith("0.") or "e-" in label] == ["0.0001", "0.001"]
    assert {"120", "200"} <= set(labels), "between powers of ten there are more"
