"""Results as Kaldi's files, as a table of several systems, and as an HTML page."""

from asr_rescore.report.choice_costs import ChoiceCosts
from asr_rescore.report.experiment import Experiment
from asr_rescore.report.kaldi_files import IN_CHARACTERS, IN_WORDS, remove_scores, write_details, write_scoring
from asr_rescore.report.list_depth import AtDepth
from asr_rescore.report.page import to_html
from asr_rescore.report.published import PublishedRow, read_published
from asr_rescore.report.sclite_files import sclite_files, write_sclite_files
from asr_rescore.report.searched_weights import TUNING_FILE, SearchedWeights
from asr_rescore.report.system import REPORT_FILE, CharacterErrors, LmFacts, SystemReport
from asr_rescore.report.table import Comparison, to_text
from asr_rescore.report.transcripts import FIRST_PASS_FILE
from asr_rescore.report.warning import LmFit, OovCount, ReportWarning, ranked

__all__ = [
    "FIRST_PASS_FILE",
    "IN_CHARACTERS",
    "IN_WORDS",
    "REPORT_FILE",
    "TUNING_FILE",
    "AtDepth",
    "CharacterErrors",
    "ChoiceCosts",
    "Comparison",
    "Experiment",
    "LmFacts",
    "LmFit",
    "OovCount",
    "PublishedRow",
    "ReportWarning",
    "SearchedWeights",
    "SystemReport",
    "ranked",
    "read_published",
    "remove_scores",
    "sclite_files",
    "to_html",
    "to_text",
    "write_details",
    "write_sclite_files",
    "write_scoring",
]
