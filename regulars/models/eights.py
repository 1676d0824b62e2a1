"""Eight numbers at a time, told to the processor: loops as short as these it is not given by itself."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

EIGHT = 8
_room: Any = cgutils.alloca_once
NUMBER, PLACE, LANE = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
NUMBERS = ir.VectorType(NUMBER, EIGHT)
NOTHING = ir.Constant(NUMBERS, ir.Undefined)
FIRST = ir.Constant(ir.VectorType(LANE, EIGHT), [0] * EIGHT)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _eight_at(builder: Any, data: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(data, [place]), NUMBERS.as_pointer())


def _times_and(builder: Any, number: Any, numbers: Any, more: Any) -> Any:
    """``number`` times each of the ``numbers`` and ``more``."""
    alike = builder.shuffle_vector(builder.insert_element(NOTHING, number, LANE(0)), NOTHING, FIRST)
    kind = ir.FunctionType(NUMBERS, [NUMBERS] * 3)
    return builder.call(builder.module.declare_intrinsic(f"llvm.fmuladd.v{EIGHT}f64", (), kind), [alike, numbers, more])


def _adding_one(_context: Any, into: Any, to: Any, by: Any, values: Any, first: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        target = _eight_at(builder, _data(context, builder, into, given[0]), given[1])
        numbers = builder.load(_eight_at(builder, _data(context, builder, values, given[3]), given[4]), align=EIGHT)
        builder.store(_times_and(builder, given[2], numbers, builder.load(target, align=EIGHT)), target, align=EIGHT)
        return context.get_dummy_value()

    return types.void(into, types.intp, types.float64, values, types.intp), code


def _adding_block(
    _context: Any, into: Any, to: Any, factors: Any, line: Any, values: Any, first: Any, step: Any, count: Any
) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        base, place, step_given = _data(context, builder, into, given[0]), given[1], given[6]
        lines = []
        for _ in range(EIGHT):
            at, told = _eight_at(builder, base, place), _room(builder, NUMBERS)
            builder.store(builder.load(at, align=EIGHT), told)
            lines.append((at, told))
            place = builder.add(place, step_given)
        by, numbers = (_data(context, builder, kind, given[at]) for kind, at in ((factors, 2), (values, 4)))
        with cgutils.for_range(builder, given[7], intp=PLACE) as loop:
            behind = builder.mul(loop.index, step_given)
            eight = builder.load(_eight_at(builder, numbers, builder.add(behind, given[5])), align=EIGHT)
            own = builder.gep(by, [builder.add(behind, given[3])])
            for number, (_, told) in enumerate(lines):
                factor = builder.load(builder.gep(own, [PLACE(number)]))
                builder.store(_times_and(builder, factor, eight, builder.load(told)), told)
        for at, told in lines:
            builder.store(builder.load(told), at, align=EIGHT)
        return context.get_dummy_value()

    place = types.intp
    return types.void(into, place, factors, place, values, place, place, place), code


# (into, to, by, values, first): adds ``by`` times the eight ``values`` from ``first`` on to the eight numbers from ``to`` on
add_one: Any = intrinsic(_adding_one)
# (into, to, factors, line, values, first, step, count), all arrays lines of ``step`` numbers, one behind the other: adds to the
# block of eight lines whose corner is ``to`` the sum, over ``count`` lines, of the eight ``factors`` from ``line`` on, one per
# line of the block, times the eight ``values`` from ``first`` on, one per column
add_block: Any = intrinsic(_adding_block)
