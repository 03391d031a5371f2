"""Metrics against the packages they come from and against cases worked out by hand."""

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.metrics import METRICS, Answer, Truth, score_answer, score_prediction
from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.spec import METRICS as METRIC_NAMES
from ofa_mi.instructions.spec import TaskSpec
from tests.instances.test_answers import SAME


def spec(output, *metrics):
    return TaskSpec("task", "group", "eval", (), None, (), output, metrics, 1, (), False, "")


def text_score(name, text, *references):
    return score_answer(name, Answer(text), Truth(references))


def test_registry_of_tasks_and_registry_of_metrics_know_the_same_names():
    assert set(METRICS) == set(METRIC_NAMES)
    assert all(metric.description for metric in METRICS.values())


@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [
        ("Yes.", "yes", True),
        ("  not \n sure", "Not sure!", True),
        ("red", "dark red", False),
        ("", "yes", False),
        ("it's", "its", False),
        ("?", "!", False),
        ("c++", "c", False),
        ("50%", "50", False),
        ("cat . .", "cat", True),
    ],
)
def test_accuracy_is_exact_match_after_normalising(text, reference, right):
    assert text_score("accuracy", text, reference) == 100.0 * right


def test_accuracy_takes_any_reference():
    assert text_score("accuracy", "sofa", "couch", "sofa") == 100.0


def test_accuracy_of_an_option_that_mentions_regions_compares_its_boxes_too():
    target = ("because ", (0, 0, 50, 50), "'s hat is red")
    truth = Truth.of(Instance("1", "t", "i.png", (100, 100), target=target, options=(target, ("no",))))
    assert score_answer("accuracy", Answer("because's hat is red", ((1, 0, 50, 50),)), truth) == 100.0
    assert score_answer("accuracy", Answer("because 's hat is red", ((0, 0, 50, 50),)), truth) == 100.0
    assert score_answer("accuracy", Answer("because 's hat is red", ((50, 50, 90, 90),)), truth) == 0.0
    assert score_answer("accuracy", Answer("because 's hat is red"), truth) == 0.0
    assert score_answer("accuracy", Answer("because 's cap is red", ((0, 0, 50, 50),)), truth) == 0.0


def test_rouge_l_is_the_best_over_references_with_stemming():
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    text, references = "two dogs are running", ("a dog runs on grass", "two dogs ran", "cats")
    expected = 100 * max(scorer.score(reference, text)["rougeL"].fmeasure for reference in references)
    assert text_score("rouge_l", text, *references) == pytest.approx(expected)
    # By hand: "running dogs" stems to the "run dog" of the reference: precision 1, recall 2 / 3.
    assert text_score("rouge_l", "running dogs", "run dog fast") == pytest.approx(100 * 0.8)
    assert text_score("rouge_l", "", "anything") == 0.0


def test_bleu_and_chrf_over_a_corpus_are_sacrebleus_whatever_the_number_of_references():
    texts = ["the cat sat on the mat today", "a dog"]
    references = [["The cat sat on the mat", "a cat is on the mat now"], ["the dog"]]
    streams = [["The cat sat on the mat", "the dog"], ["a cat is on the mat now", None]]
    bleu = sacrebleu.corpus_bleu(texts, streams, lowercase=True).score
    assert METRICS["bleu"].corpus(texts, references) == pytest.approx(bleu)
    assert 0 < bleu < 100
    chrf = sacrebleu.metrics.CHRF(lowercase=True).corpus_score(texts, streams).score
    assert METRICS["chrf"].corpus(texts, references) == pytest.approx(chrf)


def test_bleu_and_chrf_of_one_instance_are_sacrebleus():
    text, reference = "the small cat sat down", "the cat sat down"
    assert text_score("bleu", text, reference) == pytest.approx(sacrebleu.sentence_bleu(text, [reference]).score)
    assert text_score("chrf", text, reference) == pytest.approx(sacrebleu.sentence_chrf(text, [reference]).score)
    assert text_score("bleu", "the cat", "The Cat") == pytest.approx(100.0)
    assert text_score("chrf", "THE CAT", "the cat") == pytest.approx(100.0)


