"""Which products are weighed, in one compiled pass: the best of what each retriever reached, each product once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.history_kernels import Visitor, latest_first, looking_at
from regulars.models.instructions import count_bits, first_bit
from regulars.models.retrievers.factor_kernels import Coarse, nearest
from regulars.models.retrievers.kernels import add, collect, collected, cosines
from regulars.models.selection import bound_of, highest, reaching

FEW_OF = 128  # of so many products one is allowed
NOT_NOTHING = 1e-300  # what nobody wants comes last, but comes
TIMES = 8

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


class Popular(NamedTuple):
    """How much each row is ``wanted`` (n_products,), and all rows in that ``order``, best first, ties by row."""

    wanted: NDArray[np.float32]
    order: Rows


class Groups(NamedTuple):
    """``group`` (n_products,): -1 where there is none; ``best`` (n_groups, k): the most popular rows of each."""

    group: NDArray[np.int32]
    best: NDArray[np.int64]


@compiled
def popular_of(popular: Popular, allowed: Mask, most: int) -> Rows:
    """The ``most`` most popular rows that are allowed, best first.

    Where few are allowed, those are put in order, so that it takes no longer than looking at the mask.
    """
    count = 0
    for row in range(len(allowed)):
        count += allowed[row]
    if count * FEW_OF < len(allowed):
        rows, filled = np.empty(count + 1, np.int64), np.uint64(0)
        for row in range(len(allowed)):
            rows[filled] = row
            filled += np.uint64(allowed[row])
        wanted = np.empty(count)
        for place in range(count):
            wanted[place] = popular.wanted[rows[place]] + NOT_NOTHING
        return highest(rows[:count], wanted, most)
    found, filled = np.empty(min(most, len(popular.order)) + 1, np.int64), np.uint64(0)
    for row in popular.order:
        if filled == len(found) - 1:
            break
        found[filled] = row
        filled += np.uint64(allowed[row])
    return found[:filled]


@compiled
def of_groups(groups: Groups, products: Rows, weights: Floats, n: int, sums: Floats, touched: Words) -> Rows:
    """Up to ``n`` rows of the best of each product's group, best first.

    The score is the group's sum of ``weights`` over 2 for the group's first, over 3 for its second, and so on.
    """
    for place in range(len(products)):
        own = groups.group[products[place]]
        if own >= 0:
            add(own, weights[place], sums, touched)
    liked, shares = collected(sums, touched[: (len(groups.best) + 63) >> 6])
    chosen, (_, most) = highest(liked, shares, n), groups.best.shape
    for one in chosen:
        share = shares[np.searchsorted(liked, one)]
        for rank in range(most):
            row = groups.best[one, rank]
            if row >= 0:
                add(row, share / (rank + 2), sums, touched)
    found, scores = np.empty(len(chosen) * most + 1, np.int64), np.empty(len(chosen) * most + 1)
    filled = collect(sums, touched, found, scores, 0)
    return highest(found[:filled], scores[:filled], n)


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
def _marked(bits: Words) -> Rows:
    """The rows whose bits are set, sorted."""
    count = 0
    for place in range(len(bits)):
        count += count_bits(bits[place])
    found, filled = np.empty(count, np.int64), 0
    for place in range(len(bits)):
        word = bits[place]
        while word:
            found[filled] = (place << 6) + np.int64(first_bit(word))
            word &= word - np.uint64(1)
            filled += 1
    return found


class Most(NamedTuple):
    """How many each may bring: parts of what was reached, factors, own purchases, groups, words, latest products, popular ones.

    ``allowed``: of the allowed, each; where at most ``all_of`` are allowed, all of them.
    """

    parts: NDArray[np.int64]
    factors: int
    repeat: int
    groups: int
    words: int
    newest: int
    popular: int
    allowed: int
    all_of: int


class Sources(NamedTuple):
    """Where candidates come from beside what was reached: the ``vectors`` of ``Factors``, which are ``rounded`` as well, the
    ``popular`` rows, groups and words; and how many may come."""

    rounded: Coarse
    vectors: NDArray[np.float32]
    popular: Popular
    groups: Groups
    texts: Texts
    most: Most


class Reached(NamedTuple):
    """What ``reach`` gives: ``parts``, rows, scores and ends; how often each product was bought, faded; the visitor's vector."""

    parts: tuple[Rows, Floats, NDArray[np.int64]]
    repeated: Floats
    wanted: Floats


@compiled
def candidates(
    visitor: Visitor,
    reached: Reached,
    sources: Sources,
    deeper: int,
    allowed: Mask,
    also: Rows,
    sums: Floats,
    touched: Words,
) -> Rows:
    """The rows that any retriever proposes without the product that is looked at right now, and ``also``; sorted.

    Each may bring ``deeper`` times as many as usual. Where ``allowed`` (n_products,) is not empty, the best that it allows come
    as well, of popular products, of factors and of each part that brings any.
    """
    most, (found, scores, ends) = sources.most, reached.parts
    bits, first, most_allowed = np.zeros((len(sources.groups.group) + 63) >> 6, np.uint64), 0, 0
    if len(allowed):
        popular = popular_of(sources.popular, allowed, most.all_of)
        if len(popular) == most.all_of:
            most_allowed, popular = most.allowed, popular[: most.popular]
        _mark(popular, bits)
    for part in range(len(most.parts)):
        last = ends[part]
        if most.parts[part]:
            _mark_best((found[first:last], scores[first:last]), most.parts[part] * deeper, allowed, most_allowed, bits)
        first = last
    if len(visitor.products):
        wanted, count = reached.wanted.astype(np.float32), most.factors * deeper
        near = nearest(sources.rounded, sources.vectors, wanted, count, allowed, most_allowed)
        _mark_best(near, count, allowed, most_allowed, bits)
    _mark(highest(visitor.products, reached.repeated, most.repeat), bits)
    _mark(latest_first(visitor.products, visitor.place)[: most.newest], bits)
    _mark(sources.popular.order[: most.popular * deeper], bits)
    liked = of_groups(sources.groups, visitor.products, visitor.weights, most.groups * deeper, sums, touched)
    _mark(liked, bits)
    strong, weights = visitor.strong, visitor.strong_weights
    _mark(alike_in_words(sources.texts, strong, weights, most.words * deeper, sums, touched), bits)
    never = looking_at(visitor)
    if never >= 0:
        bits[never >> 6] &= ~(np.uint64(1) << np.uint64(never & 63))
    _mark(also, bits)
    return _marked(bits)


@compiled
def _mark_best(pairs: Pairs, most: int, allowed: Mask, most_allowed: int, bits: Words) -> None:
    _mark(highest(pairs[0], pairs[1], most), bits)
    if most_allowed:
        _mark(_highest_allowed(pairs, allowed, most_allowed), bits)


@compiled
def _highest_allowed(pairs: Pairs, allowed: Mask, n: int) -> Rows:
    """The same as ``highest`` of what is allowed. Among some times as many of the best there are mostly enough."""
    found, scores = pairs
    best = reaching(scores, bound_of(scores, TIMES * n))
    rows, kept, count = np.empty(len(best) + 1, np.int64), np.empty(len(best) + 1), np.uint64(0)
    for place in best:
        rows[count], kept[count] = found[place], scores[place]
        count += np.uint64(allowed[found[place]])
    if count < n and len(best) < len(found):
        is_allowed = allowed[found]
        return highest(found[is_allowed], scores[is_allowed], n)
    return highest(rows[:count], kept[:count], n)
