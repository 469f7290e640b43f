"""Is the model well? A sentence for each question, with what to do where the answer is no."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from isthmus.codestats import ACTIVE, divergence
from isthmus.designs import Composed
from isthmus.inference import map_rows
from isthmus.parts.bottlenecks import Discrete, Gaussian

if TYPE_CHECKING:
    from isthmus.apps.evidence import Evidence
    from isthmus.estimator import Autoencoder
    from isthmus.history import History

Verdict = Literal["good", "note", "warning"]

COLLAPSED = 0.01
"""A Gaussian dimension has collapsed onto its prior when its mean KL is below so many nats."""
COPIED = 1e-6
"""PCA that leaves less than this share of the variance copies its input."""
OVERFITTED = 0.5
"""Held-out reconstruction worse than on training rows by more than this share is called over-fitting."""
IMPROVING = 0.02
"""A held-out loss that fell by more than this share in the last fifth of the epochs was still falling."""


class Finding(NamedTuple):
    """The answer to one question about a model."""

    name: str
    verdict: Verdict
    sentence: str
    advice: str = ""
    """What to do; empty when there is nothing to do."""
    facts: Mapping[str, Any] = MappingProxyType({})
    """The numbers behind the sentence."""

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {"facts": dict(self.facts)}


def examine(ae: Autoencoder, evidence: Evidence | None) -> list[Finding]:
    """Answer every question that the model, and the evidence if there is any, allow."""
    findings = [_beside_pca(ae), *_network(ae)]
    if ae.floor_ is None or ae.floor_.kept:  # of a network that was set aside, nothing needs to be known
        findings += [*_generalisation(ae), *_length(ae.history_)]
    if evidence is not None:
        findings += [*_active(ae, evidence), *_dead(evidence), *_collapse(ae, evidence), *_codebook(ae)]
    return [*findings, *_identifiers(ae), *_events(ae.history_)]


def _beside_pca(ae: Autoencoder) -> Finding:
    scores = ae.scores_
    model, pca = scores["model"]["squared_error"], scores["pca"]["squared_error"]
    gain = 1 - model / pca if pca > 0 else 0.0
    if ae.floor_ is not None and not ae.floor_.kept:
        sentence = "The model is PCA, so it reconstructs as PCA does."
        return Finding("Beside PCA", "good", sentence, facts={"model": model, "pca": pca, "error_saved": gain})
    facts = {"model": model, "pca": pca, "error_saved": gain}
    if pca <= COPIED * scores["mean"]["squared_error"]:
        share = scores["model"]["explained"]
        sentence = "PCA with as many numbers loses nothing, so it is no yardstick for a code of this size"
        sentence += f"; the model explains {share:.1%} of the variance." if share is not None else "."
        return Finding("Beside PCA", "note", sentence, facts=facts)
    sentence = f"Its squared error is {compared(model, pca)} that of PCA with a code of the same size."
    if gain > -0.005:
        return Finding("Beside PCA", "good", sentence, facts=facts)
    return Finding(
        "Beside PCA",
        "warning",
        sentence,
        "Train longer (effort='thorough'), or use the default Autoencoder: it starts from PCA and never ends below it.",
        facts,
    )


def compared(model: float, pca: float) -> str:
    """Put an error beside PCA's in words: "24% below", "as large as", "2.9 times"."""
    ratio = model / pca if pca > 0 else 1.0
    if abs(ratio - 1) < 0.005:
        return "as large as"
    if ratio >= 2:
        return f"{ratio:.1f} times"
    return f"{abs(ratio - 1):.0%} {'below' if ratio < 1 else 'above'}"


def _network(ae: Autoencoder) -> Iterator[Finding]:
    floor = ae.floor_
    if floor is None:
        return
    facts = {"kept": floor.kept, "gain": floor.gain, "standard_error": floor.standard_error}
    numbers = f"{floor.gain:.3g} ± {_error_text(floor.standard_error)} of loss per held-out row"
    if floor.kept:
        yield Finding("Network", "good", f"The network was kept on top of PCA: it saves {numbers}.", facts=facts)
        return
    yield Finding(
        "Network",
        "note",
        f"The network was set aside and the model is plain PCA, fitted to all rows: the network's saving of {numbers} "
        "is not clearly above zero.",
        "Give it more rows or effort='thorough'; if that changes nothing, the data is linear at this latent_dim.",
        facts,
    )


