"""The fairseq criterion: which tokens count, how the switches combine, what is logged."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion

from ofa_mi.criterions import AdjustLabelSmoothedCrossEntropyCriterion
from ofa_mi.criterions.adjust_label_smoothed_cross_entropy import double_batch
from ofa_mi.criterions.loss import allowed_mask, token_loss
from ofa_mi.errors import ConfigError
from tests.criterions.plain import symmetric_kl
from tests.golden.cases import load_case

VOCABULARY = 11


class Table(torch.nn.Module):
    """A model whose logits are a learned table of the previous token, with optional dropout."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.table = torch.nn.Embedding(VOCABULARY, VOCABULARY)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, prev_output_tokens, output_mask=None):
        logits = self.dropout(self.table(prev_output_tokens))  # B, T, V
        return (logits if output_mask is None else logits[output_mask]), {}


def make(**options):
    dictionary = SimpleNamespace(pad=lambda: 1, eos=lambda: 2)
    task = SimpleNamespace(target_dictionary=dictionary)
    return AdjustLabelSmoothedCrossEntropyCriterion(task, options.pop("sentence_avg", False), **options)


@pytest.fixture
def sample():
    target = torch.tensor([[5, 6, 2], [7, 2, 1]])
    return {"net_input": {"prev_output_tokens": torch.tensor([[0, 5, 6], [0, 7, 1]])}, "target": target}


def test_sums_over_the_tokens_that_are_not_padding(sample):
    model = Table()
    loss, size, log = make(label_smoothing=0.1)(model, sample)
    rows = model(**sample["net_input"])[0][sample["target"].ne(1)]
    assert loss.item() == pytest.approx(token_loss(rows, torch.tensor([5, 6, 2, 7, 2]), epsilon=0.1).loss.sum().item())
    assert size == log["ntokens"] == 5 and log["nsentences"] == 2


def test_output_mask_changes_nothing_but_the_shape_of_the_logits(sample):
    model, criterion = Table(), make(label_smoothing=0.1, ignore_eos=True, report_accuracy=True)
    expected = criterion(model, sample)
    sample["net_input"]["output_mask"] = sample["target"].ne(1)
    loss, size, log = criterion(model, sample)
    assert loss.item() == expected[0].item() and size == expected[1] and log["n_correct"] == expected[2]["n_correct"]


def test_ignore_eos_leaves_the_end_out(sample):
    _, size, _ = make(ignore_eos=True)(Table(), sample)
    assert size == 3


def test_sentence_average_counts_sentences(sample):
    assert make(sentence_avg=True)(Table(), sample)[1] == 2


def test_options_restrict_the_choice(sample):
    allowed = torch.full((2, 3, 2), -1)
    allowed[0] = torch.tensor([[5, 8], [6, -1], [2, -1]])
    loss, _, _ = make(label_smoothing=0.1)(model := Table(), {**sample, "allowed_tokens": allowed})
    first = model.table.weight[0]
    pair = token_loss(first[[5, 8]][None], torch.tensor([0]), epsilon=0.0).loss
    free = token_loss(model.table.weight[[0, 7]], torch.tensor([7, 2]), epsilon=0.1).loss.sum()
    eps = 0.1 / (1 + 1e-6)
    log_probs = first[[5, 8]].log_softmax(0)
    expected = (1 - 0.1 - eps) * pair.sum() - eps * log_probs.sum() + free
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"ignore_eos": True}, {"use_rdrop": True}], ids=str)
def test_samples_of_ofas_own_tasks_are_understood(sample, options):
    model, criterion = Table(), make(label_smoothing=0.1, **options)
    allowed = torch.tensor([[[5, 8], [6, 3], [2, 4]], [[7, 9], [2, 6], [-1, -1]]])
    confidence = torch.tensor([0.5, 1.0])
    masks = allowed_mask(allowed.flatten(0, 1), VOCABULARY).unflatten(0, (2, 3))
    ours = criterion(model, {**sample, "allowed_tokens": allowed, "confidence": confidence})
    theirs = criterion(model, {**sample, "constraint_masks": masks, "conf": confidence})
    assert ours[0].item() == theirs[0].item() != criterion(model, sample)[0].item()


