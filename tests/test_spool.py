"""Values that wait on disk come back as they were, in any order."""

import os
import pickle

import numpy as np
import pytest

from asr_rescore.nbest import NBest
from asr_rescore.rescoring.spool import Spool


def test_values_come_back_in_any_order_and_more_can_be_added(tmp_path):
    with Spool[list](tmp_path) as spool:
        spool.fill([("a", ["\udcff", 0.1]), ("b", [])])  # a byte that is no UTF-8
        assert spool["b"] == []
        spool.add("c", [3])  # after a read that left the file elsewhere
        assert [spool[key] for key in "cab"] == [[3], ["\udcff", 0.1], []]
        spool.add("a", ["new"])
        assert spool["a"] == ["new"]
        assert "a" in spool
        assert "d" not in spool
        with pytest.raises(KeyError):
            spool["d"]


def test_its_file_is_in_the_directory_and_has_no_name(tmp_path):
    before = tmp_path.stat().st_dev
    with Spool[bytes](tmp_path) as spool:
        spool.add("a", b"1")
        assert os.fstat(spool._file.fileno()).st_dev == before
        assert not list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_list_keeps_every_bit_when_it_is_pickled():
    nbest = NBest("u", (("a", "b"), ()), {"acwt": np.array([0.1, 1 / 3]), "lmwt.rnn": np.array([2.0, -0.0])})
    again = pickle.loads(pickle.dumps(nbest))
    assert (again.utt, again.words, list(again.costs)) == (nbest.utt, nbest.words, list(nbest.costs))
    assert all(again.costs[name].tobytes() == column.tobytes() for name, column in nbest.costs.items())
    with pytest.raises(TypeError):
        again.costs["acwt"] = np.zeros(2)
