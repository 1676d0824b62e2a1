"""Instructions of the processor that compiled code has no other word for."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from regulars.models.compiled import compiled

LINE = 64  # bytes
AT_ONCE = 16
ADDRESS, NUMBER, BIT = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(1)


def _asking(_context: Any, array: Any, place: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, values[0])
        address = builder.bitcast(builder.gep(made.data, [values[1]]), ADDRESS)
        arguments = [ADDRESS, NUMBER, NUMBER, NUMBER]
        asked = builder.module.declare_intrinsic("llvm.prefetch", [ADDRESS], ir.FunctionType(ir.VoidType(), arguments))
        builder.call(asked, [address, NUMBER(0), NUMBER(3), NUMBER(1)])  # to read, kept near, no code
        return context.get_dummy_value()

    return types.void(array, types.intp), code


def _first_bit(_context: Any, word: Any) -> Any:
    return types.uint64(types.uint64), lambda _, builder, _signature, values: builder.cttz(values[0], BIT(1))


def _count_bits(_context: Any, word: Any) -> Any:
    return types.int64(types.uint64), lambda _, builder, _signature, values: builder.ctpop(values[0])


def _equal(_context: Any, values: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind, nothing = ir.VectorType(NUMBER, AT_ONCE), ir.Constant(ir.VectorType(NUMBER, AT_ONCE), ir.Undefined)
        data = context.make_array(values)(context, builder, given[0]).data
        told = builder.load(builder.bitcast(data, kind.as_pointer()), align=4)
        alike = builder.insert_element(nothing, given[1], NUMBER(0))
        alike = builder.shuffle_vector(alike, nothing, ir.Constant(kind, [0] * AT_ONCE))
        found = builder.bitcast(builder.icmp_signed("==", told, alike), ir.IntType(AT_ONCE))
        return builder.zext(found, ir.IntType(64))

    return types.uint64(values, types.int32), code


_ask: Any = intrinsic(_asking)
first_bit: Any = intrinsic(_first_bit)  # the place of the lowest bit that is set, of a word that is not 0
count_bits: Any = intrinsic(_count_bits)  # how many bits are set
which_equal: Any = intrinsic(_equal)  # of the first 16 of an array of int32 those that are equal to a number, as bits


@compiled
def fetch(array: NDArray[Any], first: int, count: int) -> None:
    """Asks memory for ``count`` values from ``first`` on, counted through all of ``array``, which lies in one piece.

    What one answer reads lies all over a model: asked for some steps before it is read, it need not be waited for.
    """
    step = LINE // array.itemsize
    for place in range(first, first + count, step):
        _ask(array, place)
    if count:
        _ask(array, first + count - 1)


@compiled
def aligned(room: NDArray[Any], count: int) -> NDArray[Any]:
    """The first ``count`` values of ``room`` from where a line of memory begins."""
    first = (-room.ctypes.data % LINE) // room.itemsize
    return room[first : first + count]


@compiled
def put(values: NDArray[Any], into: NDArray[Any], first: int) -> None:
    """``into[first : first + len(values)] = values``, without the code for what it would say were they of different lengths."""
    for place in range(len(values)):
        into[first + place] = values[place]