def _generalisation(ae: Autoencoder) -> Iterator[Finding]:
    """Compare the reconstruction term on training and held-out rows, at the epoch that was kept."""
    history = ae.history_
    if not ae.scores_["held_out"]:
        yield Finding(
            "Held-out rows",
            "note",
            "No rows were held out, so every number here is measured on rows the model has seen.",
            "Give at least 20 rows and leave validation_fraction above 0 to learn how it does on new ones.",
        )
        return
    kept = next((record for record in history if record["epoch"] == history.best_epoch), None)
    if kept is None or kept["held_out"] is None:
        return
    # A bound on the likelihood as a whole has no reconstruction term of its own.
    term = "reconstruction" if "reconstruction" in kept["train"] else "loss"
    train, held_out = kept["train"][term], kept["held_out"][term]
    facts = {"epoch": history.best_epoch, "train": train, "held_out": held_out}
    if min(train, held_out) > 0:
        gap, limit = held_out / train - 1, OVERFITTED
        words = f"{gap:.0%} above"
    else:  # a log density may be negative, where only differences mean something
        gap, limit = (held_out - train) / ae.codec_.layout.size, 0.1
        words = f"{gap:.2g} nats per number above"
    words = words if gap > 0 else "not above"
    sentence = (
        f"In the epoch kept, the {term.replace('loss', 'whole')} loss of held-out rows is {words} that of training rows"
    )
    if gap > limit:
        advice = "Use more rows, a smaller network, or weight_decay; a denoising variant also holds it back."
        yield Finding(
            "Over-fitting", "warning", f"{sentence}: it has begun to learn training rows by heart.", advice, facts
        )
    else:
        yield Finding(
            "Over-fitting", "good", f"{sentence}: it does on new rows what it does on known ones.", facts=facts
        )


