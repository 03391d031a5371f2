"""Intervals and tests against distributions that are known exactly."""

from math import comb

import numpy as np
import pytest
from scipy.stats import beta

from ofa_mi.evaluation.scoring.resampling import ImageSums, bootstrap_means, holm, interval, sign_flip_p


def one_score(scores, images=None):
    """A task with one metric and one instruction."""
    return ImageSums.of([range(len(scores)) if images is None else images], [[scores]])


def differences(values, images=None):
    added = one_score(values, images)
    return ImageSums(added.images, added.sums[0, 0], added.counts[0, 0])


def test_scores_are_added_up_by_image():
    # Two instructions and two metrics; the first instruction answered three questions about images 4, 7 and 4.
    added = ImageSums.of([[4, 7, 4], [7]], [[[1.0, 2.0, 3.0], [4.0]], [[10.0, 20.0, 30.0], [40.0]]])
    assert added.images.tolist() == [4, 7]
    assert added.sums.tolist() == [[[4, 2], [0, 4]], [[40, 20], [0, 40]]]
    assert added.counts.tolist() == [[[2, 1], [0, 1]]]


@pytest.mark.parametrize(("right", "n"), [(1, 2), (7, 10), (30, 120)])
def test_a_share_of_right_answers_has_the_beta_distribution(right, n):
    """Weights from an exponential distribution, over their sum, are Dirichlet: their partial sums are Beta."""
    task = one_score([100.0] * right + [0.0] * (n - right))
    means = bootstrap_means({"t": task}, n, replicates=20_000)["t"][:, 0, 0]
    exact = 100 * beta.ppf([0.025, 0.5, 0.975], right, n - right)
    assert np.quantile(means, [0.025, 0.5, 0.975]) == pytest.approx(exact, abs=1)
    assert interval(means) == pytest.approx(exact[[0, 2]], abs=1)


def test_answers_about_one_image_count_as_one():
    """Ten images with ten equal answers each vary like ten answers, not like a hundred."""
    images = [i for i in range(10) for _ in range(10)]
    clustered = bootstrap_means({"t": one_score([100.0 * (i < 3) for i in images], images)}, 10)["t"]
    single = bootstrap_means({"t": one_score([100.0] * 3 + [0.0] * 7)}, 10)["t"]
    assert clustered == pytest.approx(single)


def test_tasks_that_share_images_move_together():
    right = [100.0, 0.0, 0.0, 100.0, 0.0]
    tasks = {"a": one_score(right), "b": one_score(right), "c": one_score(right, range(5, 10))}
    means = {name: values[:, 0, 0] for name, values in bootstrap_means(tasks, 10).items()}
    assert means["a"] == pytest.approx(means["b"])
    assert abs(np.corrcoef(means["a"], means["c"])[0, 1]) < 0.1


def test_replicates_depend_on_the_seed_and_not_on_the_chunks(monkeypatch):
    task = {"t": one_score([100.0, 0.0, 50.0])}
    whole = bootstrap_means(task, 3, replicates=50)["t"]
    monkeypatch.setattr("ofa_mi.evaluation.scoring.resampling._CHUNK", 21)
    assert bootstrap_means(task, 3, replicates=50)["t"] == pytest.approx(whole)
    assert not np.allclose(bootstrap_means(task, 3, replicates=50, seed=2)["t"], whole)


def test_equal_scores_have_an_interval_of_no_width():
    assert interval(bootstrap_means({"t": one_score([40.0] * 6)}, 6)["t"]) == [40.0, 40.0]


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([1.0] * 10, 2 / 2**10),  # only all signs alike are as far from 0
        ([1.0] * 9 + [-1.0], 2 * (1 + 10) / 2**10),
        ([1.0] * 7 + [-1.0] * 3, 2 * sum(comb(10, k) for k in range(4)) / 2**10),
        ([0.0] * 10, 1.0),
        ([1.0, -1.0] * 5, 1.0),
        ([5.0], 1.0),
        ([3.0, 1.0], 0.5),  # 4, 2, -2, -4
    ],
)
def test_p_of_all_sign_flips(values, p):
    by_task, of_all = sign_flip_p({"t": differences(values)}, len(values), permutations=50_000)
    assert by_task["t"] == of_all == pytest.approx(p, abs=0.006)
    assert of_all > 0


def test_signs_flip_by_image():
    """Four answers about each of three images: eight worlds, two of which are as extreme."""
    images = [0] * 4 + [1] * 4 + [2] * 4
    by_task, _ = sign_flip_p({"t": differences([1.0] * 12, images)}, 3, permutations=20_000)
    assert by_task["t"] == pytest.approx(2 / 8, abs=0.01)


def test_p_over_tasks_and_which_of_them_count():
    # On shared images two opposite differences cancel in every world; of one task alone they do not.
    up = differences([1.0] * 12)
    down = ImageSums(up.images, -up.sums, up.counts)
    by_task, of_all = sign_flip_p({"up": up, "down": down}, 12)
    assert by_task["up"] == by_task["down"] < 0.005 and of_all == 1.0
    assert sign_flip_p({"up": up, "down": down}, 12, counted=["up"])[1] == by_task["up"]


def test_two_runs_that_are_alike_are_seldom_said_to_differ():
    rng = np.random.default_rng(0)
    p = [
        sign_flip_p({"t": differences(rng.choice([-100.0, 0.0, 100.0], 40))}, 40, permutations=400)[1]
        for _ in range(300)
    ]
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.09  # 5 % of them; three standard deviations are 4 %


def test_holm_by_hand():
    # 0.01 x 3; 0.02 x 2; 0.03 x 1 is less than 0.04, so 0.04.
    assert holm({"b": 0.02, "a": 0.01, "c": 0.03}) == pytest.approx({"b": 0.04, "a": 0.03, "c": 0.04})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert list(holm({"b": 0.02, "a": 0.01})) == ["b", "a"]
