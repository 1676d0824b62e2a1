"""Which products are weighed, in one compiled pass: the best of what each retriever reached, each product once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled, compiled_inline
from regulars.models.history_kernels import Visitor, latest_first, looking_at
from regulars.models.instructions import count_bits, first_bit
from regulars.models.retrievers.factor_kernels import Coarse, nearest
from regulars.models.retrievers.kernels import add, collect, collected, cosines, words_touched
from regulars.models.selection import highest

TRIED, FEW_OF = 8_192, 128  # so many are tried in order; few is one of so many
NOT_NOTHING = 1e-300  # what nobody wants comes last, but comes

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
    found = np.empty(min(most, len(allowed)) + 1, np.int64)
    filled = _first_allowed(popular.order[:TRIED], allowed, found, 0)
    if filled < len(found) - 1 and len(allowed) > TRIED:
        count = count_allowed(allowed)
        if count * FEW_OF > len(allowed):
            return found[: _first_allowed(popular.order[TRIED:], allowed, found, filled)]
        few, wanted = rows_allowed(allowed, count), np.empty(count)
        for place in range(count):
            wanted[place] = popular.wanted[few[place]] + NOT_NOTHING
        return highest(few, wanted, most)
    return found[:filled]


@compiled
def _first_allowed(order: Rows, allowed: Mask, found: Rows, filled: int) -> int:
    """Puts those of ``order`` that are allowed behind the ``filled``, as far as there is room for one more; where they end."""
    end = np.uint64(filled)
    for row in order:
        if end == len(found) - 1:
            break
        found[end] = row
        end += np.uint64(allowed[row])
    return int(np.int64(end))


@compiled
def count_allowed(allowed: Mask) -> int:
    """How many rows are allowed."""
    whole, count = len(allowed) & ~7, 0
    for word in allowed[:whole].view(np.uint64):  # eight truth values
        count += count_bits(word)
    for row in range(whole, len(allowed)):
        count += allowed[row]
    return count


@compiled
def rows_allowed(allowed: Mask, count: int) -> Rows:
    """The ``count`` rows that are allowed, sorted."""
    whole, rows, filled = len(allowed) & ~7, np.empty(count, np.int64), 0
    words = allowed[:whole].view(np.uint64)
    for place in words_touched(words):
        word = words[place]
        while word:
            rows[filled] = 8 * place + np.int64(first_bit(word)) // 8
            word &= word - np.uint64(1)
            filled += 1
    for row in range(whole, len(allowed)):
        if allowed[row]:
            rows[filled] = row
            filled += 1
    return rows


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


@compiled_inline
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
    never = looking_at(visitor.rows, visitor.days, visitor.bought)
    if never >= 0:
        bits[never >> 6] &= ~(np.uint64(1) << np.uint64(never & 63))
    _mark(also, bits)
    return _marked(bits)


@compiled
def _mark_best(pairs: Pairs, most: int, allowed: Mask, most_allowed: int, bits: Words) -> None:
    """Marks the ``most`` best, and the ``most_allowed`` best of those allowed."""
    best = highest(pairs[0], pairs[1], most)
    _mark(best, bits)
    if most_allowed and not (len(best) < most or _holds(best, allowed, most_allowed)):
        _mark(_highest_allowed(pairs, allowed, most_allowed), bits)


@compiled
def _holds(best: Rows, allowed: Mask, count: int) -> bool:
    """Whether at least ``count`` of the ``best`` are allowed: then no other allowed one is as good as those."""
    for row in best:
        count -= allowed[row]
    return count <= 0


@compiled
def _highest_allowed(pairs: Pairs, allowed: Mask, n: int) -> Rows:
    """The same as ``highest`` of what is allowed."""
    rows, kept, count = np.empty(len(pairs[0]) + 1, np.int64), np.empty(len(pairs[0]) + 1), np.uint64(0)
    for place in range(len(pairs[0])):
        rows[count], kept[count] = pairs[0][place], pairs[1][place]
        count += np.uint64(allowed[pairs[0][place]])
    return highest(rows[:count], kept[:count], n)
