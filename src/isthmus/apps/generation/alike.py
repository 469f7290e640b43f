"""Samples like rows that are given: of one class, one site, one season, whatever the model was told in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sklearn.utils.validation import check_is_fitted

from isthmus.errors import DataError, SettingError
from isthmus.parts.samplers import Prior
from isthmus.resolution import resolve_sampler
from isthmus.sampling import Learned, draw, seeded

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

FEWEST = 2


def sample_like(ae: Autoencoder, X: Any, n: int = 1, random_state: Any = None, condition: Any = None) -> Any:
    """Draw ``n`` new samples from where the codes of X lie: a sampler is fitted on those codes alone.

    So any fitted autoencoder draws samples of one label, ``sample_like(ae, X[y == 3], 10)``, or of the rows that a column
    picks, ``sample_like(ae, df[df.city == "Porto"], 10)``. A conditional model is told with ``condition`` (``ae.sample``).

    >>> ist.sample_like(ae, X[y == 3], n=10)  # doctest: +SKIP
    """
    check_is_fitted(ae)
    if not hasattr(n, "__index__") or n < 1:
        raise SettingError(f"sample_like(n={n!r}) must ask for at least 1 sample.")
    sampler = resolve_sampler(ae.sampler, ae.model_)
    if isinstance(sampler, Prior):
        raise SettingError(
            "A prior knows nothing of the rows given; set ae.sampler to 'mixture', 'flow' or 'aggregated'."
        )
    codes = torch.from_numpy(ae.transform(X, condition)).view(-1, *ae.model_.z_shape)
    if len(codes) < FEWEST:
        raise DataError(
            f"{len(codes)} row has no likeness to draw from; give at least {FEWEST}, or decode around its code."
        )
    rng = seeded(random_state, next(ae.model_.parameters()).device)
    told = ae._condition(None, condition, n)
    return ae.codec_.decode(draw(ae.model_, Learned(sampler, sampler.fit(codes, ae.seed_)), n, rng, told))
