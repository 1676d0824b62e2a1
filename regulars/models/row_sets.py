"""Sets of up to 256 rows as bits, told apart and divided with a few instructions of the processor.

A set is four words of an array, from ``4 * place`` on; row r is bit ``r % 64`` of word ``r // 64``.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

WORDS, MOST_ROWS = 4, 256
TOGETHER = 16  # rows whose values are compared at once
CODES, CODE_BITS = 32, 5
BIT, BYTE, NUMBER, WORD = (ir.IntType(bits) for bits in (1, 8, 32, 64))
SET = ir.VectorType(WORD, WORDS)


def _address(context: Any, builder: Any, kind: Any, array: Any, place: Any, pointed: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), pointed.as_pointer())


def _set_at(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    return _address(context, builder, kind, array, builder.mul(place, WORD(WORDS)), SET)


def _comparing(*, missing: bool) -> Callable[..., Any]:
    def typed(_context: Any, values: Any, first: Any, bound: Any, sets: Any, place: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            kind = ir.VectorType(context.get_value_type(values.dtype), TOGETHER)
            size = context.get_abi_alignment(kind.element)
            told = builder.load(_address(context, builder, values, given[0], given[1], kind), align=size)
            nothing = ir.Constant(kind, ir.Undefined)
            alike = builder.insert_element(nothing, given[2], NUMBER(0))
            alike = builder.shuffle_vector(alike, nothing, ir.Constant(ir.VectorType(NUMBER, TOGETHER), [0] * TOGETHER))
            compared = (builder.fcmp_unordered if missing else builder.fcmp_ordered)(">", told, alike)
            parts = ir.IntType(TOGETHER)
            into = _address(context, builder, sets, given[3], builder.mul(given[4], WORD(WORDS)), parts)
            into = builder.gep(into, [builder.udiv(given[1], WORD(TOGETHER))])
            builder.store(builder.bitcast(compared, parts), into, align=TOGETHER // 8)
            return context.get_dummy_value()

        return types.void(values, types.intp, values.dtype, sets, types.intp), code

    return typed


def _dividing(_context: Any, tests: Any, test: Any, sets: Any, own: Any, left: Any, right: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        told = builder.load(_set_at(context, builder, tests, given[0], given[1]), align=8)
        own_at, left_at, right_at = (_set_at(context, builder, sets, given[2], place) for place in given[3:])
        rows = builder.load(own_at, align=8)
        builder.store(builder.and_(rows, builder.not_(told)), left_at, align=8)
        builder.store(builder.and_(rows, told), right_at, align=8)
        return context.get_dummy_value()

    return types.void(tests, types.intp, sets, *[types.intp] * 3), code


def _naming(_context: Any, sets: Any, names: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        told = [builder.load(_set_at(context, builder, sets, given[0], WORD(at)), align=8) for at in range(CODES)]
        kind = ir.VectorType(BYTE, MOST_ROWS)
        named = ir.Constant(kind, [0] * MOST_ROWS)
        for bit in range(CODE_BITS):
            holding = [told[at] for at in range(CODES) if at >> bit & 1]
            rows = holding[0]
            for more in holding[1:]:
                rows = builder.or_(rows, more)
            chosen = builder.bitcast(rows, ir.VectorType(BIT, MOST_ROWS))
            bits = builder.select(chosen, ir.Constant(kind, [1 << bit] * MOST_ROWS), ir.Constant(kind, [0] * MOST_ROWS))
            named = builder.or_(named, bits)
        builder.store(named, _address(context, builder, names, given[1], WORD(0), kind), align=1)
        return context.get_dummy_value()

    return types.void(sets, names), code


# (values, first, bound, sets, place): which of the 16 values from ``first`` (a multiple of 16) on are above the bound, into those
# rows of the set at ``place``
mark_above: Any = intrinsic(_comparing(missing=False))
mark_above_or_missing: Any = intrinsic(_comparing(missing=True))
# (tests, test, sets, own, left, right): of the rows of the set ``own`` those of the set ``test`` go right, the others left
divide: Any = intrinsic(_dividing)
# (sets, names): the name of each row is the place of the one of the first 32 sets that holds it; shape (256,) of bytes
name_rows: Any = intrinsic(_naming)
