"""Small n-gram models for tests: normalised ones at random, as ARPA files, and as a G.carpa as Kaldi lays it out."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterable
from pathlib import Path

Ngram = tuple[str, ...]
# n-gram → log10 probability of its last word, log10 back-off weight
Model = dict[Ngram, tuple[float, float]]
WORDS = ("a", "b", "c", "d")
IDS = {"<eps>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "c": 6, "d": 7, "#0": 8, "lonely": 9}
ENDLESS = -99.0  # the probability that ARPA files give <s>


def random_model(order: int, seed: int, words: Iterable[str] = (*WORDS, "<unk>")) -> Model:
    """An n-gram model whose probabilities add up to 1 after every history."""
    draw = random.Random(seed)
    vocabulary = [*words, "</s>"]
    shares = [draw.uniform(0.1, 1.0) for _ in vocabulary]
    model: Model = {
        (word,): (math.log10(share / sum(shares)), 0.0) for word, share in zip(vocabulary, shares, strict=True)
    }
    model["<s>",] = (ENDLESS, 0.0)
    histories: list[Ngram] = [(word,) for word in ("<s>", *words)]
    for _ in range(1, order):
        longer: list[Ngram] = []
        for history in histories:
            continuations = draw.sample(vocabulary, draw.randint(0, len(vocabulary) - 2))
            if not continuations:
                continue
            shares = [draw.uniform(0.1, 1.0) for _ in continuations]
            mass = draw.uniform(0.3, 0.9)
            left = 1 - sum(10 ** log10_of(model, (*history[1:], word)) for word in continuations)
            for word, share in zip(continuations, shares, strict=True):
                model[(*history, word)] = (math.log10(mass * share / sum(shares)), 0.0)
                if word != "</s>":
                    longer.append((*history, word))
            model[history] = (model[history][0], math.log10((1 - mass) / left))
        histories = longer
    return model


def log10_of(model: Model, ngram: Ngram) -> float:
    """The definition of a back-off model, word for word: log10 P of the last word after the others."""
    if ngram in model:
        return model[ngram][0]
    if len(ngram) == 1:
        return -math.inf
    return model.get(ngram[:-1], (0.0, 0.0))[1] + log10_of(model, ngram[1:])


def by_order(model: Model) -> list[list[Ngram]]:
    order = max(map(len, model))
    return [[ngram for ngram in model if len(ngram) == length] for length in range(1, order + 1)]


def arpa(model: Model) -> str:
    """The model as the text of an ARPA file."""
    levels = by_order(model)
    lines = ["written by a test", "\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(levels, 1)), ""]
    for order, level in enumerate(levels, 1):
        lines.append(f"\\{order}-grams:")
        for ngram in level:
            logarithm, backoff = model[ngram]
            weight = f"\t{backoff!r}" if backoff else ""
            lines.append(f"{logarithm!r}\t{' '.join(ngram)}{weight}")
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


def parsed(text: str) -> Model:
    """The model in the text of an ARPA file."""
    model: Model = {}
    order = 0
    for line in text.splitlines():
        if line.endswith("-grams:"):
            order = int(line[1:-7])
        elif order and line and line != "\\end\\":
            logarithm, *words = line.split()
            backoff = float(words.pop()) if len(words) > order else 0.0
            model[tuple(words)] = (float(logarithm), backoff)
    return model


def const_arpa(model: Model, ids: dict[str, int] = IDS, unk: int = 3, farthest: int = 2**30 - 1) -> bytes:
    """The model as a G.carpa.

    Args:
        model: the model.
        ids: words.txt.
        unk: the id of the unk symbol, −1 for none.
        farthest: children that are farther from their parents are reached by far pointers.
    """
    order = max(map(len, model))
    children: dict[Ngram, list[Ngram]] = {}
    for ngram in model:
        children.setdefault(ngram[:-1], []).append(ngram)
    # N-grams with a state: unigrams, and what is continued or has a back-off weight, but for the longest.
    kept = [n for n in model if len(n) == 1 or (len(n) < order and (n in children or model[n][1]))]
    kept.sort(key=lambda ngram: [ids[word] for word in ngram])
    places: dict[Ngram, int] = {}
    size = 0
    for ngram in kept:
        places[ngram] = size
        size += 3 + 2 * len(children.get(ngram, ()))
    far: list[int] = []
    states = b""
    for ngram in kept:
        below = sorted(children.get(ngram, ()), key=lambda child: ids[child[-1]])
        states += struct.pack("<ffi", *map(_nats, model[ngram]), len(below))
        for child in below:
            states += struct.pack("<i", ids[child[-1]]) + _child(model, child, places, places[ngram], far, farthest)
    unigrams = [0] * (1 + max(ids[ngram[0]] for ngram in model))
    for ngram in kept:
        if len(ngram) == 1:
            unigrams[ids[ngram[0]]] = places[ngram] + 1
    info = b"".join(map(_number, (ids["<s>"], ids["</s>"], unk, order)))
    return b"".join(
        (
            b"\0B<ConstArpaLm> <LmInfo> " + info + b"</LmInfo> ",
            b"<LmStates> " + struct.pack("<bq", 8, size) + states + b"</LmStates> ",
            b"<LmUnigram> " + _number(len(unigrams)) + struct.pack(f"<{len(unigrams)}q", *unigrams) + b"</LmUnigram> ",
            b"<LmOverflow> " + _number(len(far)) + struct.pack(f"<{len(far)}q", *far) + b"</LmOverflow> ",
            b"</ConstArpaLm> ",
        )
    )


def _child(model: Model, child: Ngram, places: dict[Ngram, int], parent: int, far: list[int], farthest: int) -> bytes:
    if child not in places:  # the logarithm itself, with an even last bit
        bits: int = struct.unpack("<i", struct.pack("<f", _nats(model[child][0])))[0]
        return struct.pack("<i", bits & ~1)
    distance = places[child] - parent
    if distance <= farthest:
        return struct.pack("<i", 2 * distance + 1)
    far.append(places[child] + 1)
    return struct.pack("<i", -(2 * (len(far) - 1) + 1))


def _nats(logarithm: float) -> float:
    """In natural logarithms, from a float, as Kaldi computes it."""
    single: float = struct.unpack("<f", struct.pack("<f", logarithm))[0]
    return math.log(10) * single


def _number(number: int) -> bytes:
    return struct.pack("<bi", 4, number)


def write_words(path: Path, ids: dict[str, int] = IDS) -> None:
    path.write_text("".join(f"{word} {index}\n" for word, index in ids.items()))
