"""The task without a training run: its options, its data sets, and the metrics of a validation."""

import json
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf
from PIL import Image

from ofa_mi import checkpoint
from ofa_mi.data.vocabulary import EOS, Vocabulary, build_compact
from ofa_mi.decoding import kinds
from ofa_mi.decoding.beam import GenerationConfig, Hypothesis
from ofa_mi.decoding.predictor import Predictor, Query
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.evaluation.metrics import score_prediction
from ofa_mi.instructions.registry import default_registry
from ofa_mi.instructions.rendering import render
from ofa_mi.tasks.multiinstruct import MultiInstructTask, mean_of
from ofa_mi.tasks.options import MultiInstructConfig, check_config, parse_shares

SMALL = {
    "patch_image_size": 32,
    "max_src_length": 64,
    "max_tgt_length": 16,
    "seed": 1,
    "cpu": True,
    "bf16": False,
    "finetune_from_model": None,
}


def record(number, **fields):
    image = {"image_path": "red.png", "image_size": [40, 30]}
    colour = {"task_name": "color_understanding", "question": "what?", "options": ["red", "blue"], "target_txt": "red"}
    return {"unique_id": f"i{number}", **colour, **image, **fields}


def write(folder, split, records):
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), "red").save(folder / "red.png")
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def data(tmp_path):
    """Four questions about a colour and two groundings, to train and to validate on."""
    box = {"task_name": "visual_grounding", "text": "it", "options": None, "target_txt": [0, 0, 40, 30]}
    records = [record(i) for i in range(4)] + [record(i, **box) for i in range(4, 6)]
    for split in ("train", "valid"):
        write(tmp_path / "data", split, records)
    return tmp_path / "data"


def config(data, **options):
    cfg = MultiInstructConfig(data=str(data))
    for name, value in {**SMALL, **options}.items():
        assert hasattr(cfg, name)
        setattr(cfg, name, value)
    return cfg


def task(data, **options):
    return MultiInstructTask.setup_task(config(data, **options))


# -- options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_instances_per_task", -1),
        ("max_valid_instances_per_task", -1),
        ("num_instructions", -1),
        ("max_src_length", 1),
        ("max_tgt_length", 0),
        ("valid_beam", 0),
        ("valid_max_len", 0),
        ("patch_image_size", 0),
        ("patch_image_size", 40),
        ("patch_image_size", 1024),
        ("mixture_temperature", 0.0),
        ("mixture_temperature", float("nan")),
    ],
)
def test_an_option_that_cannot_work_is_named(data, option, value):
    check_config(config(data))
    with pytest.raises(ConfigError, match=f"^--{option.replace('_', '-')} "):
        check_config(config(data, **{option: value}))


@pytest.mark.parametrize("value", ["", ":", None, "/nowhere"])
def test_data_directories_must_exist(value):
    cfg = MultiInstructConfig(data=value)
    with pytest.raises(ConfigError, match=r"no data directory|/nowhere: no such data directory"):
        check_config(cfg)


def test_a_start_brings_its_vocabulary(data, tmp_path):
    words = task(data).vocabulary
    own = Vocabulary(words.symbols, words.tokens, words.merges, num_codes=0, num_bins=9)
    kept, bare = tmp_path / "kept.pt", tmp_path / "bare.pt"
    checkpoint.save({"model": {}, "task_state": {"vocabulary": own.state()}}, kept)
    checkpoint.save({"model": {}}, bare)
    assert task(data, bpe_dir=None, finetune_from_model=str(kept)).vocabulary.key == own.key
    build_compact([" red or blue"], tmp_path / "bpe")
    given = task(data, bpe_dir=str(tmp_path / "bpe"), finetune_from_model=str(kept)).vocabulary
    assert given.key == Vocabulary.load(tmp_path / "bpe").key, "--bpe-dir comes first"
    packaged = task(data, bpe_dir=None, finetune_from_model=str(bare)).vocabulary
    assert packaged.key == Vocabulary.load().key


def test_every_option_is_documented():
    assert all(
        field.metadata.get("help")
        for name, field in MultiInstructConfig.__dataclass_fields__.items()
        if name not in ("_name", "seed", "cpu", "bf16", "finetune_from_model")  # fairseq documents these
    )


# -- data sets