def test_the_answers_of_annotators_serve_vqa_accuracy_only():
    """Ten answers as converters write them; the target is one of them, and the only one that is right."""
    answers = ("2", "two", "two", "3", "4", "5", "6", "7", "8", "9")
    record = {"unique_id": "1", "task_name": "t", "target_txt": "two", "answers": list(answers)}
    instance = Instance.from_record(record, "")
    truth = Truth.of(instance)
    assert instance.to_record()["answers"] == list(answers)
    for name in ("accuracy", "rouge_l", "bleu", "chrf"):
        assert score_answer(name, Answer("3"), truth) == 0
        assert score_answer(name, Answer("two"), truth) == pytest.approx(100)
    # "2" and "two" are one answer, of three annotators: seven subsets keep all (1), three keep two (2/3).
    assert score_answer("vqa_accuracy", Answer("Two"), truth) == pytest.approx(90)


SILENCE = ("", " \n", "\u200b\u200d", "\ufeff\u00ad")


@pytest.mark.parametrize("nothing", SILENCE)
@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if "text" in metric.outputs])
def test_an_empty_answer_is_wrong_whatever_the_references_are(name, nothing):
    truth = Truth(("red", *SILENCE), answers=("", "", "a", "the", nothing))
    assert score_answer(name, Answer(nothing), truth) == 0
    assert score_answer(name, Answer("red"), truth) == (0 if name == "vqa_accuracy" else pytest.approx(100))
    if corpus := METRICS[name].corpus:
        assert corpus([nothing], [truth.references]) == 0
        assert corpus(["a red cup of tea"], [Truth(("a red cup of tea", nothing)).references]) == pytest.approx(100)


@pytest.mark.parametrize("name", ["accuracy", "rouge_l", "bleu", "chrf"])
def test_references_of_nothing_are_none(name):
    with pytest.raises(DataError, match=r"d\.jsonl:3: .* compares text, but the target has none"):
        score_answer(name, Answer(""), Truth(SILENCE, name="d.jsonl:3"))


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if "text" in metric.outputs])
@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_that_look_alike_are_equal(name, one, other):
    for text, reference in ((one, other), (other, one)):
        truth = Truth((reference,), answers=(reference,) * 10)
        assert score_answer(name, Answer(text), truth) == pytest.approx(100)


def test_options_that_look_alike_are_equal():
    target = ("it\u2019s ", (0, 0, 50, 50), " in the café")
    truth = Truth.of(Instance("1", "t", "i.png", (100, 100), target=target, options=(target, ("no",))))
    assert score_answer("accuracy", Answer("it's in the cafe\u0301", ((0, 0, 50, 50),)), truth) == 100
    sets = Truth((), options=(("café",), ("bar",)), target_set=(("café",),))
    assert score_answer("set_f1", Answer("cafe\u0301"), sets) == 100


def test_set_f1_of_options_that_mention_regions_is_an_error():
    with pytest.raises(DataError, match="set_f1 compares text, but an option mentions a region"):
        score_answer("set_f1", Answer("a"), Truth((), options=(("a",), ((0, 0, 1, 1),)), target_set=(("a",),)))


OPTIONS = (((0, 0, 10, 10),), ((20, 20, 40, 40),), ((22, 22, 42, 42),))


@pytest.mark.parametrize(
    ("generated", "right"),
    [
        (((21, 20, 40, 40),), True),
        (((22, 22, 42, 42),), False),  # nearer to another option
        (((60, 60, 90, 90),), False),  # near to none
        (((10, 10, 20, 20),), False),  # touches two, overlaps none
        (((40, 40, 20, 20),), False),  # reversed
        ((), False),
        (((20, 20, 40, 40), (0, 0, 10, 10)), True),  # the first counts
    ],
)
def test_region_accuracy_takes_the_option_that_overlaps_most(generated, right):
    truth = Truth((), ((20, 20, 40, 40),), OPTIONS)
    assert score_answer("region_accuracy", Answer("", generated), truth) == 100.0 * right


def test_iou_by_hand():
    # 10 x 10 boxes shifted by 5: overlap 50, union 150.
    truth = Truth((), ((0, 0, 10, 10),))
    assert score_answer("iou", Answer("", ((0, 0, 10, 5),)), truth) == 100.0
    assert score_answer("iou", Answer("", ((5, 0, 15, 10),)), truth) == 0.0
    assert score_answer("mean_iou", Answer("", ((5, 0, 15, 10),)), truth) == pytest.approx(100 / 3)
    assert score_answer("iou", Answer("left"), truth) == score_answer("mean_iou", Answer("left"), truth) == 0.0


