"""trn, stm, ctm and glm files: counts of NIST's sclite, texts of its csrfilt, and cases by hand."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore.cli.main import main
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.sclite import (
    GlobalMap,
    Rule,
    ScliteConfig,
    Segment,
    WordNetwork,
    align_networks,
    count_errors,
    network_alignment,
    read_stm,
    read_trn,
    score_stm,
    score_trn,
    trn_id,
    write_stm,
    write_trn,
)
from asr_rescore.word_alignment import SCLITE
from asr_rescore.word_errors import count
from conftest import GOLDENS

SCTK = GOLDENS / "sctk"
FLAGS = {
    "none": ScliteConfig(),
    "D": ScliteConfig(deletable=True),
    "F": ScliteConfig(fragments=True),
    "DF": ScliteConfig(deletable=True, fragments=True),
    "sD": ScliteConfig(deletable=True, case_sensitive=True),
}


def golden(kind, flags):
    """Speaker → sentences, words, correct, substitutions, deletions, insertions, errors, wrong sentences."""
    lines = [line.split() for line in (SCTK / "marks.txt").read_text().splitlines()]
    return {name: tuple(map(int, numbers)) for of, marks, name, *numbers in lines if (of, marks) == (kind, flags)}


def as_sclite(result):
    return {
        speaker: (
            count.sentences,
            count.reference_words,
            count.reference_words - count.deletions - count.substitutions,
            count.substitutions,
            count.deletions,
            count.insertions,
            count.errors,
            count.wrong_sentences,
        )
        for speaker, count in result.by_speaker().items()
    }


@pytest.mark.parametrize("flags", FLAGS)
def test_trn_as_sclite(flags):
    result = score_trn(SCTK / "marks.ref.trn", SCTK / "marks.hyp.trn", FLAGS[flags])
    assert as_sclite(result) == golden("trn", flags)


@pytest.mark.parametrize("flags", FLAGS)
def test_ctm_against_stm_as_sclite(flags):
    result = score_stm(SCTK / "times.ref.stm", SCTK / "times.hyp.ctm", FLAGS[flags])
    assert as_sclite(result) == golden("stm", flags)


@pytest.mark.parametrize("flags", ["none", "D", "F", "DF"])
def test_glm_as_csrfilt_and_sclite(flags):
    glm = SCTK / "rules.glm"
    result = score_trn(SCTK / "marks.ref.trn", SCTK / "marks.hyp.trn", FLAGS[flags], glm=glm)
    assert as_sclite(result) == golden("trn+glm", flags)
    result = score_stm(SCTK / "times.ref.stm", SCTK / "plain.hyp.ctm", FLAGS[flags], glm=glm)
    assert as_sclite(result) == golden("stm+glm", flags)


@pytest.mark.parametrize("purpose", ["ref", "hyp"])
def test_texts_as_csrfilt_rewrites_them(purpose):
    rules = GlobalMap.read(SCTK / "rules.glm", "trn", purpose)
    exactly = ScliteConfig(case_sensitive=True)
    texts = read_trn(SCTK / f"marks.{purpose}.trn", exactly)
    filtered = read_trn(SCTK / f"marks.{purpose}.filtered.trn", exactly)
    assert {utt: rules(text).split() for utt, text in texts.items()} == {
        utt: text.split() for utt, text in filtered.items()
    }


def test_labels(tmp_path):
    stm = read_stm(SCTK / "times.ref.stm")
    assert stm.label_names == {"o": "Overall", "f0": "Broadcast"}
    by_label = score_stm(SCTK / "times.ref.stm", SCTK / "times.hyp.ctm").by_label()
    assert set(by_label) == {"o", "f0"}
    assert by_label["f0"].sentences == sum("f0" in s.labels and not s.ignored for s in stm.segments)


def errors(reference, hypothesis, config=None):
    found = count_errors(align_networks(WordNetwork.parse(reference), WordNetwork.parse(hypothesis), config))
    return found.insertions, found.deletions, found.substitutions, found.reference_words


BOTH = ScliteConfig(deletable=True, fragments=True)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a { b / c d } e", "a c d e", (0, 0, 0, 4)),
        ("a { b / c d } e", "a b e", (0, 0, 0, 3)),
        ("a { b / c d } e", "a e", (0, 1, 0, 3)),
        ("{ a / @ } b", "b", (0, 0, 0, 1)),
        ("{ a / @ } b", "c b", (1, 0, 0, 1)),  # @ and an insertion cost 3.001, a substitution 4
        ("{ a { b / c } / d } e", "a c e", (0, 0, 0, 3)),
        ("a (uh) b", "a b", (0, 0, 0, 3)),  # the missing word counts as right
        ("a (uh) b", "a uh b", (0, 0, 0, 3)),
        ("a (uh) b", "a um b", (0, 0, 1, 3)),
        ("a b", "a (uh) b", (0, 0, 0, 3)),
        ("i- go", "it go", (0, 0, 0, 2)),
        ("-nk go", "think go", (0, 0, 0, 2)),
        ("i- go", "at go", (0, 0, 1, 2)),
        ("two* a;noun", "two a", (0, 0, 0, 2)),
        ("{a/b} c", "b c", (0, 0, 0, 2)),
        ("", "a", (1, 0, 0, 0)),
        ("{ a / @ }", "", (0, 0, 0, 0)),
        ("", "", (0, 0, 0, 0)),
    ],
)
def test_marks(reference, hypothesis, expected):
    assert errors(reference, hypothesis, BOTH) == expected


def test_without_options_marks_are_letters():
    assert errors("a (uh) i-", "a uh it") == (0, 0, 2, 3)


@pytest.mark.parametrize("text", ["a { b / c", "{ a { b }", "{" * 200])
def test_an_alternation_without_an_end(text):
    with pytest.raises(RescoreError, match=r"has no }|inside each other"):
        WordNetwork.parse(text)


def test_deep_alternations_are_refused():
    with pytest.raises(RescoreError, match="inside each other"):
        WordNetwork.parse("{ " * 150 + "a" + " }" * 150)


WORDS = st.lists(st.sampled_from("abc"), max_size=6)
ALTERNATIVES = st.lists(st.lists(WORDS.filter(bool), min_size=1, max_size=3), max_size=4)


def cost(found):
    return 3 * (found.insertions + found.deletions) + 4 * found.substitutions


def spelled(parts):
    return " ".join("{ " + " / ".join(map(" ".join, alternatives)) + " }" for alternatives in parts)


@given(ALTERNATIVES, ALTERNATIVES)
def test_a_network_costs_what_its_best_pair_of_paths_costs(said, heard):
    network = count_errors(align_networks(WordNetwork.parse(spelled(said)), WordNetwork.parse(spelled(heard))))
    pairs = itertools.product(itertools.product(*said), itertools.product(*heard))
    best = min(cost(count(sum(a, []), sum(b, []), SCLITE)) for a, b in itertools.islice(pairs, 400))
    if len(list(itertools.islice(itertools.product(itertools.product(*said), itertools.product(*heard)), 401))) <= 400:
        assert cost(network) == best
    else:
        assert cost(network) <= best


@given(ALTERNATIVES, ALTERNATIVES)
def test_rows_computed_again_change_nothing(said, heard):
    networks = [WordNetwork.parse("a " + spelled(said) + " b c " + spelled(said)), WordNetwork.parse(spelled(heard))]
    whole = align_networks(*networks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_alignment, "ALL_ROWS", 0)
        assert align_networks(*networks) == whole


@given(WORDS, WORDS)
def test_a_plain_transcript_is_counted_as_any_other(said, heard):
    plain = errors(" ".join(said), " ".join(heard))
    assert plain == errors(" ".join(said), " ".join(heard), BOTH)
    *counted, words = errors(" ".join([*said, "{ @ / @ }"]), " ".join(heard))  # takes the other way through the code
    assert (3 * sum(counted[:2]) + 4 * counted[2], words) == (3 * sum(plain[:2]) + 4 * plain[2], len(said))


def test_words_belong_to_the_segment_of_their_middle(tmp_path):
    stm, ctm = tmp_path / "ref.stm", tmp_path / "hyp.ctm"
    stm.write_text(
        "rec 1 s1 0 1 a\nrec 1 s2 1.00 2.00 ignore_time_segment_in_scoring\nrec 1 s3 2.0 3.0 c\nrec 2 s4 0 9 d\n"
    )
    # a ends in the second segment, but its middle is in the first; b is ignored; the last segment gets what follows
    ctm.write_text("REC 1 0.8 0.38 A\nrec 1 1.0 0.5 b\nrec 1 1.9 0.2 c\nrec 1 8 1 x\nother 1 0 1 z\n")
    result = score_stm(stm, ctm)
    assert [(s.speaker, str(s.errors)) for s in result.segments] == [
        ("s1", "%WER 0.00 [ 0 / 1, 0 ins, 0 del, 0 sub ]"),
        ("s3", "%WER 100.00 [ 1 / 1, 1 ins, 0 del, 0 sub ]"),
        ("s4", "%WER 100.00 [ 1 / 1, 0 ins, 1 del, 0 sub ]"),
    ]
    assert result.unexpected == ("other 1",)
    assert result.silent == ("rec 2",)


def test_a_recording_without_a_word_in_the_ctm_is_named(tmp_path, capsys):
    """A ctm that was cut off, or whose recordings have other names, is not taken for a bad recogniser."""
    stm, ctm = tmp_path / "ref.stm", tmp_path / "hyp.ctm"
    stm.write_text("a 1 s 0 1 x\nb 1 s 0 1 x\nquiet 1 s 0 1\nleft 1 s 0 1 ignore_time_segment_in_scoring\n")
    ctm.write_text("a 1 0 1 x\n")
    assert main(["score_wer", str(stm), str(ctm)]) == 0  # perhaps nothing was recognised there
    said = capsys.readouterr()
    assert said.out.startswith("%WER 50.00 [ 1 / 2, 0 ins, 1 del, 0 sub ]")
    assert said.err == f"{ctm}: no word of b 1; all of it counts as deleted\n"


@pytest.mark.parametrize("times", ["2 1", "nan 1", "0 inf", "0"])
def test_a_segment_without_a_time_of_its_own_is_refused(tmp_path, times):
    stm = tmp_path / "ref.stm"
    stm.write_text(f"rec 1 s {times} a\n")
    with pytest.raises(
        InputError, match="line 1: found .* expected recording, channel, speaker, begin and a later end"
    ):
        read_stm(stm)


def test_rules():
    rules = GlobalMap([Rule("A", "B", " ", " "), Rule("C", "{ D E / F }", " ", " "), Rule("X", "Y", "A ", "")])
    assert rules("a a c") == "B B { D E / F }"
    assert rules("a x b x") == "B Y B X"  # the context is that of the text before any rule
    assert rules("a x", keep_case=True) == "a x"
    assert GlobalMap([Rule("a", "b")], case_sensitive=False)("ca A") == "Cb b"


@pytest.mark.parametrize(
    ("content", "place"),
    [("", "glm"), (";;\nA B\n", "line 2"), (';;\n;; INPUT_DEPENDENT_APPLICATION = "(hyp"\n', "line 2")],
)
def test_a_wrong_glm_is_named(tmp_path, content, place):
    glm = tmp_path / "glm"
    glm.write_text(content)
    with pytest.raises(InputError, match=place):
        GlobalMap.read(glm, "trn", "ref")


def test_what_is_written_is_read(tmp_path):
    texts = {"a_b-1": ["one", "two"], "a_b-2": [], "utt": ["x"]}
    write_trn(tmp_path / "trn", texts, {"a_b-1": "a_b", "a_b-2": "a_b"})
    assert [text.split() for text in read_trn(tmp_path / "trn").values()] == list(texts.values())
    segments = [Segment("r", "A", "s", 0.0, 1.5, "one two", ("o", "f0")), Segment("r", "A", "s", 1.5, 2.0, "")]
    write_stm(tmp_path / "stm", reversed(segments))
    assert read_stm(tmp_path / "stm", FLAGS["sD"]).segments == tuple(segments)


@pytest.mark.parametrize("word", ["{", "{x", "@", "a;b", "two*", "**x", "<ALT>", "a b"])
def test_a_word_that_would_become_a_mark_is_refused(tmp_path, word):
    with pytest.raises(RescoreError, match="something else"):
        write_trn(tmp_path / "trn", {"a-1": ["b", word]})


def test_ids_begin_with_the_speaker():
    assert trn_id("s1-utt", "s1") == "s1-utt"
    assert trn_id("s1_utt", "s1") == "s1_utt"
    assert trn_id("utt", "s1") == "s1-utt"
    assert trn_id("a-b_1", "a-b").split("-")[0] == "a.b"


class TestCommand:
    def score(self, capsys, *arguments, status=0):
        assert main(["score_wer", *map(str, arguments)]) == status
        return capsys.readouterr()

    def test_the_format_is_in_the_names(self, capsys):
        trn = self.score(capsys, "--deletable", "--fragments", SCTK / "marks.ref.trn", SCTK / "marks.hyp.trn").out
        totals = [sum(column) for column in zip(*golden("trn", "DF").values(), strict=True)]
        sentences, words, _, substitutions, deletions, insertions, wrong, _ = totals
        assert f"[ {wrong} / {words}, {insertions} ins, {deletions} del, {substitutions} sub ]" in trn
        assert f"Scored {sentences} sentences, 0 not present in hyp." in trn
        assert "[ " in self.score(capsys, SCTK / "times.ref.stm", SCTK / "times.hyp.ctm").out

    def test_a_missing_hypothesis(self, capsys, tmp_path):
        (tmp_path / "ref").write_text("a b (s-1)\nc (s-2)\n")
        (tmp_path / "hyp").write_text(";; comment\na b (S-1)\nd (s-3)\n")
        files = ["--format", "trn", tmp_path / "ref", tmp_path / "hyp"]
        told = self.score(capsys, *files, status=1)
        assert told.out.startswith("%WER 33.33 [ 1 / 3, 0 ins, 1 del, 0 sub ] [PARTIAL]")
        assert "no hypothesis for s-2" in told.err
        assert "no reference for s-3" in told.err
        assert self.score(capsys, "--mode", "present", *files, status=1).out.startswith("%WER 0.00 [ 0 / 2")

    def test_details(self, capsys, tmp_path):
        self.score(capsys, "--details-dir", tmp_path, SCTK / "times.ref.stm", SCTK / "times.hyp.ctm")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["per_label", "per_spk", "wer_bootci"]
        raw = {line.split()[0]: line.split()[2:] for line in (tmp_path / "per_spk").read_text().splitlines()[1::2]}
        for speaker, (sent, words, right, sub, delete, ins, wrong, wrong_sentences) in golden("stm", "none").items():
            assert list(map(int, raw[speaker])) == [sent, words, right, sub, ins, delete, wrong, wrong_sentences]
        assert re.search(r"^f0 %WER .* Broadcast$", (tmp_path / "per_label").read_text(), re.MULTILINE)

    @pytest.mark.parametrize(
        ("option", "files"),
        [
            ("--deletable", ("scoring/ref.txt", "scoring/hyp.txt")),
            ("--glm=rules", ("scoring/ref.txt", "scoring/hyp.txt")),
            ("--cer", ("sctk/marks.ref.trn", "sctk/marks.hyp.trn")),
            ("--mode=present", ("sctk/times.ref.stm", "sctk/times.hyp.ctm")),
        ],
    )
    def test_options_without_use_are_refused(self, capsys, option, files):
        told = self.score(capsys, option, *(GOLDENS / name for name in files), status=2).err
        assert option.split("=")[0] in told

    def test_an_error_names_the_segment(self, capsys, tmp_path):
        (tmp_path / "a.stm").write_text("rec 1 s 0 1 a { b\n")
        (tmp_path / "a.ctm").write_text("rec 1 0 1 a\n")
        told = self.score(capsys, tmp_path / "a.stm", tmp_path / "a.ctm", status=1).err
        assert "a.stm: rec 1 0 1: found the alternation" in told
        (tmp_path / "a.ctm").write_text("rec 1 * * <ALT_BEGIN>\nrec 1 0 1 a\n")
        (tmp_path / "a.stm").write_text("rec 1 s 0 1 a\n")
        told = self.score(capsys, tmp_path / "a.stm", tmp_path / "a.ctm", status=1).err
        assert "a.ctm: found recording rec, channel 1: <ALT_BEGIN> without <ALT_END>" in told
