"""What a request is refused with: a status and one sentence."""

from __future__ import annotations

from isthmus.errors import IsthmusError


class Refused(Exception):  # noqa: N818 - raised by us, about a request
    """The request cannot be answered as it is; ``sentence`` says why and what to do."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers or {}


def refusal(error: Exception) -> Refused | None:
    """Return what an error of the library says to a client; None where it is ours, not the client's."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, MemoryError):
        return Refused(413, "the memory of the server does not suffice for that many rows; send fewer at a time.")
    if isinstance(error, IsthmusError) or type(error) is ValueError:  # scikit-learn's checks raise the latter
        return Refused(422, " ".join(str(error).split()))
    return None