def test_load_dataset_maps_the_options(data):
    one = task(data, max_instances_per_task=1, restrict_to_options=True, num_instructions=1)
    one.load_dataset("train")
    one.load_dataset("valid")
    train, valid = one.datasets["train"], one.datasets["valid"]
    assert train.mixture.size == 2 and valid.mixture.size == 6
    assert train[0].options and train[0].instance is None
    assert valid[0].options is None and valid[0].instance.unique_id == "i0"
    assert one.max_positions() == (64, 16)
    assert one.source_dictionary is one.target_dictionary and len(one.source_dictionary) == len(one.vocabulary)


@pytest.mark.parametrize(("markers", "expected"), [("on", "[Options]: red||||blue"), ("off", "? red, blue")])
def test_option_markers_and_task_name(data, markers, expected):
    one = task(data, prompt_style="task-name", option_markers=markers)
    one.load_dataset("train")
    source = one.vocabulary.decode_text(one.datasets["train"][0].source[1:-1])
    assert source.startswith(" color understanding ; what?") and expected in source


def test_instructions_in_german(tmp_path):
    statement = {"task_name": "nlvr", "question": None, "text": "it is red", "options": ["yes", "no"]}
    data = write(tmp_path / "data", "train", [record(0, **statement | {"target_txt": "yes"})])
    one = task(data, instruction_language="de", num_instructions=1)
    one.load_dataset("train")
    source = one.vocabulary.decode_text(one.datasets["train"][0].source[1:-1])
    assert source == " trifft die folgende aussage auf das bild zu? „it is red“ [Options]: yes||||no"
    with pytest.raises(ConfigError, match="task color_understanding has no instructions in language 'de', only in en"):
        task(write(data, "train", [record(0)]), instruction_language="de").load_dataset("train")
    with pytest.raises(ConfigError, match="no task has instructions in language 'xx'"):
        task(data, instruction_language="xx")


