"""ctm files, and the command that writes them."""

from dataclasses import replace

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.kaldi import Place, TimedWord, read_ctm, read_places, write_ctm
from asr_rescore.lattice import Lattice, Ragged, best_path, mbr
from lattices import lattice_of

WORDS = "<eps> 0\nyes 1\nno 2\nmaybe 3\n"


def test_a_ctm_is_written_sorted_and_read_back(tmp_path):
    words = [
        TimedWord("b", "1", 0.5, 0.75, "two", 1.0),
        TimedWord("b", "1", 0.0, 0.5, "ünï", 0.12345),
        TimedWord("a", "B", 12.252, 12.996, "three"),
        TimedWord("a", "A", 20.0, 20.004, "four", 0.0),
    ]
    assert write_ctm(tmp_path / "x.ctm", words) == 4
    assert (tmp_path / "x.ctm").read_text("utf-8") == (
        "a A 20.00 0.00 four 0.000\na B 12.25 0.75 three\nb 1 0.00 0.50 ünï 0.123\nb 1 0.50 0.25 two 1.000\n"
    )
    assert [word.word for word in read_ctm(tmp_path / "x.ctm")] == ["four", "three", "ünï", "two"]
    assert read_ctm(tmp_path / "x.ctm")[3] == words[0]
    assert read_ctm(tmp_path / "x.ctm")[1].confidence is None


def test_words_that_touch_still_touch_when_rounded(tmp_path):
    edges = np.cumsum(np.full(50, 0.0333))
    pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    write_ctm(tmp_path / "x.ctm", [TimedWord("a", "1", begin, end, "w") for begin, end in pairs])
    back = read_ctm(tmp_path / "x.ctm")
    assert all(left.end == pytest.approx(right.begin) for left, right in zip(back, back[1:], strict=False))


@pytest.mark.parametrize("name", ["", "two words"])
@pytest.mark.parametrize("what", ["recording", "channel", "word"])
def test_a_name_that_cannot_be_a_field_is_refused(tmp_path, what, name):
    word = replace(TimedWord("a", "1", 0, 1, "w"), **{what: name})
    with pytest.raises(RescoreError, match=f"^{name!r} is not a valid {what}: it is empty or contains a blank$"):
        write_ctm(tmp_path / "x.ctm", [word])
    assert not (tmp_path / "x.ctm").exists()


@pytest.mark.parametrize("line", ["a 1 0 1", "a 1 x 1 w", "a 1 0 nan w", "a 1 0 1 w sure", "a 1 0 1 w 1 2"])
def test_a_bad_line_is_named(tmp_path, line):
    (tmp_path / "x.ctm").write_text(f";; comment\n\na 1 0.00 0.10 w 1.00 \n{line}\n")
    with pytest.raises(InputError, match="line 4"):
        read_ctm(tmp_path / "x.ctm")


def test_places_come_from_segments(tmp_path):
    assert read_places(tmp_path) is None
    (tmp_path / "segments").write_text("u1 talk 10.5 12\nu2 talk 12.25 14\n")
    assert read_places(tmp_path) == {"u1": Place("talk", "1", 10.5, 12), "u2": Place("talk", "1", 12.25, 14)}
    (tmp_path / "reco2file_and_channel").write_text("talk 4k0a A\n")
    assert read_places(tmp_path)["u2"] == Place("4k0a", "A", 12.25, 14)


@pytest.mark.parametrize(
    ("segments", "files", "message"),
    [
        ("u1 talk 0\n", None, "key u1"),
        ("u1 talk soon 3\n", None, "key u1"),
        ("u1 talk 0 3\n", "other 4k0a A\n", "key talk: found no such recording"),
        ("u1 talk 0 3\n", "talk 4k0a\n", "key talk: found '4k0a'"),
    ],
)
def test_bad_segments_are_named(tmp_path, segments, files, message):
    (tmp_path / "segments").write_text(segments)
    if files:
        (tmp_path / "reco2file_and_channel").write_text(files)
    with pytest.raises(InputError, match=message):
        read_places(tmp_path)


