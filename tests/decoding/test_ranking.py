"""Scores of given options."""

import pytest

from ofa_mi.decoding import ranking
from ofa_mi.decoding.ranking import rank_options
from ofa_mi.errors import ConfigError

from .fake import FakeModel, net_input

OPTIONS = [
    [[4, 5, 2], [6, 2], [7, 7, 7, 7, 2], [5, 2], [8, 2]],
    [],
    [[2], [4, 2]],
    [[8, 4, 5, 6, 2]],
]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("max_options", "max_rows"), [(16, 1024), (2, 3), (1, 1)])
def test_equals_the_sum_of_log_probabilities(monkeypatch, normalize, max_options, max_rows):
    monkeypatch.setattr(ranking, "MAX_OPTIONS", max_options)
    monkeypatch.setattr(ranking, "MAX_ROWS", max_rows)
    model, sources = FakeModel(9), [3, 4, 5, 6]
    scores = rank_options(model, net_input(sources), OPTIONS, normalize=normalize)
    assert model.encoder.calls == 1
    assert [len(row) for row in scores] == [len(row) for row in OPTIONS]
    for source, options, row in zip(sources, OPTIONS, scores, strict=True):
        for option, found in zip(options, row, strict=True):
            expected = sum(model.log_probs(source, option[:i])[token].item() for i, token in enumerate(option))
            assert found == pytest.approx(expected / len(option) if normalize else expected, abs=1e-5)


def test_bad_options():
    with pytest.raises(ConfigError, match="no tokens"):
        rank_options(FakeModel(), net_input([3]), [[[4, 2], []]])
    with pytest.raises(ConfigError, match="batch of 1"):
        rank_options(FakeModel(), net_input([3]), [])
    with pytest.raises(ConfigError, match="positions"):
        rank_options(FakeModel(positions=4), net_input([3]), [[[4, 4, 4, 4, 2]]])
