"""Files <-> containers <-> float32 samples: the codecs that turn a user's data into numbers, and back."""

# Every import of a codec happens on use: most programs need one kind of data, and torch alone takes seconds.

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from .containers import Images, Series, is_table

if TYPE_CHECKING:
    import numpy as np

    from .codec import Codec

__all__ = ["Images", "Series", "codec_from", "learn"]

_NEWEST_FORMAT = 1


def learn(X: Any, *, scale: str = "auto") -> Codec:
    """Look at the type of X and learn how to turn it, and data like it, into float32 samples and back.

    Parameters
    ----------
    X : pandas, polars or pyarrow table; numpy, torch or scipy sparse array (n, d); pictures (n, h, w), (n, c, h, w) or
        (n, h, w, c); volumes (n, c, d, h, w); ``Images``; ``Series``.
    scale : "auto", or "common" (one scale for all columns), "columns" (each standardised), "range" (to [0, 1]), "none".

    >>> import numpy as np
    >>> codec = learn(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> codec.decode(codec.encode([[1.0, 2.0]]).take(slice(None))[0].numpy())
    array([[1., 2.]])
    """
    if isinstance(X, Series):
        from .series import learn_series

        return learn_series(X, scale)
    if isinstance(X, Images):
        from .images import learn_images

        return learn_images(X, scale)
    if is_table(X):
        from .tables import learn_table

        return learn_table(X, scale)
    from .arrays import as_numbers, is_sparse, learn_array

    array = X if is_sparse(X) or hasattr(X, "shape") else as_numbers(X)
    if len(array.shape) in (3, 4):
        from .images import learn_images

        return learn_images(array, scale)
    if len(array.shape) == 5:
        from .volumes import learn_volumes

        return learn_volumes(array, scale)
    return learn_array(array, scale)


def codec_from(state: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> Codec:
    """Rebuild the codec whose ``to_json()`` and ``arrays()`` these are."""
    kind, number = state.get("kind"), state.get("format", 0)
    if number > _NEWEST_FORMAT:
        raise DataError(
            f"the codec was written in format {number}, this version reads up to {_NEWEST_FORMAT}; update isthmus."
        )
    state, stored = dict(state), dict(stored)
    if kind == "table":
        from .tables import table_from

        return table_from(state)
    if kind == "array":
        from .arrays import array_from

        return array_from(state, stored)
    if kind == "images":
        from .images import images_from

        return images_from(state, stored)
    if kind == "volumes":
        from .volumes import volumes_from

        return volumes_from(state, stored)
    if kind == "series":
        from .series import series_from

        return series_from(state, stored)
    raise DataError(
        f"the codec says kind={kind!r}, which is none of table, array, images, volumes, series; is the file damaged?"
    )
