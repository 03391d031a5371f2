"""Attention of the text to the image: the weights, what is made of them, and the command."""

import copy
import csv
import io
import json
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_mi import cli
from ofa_mi.commands.attention import named_checkpoints
from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.decoding.predictor import Predictor
from ofa_mi.document.figures import draw
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.attention import plots as attention_plots
from ofa_mi.evaluation.attention.analysis import AttentionOptions, analyse
from ofa_mi.evaluation.attention.plots import layers_shown, share_figure
from ofa_mi.evaluation.attention.weights import image_attention
from tests.golden.cases import build_model
from tests.models.helpers import PAD, images, small_model, tokens

TASKS = ("nlvr", "grounded_vqa")
SIDE = 64  # pixels: 16 patches
PATCHES = 16


# -- the weights


@pytest.fixture
def model():
    return small_model().eval()


def batch(size=3, length=9):
    """Of ``size`` samples with 4 patches; the second lacks an image, and all but the first are padded."""
    with_image = torch.ones(size, dtype=torch.bool)
    with_image[1:2] = False
    return {
        "src_tokens": tokens(size, length, padded=2),
        "patch_images": images(int(with_image.sum())),
        "patch_masks": with_image,
    }


def norm(x, weights, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def by_hand(model, inputs, sample):
    """Attention (layers, P) of one sample, one text token, head and key after the other, from the weights alone."""
    with torch.no_grad():
        out = model.encoder(**inputs, return_all_hiddens=True)
    weights = {name.removeprefix("encoder."): value.double().numpy() for name, value in model.state_dict().items()}
    config, heads = model.encoder.config, model.encoder.heads
    head = config.encoder_embed_dim // heads
    scale = (head * config.attn_scale_factor) ** -0.5
    length = inputs["src_tokens"].shape[1]
    positions = out["position_embeddings"][0][0].double().numpy()
    patches, side = len(positions) - length, 2
    hidden = out["encoder_padding_mask"][0][sample].numpy()
    pos_q, pos_k = (linear(positions, weights, f"pos_{part}_linear") for part in "qk")
    text = [i for i in range(patches, patches + length) if not hidden[i]]
    assert patches == side**2 and len(text) == length - 2 * sample
    attention = np.zeros((config.encoder_layers, patches))
    for layer in range(config.encoder_layers):
        x = out["encoder_states"][layer][:, sample].double().numpy()
        x = norm(x, weights, f"layers.{layer}.self_attn_layer_norm")
        q, k = (linear(x, weights, f"layers.{layer}.self_attn.{part}_proj") for part in "qk")
        table = weights[f"token_rel_pos_table_list.{layer}.weight"]
        for h in range(heads):
            part = slice(h * head, (h + 1) * head)
            for i in text:
                scores = np.full(len(positions), -np.inf)
                for j in np.flatnonzero(~hidden):
                    scores[j] = scale * (q[i, part] @ k[j, part] + pos_q[i, part] @ pos_k[j, part])
                    if j >= patches:  # distances are small here: each has its own row
                        scores[j] += table[i - j + config.token_bucket_size - 1, h]
                softmax = np.exp(scores - scores.max())
                attention[layer] += softmax[:patches] / softmax.sum() / heads / len(text)
    return attention


def test_weights_are_those_of_a_softmax_by_hand(model):
    inputs = batch()
    attention = image_attention(model, inputs)
    assert attention.shape == (2, 3, 4)
    for sample in (0, 2):
        expected = by_hand(model, inputs, sample)
        np.testing.assert_allclose(attention[:, sample].numpy(), expected, rtol=2e-4, atol=1e-6)
        assert expected.sum(axis=1).min() > 0.02 and expected.std() > 0.005  # a case that tells


def test_a_sample_without_an_image_has_no_share(model):
    attention = image_attention(model, batch())
    assert attention[:, 1].isnan().all()
    assert not attention[:, [0, 2]].isnan().any()
    with pytest.raises(DataError, match="without any image"):
        image_attention(model, {"src_tokens": tokens(2, 5), "patch_images": None, "patch_masks": None})


def make_even(model):
    """Remove all that tells one key from another."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("self_attn.q_proj", "pos_q_linear", "rel_pos_table")):
                parameter.zero_()
    return model


def test_even_attention_gives_the_share_of_patches(model):
    inputs = batch()
    attention = image_attention(make_even(model), inputs)
    for sample in (0, 2):
        text = int(inputs["src_tokens"][sample].ne(PAD).sum())
        torch.testing.assert_close(attention[:, sample], torch.full((2, 4), 1 / (4 + text)))


def test_padding_does_not_count(model):
    together = image_attention(model, batch())
    alone = {"src_tokens": tokens(3, 9, padded=2)[2:, :5], "patch_images": images(2)[1:], "patch_masks": None}
    torch.testing.assert_close(together[:, 2], image_attention(model, alone)[:, 0], rtol=1e-4, atol=1e-6)


def test_half_precision_is_computed_in_fp32(model):
    exact, half = image_attention(model, batch()), copy.deepcopy(model).bfloat16()
    inputs = {**batch(), "patch_images": images(2).bfloat16()}
    attention = image_attention(half, inputs)
    assert attention.dtype == torch.float32
    torch.testing.assert_close(attention[:, [0, 2]], exact[:, [0, 2]], atol=0.05, rtol=0.5)


@pytest.mark.parametrize("padded", [0, 2])
def test_outputs_are_those_of_a_normal_run(model, padded):
    inputs = {"src_tokens": tokens(2, 8, padded=padded), "patch_images": images(2), "patch_masks": None}
    seen = []
    model.encoder.layer_norm.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        model.encoder(**inputs)
        image_attention(model, inputs)
        model.encoder(**inputs)
    assert len(seen) == 3 and torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def test_nothing_stays_in_the_model(model, monkeypatch):
    image_attention(model, batch())
    assert not any("attend" in vars(layer.self_attn) for layer in model.encoder.layers)
    monkeypatch.setattr(model.encoder.layers[1], "forward", None)  # a failure half-way
    with pytest.raises(TypeError):
        image_attention(model, batch())
    assert not any("attend" in vars(layer.self_attn) for layer in model.encoder.layers)


# -- an analysis


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Drawn fast."""
    monkeypatch.setattr(attention_plots, "DPI", 50)


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    """One with random weights, and one whose attention is even."""
    folder = tmp_path_factory.mktemp("bpe")
    build_compact([" is the following statement true of the image? red green blue square yes no"], folder)
    vocabulary = Vocabulary.load(folder, num_codes=4)
    torch.manual_seed(2)
    model = build_model("ofa_nano", len(vocabulary), init_std=0.02)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "image" not in name:
                parameter.mul_(8)
    encoder = PromptEncoder(vocabulary, RegionCodec(patch_image_size=SIDE))
    models = {"random": model, "even": make_even(copy.deepcopy(model))}
    return {name: Predictor(model, encoder, ImageTransform(SIDE)) for name, model in models.items()}


@pytest.fixture(scope="module")
def data(data_dir, tmp_path_factory):
    """The tasks with an image, and text-only instances of another."""
    folder = tmp_path_factory.mktemp("text_only")
    fields = {"task_name": "visual_entailment", "text": "it is red", "options": ["yes", "no"], "target_txt": "yes"}
    lines = [json.dumps({"unique_id": f"text-{i}", **fields}) for i in range(3)]
    (folder / "test.jsonl").write_text("\n".join(lines) + "\n")
    return data_dir, folder


class Runs:
    """Analyses with the predictors; the files of the checkpoints hold their names only."""

    def __init__(self, folder, data, predictors):
        self.folder, self.data, self.predictors, self.loaded = folder, data, predictors, []
        self.files = {name: folder / f"{name}.pt" for name in predictors}
        for name, file in self.files.items():
            file.write_text(name)

    def load(self, path):
        self.loaded.append(path.stem)
        return self.predictors[path.read_text()]

    def __call__(self, *names, out="out", data=None, layers=None, heat_maps=0, markers=None, **selection):
        chosen = {"tasks": TASKS, "instructions": (0,), "max_instances": 4, "batch_size": 3, **selection}
        options = AttentionOptions(
            selection=EvaluationOptions(**chosen), option_markers=markers, layers=layers, heat_maps=heat_maps
        )
        files = {name: self.files[name] for name in names or self.files}
        data = [self.data[0]] if data is None else data
        return analyse(files, data, self.folder / out, options, load=self.load, progress=False)


@pytest.fixture
def runs(tmp_path, data, predictors):
    return Runs(tmp_path, data, predictors)


def by_name(result):
    return {checkpoint["name"]: checkpoint for checkpoint in result["checkpoints"]}


def test_two_checkpoints(runs):
    result = runs()
    out = runs.folder / "out"
    assert json.loads((out / "attention.json").read_text()) == result
    assert result["instances"] == {"with_image": 8, "text_only_left_out": 0, "questions": 8}
    assert list(by_name(result)) == ["random", "even"]
    random, even = by_name(result).values()
    assert [layer["mean"] for layer in even["by_layer"]] == pytest.approx([even["uniform"]] * even["layers"], abs=2e-6)
    assert max(abs(layer["mean"] - random["uniform"]) for layer in random["by_layer"]) > 0.01
    assert random["uniform"] == even["uniform"] and random["patches"] == PATCHES
    assert random["difference"] is None and even["difference"]["to"] == "random"
    for one, two, layer in zip(random["by_layer"], even["by_layer"], even["difference"]["by_layer"], strict=True):
        assert layer["mean"] == pytest.approx(two["mean"] - one["mean"], abs=2e-6)
        assert layer["ratio"] == pytest.approx(two["mean"] / one["mean"], abs=1e-5)
    assert ElementTree.parse(out / "attention.svg").getroot().tag.endswith("svg")


def test_means_and_errors_are_over_instances(runs):
    result = runs("random", instructions=None)
    part = json.loads((runs.folder / "out" / "checkpoints" / "random.json").read_text())
    assert len(part["questions"]) == result["instances"]["questions"] > 3 * result["instances"]["with_image"]
    shares = {}
    for row in part["questions"]:
        shares.setdefault(row["unique_id"], []).append(row["shares"][1])
    instances = np.array([np.mean(values) for values in shares.values()])
    (checkpoint,) = result["checkpoints"]
    layer = checkpoint["by_layer"][1]
    assert layer["layer"] == 2 and checkpoint["instances"] == len(instances) == 8
    assert layer["mean"] == pytest.approx(instances.mean(), abs=1e-6)
    assert layer["standard_error"] == pytest.approx(instances.std(ddof=1) / math.sqrt(8), abs=1e-6)
    nlvr = instances[[name.startswith("nlvr") for name in shares]]
    assert checkpoint["tasks"]["nlvr"]["by_layer"][1]["mean"] == pytest.approx(nlvr.mean(), abs=1e-6)
    table = list(csv.DictReader(io.StringIO((runs.folder / "out" / "attention.csv").read_text())))
    assert [row["task"] for row in table[:: checkpoint["layers"]]] == ["all", "grounded_vqa", "nlvr"]
    assert float(table[1]["share"]) == layer["mean"] and table[1]["layer"] == "2"


def test_one_instance_has_no_standard_error(runs):
    (checkpoint,) = runs("random", tasks=("nlvr",), max_instances=1)["checkpoints"]
    assert checkpoint["share"]["standard_error"] is None and checkpoint["instances"] == 1


def test_batches_make_no_difference(runs):
    one, other = (runs("random", out=f"size-{size}", batch_size=size)["checkpoints"][0] for size in (1, 8))
    for layer, same in zip(one["by_layer"], other["by_layer"], strict=True):
        assert layer["mean"] == pytest.approx(same["mean"], abs=3e-6)


def test_text_only_instances_are_left_out_and_counted(runs, data):
    result = runs("even", data=data, tasks=("nlvr", "visual_entailment"), max_instances=0)
    assert result["instances"] == {"with_image": 16, "text_only_left_out": 3, "questions": 16}
    with pytest.raises(ConfigError, match="none of the 3 chosen instances of visual_entailment has an image"):
        runs("even", data=[data[1]], tasks=("visual_entailment",), out="none")


def test_a_finished_checkpoint_is_not_run_again(runs):
    first = runs("random", heat_maps=1)
    both = runs("random", "even", heat_maps=1)
    assert runs.loaded == ["random", "even"]
    assert both["checkpoints"][0] == first["checkpoints"][0]
    files = sorted(path for path in (runs.folder / "out").rglob("*") if path.is_file())
    before = [path.read_bytes() for path in files]
    runs("random", "even", heat_maps=1)
    assert runs.loaded == ["random", "even"] and [path.read_bytes() for path in files] == before
    with pytest.raises(ConfigError, match=r"random\.json was measured with another setting of max_instances"):
        runs(max_instances=5, heat_maps=1)
    runs.files["random"].write_text("even")
    with pytest.raises(ConfigError, match="another setting of checkpoint"):
        runs(heat_maps=1)
    (runs.folder / "out" / "checkpoints" / "random.json").write_text("{")
    with pytest.raises(DataError, match="remove it to measure again"):
        runs(heat_maps=1)


def test_two_runs_write_the_same_bytes(runs):
    for out in ("one", "two"):
        runs(out=out, heat_maps=1, max_instances=1)
    names = [path.relative_to(runs.folder / "one") for path in (runs.folder / "one").rglob("*") if path.is_file()]
    assert len(names) == 6
    for name in names:
        assert (runs.folder / "one" / name).read_bytes() == (runs.folder / "two" / name).read_bytes(), name


def test_heat_maps(runs):
    result = runs(heat_maps=3, layers=(1, 3), instructions=(0, 1))
    assert [entry["task"] for entry in result["heat_maps"]] == ["nlvr", "grounded_vqa", "nlvr"]
    part = json.loads((runs.folder / "out" / "checkpoints" / "random.json").read_text())
    shares = {(row["unique_id"], row["instruction_id"]): row["shares"] for row in part["questions"]}
    for number, (entry, drawn) in enumerate(zip(result["heat_maps"], part["heat_maps"], strict=True), 1):
        assert entry["file"] == f"heat_maps/{number}.png" and entry["prompt"] == drawn["prompt"]
        assert Image.open(runs.folder / "out" / entry["file"]).width > 250
        attention = np.array(drawn["attention"])
        assert attention.shape == (part["layers"], PATCHES)
        expected = shares[drawn["unique_id"], drawn["instruction_id"]]
        np.testing.assert_allclose(attention.sum(axis=1), expected, atol=1e-3)


def test_options_are_written_as_a_model_was_trained(runs, monkeypatch):
    monkeypatch.setattr(runs.predictors["even"], "option_markers", False)
    random, even = runs(heat_maps=1)["checkpoints"]
    assert even["text_tokens"] < random["text_tokens"]
    part = json.loads((runs.folder / "out" / "checkpoints" / "even.json").read_text())
    assert "[Options]" not in part["heat_maps"][0]["prompt"]
    random, even = runs(markers=False, out="off")["checkpoints"]
    assert even["text_tokens"] == random["text_tokens"]


def test_a_layer_that_a_model_lacks(runs):
    with pytest.raises(ConfigError, match="checkpoint random has 3 encoder layers, no layer 4"):
        runs(layers=(1, 4))
    assert not (runs.folder / "out").exists()


def test_layers_shown():
    assert layers_shown(3, None, "x") == (1, 2, 3)
    assert layers_shown(12, None, "x") == (1, 3, 5, 8, 10, 12)
    assert layers_shown(1, None, "x") == (1,)


def test_figure_of_models_with_other_depths_and_lengths():
    def checkpoint(name, uniform, *shares):
        layers = [{"layer": n, "mean": mean, "standard_error": error} for n, (mean, error) in enumerate(shares, 1)]
        return {"name": name, "uniform": uniform, "by_layer": layers}

    one, two = checkpoint("a", 0.6, (0.5, None)), checkpoint("b $x$", 0.7, (0.2, 0.01), (0.3, 0.02))
    figure = share_figure([one, two], "attention", ["c", "b $x$"])
    assert [line.label for line in figure.chart.lines] == ["a", "b $x$", "even, a", "even, b $x$"]
    assert [line.colour for line in figure.chart.lines[:2]] == [2, 1]
    assert figure.chart.lines[1].spreads == (1.0, 2.0) and figure.chart.lines[3].points == ((1, 70.0), (2, 70.0))
    (level,) = share_figure([one], "attention").chart.lines[1:]
    assert level.label == "even" and ElementTree.fromstring(draw(figure))[0].text == figure.title


# -- the command


def test_names_of_checkpoints():
    found = named_checkpoints(["Mixed (1 - 1)=a=b.pt", "runs/x=y/tuned.pt"])
    assert {name: str(path) for name, path in found.items()} == {
        "Mixed (1 - 1)": "a=b.pt",
        "tuned": "runs/x=y/tuned.pt",
    }
    for values in (["a:b=a.pt"], ["a="], ["..=a.pt"], ["../x=a.pt"]):
        with pytest.raises(ConfigError, match="must be NAME=CHECKPOINT"):
            named_checkpoints(values)
    with pytest.raises(ConfigError, match="two checkpoints are called a"):
        named_checkpoints(["a.pt", "x/a.pt"])


def test_bad_inputs_are_one_line(data, tmp_path, capsys):
    missing = tmp_path / "missing.pt"
    base = ["attention", f"x={missing}", "--out", str(tmp_path / "out"), "--tasks", "nlvr", "--data", str(data[0])]
    assert cli.main(base) == cli.BAD_INPUT
    assert capsys.readouterr().err == (
        f"ofa-mi attention: error: {missing}: cannot be read (No such file or directory)\n"
    )
    missing.write_bytes(b"nothing")
    assert cli.main([*base, "--heat-maps", "-1"]) == cli.BAD_INPUT
    assert "heat maps must be 0 or more" in capsys.readouterr().err
    assert cli.main([*base[:-1], str(data[1]), "--tasks", "visual_entailment"]) == cli.BAD_INPUT
    error = capsys.readouterr().err
    assert "has an image" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
