"""Matrix products in float32, by a register tile written in LLVM's own vector instructions.

A tile keeps ROWS x 2 vectors of the result in registers and runs once along the inner width: for each number of that width it
loads two vectors of B, spreads ROWS numbers of A, and multiplies and adds. A transposed B is turned first, PANEL columns at a
time. What is left over at an edge is done by a tile that is moved back over finished rows,
and by masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils

from isthmus.engine.compiled.records import Floats

FEATURES = llvm.get_host_cpu_features()
LANES, ROWS = (16, 8) if FEATURES.get("avx512f") else (8, 6) if FEATURES.get("avx2") else (4, 8)
"""Numbers in a vector, and rows of a tile: two vectors a row, and three to load into, fill the registers that there are."""
PANEL = 2 * LANES
FAST = {"reassoc", "contract", "nsz"}
"""Sums may be taken in any order. No flag lets the compiler assume that numbers are finite: losses that are not must show."""

BIT, INT, LONG, FLOAT = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.FloatType()
VECTOR, MASK = ir.VectorType(FLOAT, LANES), ir.VectorType(BIT, LANES)
ALIGNMENT = INT(4)
PLACES = 11
"""How many numbers tell a tile where it works."""

intrinsic: Any = extending.intrinsic
"""Makes of a function that writes instructions one that compiled code may call; the first argument is numba's own."""