def two_words(second: float) -> Lattice:
    """``yes`` and then ``no`` or ``maybe``, which costs ``second`` more. Each word is 50 frames long."""
    lattice = lattice_of([(0, 1, 1, 0, 0), (1, 2, 2, 0, 12), (1, 2, 3, second, 12)], {2: (0, 0)}, 3)
    frames = Ragged.from_lists([[1] * 50] * 3)
    return replace(lattice, alignment=frames, final_alignment=Ragged.from_lists([[]] * 3))


@pytest.fixture
def decode(tmp_path):
    """A words.txt and a decode directory with two utterances."""
    folder = tmp_path / "decode"
    kaldi.write_lattices(folder / "lat.1.gz", [("u1", two_words(np.log(3))), ("u2", two_words(100.0))])
    kaldi.write_num_jobs(folder, 1)
    (tmp_path / "words.txt").write_text(WORDS)
    return folder


def run(tmp_path, *options: str) -> int:
    places = [tmp_path / "words.txt", tmp_path / "decode", tmp_path / "out.ctm"]
    return main(["lattice_to_ctm", *map(str, options), *map(str, places)])


def test_the_command_writes_words_with_times_and_confidences(decode, tmp_path, capsys):
    assert run(tmp_path) == 0
    assert (tmp_path / "out.ctm").read_text() == (
        "u1 1 0.00 0.50 yes 1.000\nu1 1 0.50 0.50 no 0.750\nu2 1 0.00 0.50 yes 1.000\nu2 1 0.50 0.50 no 1.000\n"
    )
    out, err = capsys.readouterr()
    assert out.endswith("out.ctm: 4 words of 2 utterances, 0.2 word errors expected, 0 failed\n")
    assert err == ""


def test_segments_give_the_times_in_the_recording(decode, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "segments").write_text("u2 talk 10.5 12\nu1 talk 100 102\n")
    assert run(tmp_path, "--data-dir", data, "--frame-shift", "0.03") == 0
    assert (tmp_path / "out.ctm").read_text().splitlines()[1:3] == [
        "talk 1 12.00 1.50 no 1.000",
        "talk 1 100.00 1.50 yes 1.000",
    ]


def test_weights_give_the_operating_point(decode, tmp_path, capsys):
    weights = "source: given\nlms:\n- {hash: abc, weight: 0.5}\nlmwt: 24\nwip: -0.5\nfirst_pass: {lmwt: 12, wip: 0}\n"
    (tmp_path / "weights.yaml").write_text(weights)
    assert run(tmp_path, "--weights", tmp_path) == 0
    with_weights = (tmp_path / "out.ctm").read_text()
    assert run(tmp_path, "--inv-acwt", "24", "--word-ins-penalty", "-0.5") == 0
    assert (tmp_path / "out.ctm").read_text() == with_weights
    assert run(tmp_path, "--weights", tmp_path, "--inv-acwt", "24") == 2
    assert run(tmp_path, "--frame-shift", "0") == 2
    (tmp_path / "weights.yaml").write_text(weights.replace("24", "much"))
    capsys.readouterr()
    assert run(tmp_path, "--weights", tmp_path / "weights.yaml") == 1
    assert "weights.yaml: lmwt: found 'much'" in capsys.readouterr().err


def test_a_posterior_scale_flattens(decode, tmp_path):
    assert run(tmp_path, "--posterior-scale", "0.5") == 0
    line = (tmp_path / "out.ctm").read_text().splitlines()[1]
    assert line == f"u1 1 0.50 0.50 no {1 / (1 + 3**-0.5):.3f}"
    assert run(tmp_path, "--posterior-scale", "-1") == 2
    # The word penalty is scaled as well: "yes" costs 2 · 0.5 more than "yes no".
    kaldi.write_lattices(
        decode / "lat.1.gz", [("u", lattice_of([(0, 1, 1, 0, 0), (1, 2, 2, 0, 0)], {1: (0, 0), 2: (0, 0)}, 3))]
    )
    assert run(tmp_path, "--posterior-scale", "0.5", "--word-ins-penalty", "-2") == 0
    assert (tmp_path / "out.ctm").read_text().splitlines()[1].endswith(f" no {1 / (1 + np.exp(-1)):.3f}")


