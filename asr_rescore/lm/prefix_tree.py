"""The distinct prefixes of many sentences, so that what they share goes through a network once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """The distinct prefixes of some sentences, shorter ones before longer ones, siblings together.

    With several roots it is a forest: sentences in different contexts share nothing.

    Attributes:
        parent: int64 (nodes,); −1 for roots, which come first.
        word: int64 (nodes,), the word id that a node adds to its parent. A root's is ``</s>``, the left context of a
            sentence.
        first_child: int64 (nodes + 1,); the children of node i are ``first_child[i]:first_child[i + 1]``.
        leaf: int64 (sentences,), the node at which each sentence is complete.
        depth: number of words in the longest sentence.
    """

    parent: np.ndarray
    word: np.ndarray
    first_child: np.ndarray
    leaf: np.ndarray
    depth: int

    @classmethod
    def build(
        cls, sentences: Sequence[Sequence[int]], root_word: int, roots: Sequence[int] | None = None
    ) -> PrefixTree:
        """Merge id sequences into a tree.

        Args:
            sentences: word ids, without sentence marks.
            root_word: the id of ``</s>``.
            roots: the root under which each sentence hangs; by default there is one root for all.
        """
        root_of = [0] * len(sentences) if roots is None else list(roots)
        num_roots = max(root_of, default=0) + 1
        nodes: dict[tuple[int, int], int] = {}  # (parent, word) → node
        parent = [-1] * num_roots
        word = [root_word] * num_roots
        depth = [0] * num_roots
        leaf: list[int] = []
        for node, sentence in zip(root_of, sentences, strict=True):
            for length, label in enumerate(sentence, 1):
                child = nodes.setdefault((node, label), len(parent))
                if child == len(parent):
                    parent.append(node)
                    word.append(label)
                    depth.append(length)
                node = child
            leaf.append(node)

        # Renumber the nodes by depth, and within one depth by parent.
        parents = np.asarray(parent, dtype=np.int64)
        depths = np.asarray(depth, dtype=np.int64)
        order = np.arange(num_roots)  # new number → old number
        rank = np.zeros(len(parent), dtype=np.int64)  # old number → new number
        rank[:num_roots] = order
        by_depth = np.argsort(depths, kind="stable")
        first_of_depth = np.searchsorted(depths[by_depth], np.arange(1, depths.max() + 1))
        for level in np.split(by_depth, first_of_depth)[1:]:
            level = level[np.argsort(rank[parents[level]], kind="stable")]
            rank[level] = len(order) + np.arange(len(level))
            order = np.concatenate([order, level])
        parents = parents[order]
        parents[num_roots:] = rank[parents[num_roots:]]
        return cls(
            parent=parents,
            word=np.asarray(word, dtype=np.int64)[order],
            first_child=num_roots + np.searchsorted(parents[num_roots:], np.arange(len(parents) + 1)),
            leaf=rank[np.asarray(leaf, dtype=np.int64)],
            depth=int(depths.max()),
        )

    def __len__(self) -> int:
        return len(self.parent)