def test_region_f1_matches_optimally():
    left, right = (0, 0, 10, 10), (9, 0, 19, 10)
    truth = Truth((), (left, right))
    assert score_answer("region_f1", Answer("", (left, right)), truth) == 100.0
    assert score_answer("region_f1", Answer("", (left,)), truth) == pytest.approx(100 * 2 / 3)
    assert score_answer("region_f1", Answer("", (left, left)), truth) == 50.0
    assert score_answer("region_f1", Answer("", ()), truth) == 0.0


@pytest.mark.parametrize(
    ("text", "wanted", "score"),
    [
        ("cat||||dog", ("dog", "cat"), 100),
        ("cat |||| Dog.", ("cat", "dog"), 100),
        ("cat||||cat", ("cat", "dog"), 100 * 2 / 3),
        ("cat||||tree", ("cat", "dog"), 50),
        ("none", (), 100),
        ("", (), 0),
        ("cat", (), 0),
        ("none", ("cat",), 0),
        ("", ("cat",), 0),
    ],
)
def test_set_f1(text, wanted, score):
    truth = Truth((), target_set=tuple((w,) for w in wanted), options=(("cat",), ("dog",), ("tree",)))
    assert score_answer("set_f1", Answer(text), truth) == pytest.approx(score)


@pytest.mark.parametrize("target_set", [(("none",),), ()])
def test_set_f1_where_none_is_an_option(target_set):
    truth = Truth((), target_set=target_set, options=(("cat",), ("dog",), ("none",)))
    assert [score_answer("set_f1", Answer(text), truth) for text in ("None.", "cat", "")] == [100, 0, 0]
    some = Truth((), target_set=(("cat",), ("dog",)), options=truth.options)
    assert score_answer("set_f1", Answer("cat||||none"), some) == 50
    assert score_answer("set_f1", Answer("none"), some) == 0


def test_rouge_l_of_an_option_that_mentions_regions_ignores_them():
    """VCR's answers: of the four words of both texts, three in order are the same."""
    target = ((0, 0, 50, 50), " is afraid of ", (60, 0, 90, 50), " today")
    truth = Truth.of(Instance("1", "t", "i.png", (100, 100), target=target, options=(target, ("no",))))
    assert truth.references == ("is afraid of today",)
    for boxes in ((), ((1, 1, 9, 9),)):
        assert score_answer("rouge_l", Answer("is afraid of today", boxes), truth) == pytest.approx(100)
        assert score_answer("rouge_l", Answer("is fond of today", boxes), truth) == pytest.approx(75)


def test_boxes_with_words_are_scored_by_boxes_by_words_and_as_a_whole():
    boxes = ((0, 0, 10, 10), (50, 50, 90, 90))
    instance = Instance("1", "t", "i.png", (100, 100), target=(boxes[0], " red ring ", boxes[1], " blue star"))
    task = spec("labeled_regions", "region_f1")

    def scores(text, given):
        return [score_prediction(name, text, given, instance, task) for name in ("region_f1", "rouge_l", "accuracy")]

    assert scores("red ring blue star", boxes) == [100, 100, 100]
    assert scores("red ring blue cross", boxes) == [100, 75, 0]
    assert scores("red ring blue star", boxes[:1]) == [pytest.approx(200 / 3), 100, 0]
    assert scores("red ring blue star", boxes[::-1]) == [100, 100, 0]


def test_score_prediction_of_an_instance():
    instance = Instance("7", "t", "i.png", (100, 100), target=((0, 0, 10, 10),), where="d.jsonl:3")
    assert score_prediction("iou", "", [(0, 0, 10, 9)], instance, spec("region", "iou")) == 100.0
    with pytest.raises(ConfigError, match=r"task task: metric accuracy scores .*, not region"):
        score_prediction("accuracy", "a", [], instance, spec("region", "accuracy"))
    with pytest.raises(ConfigError, match="unknown metric 'acuracy'"):
        score_prediction("acuracy", "a", [], instance, spec("region", "iou"))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_truth_without_what_the_metric_compares_with_is_an_error_that_names_it(name):
    with pytest.raises(DataError, match=r"d\.jsonl:3"):
        score_answer(name, Answer("a", ((0, 0, 1, 1),)), Truth((), name="d.jsonl:3"))
