"""Arrays at addresses, and how numbers are stored: float32, bfloat16 (its bits in uint16) or int8, always widened to float32."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import populate_array

from musicgen_lite.generation.kernels.compiled import intrinsic

I16, I32, I64, FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


def element(stored: Any) -> ir.Type:
    """How LLVM holds a number of a numba type."""
    return {types.float32: FLOAT, types.uint16: I16, types.int8: ir.IntType(8)}[stored]


def widen(builder: Any, stored: Any, value: Any) -> Any:
    """Stored numbers as float32, a vector of them or one; bfloat16 are the upper half of a float32's bits."""
    lanes = value.type.count if isinstance(value.type, ir.VectorType) else 0
    float_, int_ = (ir.VectorType(kind, lanes) if lanes else kind for kind in (FLOAT, I32))
    if stored == types.float32:
        return value
    if stored == types.int8:
        return builder.sitofp(value, float_)
    shift = ir.Constant(int_, [16] * lanes if lanes else 16)
    return builder.bitcast(builder.shl(builder.zext(value, int_), shift), float_)


def prefetch(builder: Any, pointer: Any) -> None:
    """Begin to bring what is at a pointer near, if it exists."""
    byte = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32]), "llvm.prefetch.p0"
    )
    # To read, into the second cache, data.
    builder.call(function, [builder.bitcast(pointer, byte), I32(0), I32(2), I32(1)])


@intrinsic
def widened(typingctx: Any, value: Any) -> Any:
    """A stored float32 or bfloat16 as float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return widen(builder, value, args[0])

    return types.float32(value), generate


@intrinsic
def narrowed(typingctx: Any, value: Any, like: Any) -> Any:
    """A finite float32 as an array `like` stores it: as it is, or as the nearest bfloat16, of two equally near the even one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if like.dtype == types.float32:
            return args[0]
        bits = builder.bitcast(args[0], I32)
        odd = builder.and_(builder.lshr(bits, I32(16)), I32(1))
        rounded = builder.add(builder.add(bits, I32(0x7FFF)), odd)
        return builder.trunc(builder.lshr(rounded, I32(16)), I16)

    return like.dtype(types.float32, like), generate


@intrinsic
def array_at(typingctx: Any, address: Any, rows: Any, columns: Any, like: Any) -> Any:
    """The array `[rows, columns]` at an address, of the numbers of an array `like`. Compiles faster than numba's carray."""
    kind = types.Array(like.dtype, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(kind)(context, builder)
        size = I64(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        strides = builder.mul(args[2], size), size
        place = builder.inttoptr(args[0], array.data.type)
        populate_array(array, data=place, shape=args[1:3], strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

    return kind(types.int64, types.int64, types.int64, like), generate


@intrinsic
def address_of(typingctx: Any, array: Any) -> Any:
    """Where an array's numbers begin."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(context.make_array(array)(context, builder, args[0]).data, I64)

    return types.int64(array), generate