def _length(history: History) -> Iterator[Finding]:
    """Say whether training was long enough."""
    epochs = len(history)
    if not epochs:
        return
    facts: dict[str, Any] = {"epochs": epochs, "best_epoch": history.best_epoch, "stopped": history.stopped}
    losses = history.curve("held_out") or history.curve("train")
    back = losses[-1 - max(1, epochs // 5)] if epochs > 1 else losses[0]
    span = max(abs(back), 1e-12)
    facts["fell_in_last_fifth"] = fell = (back - losses[-1]) / span
    if history.stopped == "finished" and epochs > 1 and fell > IMPROVING:
        yield Finding(
            "Length of training",
            "warning",
            f"The loss was still falling when training ended: by {fell:.0%} in the last fifth of {epochs} epochs.",
            "Train longer: effort='thorough', or a larger max_epochs.",
            facts,
        )
        return
    ends = {
        "finished": f"Training ran its {epochs} epochs and had levelled out.",
        "early": f"Training stopped early, after {epochs} epochs without need of more.",
        "interrupted": f"Training was interrupted after {epochs} epochs.",
        "callback": f"A callback ended training after {epochs} epochs.",
    }
    best = (
        f" The weights are those of epoch {history.best_epoch}."
        if history.best_epoch
        else " Its start was not improved on."
    )
    yield Finding("Length of training", "good", ends[history.stopped] + best, facts=facts)


def _active(ae: Autoencoder, evidence: Evidence) -> Iterator[Finding]:
    """Count the dimensions that vary; for Gaussian codes their KL says it better."""
    if isinstance(ae.model_.parts.bottleneck, Gaussian) and isinstance(ae.model_, Composed):
        return
    spread = evidence.codes.astype(np.float64).std(0)
    idle = np.flatnonzero(spread <= ACTIVE * max(spread.max(), 1e-30))
    count, total = len(spread) - len(idle), len(spread)
    rule = f"their standard deviation exceeds {ACTIVE:.0%} of the largest"
    facts = {"active": count, "latent_dim": total, "idle": idle.tolist()}
    if not len(idle):
        what = "All" if total > 1 else "The"
        yield Finding(
            "Active dimensions", "good", f"{what} {total} dimensions of the code are in use ({rule}).", facts=facts
        )
        return
    yield Finding(
        "Active dimensions",
        "note",
        f"{count} of {total} dimensions of the code are in use ({rule}).",
        f"latent_dim={max(count, 1)} would carry as much.",
        facts,
    )


def _dead(evidence: Evidence) -> Iterator[Finding]:
    """Look for dimensions that are never anything but zero, where codes have exact zeros at all."""
    zero = evidence.codes == 0
    if not zero.any():
        return
    dead = np.flatnonzero(zero.all(0))
    facts = {"dead": dead.tolist(), "zeros": float(zero.mean())}
    sentence = (
        f"{zero.mean():.0%} of all code numbers are exactly zero; {len(dead)} of {zero.shape[1]} dimensions always are."
    )
    if len(dead):
        advice = (
            "Fewer dimensions would say as much; a smaller learning rate, a smaller weight or a larger k may wake them."
        )
        yield Finding("Dead dimensions", "warning", sentence, advice, facts)
    else:
        yield Finding("Dead dimensions", "good", sentence, facts=facts)


def _collapse(ae: Autoencoder, evidence: Evidence) -> Iterator[Finding]:
    """Measure the mean KL of each dimension to the prior, for codes that have a Gaussian posterior."""
    bottleneck = ae.model_.parts.bottleneck
    if not isinstance(bottleneck, Gaussian) or not isinstance(ae.model_, Composed):  # other designs have other priors
        return

    kl = (
        map_rows(lambda batch: divergence(ae.model_.encode(batch)), evidence.rows, ae.model_, condition=evidence.told)
        .astype(np.float64)
        .mean(0)
    )
    collapsed = np.flatnonzero(kl < COLLAPSED)
    facts = {"collapsed": collapsed.tolist(), "kl": kl.tolist()}
    total = f"The code carries {kl.sum():.3g} nats per row"
    if not len(collapsed):
        sentence = f"{total}, and every dimension at least {COLLAPSED:g}: none has collapsed onto the prior."
        yield Finding("Posterior collapse", "good", sentence, facts=facts)
        return
    yield Finding(
        "Posterior collapse",
        "warning" if len(collapsed) > len(kl) / 2 else "note",
        f"{total}; {len(collapsed)} of {len(kl)} dimensions carry less than {COLLAPSED:g} and have collapsed onto the "
        "prior.",
        f"Lower beta (it is {bottleneck.beta:g}) or use warm_up=0.3 to wake them, or take "
        f"latent_dim={max(1, len(kl) - len(collapsed))}.",
        facts,
    )


def _codebook(ae: Autoencoder) -> Iterator[Finding]:
    """Say how many values of a discrete code are in use."""
    code = ae.scores_.get("code", {})
    bottleneck = ae.model_.parts.bottleneck
    if not isinstance(bottleneck, Discrete) or "perplexity" not in code:
        return
    sizes = bottleneck.sizes(ae.model_.z_shape)
    mean, places = sum(sizes) / len(sizes), len(sizes) * math.prod(ae.model_.z_shape[1:])
    sentence = (
        f"A code is made of {places} entries, each one of {mean:.0f} values; {code['perplexity']:.3g} are in use "
        f"(perplexity), {code['unused']:.0%} never are."
    )
    if code["perplexity"] > mean / 4:
        yield Finding("Codebook", "good", sentence, facts=dict(code))
    else:
        yield Finding("Codebook", "note", sentence, "Fewer values, or more epochs, would waste less.", dict(code))


def _identifiers(ae: Autoencoder) -> Iterator[Finding]:
    leaks = list(ae.codec_.leaks)
    if ae.codec_.kind != "table":
        return
    if not leaks:
        yield Finding("Identifiers", "good", "No column looks like an identifier that could be learned by heart.")
        return
    names = ", ".join(repr(name) for name in leaks)
    one = len(leaks) == 1
    subject = f"Column {names} looks" if one else f"Columns {names} look"
    yield Finding(
        "Identifiers",
        "note",
        f"{subject} like an identifier and {'was' if one else 'were'} left out.",
        "If it is a measurement, give it as decimal numbers (floats are never taken for identifiers).",
        {"columns": leaks},
    )


def _events(history: History) -> Iterator[Finding]:
    for event in history.events:
        yield Finding("During training", "note", event)


def _error_text(error: float | None) -> str:
    """Write a standard error; a single held-out row has none (and a saved model then holds null)."""
    return f"{error:.2g}" if error is not None and math.isfinite(error) else "unknown"
