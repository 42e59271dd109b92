"""Rows of a table that come from elsewhere: published word error rates, and those of Kaldi's own rescoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.files import read_lines
from asr_rescore.ranges import NON_NEGATIVE
from asr_rescore.records import Record, read_yaml

KIND = "rows, each with a name, and wer or decode_dirs"
REMEDY = "see recipes/wsj/conf/wsj/published.yaml"
BEST_WER = "scoring_kaldi/best_wer"
KEYS = ("name", "parameters", "valid_ppl", "wer", "decode_dirs")


@dataclass(frozen=True)
class PublishedRow:
    """A row of a table whose figures were not computed by this package.

    Attributes:
        name: name of the row.
        parameters, valid_ppl: size and perplexity of the language model, as text; empty if unknown.
        wer: pattern of the names of data directories, such as ``*dev93*`` → rates in %, as text.
    """

    name: str
    parameters: str
    valid_ppl: str
    wer: Mapping[str, str]

    def wer_on(self, data: str) -> str:
        """The rates on a data directory; empty if they are not known."""
        return next((text for pattern, text in self.wer.items() if fnmatchcase(data, pattern)), "")


def read_published(path: Path) -> tuple[PublishedRow, ...]:
    """Read rows from a YAML file.

    A row has a ``name`` and, for each data directory (a pattern of its name), rates as text (``wer: {"*dev93*":
    9.02/6.30}``) or the decode directories of Kaldi whose best rates are shown (``decode_dirs: {"*dev93*":
    [exp/a/decode_dev93]}``).

    Raises:
        InputError: the file is missing or has another form, or a decode directory has no ``scoring_kaldi/best_wer``.
    """
    tree = Record.of({"rows": read_yaml(path, KIND, REMEDY)}, str(path), KIND, REMEDY)
    return tuple(_row(row) for row in tree.records("rows"))


def _row(row: Record) -> PublishedRow:
    for key in row.values:
        if key not in KEYS:
            row.refuse(key, "none but " + ", ".join(KEYS))
    if ("wer" in row) == ("decode_dirs" in row):
        row.refuse("wer", "either wer or decode_dirs")
    if "wer" in row:
        rates = row.record("wer")
        wer = {data: _rate(rates, data) for data in rates.values}
    else:
        directories = row.record("decode_dirs")
        wer = {data: "/".join(map(_best_wer, directories.texts(data))) for data in directories.values}
    texts = {key: row.text(key) if key in row else "" for key in ("parameters", "valid_ppl")}
    return PublishedRow(row.text("name"), texts["parameters"], texts["valid_ppl"], wer)


def _rate(rates: Record, data: str) -> str:
    """A rate as text; a number, as YAML reads 8.10 without quotes, gets two decimals."""
    value = rates.values[data]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{rates.number(data, NON_NEGATIVE):.2f}"
    return rates.text(data)


def _best_wer(decode_dir: str) -> str:
    """The rate in the line ``%WER 5.39 [ 304 / 5643, … ] <file>`` that Kaldi's scoring leaves."""
    path = Path(decode_dir) / BEST_WER
    for _, line in read_lines(path):
        marker, _, rest = line.partition(" ")
        rate = rest.partition(" ")[0]
        try:
            if marker == "%WER":
                return f"{float(rate):.2f}"
        except ValueError:
            pass
        break
    raise InputError(path, found="no %WER", expected="the line of the best rate", remedy="run local/score.sh again")
