"""Many autoencoders fitted at once: ensembles, searches over latent sizes, resamplings of the rows.

members --> of one form, and small? --yes--> side by side, one batched computation (lockstep.py); where their steps are
                      |                      many, one after the other by the compiled engine, whose start they share
                      \\--no--> one after the other, each by the engine it would have alone
n_jobs > 1: portions of the members, each as above in a process of its own, on one thread
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.externals.loky.backend.reduction import dumps
from sklearn.utils import (
    _safe_indexing,  # pyright: ignore[reportPrivateUsage] - the one that knows every kind of frame
    check_random_state,
)

from isthmus.callbacks import ProgressBar, listeners
from isthmus.data import Images, Series
from isthmus.engine.choice import maker, outpaces_stack
from isthmus.errors import DataError, IsthmusError, SettingError
from isthmus.estimator import Autoencoder, Begun
from isthmus.inputs import Learned, learn_rows
from isthmus.lockstep import MOST, Form, form_of, train_together
from isthmus.training import steps_of, train


class Member(NamedTuple):
    """One of the autoencoders, and the rows it learns from."""

    number: int
    autoencoder: Any
    rows: np.ndarray | None
    """Positions; None is all of them."""


class Task(NamedTuple):
    """What all members learn from."""

    X: Any
    y: Any
    sample_weight: Any
    codec: Any
    """"own", "shared", or what was learned already."""

    def of(self, member: Member) -> tuple[Any, Any, Any]:
        """Return X, y and sample_weight of a member: its rows, or where the codec is shared all rows, others at weight 0."""
        mine = (self.X, self.y, self.sample_weight)
        if member.rows is None:
            return mine
        if self.codec == "own":
            X, y, weight = (None if values is None else rows_of(values, member.rows) for values in mine)
            return X, y, weight
        weight = np.zeros(_count(self.X, self.codec))
        weight[member.rows] = 1 if self.sample_weight is None else np.asarray(self.sample_weight)[member.rows]
        return self.X, self.y, weight


def fit_many(
    autoencoders: Sequence[Autoencoder],
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    rows: Sequence[Any] | None = None,
    n_jobs: int | None = None,
    codec: Literal["own", "shared"] | Learned = "own",
) -> list[Autoencoder]:
    """Fit several autoencoders; each becomes what its own ``fit`` would make of it, to rounding, and all of them sooner.

    Members that differ only in seed, latent size or rows (as many for each) are small steps of one batched computation;
    ``history_.engine`` of such a member is "stacked", or "compiled" where their steps together pay for that engine's start. All
    others, and those with callbacks, are fitted one after the other.

    Parameters
    ----------
    autoencoders : the members, each an object of its own; they are fitted in place and returned in order.
    X, y, sample_weight : as for ``fit``.
    rows : for each member the positions (or a mask) of the rows it learns from, or None for all; None is all for everyone.
    n_jobs : how many processes share the members, each on one thread; -1 is one a core. None is this process alone. What
        is sent there must be picklable, and callbacks are called on copies.
    codec : does each member learn scales and categories from its "own" rows, or all of them from all rows: "shared"? These may
        have been learned already (``isthmus.inputs.learn_rows``); then ``rows`` counts what was encoded.

    >>> import numpy as np, isthmus as ist
    >>> X = np.random.default_rng(0).normal(size=(100, 3)) @ np.ones((3, 8))
    >>> members = [ist.Autoencoder(latent_dim=k, random_state=0, max_epochs=2) for k in (1, 2, 3)]
    >>> [ae.score(X) > -0.1 for ae in ist.fit_many(members, X)]
    [True, True, True]
    """
    if codec not in ("own", "shared") and not isinstance(codec, Learned):
        raise SettingError(f"codec={codec!r} is not known; use 'own' or 'shared'.")
    members = _members(autoencoders, rows, X, codec)
    task, workers = Task(X, y, sample_weight, codec), effective_n_jobs(n_jobs)  # pyright: ignore[reportArgumentType] - typed by its default
    if workers == 1 or len(members) < 2:
        _fit_here(members, task)
    else:
        _fit_elsewhere(members, task, workers)
    return [*autoencoders]


def _members(autoencoders: Sequence[Autoencoder], rows: Sequence[Any] | None, X: Any, codec: Any) -> list[Member]:
    """Check that there is one object and one choice of rows for each member."""
    for number, autoencoder in enumerate(autoencoders):
        if not isinstance(autoencoder, Autoencoder):
            raise SettingError(f"Member {number} is {autoencoder!r}; fit_many takes autoencoders.")
        twin = next(place for place, other in enumerate(autoencoders) if other is autoencoder)
        if twin != number:
            raise SettingError(
                f"Members {twin} and {number} are the same object, which can hold one fit only; use sklearn.base.clone."
            )
    if rows is None:
        return [Member(number, autoencoder, None) for number, autoencoder in enumerate(autoencoders)]
    if len(rows) != len(autoencoders):
        raise SettingError(f"rows has {len(rows)} entries for {len(autoencoders)} members; give one each, or None.")
    if isinstance(X, Series) and not isinstance(codec, Learned):
        raise SettingError("The windows of a Series overlap, so rows cannot choose among them; leave rows out.")
    count = _count(X, codec)
    return [
        Member(number, autoencoder, None if chosen is None else _positions(number, chosen, count))
        for number, (autoencoder, chosen) in enumerate(zip(autoencoders, rows, strict=True))
    ]


def _count(X: Any, codec: Any) -> int:
    if isinstance(codec, Learned):
        return len(codec.rows)
    return X.shape[0] if hasattr(X, "shape") else len(X.pixels if isinstance(X, Images) else X)


def _positions(number: int, chosen: Any, count: int) -> np.ndarray:
    positions = np.asarray(chosen)
    if positions.dtype == bool and positions.shape == (count,):
        return positions.nonzero()[0]
    if positions.ndim != 1 or positions.dtype.kind not in "iu" or not len(positions):
        raise DataError(f"rows of member {number} must be positions, or a mask of {count} rows, and not empty.")
    if positions.min() < 0 or positions.max() >= count:
        raise DataError(
            f"rows of member {number} reach from {positions.min()} to {positions.max()}, but there are {count} rows."
        )
    return positions


def rows_of(values: Any, positions: np.ndarray) -> Any:
    """Return some rows of arrays, frames, tensors or pictures."""
    if isinstance(values, Images):
        return replace(values, pixels=values.pixels[positions])
    if isinstance(values, torch.Tensor):
        return values[torch.from_numpy(positions)]
    return _safe_indexing(values, positions)


# -- in this process ----------------------------------------------------------------------------------------------------


class Waiting(NamedTuple):
    """A member that has begun, and waits for others of its form."""

    member: Member
    begun: Begun


class Known:
    """What was learned of all rows, by the scale that was asked for: members that see the same rows share it."""

    def __init__(self, given: Learned | None) -> None:
        self.given, self.by_scale = given, dict[str, Learned]()

    def __call__(self, X: Any, scale: str) -> Learned:
        if self.given is not None:
            return self.given
        if scale not in self.by_scale:
            self.by_scale[scale] = learn_rows(X, scale)
        return self.by_scale[scale]


def _fit_here(members: Sequence[Member], task: Task) -> None:
    """Fit the members in order; those of one form wait for each other, up to as many as a stack is good for."""
    known = Known(task.codec if isinstance(task.codec, Learned) else None)
    groups: list[tuple[Form, list[Waiting]]] = []
    unfinished = {member.number: member.autoencoder for member in members}

    def finish(group: list[Waiting]) -> None:
        _train(group)
        for waiting in group:
            del unfinished[waiting.member.number]
        group.clear()

    try:
        for member in members:
            with _naming([member]):
                begun, form = _begin(
                    member, task, learn_rows if member.rows is not None and task.codec == "own" else known
                )
            group = next((group for other, group in groups if other == form), None)
            if group is None:
                group = []
                groups += [] if form is None else [(form, group)]
            group.append(Waiting(member, begun))
            if form is None or len(group) == MOST:
                finish(group)
        for _, group in groups:
            if group:
                finish(group)
    except BaseException:
        for autoencoder in unfinished.values():
            autoencoder._forget()  # half a fit is no fit
        raise


def _begin(member: Member, task: Task, learn: Callable[[Any, str], Learned]) -> tuple[Begun, Form | None]:
    """Do what comes before the training; return None for a member that is trained alone."""
    autoencoder = member.autoencoder
    autoencoder._forget()
    begun = autoencoder._begin(*task.of(member), learn)
    own = listeners(autoencoder.callbacks, autoencoder.verbose)
    is_heard = any(not isinstance(listener, ProgressBar) for listener in own)
    return begun, None if begun.is_linear or is_heard else form_of(begun.run)


def _train(group: Sequence[Waiting]) -> None:
    """Train what has begun, and conclude each fit."""
    with _naming([member for member, _ in group]):
        if is_stacked := len(group) > 1 and not _compile(group):
            train_together([begun.run for _, begun in group])
        for (_, autoencoder, _), begun in group:
            if not is_stacked and not begun.is_linear:
                train(begun.run, listeners(autoencoder.callbacks, autoencoder.verbose))
            autoencoder._finish(begun)


def _compile(group: Sequence[Waiting]) -> bool:
    """Give members of one form the compiled engine where all of them together pay for its start, which none would alone."""
    run = group[0].begun.run
    is_free = all(waiting.member.autoencoder.engine == "auto" for waiting in group)
    if not (is_free and outpaces_stack(run.model, steps_of(run), len(group))):
        return False
    for _, begun in group:
        begun.run.engine = maker("compiled")
    return True


@contextmanager
def _naming(members: Sequence[Member]) -> Iterator[None]:
    """Let an error say whose it is."""
    try:
        yield
    except IsthmusError as error:
        numbers = ", ".join(str(member.number) for member in members)
        whose = f"Member {numbers}" if len(members) == 1 else f"One of the members {numbers}"
        raise type(error)(f"{whose}: {error}") from error


# -- in other processes -------------------------------------------------------------------------------------------------


def _fit_elsewhere(members: Sequence[Member], task: Task, workers: int) -> None:
    """Share the members out to processes of one thread each, and bring back what they learned."""
    portions = _portions(members, workers)
    copies = {
        member.number: _to_send(member) for member in members
    }  # in order: generators that they share are drawn from
    sent = [[copies[member.number] for member in portion] for portion in portions]
    # more threads than cores would only wait for each other
    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        learned: Any = Parallel()(delayed(_fit_there)(portion, task) for portion in sent)
    for portion, states in zip(portions, learned, strict=True):
        for member, state in zip(portion, states, strict=True):
            member.autoencoder._forget()
            vars(member.autoencoder).update(state)


def _portions(members: Sequence[Member], workers: int) -> list[list[Member]]:
    """Divide the members so that each process gets as many of those that look alike, for they may be stacked there."""
    alike: dict[tuple[str, int | None], list[Member]] = {}
    for member in members:
        settings = {
            name: value
            for name, value in member.autoencoder.get_params(deep=False).items()
            if name not in ("latent_dim", "random_state")
        }
        alike.setdefault((repr(settings), None if member.rows is None else len(member.rows)), []).append(member)
    portions = []
    for group in alike.values():
        size = min(MOST, math.ceil(len(group) / workers))
        portions += [group[start : start + size] for start in range(0, len(group), size)]
    return portions


def _to_send(member: Member) -> Member:
    """Return a member whose copy in another process draws the seed that it would draw here, in its turn."""
    autoencoder = copy.copy(member.autoencoder)
    autoencoder._forget()
    try:
        dumps(autoencoder)
    except Exception as error:
        raise SettingError(
            f"Member {member.number} cannot be sent to another process ({error}); use n_jobs=None for it."
        ) from error
    if isinstance(autoencoder.random_state, np.random.RandomState):
        autoencoder.random_state = copy.deepcopy(autoencoder.random_state)
        check_random_state(member.autoencoder.random_state).randint(2**31 - 1)  # as its own fit would
    return member._replace(autoencoder=autoencoder)


def _fit_there(members: Sequence[Member], task: Task) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    _fit_here(members, task)
    return [
        {name: value for name, value in vars(autoencoder).items() if name not in autoencoder.get_params(deep=False)}
        for _, autoencoder, _ in members
    ]
