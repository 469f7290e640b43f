"""The estimator: what a user holds. It learns the codec, lets the loop train the model, and answers in the user's units."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from isthmus import persistence
from isthmus.callbacks import listeners
from isthmus.codestats import codes_of
from isthmus.components import principal_of
from isthmus.conditions import LABELS, Condition
from isthmus.data.rows import DenseRows, Rows
from isthmus.engine.choice import maker
from isthmus.errors import SettingError
from isthmus.folder import resolved, restore, settings_key, to_saved
from isthmus.inference import map_rows, rows_at_once
from isthmus.inputs import Learned, check_counts, check_input, check_weight, learn_rows, weight_of
from isthmus.model import Blueprint
from isthmus.parts.part import from_json
from isthmus.parts.reconstructions import cells_of
from isthmus.parts.step import Batch
from isthmus.precision import settle
from isthmus.resolution import (
    LARGEST_AUTO,
    given_latent_dim,
    refuse_copying,
    resolve_design,
    resolve_device,
    resolve_engine,
    resolve_latent_dim,
    resolve_parts,
    resolve_plan,
    resolve_sampler,
    resolve_shortcut,
    scale_for,
)
from isthmus.sampling import UNFITTED, draw, learned_sampler, seeded
from isthmus.scores import Floor, held_out_losses, judge_floor, overruled, score, some_rows
from isthmus.splitting import FEWEST_TO_HOLD_OUT, split
from isthmus.training import NO_DATA, Data, Run, generator, pretrain, seed_globals, train


class Begun(NamedTuple):
    """A fit before its training."""

    run: Run
    rows: Rows
    weight: Tensor | None
    linear: np.ndarray | None
    """The loss of each held-out row under PCA."""
    is_linear: bool
    """Is there too little data to train at all?"""


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learn a short code of your data, and the way back.

    Everything has a default. ``fit`` takes arrays (n, d), tables (pandas, polars, Arrow; mixed types and gaps), images
    (n, h, w) or (n, c, h, w), volumes (n, c, d, h, w), ``Series``, and scipy sparse matrices; what comes back has the form
    and units that went in.

    Parameters
    ----------
    network : "auto", "mlp", "conv", "recurrent", "temporal", "transformer", a part such as ``MLP(hidden=(256, 128))``,
        or your own pair (encoder, decoder) of modules.
    bottleneck : "plain", "gaussian" or a part such as ``Gaussian(beta=4)``.
    corruptions, penalties : parts, one or several; the encoder sees the corrupted sample, the loss compares with the clean one.
    reconstruction : "auto" ("mixed" for tables, "squared_error" for arrays; beside a random code "normal", or for images
        "gradient_normal"), "squared_error", "absolute_error", "huber", "log_cosh", "bernoulli", "normal", "gradient_normal",
        "discretized_logistic", "poisson", "negative_binomial", "ssim", "multi_scale_ssim", "mixed" or a part.
    latent_dim : size of the code; "auto" takes the fewest principal components that explain 90 % of the variance, at most
        half of the numbers of a sample and at most 64; "2x" is twice the numbers of a sample.
    design : how the parts are joined: "direct", one after the other, or a part such as ``ImportanceWeighted(8)``.
    condition : what encoder and decoder are told besides: "y" for the labels of ``fit(X, y)``, or names of columns of X.
    sampler : where ``sample`` takes codes from: "auto" (codes of training rows where they are discrete, the prior where it is
        learned or on a sphere, else a mixture of Gaussians fitted on the codes), "prior", "mixture", "flow", "aggregated" or
        a part.
    effort : "quick", "default" or "thorough": how long to train, unless ``max_epochs`` says.
    early_stopping : stop when held-out rows have not improved for three tenths of the epochs.
    validation_fraction : share of the rows held out, to stop by and to report on.
    scale : "auto" (arrays: centred per column, one common scale; tables: per column; images: to [0, 1]), "common",
        "columns", "range" or "none".
    shortcut : start from PCA and keep the network only when it is better on held-out rows; "auto" wherever possible.
    weight_decay : decoupled weight decay (Loshchilov 2019).
    engine : "auto", or what computes the steps: "eager", "dense", "compiled", "convolutional" or "graphs".
    device : "auto", "cpu" or "cuda".
    precision : of the products in training: "float32", "bfloat16", or "auto", bfloat16 where a probe shows no loss.
    callbacks : objects with ``on_train_begin(run)``, ``on_epoch_end(run)`` (True stops) or ``on_train_end(run)``.
    random_state : the seed; numpy's and torch's own generators are never touched.
    verbose : "auto" shows a progress bar in a terminal; False is silent.

    Attributes
    ----------
    encoder_, decoder_ : plain torch modules on scaled samples, usable and savable apart.
    latent_dim_, n_iter_, history_, scores_, floor_, settings_, codec_ : what was learned, and how well.

    >>> import numpy as np, isthmus as ist
    >>> X = np.random.default_rng(0).normal(size=(100, 3)) @ np.ones((3, 8))
    >>> ist.Autoencoder(latent_dim=2, random_state=0, max_epochs=2).fit(X).transform(X).shape
    (100, 2)
    """

    def __init__(
        self,
        network: Any = "auto",
        bottleneck: Any = "plain",
        corruptions: Any = (),
        reconstruction: Any = "auto",
        penalties: Any = (),
        latent_dim: int | str = "auto",
        design: Any = "direct",
        condition: Any = None,
        sampler: Any = "auto",
        effort: str = "default",
        max_epochs: int | None = None,
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        scale: str = "auto",
        shortcut: bool | str = "auto",
        weight_decay: float = 0.0,
        engine: str = "auto",
        precision: str = "auto",
        device: str = "auto",
        callbacks: Any = (),
        random_state: Any = None,
        verbose: bool | str = "auto",
    ) -> None:
        self.network = network
        self.bottleneck = bottleneck
        self.corruptions = corruptions
        self.reconstruction = reconstruction
        self.penalties = penalties
        self.latent_dim = latent_dim
        self.design = design
        self.condition = condition
        self.sampler = sampler
        self.effort = effort
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.scale = scale
        self.shortcut = shortcut
        self.weight_decay = weight_decay
        self.engine = engine
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    # -- learning ---------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn codec and weights from ``X``; ``y`` is ignored but for ``condition="y"``.

        A row of ``sample_weight`` 2 counts as two rows, one of weight 0 neither trains nor judges.
        """
        self._forget()
        try:
            begun = self._begin(X, y, sample_weight)
            if not begun.is_linear:
                train(begun.run, listeners(self.callbacks, self.verbose))
            self._finish(begun)
        except BaseException:
            self._forget()  # half a fit is no fit
            raise
        return self

    def _begin(self, X: Any, y: Any, sample_weight: Any, learn: Callable[[Any, str], Learned] = learn_rows) -> Begun:
        """Do what comes before the training."""
        rows, told = self._learn_codec(X, y, learn)
        weight = check_weight(sample_weight, len(rows))
        alive = np.arange(len(rows)) if weight is None else weight.numpy().nonzero()[0]
        run = self._start(rows, *split(rows, alive, self.validation_fraction, self.seed_), weight, told)
        run.settings_key = settings_key(self, weight, told)
        linear = self._held_out_losses(run)
        pretrain(run)
        self._design.prepare(run)
        self.history_ = run.history
        is_linear = self._has_shortcut and len(alive) < FEWEST_TO_HOLD_OUT
        if is_linear:
            run.history.events.append(f"{len(alive)} rows cannot prove a network better than PCA: the model is PCA.")
        else:
            precision, why = settle(run, self.precision, self.engine)
            run.engine = maker(self.engine, precision)
            run.history.events += [why] if why else []
        return Begun(run, rows, weight, linear, is_linear)

    def _finish(self, begun: Begun) -> None:
        """Do what comes after the training: judge the network beside PCA, and score what is kept."""
        run, is_linear, linear = begun.run, begun.is_linear, begun.linear
        trained = self._held_out_losses(run)
        if self._has_shortcut and linear is not None and trained is not None:
            self.floor_ = judge_floor(linear, trained, run.data.held_out_weight)
            is_linear = not self.floor_.kept
        if is_linear:
            run.model.become_linear(self.principal_)
            if run.model.parts.penalties:
                self.history_.events.append(overruled(run.model.parts.penalties))
        self._conclude(run)
        if is_linear:
            # The scores are those of PCA on rows it had not seen. Nothing was chosen by these rows now, so PCA may learn
            # from them too.
            run.model.become_linear(principal_of(begun.rows, begun.weight, self.latent_dim_, self.seed_))

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Pass once over ``X`` at a constant rate. The first call learns codec, scale and shortcut, and freezes them.

        What a design or a penalty learns beforehand it learns from the rows of that call, too. After ``fit`` or ``load`` it
        goes on from those weights; no rows are held out then, and callbacks are not called.
        """
        is_first = not hasattr(self, "model_")
        if is_first:
            rows, told = self._learn_codec(X, y)
            weight = check_weight(sample_weight, len(rows))
            self._run = self._start(rows, np.arange(len(rows)), np.arange(0), weight, told)
        else:
            rows = self.codec_.encode(check_input(self, X, reset=False))
            if self.model_.parts.reconstruction.needs_counts:
                check_counts(rows, self.codec_.layout, type(self.model_.parts.reconstruction).__name__)
            weight = check_weight(sample_weight, len(rows))
            told = self._told(X, y, len(rows))
        if weight is not None and not weight.all():  # rows of weight 0 train nothing, averages within a batch included
            alive = weight.nonzero()[:, 0]
            rows, weight, told = rows.subset(alive), weight[alive], None if told is None else told[alive]
        piece = Data(rows, None, weight, None, cells_of(self.codec_.layout.blocks), told)
        if not hasattr(self, "_run"):
            engine = maker(resolve_engine(self.engine), self.precision)
            self._run = Run(self.model_, piece, self._plan, self.seed_, "", engine, self.history_, self.n_iter_)
        run = self._run
        run.data, run.history.stopped = piece, "finished"
        self._plan = resolve_plan(self.get_params(deep=False), self.codec_.layout, len(rows))
        run.plan = self._plan._replace(epochs=run.epoch + 1, constant_rate=True)
        if is_first:
            pretrain(run)
            self._design.prepare(run)
        self.history_ = train(run)
        self.held_out_ = np.arange(0)  # whatever was held out may have been learned from by now
        self._conclude(run)
        run.data = NO_DATA  # the estimator must not carry the user's rows along when it is pickled
        return self

    def _forget(self) -> None:
        """Remove everything that was learned."""
        learned = [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]
        for name in [*learned, "_run", "_plan", "_design", "_sampling", "_has_shortcut", "_n_features_out"]:
            vars(self).pop(name, None)

    def _learn_codec(
        self, X: Any, y: Any, learn: Callable[[Any, str], Learned] = learn_rows
    ) -> tuple[Rows, Tensor | None]:
        if self.random_state is None:  # check_random_state would draw from numpy's global generator
            self.seed_ = int(np.random.SeedSequence().generate_state(1)[0]) >> 1
        else:
            self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        X = check_input(self, X, reset=True)
        self.codec_, rows, self.fingerprint_ = learn(X, scale_for(self.scale, self.reconstruction))
        self.reading_: dict[str, Any] = {}  # how the command line read the file, for it to read others alike
        self.floor_: Floor | None = None
        self.condition_ = None if self.condition is None else Condition.learn(self.condition, X, y)
        return rows, self._told(X, y, len(rows))

    def _told(self, X: Any, given: Any, n_rows: int) -> Tensor | None:
        """Return what the model is told of each row; None where there is no condition, or none is known."""
        condition = self.condition_
        return None if condition is None else condition.of(X, given if condition.columns is None else None, n_rows)

    def _start(
        self, rows: Rows, train_index: np.ndarray, held_out: np.ndarray, weight: Tensor | None, told: Tensor | None
    ) -> Run:
        """Resolve the settings, find the principal components and build the model."""
        layout, n_rows = self.codec_.layout, len(train_index)
        parts = resolve_parts(self.get_params(deep=False), layout, n_rows)
        if parts.reconstruction.needs_counts:
            check_counts(rows, layout, type(parts.reconstruction).__name__)
        self._design = resolve_design(self.design)
        self._has_shortcut = resolve_shortcut(self.shortcut, parts, layout, self._design)
        device, engine = resolve_device(self.device), resolve_engine(self.engine)
        self._plan = resolve_plan(self.get_params(deep=False), layout, n_rows)
        self.held_out_ = held_out
        split = Data(
            rows if n_rows == len(rows) else rows.subset(train_index),
            rows.subset(held_out) if len(held_out) else None,
            weight_of(weight, train_index),
            weight_of(weight, held_out),
            cells_of(layout.blocks),
            None if told is None else told[torch.from_numpy(train_index)],
            None if told is None or not len(held_out) else told[torch.from_numpy(held_out)],
        )
        most = LARGEST_AUTO if self.latent_dim == "auto" else given_latent_dim(self.latent_dim, layout)
        spectrum = principal_of(split.train, split.train_weight, most, self.seed_)
        latent_dim = resolve_latent_dim(self.latent_dim, spectrum, layout, parts)
        width = 0 if self.condition_ is None else self.condition_.width
        with torch.random.fork_rng([]):  # models are built on the CPU
            seed_globals(self.seed_, torch.device("cpu"))
            self.model_ = self._design.build(
                Blueprint(parts, layout, latent_dim, self._has_shortcut, width, len(split.train))
            )
        self.latent_dim_ = self.model_.z_shape[0]
        refuse_copying(self.model_.z_shape, parts, layout, self.get_params(deep=False))
        if math.prod(self.model_.z_shape) > len(spectrum.directions):  # maps, and codes that say their size themselves
            spectrum = principal_of(split.train, split.train_weight, math.prod(self.model_.z_shape), self.seed_)
        self.principal_ = spectrum.leading(math.prod(self.model_.z_shape))
        self.model_.start_from(self.principal_)
        self.model_.to(device)
        self.settings_ = resolved(self, engine, device)
        return Run(self.model_, split, self._plan, self.seed_, engine=maker(engine, self.precision))

    def _held_out_losses(self, run: Run) -> np.ndarray | None:
        """Return the loss of each held-out row, with the same noise every time; None when none are held out."""
        if run.data.held_out is None:
            return None
        rng = generator(self.seed_, -2, run.model)
        return held_out_losses(run.model, run.data.held_out, run.data.cells, rng, run.data.held_out_condition)

    def _conclude(self, run: Run) -> None:
        run.model.eval()
        self.n_iter_ = run.epoch
        self._n_features_out = int(np.prod(self.model_.z_shape))
        held_out, split = run.data.held_out, run.data
        if held_out is None:
            rows, weight, told = split.train, split.train_weight, split.train_condition
        else:
            rows, weight, told = held_out, split.held_out_weight, split.held_out_condition
        self.scores_ = score(self.model_, rows, self.principal_, held_out is not None, weight, told)
        known = some_rows(self.model_, split.train, split.train_condition)
        self.codes_, self.scores_["code"] = codes_of(self.model_, *known)
        self._sampling = UNFITTED
        if self.history_.stopped == "interrupted":
            warnings.warn(self.history_.events[-1], UserWarning, stacklevel=4)

    # -- using ------------------------------------------------------------------------------------------------------

    def transform(self, X: Any, condition: Any = None) -> np.ndarray:
        """Return the codes of ``X``: (n, latent_dim) float32, flattened when a code is a map.

        ``condition`` is what a conditional model is told of the rows: labels, one for all or one a row. Columns of X that a
        model is conditioned on are taken from X.
        """
        codes = self._map(X, condition, lambda batch: self.model_.encode(batch).embedding)
        return codes.reshape(len(codes), -1)

    def inverse_transform(self, Z: Any, condition: Any = None) -> Any:
        """Return the samples that codes (n, latent_dim) stand for, in the form and units of the training data."""
        check_is_fitted(self)
        return self.codec_.decode(self._decode(Z, None, condition))

    def reconstruct(self, X: Any, condition: Any = None) -> Any:
        """Return ``inverse_transform(transform(X))`` in the form of ``X``: what is left of it after the isthmus."""
        return self.codec_.decode_as(self._decode(self.transform(X, condition), X, condition), X)

    def score_samples(self, X: Any, condition: Any = None) -> np.ndarray:
        """Return how normal each row is, (n,): minus its reconstruction and code terms. Higher is more normal."""
        return self._map(X, condition, lambda batch: -torch.stack(list(self.model_.terms(batch).values())).sum(0))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of :meth:`score_samples`, so that grid search has something to raise.

        With ``condition="y"`` the model is told ``y``; otherwise it is ignored.
        """
        check_is_fitted(self)
        is_told = self.condition_ is not None and self.condition_.columns is None
        return float(self.score_samples(X, y if is_told else None).mean())

    def reconstruction_error(self, X: Any, by: str = "sample") -> np.ndarray:
        """Return the reconstruction term in scaled units: per sample (n,), or ``by="column"`` per cell.

        Per cell means (n, columns) for tables, in the order of ``cell_names_``, and (n, *shape) for everything else. A gap
        has no error: it counts 0.
        """
        if by not in ("sample", "column"):
            raise SettingError(f"by={by!r} is not known; use 'sample' or 'column'.")
        cells = self._map(X, None, self.model_.cells)
        if by == "sample":
            return cells.reshape(len(cells), -1).sum(1)
        names, blocks = self.cell_names_, self.codec_.layout.blocks
        if names is None:
            return cells
        columns = np.zeros((len(cells), len(names)), dtype=cells.dtype)
        for place, block in enumerate(blocks):
            columns[:, names.index(block.column)] += cells[:, place]
        return columns

    def sample(self, n: int = 1, random_state: Any = None, condition: Any = None) -> Any:
        """Draw ``n`` new samples, in the form and units of the training data; codes come from the ``sampler``.

        ``condition`` says what they should be samples of: a label, or {column: value}, for all or for each.
        """
        check_is_fitted(self)
        if n < 1:
            raise SettingError(f"sample(n={n}) must ask for at least 1 sample.")
        rng = seeded(random_state, next(self.model_.parameters()).device)
        self._sampling = learned_sampler(
            resolve_sampler(self.sampler, self.model_), self._sampling, self.codes_, self.seed_
        )
        return self.codec_.decode(draw(self.model_, self._sampling, n, rng, self._condition(None, condition, n)))

    @property
    def encoder_(self) -> nn.Module:
        """x (B, *shape), scaled -> embedding (B, *z_shape)."""
        check_is_fitted(self)
        return self.model_.encoder

    @property
    def decoder_(self) -> nn.Module:
        """z (B, *z_shape) -> the expected sample (B, *shape), scaled."""
        check_is_fitted(self)
        return self.model_.decoder

    @property
    def code_size_(self) -> int:
        """How many numbers a code has: ``latent_dim_``, at every position where it is a map."""
        check_is_fitted(self)
        return math.prod(self.model_.z_shape)

    @property
    def cell_names_(self) -> list[str] | None:
        """The encoded columns of a table, in order; None for everything else."""
        check_is_fitted(self)
        return list(dict.fromkeys(block.column for block in self.codec_.layout.blocks)) or None

    def _map(self, X: Any, condition: Any, function: Callable[[Batch], Tensor]) -> np.ndarray:
        """Apply ``function(batch) -> (B, ...)`` to all rows of X."""
        check_is_fitted(self)
        rows = self.codec_.view(check_input(self, X, reset=False))
        told = self._condition(X, condition, len(rows))
        return map_rows(function, rows, self.model_, cells=cells_of(self.codec_.layout.blocks), condition=told)

    def _condition(self, X: Any, given: Any, n_rows: int) -> Tensor | None:
        if self.condition_ is None:
            if given is not None:
                raise SettingError("This model has no condition; fit with condition='y' or names of columns.")
            return None
        told = self.condition_.of(X, given, n_rows)
        return None if told is None else told.to(next(self.model_.parameters()))

    def _decode(self, Z: Any, X: Any, condition: Any) -> np.ndarray:
        Z = np.asarray(Z, dtype=np.float32)
        width = int(np.prod(self.model_.z_shape))
        if Z.ndim != 2 or Z.shape[1] != width:
            raise SettingError(f"Codes of this model are (n, {width}), but these are {Z.shape}.")
        if not np.isfinite(Z).all():
            raise SettingError("The codes hold NaN or infinite values, which stand for no sample; remove those rows.")
        return self._decoded(Z, self._condition(X, condition, len(Z)))

    def _decoded(self, Z: np.ndarray, told: Tensor | None) -> np.ndarray:
        """Return the scaled samples (n, *shape) of codes (n, latent), told (n, c) of them."""
        codes = DenseRows(Z.reshape(len(Z), *self.model_.z_shape))
        size = rows_at_once(self.model_, self.codec_.layout.size)
        return map_rows(
            lambda batch: self.model_.decoder(batch.x, batch.condition), codes, self.model_, size, condition=told
        )

    # -- keeping ----------------------------------------------------------------------------------------------------

    def save(self, path: str) -> None:
        """Write the model folder: config.json, weights and codec as safetensors and JSON, scores, history, a card."""
        check_is_fitted(self)
        persistence.write(to_saved(self), path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = False
        tags.target_tags.required = isinstance(self.condition, str) and self.condition == LABELS
        return tags


def _rebuild(saved: persistence.Saved, network: Any = None) -> Autoencoder:
    """Rebuild a saved autoencoder; ``network`` is the pair of modules that a folder cannot hold."""
    settings = dict(saved.config["params"]) | ({} if network is None else {"network": network})
    autoencoder = Autoencoder(**{name: from_json(value, is_saved=True) for name, value in settings.items()})
    restore(autoencoder, saved)
    return autoencoder


persistence.register("autoencoder", _rebuild)
