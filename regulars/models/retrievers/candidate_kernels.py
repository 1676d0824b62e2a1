"""Which products are weighed, in one compiled pass: the best of what each retriever reached, each product once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.instructions import count_bits, first_bit
from regulars.models.retrievers.factor_kernels import Coarse, nearest
from regulars.models.retrievers.kernels import add, collected, cosines
from regulars.models.selection import highest

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Mask = NDArray[np.bool_]
Pairs = tuple[Rows, Floats]


class Texts(NamedTuple):
    """The arrays of ``Content``; ``fresh`` sorted."""

    words: NDArray[np.int32]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]
    fresh: Rows


class Groups(NamedTuple):
    """``group`` (n_products,): -1 where there is none; ``best`` (n_groups, k): the most popular rows of each."""

    group: NDArray[np.int32]
    best: NDArray[np.int64]


@compiled
def popular_of(order: Rows, allowed: Mask, most: int) -> Rows:
    """The first ``most`` of ``order`` that are allowed."""
    found, count = np.empty(min(most, len(order)), np.int64), 0
    for row in order:
        if count == len(found):
            break
        if allowed[row]:
            found[count] = row
            count += 1
    return found[:count]


@compiled
def of_groups(groups: Groups, products: Rows, weights: Floats, n: int, sums: Floats, touched: Words) -> Rows:
    """Up to ``n`` rows of the best of each product's group, best first.

    The score is the group's sum of ``weights`` over 2 for the group's first, over 3 for its second, and so on.
    """
    for place in range(len(products)):
        own = groups.group[products[place]]
        if own >= 0:
            add(own, weights[place], sums, touched)
    liked, shares = collected(sums, touched)
    for one in highest(liked, shares, n):
        share = shares[np.searchsorted(liked, one)]
        for rank in range(groups.best.shape[1]):
            row = groups.best[one, rank]
            if row >= 0:
                add(row, share / (rank + 2), sums, touched)
    found, scores = collected(sums, touched)
    return highest(found, scores, n)


@compiled
def alike_in_words(texts: Texts, products: Rows, weights: Floats, n: int, sums: Floats, touched: Words) -> Rows:
    """Up to ``n`` fresh rows whose words are most like those of ``products``, best first."""
    scores = np.empty(len(texts.fresh))
    cosines(texts.words, texts.weights, texts.starts, products, weights, texts.fresh, sums, touched, scores)
    return highest(texts.fresh, scores, n)


@compiled
def _mark(rows: Rows, bits: Words) -> None:
    """Sets the bit of each row; -1 is none."""
    for row in rows:
        if row >= 0:
            bits[np.uint64(row) >> np.uint64(6)] |= np.uint64(1) << np.uint64(row & 63)


@compiled
def _marked(bits: Words, but: int) -> Rows:
    """The rows whose bits are set, sorted, without ``but``."""
    count = 0
    for place in range(len(bits)):
        count += count_bits(bits[place])
    found, filled = np.empty(count, np.int64), 0
    for place in range(len(bits)):
        word = bits[place]
        while word:
            row = (place << 6) + np.int64(first_bit(word))
            word &= word - np.uint64(1)
            if row != but:
                found[filled] = row
                filled += 1
    return found[:filled]


class Near(NamedTuple):
    """The ``vectors`` of ``Factors``, which are ``rounded`` as well, and the vector that is ``wanted``."""

    rounded: Coarse
    vectors: NDArray[np.float32]
    wanted: Floats


class Liked(NamedTuple):
    """What a history says of groups and words: its products, the strongest of them, what of it comes anyway, and what must not."""

    products: Rows
    weights: Floats
    strong: Rows
    strong_weights: Floats
    anyway: Rows
    never: int


class Most(NamedTuple):
    """How many each may bring: parts of what was reached, factors, own purchases, groups, words; and of the allowed, each."""

    parts: NDArray[np.int64]
    factors: int
    repeat: int
    groups: int
    words: int
    allowed: int


@compiled
def candidates(
    reached: tuple[Rows, Floats, NDArray[np.int64]],
    factors: Near,
    repeat: Pairs,
    liked: Liked,
    groups: Groups,
    texts: Texts,
    most: Most,
    allowed: Mask,
    sums: Floats,
    touched: Words,
) -> Rows:
    """The rows that any retriever proposes, sorted.

    With ``most.allowed`` also the best that ``allowed`` (n_products,) allows, of factors and of each part that brings any.
    """
    bits, first = np.zeros((len(groups.group) + 63) >> 6, np.uint64), 0
    for part in range(len(most.parts)):
        last = reached[2][part]
        if most.parts[part]:
            pairs = (reached[0][first:last], reached[1][first:last])
            _mark_best(pairs, most.parts[part], allowed, most.allowed, bits)
        first = last
    if len(liked.products):
        wanted = factors.wanted.astype(np.float32)
        near = nearest(factors.rounded, factors.vectors, wanted, most.factors, allowed, most.allowed)
        _mark_best(near, most.factors, allowed, most.allowed, bits)
    _mark(highest(repeat[0], repeat[1], most.repeat), bits)
    _mark(liked.anyway, bits)
    _mark(of_groups(groups, liked.products, liked.weights, most.groups, sums, touched), bits)
    _mark(alike_in_words(texts, liked.strong, liked.strong_weights, most.words, sums, touched), bits)
    return _marked(bits, liked.never)


@compiled
def _mark_best(pairs: Pairs, most: int, allowed: Mask, most_allowed: int, bits: Words) -> None:
    _mark(highest(pairs[0], pairs[1], most), bits)
    if most_allowed:
        kept = allowed[pairs[0]]
        _mark(highest(pairs[0][kept], pairs[1][kept], most_allowed), bits)
