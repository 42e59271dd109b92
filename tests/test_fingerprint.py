"""What a result was made from, compared fact by fact."""

from __future__ import annotations

import pytest

from asr_rescore.fingerprint import Fingerprint


@pytest.mark.parametrize(
    ("ours", "theirs", "names"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": (1, 2)}, {"a": [1, 2]}, []),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, ["a", "b", "c"]),
        ({"c": {"train": {"lr": 1.0, "clip": 2}}}, {"c": {"train": {"lr": 2.0}}}, ["c.train.lr", "c.train.clip"]),
        ({"config": {"train": {"lr": 1.0}}}, {"config": 3}, ["config"]),
        ({"config": {}}, {"config": {"x": None}}, ["config.x"]),  # not the same, although get() gives None twice
        ({"a": None}, {}, ["a"]),
    ],
)
def test_differences_are_named_part_by_part(ours, theirs, names):
    one, other = Fingerprint(ours), Fingerprint(theirs)
    assert one.differences(other) == names
    assert sorted(other.differences(one)) == sorted(names)
    assert (one == other) == (not names)