class Vectors:
    """Writes vector instructions; addresses are a pointer and an offset in numbers."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder
        pointer = VECTOR.as_pointer()
        name = f"v{LANES}f32"
        self._fma = self._known(f"llvm.fma.{name}", VECTOR, VECTOR, VECTOR, VECTOR)
        self._load = self._known(f"llvm.masked.load.{name}.p0", VECTOR, pointer, INT, MASK, VECTOR)
        self._store = self._known(f"llvm.masked.store.{name}.p0", ir.VoidType(), VECTOR, pointer, INT, MASK)

    def _known(self, name: str, result: ir.Type, *arguments: ir.Type) -> Any:
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def pointer(self, kind: Any, value: Any) -> Any:
        """Return where the numbers of an array begin."""
        return self.context.make_array(kind)(self.context, self.builder, value).data

    def at(self, pointer: Any, *offsets: Any) -> Any:
        """Return the address of a number, the offsets summed up."""
        offset = offsets[0]
        for more in offsets[1:]:
            offset = self.builder.add(offset, more)
        return self.builder.gep(pointer, [offset], source_etype=FLOAT)

    def _wide(self, address: Any) -> Any:
        return self.builder.bitcast(address, VECTOR.as_pointer())

    def mask(self, live: Any) -> Any:
        """Return a mask whose first ``live`` lanes are set."""
        places = ir.Constant(ir.VectorType(INT, LANES), list(range(LANES)))
        return self.builder.icmp_signed("<", places, self._spread(self.builder.trunc(live, INT), INT))

    def load(self, address: Any, mask: Any = None) -> Any:
        if mask is None:
            return self.builder.load(self._wide(address), typ=VECTOR, align=4)
        return self.builder.call(self._load, [self._wide(address), ALIGNMENT, mask, ir.Constant(VECTOR, [0.0] * LANES)])

    def store(self, value: Any, address: Any, mask: Any = None) -> None:
        if mask is None:
            self.builder.store(value, self._wide(address), align=4)
        else:
            self.builder.call(self._store, [value, self._wide(address), ALIGNMENT, mask])

    def spread(self, address: Any) -> Any:
        """Return one number in every lane."""
        return self._spread(self.builder.load(address, typ=FLOAT), FLOAT)

    def _spread(self, value: Any, kind: ir.Type) -> Any:
        wide = ir.VectorType(kind, LANES)
        first = self.builder.insert_element(ir.Constant(wide, ir.Undefined), value, INT(0))
        return self.builder.shuffle_vector(
            first, ir.Constant(wide, ir.Undefined), ir.Constant(ir.VectorType(INT, LANES), [0] * LANES)
        )

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self._fma, [a, b, c])

    def interleaved(self, a: Any, b: Any, start: int) -> Any:
        """Return a[start], b[start], a[start + 1], b[start + 1] .."""
        places = [start + lane // 2 + LANES * (lane % 2) for lane in range(LANES)]
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT, LANES), places))


def tile_of(rows: int, columns: int) -> Callable[..., None]:
    """Return the tile of so many rows and vectors a row."""

    @intrinsic
    def tile(typing: Any, a: Any, b: Any, z: Any, y: Any, where: Any) -> Any:
        """y[r, j] = z[r, j] + sum_p a[r, p] b[p, j]; ``where``: offsets and strides, inner width, lanes of the last vector."""

        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            v = Vectors(context, builder)
            pa, pb, pz, py = (v.pointer(*pair) for pair in zip(signature.args[:4], arguments[:4], strict=True))
            a0, a_row, a_column, b0, b_row, z0, z_row, y0, y_row, inner, live = cgutils.unpack_tuple(
                builder, arguments[4], PLACES
            )
            masks = [*[None] * (columns - 1), v.mask(live)]
            vectors = [(c, LONG(LANES * c), masks[c]) for c in range(columns)]
            times = builder.mul
            begin = [
                [v.load(v.at(pz, z0, times(LONG(r), z_row), place), mask) for _, place, mask in vectors]
                for r in range(rows)
            ]
            before, loop, after = builder.block, builder.append_basic_block("inner"), builder.append_basic_block("end")
            builder.branch(loop)
            builder.position_at_end(loop)
            p = builder.phi(LONG)
            p.add_incoming(LONG(0), before)
            sums = [[builder.phi(VECTOR) for _ in range(columns)] for _ in range(rows)]
            b_here = [v.load(v.at(pb, b0, times(p, b_row), place), mask) for _, place, mask in vectors]
            a_here = [v.spread(v.at(pa, a0, times(p, a_column), times(LONG(r), a_row))) for r in range(rows)]
            new = [[v.fma(a_here[r], b_here[c], sums[r][c]) for c in range(columns)] for r in range(rows)]
            following = builder.add(p, LONG(1))
            p.add_incoming(following, loop)
            for r in range(rows):
                for c in range(columns):
                    sums[r][c].add_incoming(begin[r][c], before)
                    sums[r][c].add_incoming(new[r][c], loop)
            builder.cbranch(builder.icmp_signed("<", following, inner), loop, after)
            builder.position_at_end(after)
            for r in range(rows):
                for c, place, mask in vectors:
                    v.store(new[r][c], v.at(py, y0, times(LONG(r), y_row), place), mask)
            return context.get_dummy_value()

        return types.void(a, b, z, y, types.UniTuple(types.int64, PLACES)), write

    return tile


@intrinsic
def transpose_square(typing: Any, a: Any, y: Any, a0: Any, a_row: Any, y0: Any, y_row: Any) -> Any:
    """y[j, i] = a[i, j] for LANES x LANES numbers: log2 LANES times, the halves of the rows are interleaved."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder)
        pa, py = (v.pointer(*pair) for pair in zip(signature.args[:2], arguments[:2], strict=True))
        a0, a_row, y0, y_row = arguments[2:]
        square = [v.load(v.at(pa, a0, builder.mul(LONG(i), a_row))) for i in range(LANES)]
        for _ in range(LANES.bit_length() - 1):
            halves = list(zip(square[: LANES // 2], square[LANES // 2 :], strict=True))
            square = [v.interleaved(a, b, start) for a, b in halves for start in (0, LANES // 2)]
        for j, row in enumerate(square):
            v.store(row, v.at(py, y0, builder.mul(LONG(j), y_row)))
        return context.get_dummy_value()

    return types.void(a, y, *[types.int64] * 4), write


wide_tile, slim_tile, wide_row, slim_row = tile_of(ROWS, 2), tile_of(ROWS, 1), tile_of(1, 2), tile_of(1, 1)


@intrinsic
def apart(typing: Any) -> Any:
    """Keep the function that calls this one piece of machine code: copies of it in every caller take long to compile."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), write


INNER: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""For functions that only compiled code calls."""
fast: Any = njit(fastmath=FAST, **INNER)
NEXT, SAME = np.int64(1), np.int64(0)
"""Strides. A Python number would be a constant to numba, and every constant a function of its own."""


@fast
def pack(b: Floats, b0: int, b_column: int, inner: int, columns: int, panel: Floats) -> None:
    """panel (inner, PANEL) = some columns of B (inner, columns), whose numbers lie at b0 + p + j b_column."""
    if inner < LANES or columns < LANES:
        for j in range(columns):
            for p in range(inner):
                panel[p * PANEL + j] = b[b0 + p + j * b_column]
        return
    for left in range(0, columns, LANES):
        j = min(left, columns - LANES)
        for top in range(0, inner, LANES):
            p = min(top, inner - LANES)
            transpose_square(b, panel, b0 + j * b_column + p, b_column, p * PANEL + j, PANEL)


@fast
def product(
    a: Floats,
    a_row: int,
    a_column: int,
    b: Floats,
    b_row: int,
    b_column: int,
    z: Floats,
    z_row: int,
    y: Floats,
    rows: int,
    columns: int,
    inner: int,
    panel: Floats,
) -> None:
    """y = z + A B, for A (rows, inner) of any strides, B (inner, columns) with a stride of 1, and y (rows, columns) row by row.

    z has the row stride ``z_row``: 0 for one row, such as a bias, that is added to all. It may not be y. ``panel`` has room
    for (inner, PANEL) numbers.
    """
    apart()
    height = ROWS if rows >= ROWS else 1
    for j in range(0, columns, PANEL):
        width = min(PANEL, columns - j)
        live = width - LANES if width > LANES else width
        packed, first, stride = b, j, b_row
        if b_column != 1:
            pack(b, j * b_column, b_column, inner, width, panel)
            packed, first, stride = panel, 0, PANEL
        for top in range(0, rows, height):
            i = min(top, rows - height)
            z0, y0 = i * z_row + j, i * columns + j
            where = (i * a_row, a_row, a_column, first, stride, z0, z_row, y0, columns, inner, live)
            if height == 1:
                if width > LANES:
                    wide_row(a, packed, z, y, where)
                else:
                    slim_row(a, packed, z, y, where)
            elif width > LANES:
                wide_tile(a, packed, z, y, where)
            else:
                slim_tile(a, packed, z, y, where)
