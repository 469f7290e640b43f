"""Recurrent networks: series read step by step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.parts.networks.activations import refuse_dropout
from isthmus.parts.networks.dropout import Dropout
from isthmus.parts.networks.linear import Linear
from isthmus.parts.networks.network import Network


@dataclass
class Recurrent(Network):
    """Read a series step by step into one state; write it from a state, step by step (Sutskever 2014; Srivastava 2015).

        x_1, x_2, .. --cell--> last state of each layer and direction = h
        z, z, ..     --cell--> one state a step --linear--> x_hat_1, x_hat_2, ..

    A step of which no channel is observed is not read: the state is carried over it, so that a window padded with gaps has
    the code of the shorter one. ``cell`` is "gru" (Cho 2014) or "lstm" (Hochreiter & Schmidhuber 1997).
    """

    hidden: int = 64
    layers: int = 1
    cell: Literal["gru", "lstm"] = "gru"
    bidirectional: bool = False
    dropout: float = 0.0

    sees_gaps: ClassVar[bool] = True

    @property
    def keeps_place(self) -> bool:
        return False

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        return Reader(self._stack(2 * shape[1]), self.dropout), (self.hidden * self.layers * (1 + self.bidirectional),)

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        size = math.prod(z_shape)
        return nn.Sequential(nn.Flatten(), Writer(self._stack(size), shape, size, self.dropout))

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        if len(shape) != 2:
            raise SettingError(
                f"A recurrent network needs series (windows of steps and channels), but one sample has the shape {shape}; pass "
                f"Series(X, length=..), or use network='mlp'."
            )
        refuse_dropout("Recurrent", self.dropout)
        if self.hidden < 1 or self.layers < 1:
            raise SettingError(f"Recurrent(hidden={self.hidden}, layers={self.layers}): both must be at least 1.")
        if self.cell not in ("gru", "lstm"):
            raise SettingError(f"Recurrent(cell={self.cell!r}) must be 'gru' or 'lstm'.")
        return self

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        pass

    @property
    def ends_linearly(self) -> bool:
        return True

    @property
    def holds_back(self) -> bool:
        return self.dropout > 0

    def _stack(self, inside: int) -> Stack:
        return Stack(inside, self.hidden, self.layers, self.cell, self.bidirectional)


class Reader(nn.Module):
    """(B, length, channels), observed -> the last state of every layer and direction, (B, hidden * layers * directions).

    Each channel comes with a number that is 1 where it has a gap.
    """

    def __init__(self, stack: Stack, rate: float) -> None:
        super().__init__()
        self.stack, self.drop = stack, Dropout(rate)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        if observed is None:
            return self.drop(self.stack(torch.cat([x, torch.zeros_like(x)], -1), None)[1])
        x = torch.where(observed, x, torch.zeros_like(x))
        return self.drop(self.stack(torch.cat([x, (~observed).to(x.dtype)], -1), observed.any(-1))[1])


class Writer(nn.Module):
    """(B, k) -> (B, length, channels): the code is the input of every step."""

    def __init__(self, stack: Stack, shape: tuple[int, ...], size: int, rate: float) -> None:
        super().__init__()
        self.length, self.stack, self.drop = shape[0], stack, Dropout(rate)
        self.start = Linear(size, stack.states)
        self.output = Linear(stack.outside, shape[1])

    def forward(self, z: Tensor) -> Tensor:
        repeated = z[:, None].expand(-1, self.length, -1)
        return self.output(self.drop(self.stack(repeated, None, self.start(z).tanh())[0]))


class Stack(nn.Module):
    """Layers of cells, in one direction or in both: (B, length, inside) -> outputs (B, length, outside), last states."""

    def __init__(self, inside: int, hidden: int, layers: int, cell: str, bidirectional: bool) -> None:
        super().__init__()
        self.directions, self.hidden, self.layers = 1 + bidirectional, hidden, layers
        self.outside, self.states = hidden * self.directions, hidden * self.directions * layers
        kind = GRU if cell == "gru" else LSTM
        widths = [inside, *[self.outside] * (layers - 1)]
        self.cells = nn.ModuleList(kind(width, hidden) for width in widths for _ in range(self.directions))

    def forward(self, x: Tensor, valid: Tensor | None, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``valid`` (B, length) says which steps are read, None that all are; ``start`` (B, states) where they begin."""
        begin = x.new_zeros(len(x), self.states) if start is None else start
        firsts, lasts = begin.split(self.hidden, 1), []
        for layer in range(self.layers):
            sides = []
            for direction in range(self.directions):
                place = layer * self.directions + direction
                outputs = self._run(self.cells[place], x, valid, firsts[place], backward=direction == 1)
                lasts.append(outputs[0 if direction else -1])
                sides.append(torch.stack(outputs, 1))
            x = torch.cat(sides, -1) if len(sides) > 1 else sides[0]
        return x, torch.cat(lasts, 1) if len(lasts) > 1 else lasts[0]

    def _run(self, cell: nn.Module, x: Tensor, valid: Tensor | None, first: Tensor, backward: bool) -> list[Tensor]:
        """Return the state after each step, each (B, hidden), in the order of the series."""
        assert isinstance(cell, Cell)
        asked = cell.read(x).unbind(1)  # what the input says to every step, at once
        steps = range(len(asked) - 1, -1, -1) if backward else range(len(asked))
        state, outputs = (first, torch.zeros_like(first)), [first] * len(asked)
        for step in steps:
            new = cell(asked[step], state)
            if valid is not None:
                read = valid[:, step, None]
                new = (torch.where(read, new[0], state[0]), torch.where(read, new[1], state[1]))
            state = new
            outputs[step] = state[0]
        return outputs


class Cell(nn.Module, ABC):
    """One step: ``cell(read(x), (h, c)) -> (h, c)``, each (B, hidden)."""

    def __init__(self, inside: int, hidden: int, gates: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.read, self.recall = Linear(inside, gates * hidden), Linear(hidden, gates * hidden)
        for (
            parameter
        ) in self.parameters():  # as recurrent networks begin, so that a state neither fades nor grows at once
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    @abstractmethod
    def forward(self, asked: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]: ...


class GRU(Cell):
    """h' = (1 - u) n + u h, with n = tanh(W x + r (V h + b)) and gates r, u = sigmoid(W x + V h) (Cho 2014); c is idle."""

    def __init__(self, inside: int, hidden: int) -> None:
        super().__init__(inside, hidden, gates=3)

    def forward(self, asked: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h, idle = state
        recalled, both = self.recall(h), 2 * self.hidden  # (B, 3 hidden): r, u, then n
        reset, keep = (asked[:, :both] + recalled[:, :both]).sigmoid().chunk(2, 1)
        fresh = (asked[:, both:] + reset * recalled[:, both:]).tanh()
        return fresh + keep * (h - fresh), idle


class LSTM(Cell):
    """c' = f c + i n, h' = o tanh(c'), with n = tanh(W x + V h) and gates i, f, o (Hochreiter & Schmidhuber 1997)."""

    def __init__(self, inside: int, hidden: int) -> None:
        super().__init__(inside, hidden, gates=4)
        nn.init.ones_(self.read.bias[hidden : 2 * hidden])  # remember at first (Jozefowicz 2015)

    def forward(self, asked: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h, c = state
        mixed, gates = asked + self.recall(h), 3 * self.hidden  # (B, 4 hidden): i, f, o, then n
        enter, keep, leave = mixed[:, :gates].sigmoid().chunk(3, 1)
        c = keep * c + enter * mixed[:, gates:].tanh()
        return leave * c.tanh(), c