def test_confidence_weights_samples(sample):
    model, criterion = Table(), make(label_smoothing=0.1)
    each = criterion(model, sample, reduce=False)[0]
    loss, _, _ = criterion(model, {**sample, "confidence": torch.tensor([0.5, 2.0])})
    assert loss.item() == pytest.approx(0.5 * each[:3].sum().item() + 2 * each[3:].sum().item())


def test_drop_worst_starts_after_its_number_of_updates(sample):
    criterion = make(drop_worst_ratio=0.4, drop_worst_after=10)
    criterion.update_num = 10
    assert criterion(Table(), sample)[1] == 5
    criterion.update_num = 11
    assert criterion(Table(), sample)[1] == 3
    criterion.eval()
    assert criterion(Table(), sample)[1] == 5


def test_rdrop_without_dropout_is_the_loss_twice(sample):
    model = Table()
    plain, rdrop = make()(model, sample), make(use_rdrop=True)(model, sample)
    assert rdrop[0].item() == pytest.approx(2 * plain[0].item(), rel=1e-6) and rdrop[1] == 2 * plain[1]


def test_rdrop_adds_the_divergence_of_the_tokens_that_drop_worst_keeps(sample):
    """The first pass chooses the tokens, and both passes keep these."""
    model, criterion = Table(dropout=0.5), make(use_rdrop=True, reg_alpha=0.7, drop_worst_ratio=0.4)
    criterion.update_num = 1
    torch.manual_seed(3)
    loss, size, _ = criterion(model, sample)

    target = torch.tensor([5, 6, 2, 7, 2])
    torch.manual_seed(3)
    logits = model(**double_batch(sample["net_input"]))[0]
    first, second = (half[sample["target"].ne(1)].log_softmax(-1) for half in logits.chunk(2))
    nll = [-p.gather(1, target[:, None])[:, 0] for p in (first, second)]
    kept = nll[0].argsort()[:3]
    assert size == 6
    divergence = symmetric_kl(first[kept], second[kept]).item()
    assert divergence > 0
    assert loss.item() == pytest.approx(nll[0][kept].sum().item() + nll[1][kept].sum().item() + 0.7 * divergence)


def test_validation_needs_no_second_pass(sample):
    model, rdrop = Table(), make(use_rdrop=True).eval()
    (loss, size, log), expected = rdrop(model, sample), make()(model, sample)
    assert loss.item() == expected[0].item() and size == expected[1] and log["nsentences"] == 2


@pytest.mark.parametrize("name", ["text_only", "mixed_modality"])
def test_golden_losses(name):
    case = load_case(name)
    criterion = make(label_smoothing=0.1)
    with torch.no_grad():
        loss, _, log = criterion(case.model, {"net_input": case.inputs, "target": case.target})
    assert loss.item() == pytest.approx(float(case.expected["loss_label_smoothed_0p1_sum"]), rel=1e-4)
    assert log["nll_loss"].item() == pytest.approx(float(case.expected["nll_sum"]), rel=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_fairseqs_own_criterion_gives_the_same_loss(masked):
    """Through get_normalized_probs and get_targets, which ours does without; our batches have an output mask."""
    case = load_case("text_only")
    inputs = case.inputs | ({"output_mask": case.target.ne(1)} if masked else {})
    dictionary = case.model.decoder.dictionary
    theirs = LabelSmoothedCrossEntropyCriterion(SimpleNamespace(target_dictionary=dictionary), False, 0.1)
    sample = {"net_input": inputs, "target": case.target, "ntokens": int(case.target.ne(1).sum())}
    with torch.no_grad():
        (expected, size, _), ours = theirs(case.model, sample), make(label_smoothing=0.1)(case.model, sample)
    assert ours[0].item() == pytest.approx(expected.item(), rel=1e-5) and ours[1] == size


def test_double_batch_repeats_tensors_lists_and_counts():
    doubled = double_batch({"id": torch.tensor([3]), "nsentences": 1, "instances": ["a"], "none": None})
    assert doubled["id"].tolist() == [3, 3] and doubled["nsentences"] == 2
    assert doubled["instances"] == ["a", "a"] and doubled["none"] is None


@pytest.mark.parametrize("option", ["label_smoothing", "drop_worst_ratio"])
def test_ratio_outside_its_range_is_an_error(option):
    with pytest.raises(ConfigError, match="must lie in"):
        make(**{option: 1.5})