def test_extra_instructions_are_for_training_only(data, tmp_path):
    def made(texts):
        lines = [{"task": "visual_grounding", "instruction": text, "origin": "grammar"} for text in texts]
        (tmp_path / "extra.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        one = task(data, extra_instructions=str(tmp_path / "extra.jsonl"))
        for split in ("train", "valid"):
            one.load_dataset(split)
        return one

    own = default_registry()["visual_grounding"].instructions
    texts = tuple(f"Point at this, now for time {i}: {{text}}" for i in range(40))
    one = made(texts)
    asked = {
        split: {spec.name: spec.instructions for spec in one.datasets[split].specs.values()}
        for split in ("train", "valid")
    }
    assert asked["train"]["visual_grounding"] == (*own, *texts) and asked["valid"]["visual_grounding"] == own
    assert asked["train"]["color_understanding"] == asked["valid"]["color_understanding"]
    sources = {}
    for split, dataset in one.datasets.items():
        for epoch in range(20):
            dataset.set_epoch(epoch)
            sources.setdefault(split, set()).add(one.vocabulary.decode_text(dataset[4].source[1:-1]))
    assert sum("now for time" in source for source in sources["train"]) > 10
    assert not any("now for time" in source for source in sources["valid"])
    # A run knows which ones it has: batches under others are refused.
    cfg = OmegaConf.create({"task": {}, "dataset": {"train_subset": "train"}, "optimization": {"update_freq": [1]}})
    known = [made(some).origin(cfg).settings["extra_instructions"] for some in (texts, texts, texts[1:])]
    assert known[0] == known[1] != known[2] and known[0].startswith("sha256:")
    plain = task(data)
    plain.load_dataset("train")
    assert plain.origin(cfg).settings["extra_instructions"] == ""


def test_metric_that_cannot_score_the_answers_is_found_before_training(tmp_path):
    task_of_mine = {"split": "train", "sources": ["x"], "inputs": ["text"], "output": "text", "metrics": ["iou"]}
    instructions = [f"{number} {{text}}" for number in ("one", "two", "three", "four", "five")]
    task_of_mine |= {"version": 1, "description": "x", "instructions": instructions}
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml" / "mine.yaml").write_text(json.dumps({"group": "mine", "tasks": {"mine": task_of_mine}}))
    for split in ("train", "valid"):
        data = write(tmp_path / "data", split, [record(0, task_name="mine", text="a", target_txt="b")])
    with pytest.raises(ConfigError, match="task mine: metric iou"):
        task(data, instruction_dir=str(tmp_path / "yaml")).load_dataset("valid")
    task(data, instruction_dir=str(tmp_path / "yaml"), valid_metrics="off").load_dataset("valid")


def test_split_that_no_directory_has(data):
    with pytest.raises(ConfigError, match=r"holds nothing\.jsonl; see --train-subset"):
        task(data).load_dataset("nothing")


def test_directory_without_the_split_and_task_without_instances_are_named(data, tmp_path, caplog):
    other = write(tmp_path / "other", "train", [record(9)])
    one = task(f"{data}:{other}", tasks="color_understanding,nlvr")
    one.load_dataset("valid")
    assert f"{other}: holds no valid.jsonl" in caplog.text
    assert "valid: holds no instance of nlvr" in caplog.text


def test_training_on_evaluation_tasks_is_said(tmp_path, caplog):
    fields = {"task_name": "nlvr", "text": "a box", "options": ["yes", "no"], "target_txt": "no"}
    data = write(tmp_path / "data", "train", [record(0), record(1, **fields)])
    task(data).load_dataset("train")
    assert "training on nlvr" in caplog.text
    caplog.clear()
    task(data, exclude_tasks="eval").load_dataset("train")
    assert "training on" not in caplog.text


def test_bad_line_stops_or_is_listed(data, caplog):
    with (data / "train.jsonl").open("a") as file:
        file.write('{"unique_id": "trunc')
    with pytest.raises(DataError, match=r"train\.jsonl:7"):
        task(data).load_dataset("train")
    task(data, skip_bad_instances=True).load_dataset("train")
    assert "skipped " in caplog.text and "train.jsonl:7" in caplog.text


def batches(one, split="train"):
    options = {"max_sentences": 1, "required_batch_size_multiple": 1, "seed": 1, "epoch": 1}
    return one.get_batch_iterator(one.datasets[split], **options)


def test_first_batch_is_one_that_can_be_used(tmp_path):
    data = write(tmp_path / "data", "train", [record(i, image_path=f"{i}.png") for i in range(3)])
    for name, content in {"0": b"no image", "1": b"no image", "2": (data / "red.png").read_bytes()}.items():
        (data / f"{name}.png").write_bytes(content)
    one = task(data, skip_bad_instances=True)
    one.load_dataset("train")
    assert batches(one).first_batch["id"].tolist() == [2]
    (data / "2.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="not one instance"):
        batches(one)


# -- model and metrics


def test_model_must_have_positions_for_the_longest_text(data, monkeypatch):
    model = SimpleNamespace(max_positions=lambda: (64, 16))
    monkeypatch.setattr(FairseqTask, "build_model", lambda self, cfg, from_checkpoint=False: model)
    assert task(data).build_model(Namespace()) is model
    with pytest.raises(ConfigError, match="--max-tgt-length 17 exceeds the model's 16 positions"):
        task(data, max_tgt_length=17).build_model(Namespace())


@pytest.fixture
def answers(monkeypatch):
    """Answers that the fake model decodes, by instance; and no loss."""
    found = {}

    def generate(model, net_input, config, *, allowed=None):
        return [[Hypothesis(found[tokens], 0.0)] for tokens in net_input["src_tokens"][:, 0].tolist()]

    monkeypatch.setattr(kinds, "generate", generate)
    monkeypatch.setattr(FairseqTask, "valid_step", lambda self, sample, model, criterion: (0.0, 1, {"loss": 0.0}))
    monkeypatch.setattr(FairseqTask, "reduce_metrics", lambda self, logging_outputs, criterion: None)
    return found


def test_validation_scores_each_task(data, answers):
    one = task(data)
    one.load_dataset("valid")
    dataset = one.datasets["valid"]
    answers.update({0: dataset[0].target, 1: dataset[4].target, 2: one.vocabulary.encode(" blue")})
    logs = []
    for numbers, replies in (([0, 1], [0, 2]), ([4], [1])):
        sample = {
            "instances": [dataset[i].instance for i in numbers],
            "net_input": {
                "src_tokens": torch.tensor(replies)[:, None],
                "src_lengths": torch.ones(len(replies), dtype=torch.long),
            },
        }
        logs.append(one.valid_step(sample, None, None)[2])
    assert logs[0].keys() == logs[1].keys(), "workers sum the same keys"
    with metrics.aggregate(new_root=True) as meters:
        one.reduce_metrics(logs, FairseqCriterion)
    values = meters.get_smoothed_values()
    assert values["color_understanding"] == 50 and values["visual_grounding"] == 100 and values["score"] == 75


class Recites(torch.nn.Module):
    """Says its tokens in their order, but would rather stop after two; source and image make no difference."""

    def __init__(self, tokens, vocab):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(len(tokens) + 1, vocab))
        with torch.no_grad():
            self.logits[range(len(tokens)), tokens] = 20.0
            self.logits[2, EOS] = 30.0
            self.logits[len(tokens), tokens[0]] = 20.0
        self.encoder = lambda **inputs: len(inputs["src_tokens"])

    @property
    def decoder(self):
        return self

    def max_decoder_positions(self):
        return 64

    def start(self, sentences, *, beams, max_length):
        state = SimpleNamespace(step=0, sentences=sentences, beams=beams, reorder=lambda parents: None)
        state.select = lambda remaining: setattr(state, "sentences", len(remaining))
        return state

    def step(self, tokens, state):
        row = self.logits[min(state.step, len(self.logits) - 1)]
        state.step += 1
        return row.expand(state.sentences, state.beams, 1, -1)

    def head(self, ids=None):
        return torch.clone


def test_validation_and_evaluation_give_a_region_the_same_score(data):
    """Decoded as text, the model stops after two of four tokens, and no box comes of it."""
    one = task(data, valid_beam=2)
    one.load_dataset("valid")
    dataset = one.datasets["valid"]
    sample = dataset.collater([dataset[i] for i in (0, 4, 5)])
    model = Recites(dataset[4].target[:-1], len(one.vocabulary))
    assert one._scores(sample, model)["visual_grounding"] == (200.0, 2)
    instance, spec = dataset[4].instance, one.registry["visual_grounding"]
    generation = GenerationConfig(beam=2, max_len=one.cfg.valid_max_len)
    predictor = Predictor(model, one.encoder, one.transform, generation=generation)
    image = Image.new("RGB", (40, 30))
    query = Query(render(spec, spec.instructions[0], instance), image, (40, 30), output=spec.output)
    (prediction,) = predictor.predict([query])
    assert prediction.tokens == tuple(dataset[4].target)
    assert score_prediction(spec.metrics[0], prediction.text, prediction.boxes, instance, spec) == 100


def test_fairseqs_own_generation_names_ours(data):
    with pytest.raises(ConfigError, match="use `ofa-mi evaluate`"):
        task(data).build_generator([], None)


def test_metrics_can_be_switched_off(data, answers):
    one = task(data, valid_metrics="off")
    one.load_dataset("valid")
    assert one.valid_step({}, None, None)[2] == {"loss": 0.0}
    with metrics.aggregate(new_root=True) as meters:
        one.reduce_metrics([{"loss": 0.0}], FairseqCriterion)
    assert "score" not in meters.get_smoothed_values()


def test_mean_leaves_out_tasks_that_were_not_seen():
    assert mean_of({"a": SimpleNamespace(avg=10.0), "b": SimpleNamespace(avg=20.0)}, ["a", "b", "c"]) == 15
    assert mean_of({}, ["a"]) != mean_of({}, ["a"])  # NaN


def test_state_holds_the_vocabulary(data):
    one = task(data)
    assert one.state_dict()["vocabulary"] == one.vocabulary.state()


def test_shares_of_tasks_and_groups():
    registry = default_registry()
    shares = parse_shares("natural_instructions=0.5,group:vqa=0.25", registry)
    assert shares == {("natural_instructions",): 0.5, registry.select(["group:vqa"]): 0.25}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nlvr", "must be TASK=SHARE"),
        ("nlvr=2", "with a share up to 1"),
        ("nlvrr=0.5", "unknown task or group"),
        ("nlvr=0.1,commonsense=0.2", "nlvr is in two"),
    ],
)
def test_shares_that_cannot_be_are_one_line(value, message):
    with pytest.raises(ConfigError, match=message):
        parse_shares(value, default_registry())
