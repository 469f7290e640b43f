"""What a fitted model says of its codes, against the codes themselves."""

from __future__ import annotations

import numpy as np
import pytest

import isthmus as ist
from isthmus.parts.step import Batch

QUICK = {"max_epochs": 5, "random_state": 0, "verbose": False, "validation_fraction": 0.0}


def test_the_divergence_of_a_variational_code_is_its_kl_term(digits: np.ndarray) -> None:
    ae = ist.variational(latent_dim=4, **QUICK).fit(digits)
    x, observed = ae.codec_.encode(digits).take(slice(None))
    terms = ae.model_.terms(Batch(x, observed))
    assert ae.scores_["code"]["kl"] == pytest.approx(terms["kl"].mean().item(), rel=1e-4)


def test_a_codebook_says_how_much_of_it_is_in_use(digits: np.ndarray) -> None:
    ae = ist.vector_quantized(latent_dim=2, codes=8, groups=1, **QUICK).fit(digits)
    codes, counts = np.unique(ae.codes_.numpy(), axis=0, return_counts=True)
    share = counts / counts.sum()
    assert ae.scores_["code"]["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    assert ae.scores_["code"]["unused"] == pytest.approx(1 - len(codes) / 8)


def test_bits_say_how_many_of_them_are_in_use(digits: np.ndarray) -> None:
    ae = ist.binary(latent_dim=5, **QUICK).fit(digits)
    on = ae.codes_.numpy().mean(0)
    entropy = -sum(p * np.log(p, where=p > 0, out=np.zeros_like(p)) for p in (on, 1 - on))
    assert ae.scores_["code"]["perplexity"] == pytest.approx(np.exp(entropy).mean(), rel=1e-4)


def test_bits_of_a_map_are_counted_over_its_positions(digits: np.ndarray) -> None:
    network = ist.Conv(channels=(8, 8), code="map")
    ae = ist.binary(latent_dim=3, network=network, **QUICK).fit(digits.reshape(-1, 8, 8))
    assert ae.codes_.dim() == 4
    on = ae.codes_.numpy().mean((0, 2, 3))
    entropy = -sum(p * np.log(p, where=p > 0, out=np.zeros_like(p)) for p in (on, 1 - on))
    assert ae.scores_["code"]["perplexity"] == pytest.approx(np.exp(entropy).mean(), rel=1e-4)


def test_the_report_speaks_of_the_codebook(digits: np.ndarray) -> None:
    ae = ist.vector_quantized(latent_dim=4, codes=8, **QUICK).fit(digits)
    findings = {finding["name"]: finding for finding in ist.report(ae, digits).to_dict()["health"]}
    assert "2 entries, each one of 8 values" in findings["Codebook"]["sentence"]
