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
@pytest.mark.parametrize(("max_tree", "max_nodes", "max_rows"), [(256, 2048, 64), (4, 9, 3), (1, 1, 1)])
def test_equals_the_sum_of_log_probabilities(monkeypatch, normalize, max_tree, max_nodes, max_rows):
    monkeypatch.setattr(ranking, "MAX_TREE", max_tree)
    monkeypatch.setattr(ranking, "MAX_NODES", max_nodes)
    monkeypatch.setattr(ranking, "MAX_ROWS", max_rows)
    model, sources = FakeModel(9), [3, 4, 5, 6]
    scores = rank_options(model, net_input(sources), OPTIONS, normalize=normalize)
    assert model.encoder.calls == 1
    assert [len(row) for row in scores] == [len(row) for row in OPTIONS]
    for source, options, row in zip(sources, OPTIONS, scores, strict=True):
        for option, found in zip(options, row, strict=True):
            expected = sum(model.log_probs(source, option[:i])[token].item() for i, token in enumerate(option))
            assert found == pytest.approx(expected / len(option) if normalize else expected, abs=1e-5)


def test_shared_beginnings_are_read_once():
    """Six options of one sentence: the nodes are what lies before their tokens, each once."""
    options = [[4, 5, 2], [4, 5, 6, 2], [4, 5, 6, 2], [4, 2], [2], [7, 5, 2]]
    model = FakeModel(9)
    (row,) = rank_options(model, net_input([3]), [options])
    assert model.decoder.tree_sizes == [(1, 6)]  # nothing, 4, 45, 456, 7, 75
    assert row[1] == row[2]
    for option, score in zip(options, row, strict=True):
        assert rank_options(model, net_input([3]), [[option]])[0] == pytest.approx([score], abs=1e-6)


def test_nothing_to_rank():
    assert rank_options(FakeModel(), net_input([3, 4]), [[], []]) == [[], []]


def test_bad_options():
    with pytest.raises(ConfigError, match="no tokens"):
        rank_options(FakeModel(), net_input([3]), [[[4, 2], []]])
    with pytest.raises(ConfigError, match="batch of 1"):
        rank_options(FakeModel(), net_input([3]), [])
    with pytest.raises(ConfigError, match="positions"):
        rank_options(FakeModel(positions=4), net_input([3]), [[[4, 4, 4, 4, 2]]])