def test_failures_are_listed_and_the_rest_is_written(decode, tmp_path, capsys):
    empty = lattice_of([(0, 1, 1, 0, 0)], {}, 2)
    unknown = lattice_of([(0, 1, 7, 0, 0)], {1: (0, 0)}, 2)
    timeless = lattice_of([(0, 1, 2, 0, 0)], {1: (0, 0)}, 2)
    timeless = replace(timeless, alignment=Ragged.from_lists([[]]), final_alignment=Ragged.from_lists([[], []]))
    state_level = replace(timeless, alignment=Ragged.from_lists([[5]]))
    entries = [
        ("bad", empty),
        ("u1", two_words(1.0)),
        ("odd", unknown),
        ("timeless", timeless),
        ("states", state_level),
    ]
    kaldi.write_lattices(decode / "lat.1.gz", entries)
    assert run(tmp_path) == 1
    assert [line.split()[0] for line in (tmp_path / "out.ctm").read_text().splitlines()] == [
        "states",
        "timeless",
        "u1",
        "u1",
    ]
    out, err = capsys.readouterr()
    assert out.endswith("3 utterances, 0.3 word errors expected, 4 failed\n")
    assert [line.split("\t")[0] for line in err.splitlines()] == ["bad", "odd", "states", "timeless"]

    (tmp_path / "pipes.scp").write_text("u1 cat decode/lat.1.gz |\n")
    words = tmp_path / "words.txt"
    assert main(["lattice_to_ctm", str(words), f"scp:{tmp_path}/pipes.scp", str(tmp_path / "none.ctm")]) == 1
    assert "u1\t" in (err := capsys.readouterr().err)
    assert "set --allow-pipes if you trust where it comes from" in err

    data = tmp_path / "data"
    data.mkdir()
    (data / "segments").write_text("u1 talk 0 2\n")
    assert run(tmp_path, "--data-dir", data) == 1
    assert "odd\tit is not in the data directory's segments" in capsys.readouterr().err


def test_pruning_of_a_large_lattice_is_reported(decode, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mbr, "MOST_CELLS", 14)  # 2 arcs
    assert run(tmp_path, "--inv-acwt", "1") == 0
    err = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in err] == ["u1", "u2"]
    assert err[0] == "u1: its lattice of 3 arcs is too large and was pruned with a beam of 0.00"


def test_best_keeps_the_words_of_the_best_path(tmp_path, mini):
    words = mini / "lang_bd_tgpr" / "words.txt"
    decode = mini / "exp" / "decode_bd_tgpr_dev" / "lat.1.gz"
    symbols = kaldi.read_words(words)
    best = {}
    for utt, lattice in kaldi.read_lattices(decode):
        best[utt] = [symbols.word(index) for index in best_path(lattice, 1 / 12).words]
    assert main(["lattice_to_ctm", "--decode", "best", str(words), str(decode), str(tmp_path / "x.ctm")]) == 0
    found: dict[str, list[str]] = {}
    for word in read_ctm(tmp_path / "x.ctm"):
        found.setdefault(word.recording, []).append(word.word)
    assert found == best


def test_the_end_of_a_segment(tmp_path):
    """A negative end is Kaldi's for the end of the recording; an end before the beginning is a mistake."""
    (tmp_path / "segments").write_text("u rec 1.5 -1\n")
    assert read_places(tmp_path) == {"u": Place("rec", "1", 1.5, None)}
    (tmp_path / "segments").write_text("u rec 1.5 1\n")
    with pytest.raises(InputError, match="key u: found 'rec 1.5 1', expected a recording, and begin and a later end"):
        read_places(tmp_path)
