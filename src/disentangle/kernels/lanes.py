"""Sixteen numbers that lie side by side, added to sixteen others at once.

A loop over so few is unrolled by the compiler before it thinks of a vector, and then takes ten times as long.
So these two are written in its own terms. Each of the sixteen gets the same sum, to the last bit, whatever
the others are and however many of them a processor takes at a time.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16
# Sums that do not wait for one another.
_SUMS = 4

_ROW, _INT32, _INT64 = ir.VectorType(ir.FloatType(), LANES), ir.IntType(32), ir.IntType(64)
_UNKNOWN = ir.Constant(_ROW, ir.Undefined)
_FIRST = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)


def _data(context: Any, builder: ir.IRBuilder, kind: types.Array, array: ir.Value) -> ir.Value:
    return context.make_array(kind)(context, builder, array).data


def _row(builder: ir.IRBuilder, data: ir.Value, start: ir.Value) -> ir.Value:
    return builder.bitcast(builder.gep(data, [start]), _ROW.as_pointer())


def _scaled(builder: ir.IRBuilder, factor: ir.Value, row: ir.Value) -> ir.Value:
    """A factor times the row at an address."""
    factors = builder.insert_element(_UNKNOWN, factor, ir.Constant(_INT32, 0))
    factors = builder.shuffle_vector(factors, _UNKNOWN, _FIRST)
    return builder.fmul(factors, builder.load(row, align=4))


@intrinsic
def add_row(typingctx: Any, to: Any, at: Any, factor: Any, rows: Any, start: Any) -> Any:
    """`to[at : at + LANES] += factor * rows[start : start + LANES]`, of float32 arrays, unchecked."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        target = _row(builder, _data(context, builder, signature.args[0], args[0]), args[1])
        source = _row(builder, _data(context, builder, signature.args[3], args[3]), args[4])
        total = builder.fadd(builder.load(target, align=4), _scaled(builder, args[2], source))
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    return types.void(to, types.int64, types.float32, rows, types.int64), generate


@intrinsic
def add_rows(
    typingctx: Any, to: Any, at: Any, factors: Any, start: Any, ids: Any, first: Any, n: Any, rows: Any
) -> Any:
    """The same for `n` factors from `start` on, and the rows that as many ids from `first` on are of."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        def data(i: int) -> ir.Value:
            return _data(context, builder, signature.args[i], args[i])

        target, values, places, weights = _row(builder, data(0), args[1]), data(2), data(4), data(7)
        sums = [cgutils.alloca_once(builder, _ROW) for _ in range(_SUMS)]
        for one in sums:
            builder.store(ir.Constant(_ROW, None), one)

        def add(i: ir.Value, one: ir.Value) -> None:
            factor = builder.load(builder.gep(values, [builder.add(args[3], i)]))
            place = builder.load(builder.gep(places, [builder.add(args[5], i)]))
            start = builder.mul(builder.sext(place, _INT64), ir.Constant(_INT64, LANES))
            row = _scaled(builder, factor, _row(builder, weights, start))
            builder.store(builder.fadd(builder.load(one), row), one)

        step, end = ir.Constant(_INT64, _SUMS), args[6]
        in_fours = builder.sub(end, builder.srem(end, step))
        with cgutils.for_range_slice(builder, ir.Constant(_INT64, 0), in_fours, step, _INT64) as (i, _):
            for j, one in enumerate(sums):
                add(builder.add(i, ir.Constant(_INT64, j)), one)
        with cgutils.for_range_slice(builder, in_fours, end, ir.Constant(_INT64, 1), _INT64) as (i, _):
            add(i, sums[0])
        total = builder.load(target, align=4)
        for one in sums:
            total = builder.fadd(total, builder.load(one))
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    numbers = types.int64
    return types.void(to, numbers, factors, numbers, ids, numbers, numbers, rows), generate
