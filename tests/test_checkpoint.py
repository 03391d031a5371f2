"""Checkpoints: read safely, fitted to the model by name, never filled silently, and converted without loss."""

import io
import logging
import os
from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import data_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from safetensors.torch import save_file

from ofa_mi import checkpoint
from ofa_mi.commands.checkpoint import convert
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.errors import CheckpointError
from ofa_mi.state_dict import fit_state_dict

EMBEDDINGS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight")


@pytest.fixture(scope="module")
def bpe_dir(tmp_path_factory):
    """The files of a vocabulary for a handful of words."""
    folder = tmp_path_factory.mktemp("bpe")
    build_compact([" what is in the image? a red circle"], folder)
    return folder


@pytest.fixture(scope="module")
def words(bpe_dir):
    return Vocabulary.load(bpe_dir)


def build(dictionary, arch="ofa_nano", **settings):
    """A model of one layer on each side (tests need no more), with random weights that depend on nothing."""
    args = Namespace(arch=arch, **{"encoder_layers": 1, "decoder_layers": 1, "resnet_type": "resnet_nano", **settings})
    ARCH_CONFIG_REGISTRY[arch](args)
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    torch.manual_seed(0)
    return ARCH_MODEL_REGISTRY[arch].build_model(args, task), args


@pytest.fixture(scope="module")
def model(words):
    return build(words.dictionary)[0]


@pytest.fixture
def state_dict(model):
    """A copy of the model's own entries, tied ones included, as a file of them holds them."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def dictionary_of(words, *, without=(), extra=0):
    """A fairseq dictionary of `words` with some symbols less or more."""
    dictionary = type(words.dictionary)()
    for symbol in words.dictionary.symbols[4:]:
        if symbol not in without:
            dictionary.add_symbol(symbol)
    for i in range(extra):
        dictionary.add_symbol(f"<extra_{i}>")
    return dictionary


# -- fitting


def test_own_entries_fit_without_a_word(model, state_dict, caplog):
    before = dict(state_dict)
    report = fit_state_dict(state_dict, model)
    assert (report.missing, report.unexpected, report.grown) == ([], [], [])
    assert all(torch.equal(state_dict[name], before[name]) for name in before)
    assert caplog.records == []


def test_smaller_vocabulary_grows_by_the_same_rows_everywhere(words, state_dict, caplog):
    larger, _ = build(dictionary_of(words, extra=300))
    old = state_dict[EMBEDDINGS[0]]
    again = dict(state_dict)
    report = fit_state_dict(state_dict, larger)
    assert report.grown == [EMBEDDINGS[0]] and report.missing == report.unexpected == []
    grown = state_dict[EMBEDDINGS[0]]
    assert grown.shape == (len(old) + 300, old.shape[1])
    assert torch.equal(grown[: len(old)], old)
    assert grown[len(old) :].std().item() == pytest.approx(old.shape[1] ** -0.5, rel=0.02)
    assert all(state_dict[name] is grown for name in EMBEDDINGS)
    torch.manual_seed(1)
    fit_state_dict(again, larger)
    assert torch.equal(again[EMBEDDINGS[0]], grown), "ranks must draw the same rows whatever their generators' state"
    assert EMBEDDINGS[0] in caplog.text
    larger.load_state_dict(state_dict)
    assert torch.equal(larger.decoder.output_projection.weight[: len(old)], old)


def test_position_tables_grow_and_index_tables_are_the_models(words, state_dict):
    larger, _ = build(words.dictionary, max_source_positions=1100, max_target_positions=1030)
    before = dict(state_dict)
    report = fit_state_dict(state_dict, larger)
    assert report.grown == ["encoder.embed_positions.weight", "decoder.embed_positions.weight"]
    for name, rows in zip(report.grown, (1102, 1032), strict=True):
        assert state_dict[name].shape[0] == rows
        assert torch.equal(state_dict[name][: len(before[name])], before[name])
    assert torch.equal(state_dict["encoder.token_rp_bucket"], larger.encoder.token_rp_bucket)
    larger.load_state_dict(state_dict)


def test_smaller_image_position_table_grows(model, state_dict):
    name = "encoder.embed_image_positions.weight"
    rows = len(state_dict[name])
    state_dict[name] = state_dict[name][:-5]
    assert fit_state_dict(state_dict, model).grown == [name]
    assert len(state_dict[name]) == rows


def test_trailing_mask_is_cut_off_when_the_vocabulary_has_none(words, state_dict, caplog):
    smaller, _ = build(dictionary_of(words, without=("<mask>",)))
    old = state_dict[EMBEDDINGS[0]]
    report = fit_state_dict(state_dict, smaller)
    assert report.grown == [] and torch.equal(state_dict[EMBEDDINGS[2]], old[:-1])
    assert "<mask>" in caplog.text


def test_missing_and_unused_entries_are_named(model, state_dict, caplog):
    missing = ["decoder.layers.0.fc1.bias", "encoder.layer_norm.weight"]
    for name in missing:
        del state_dict[name]
    state_dict["encoder.output_projection.weight"] = torch.zeros(2, 2)
    own = model.decoder.layers[0].fc1.bias.detach().clone()
    report = fit_state_dict(state_dict, model)
    assert sorted(report.missing) == missing
    assert report.unexpected == ["encoder.output_projection.weight"]
    assert torch.equal(state_dict[missing[0]], own)
    levels = {record.levelno for record in caplog.records}
    assert levels == {logging.WARNING}
    assert all(name in caplog.text for name in [*missing, "encoder.output_projection.weight"])


def test_one_of_the_tied_entries_is_enough(model, state_dict):
    for name in EMBEDDINGS[1:]:
        del state_dict[name]
    assert fit_state_dict(state_dict, model).missing == []
    assert all(state_dict[name] is state_dict[EMBEDDINGS[0]] for name in EMBEDDINGS)


def test_tied_entries_that_differ_are_refused(model, state_dict):
    state_dict[EMBEDDINGS[2]] = state_dict[EMBEDDINGS[2]] + 1
    with pytest.raises(CheckpointError, match=r"decoder\.output_projection\.weight and encoder\.embed_tokens\.weight"):
        fit_state_dict(state_dict, model)


@pytest.mark.parametrize(
    ("name", "change", "option"),
    [
        ("encoder.embed_tokens.weight", lambda t: torch.cat([t, t[:2]]), "--bpe-dir"),
        ("encoder.embed_tokens.weight", lambda t: t[:, :-1], "--arch"),
        ("encoder.embed_positions.weight", lambda t: torch.cat([t, t[:9]]), "--max-source-positions"),
        ("decoder.embed_positions.weight", lambda t: torch.cat([t, t[:9]]), "--max-target-positions"),
        ("encoder.token_rel_pos_table_list.0.weight", lambda t: t[:-2], "--token-bucket-size"),
        ("decoder.image_rel_pos_table_list.0.weight", lambda t: t[:-2], "--image-bucket-size"),
        ("encoder.image_proj.weight", lambda t: t[:-1], "--arch"),
        ("encoder.layers.0.fc1.weight", lambda t: t[:-1], "--arch"),
        ("encoder.embed_images.conv1.weight", lambda t: t[:-1], "--resnet-type"),
    ],
)
def test_shapes_that_cannot_grow_are_refused_by_name_and_option(model, state_dict, name, change, option):
    tied = EMBEDDINGS if name in EMBEDDINGS else (name,)
    state_dict.update(dict.fromkeys(tied, change(state_dict[name])))
    with pytest.raises(CheckpointError, match=f"^{name} is .*{option}$"):
        fit_state_dict(state_dict, model)


def test_a_checkpoint_of_something_else_is_refused(model):
    with pytest.raises(CheckpointError, match="none of the checkpoint's 1 entries"):
        fit_state_dict({"bert.pooler.weight": torch.zeros(2)}, model)


# -- released format, loading


def released(model, args, layout):
    """A checkpoint as OFA releases them: weights and settings, in either place that fairseq has kept them."""
    old = Namespace(**vars(args), task="refcoco", patch_image_size=384, max_src_length=80, no_scale_embedding=True)
    kept = {"args": old, "cfg": None} if layout == "args" else {"args": None, "cfg": {"model": old, "task": vars(old)}}
    return {**kept, "model": model.state_dict()}


@pytest.mark.parametrize("layout", ["args", "cfg"])
@pytest.mark.parametrize("zipped", [True, False])
def test_released_checkpoint_loads(tmp_path, words, bpe_dir, layout, zipped):
    model, args = build(words.dictionary)
    path = tmp_path / "ofa.pt"
    torch.save(released(model, args, layout), path, _use_new_zipfile_serialization=zipped)
    loaded = checkpoint.load(path, bpe_dir=bpe_dir)
    assert not loaded.model.training
    assert loaded.vocabulary.key == words.key
    assert loaded.model_args.arch == "ofa_nano"
    assert loaded.task_config == {"patch_image_size": 384}, "of another task, only what concerns images"
    own, other = model.state_dict(), loaded.model.state_dict()
    assert own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)


def test_released_tiny_with_a_smaller_vocabulary(tmp_path, words, bpe_dir, caplog):
    """Name by name as the released ofa_tiny, only with fewer bins than the model that loads it."""
    fewer = dictionary_of(words, without=[f"<bin_{i}>" for i in range(900, 1000)])
    model, args = build(fewer, "ofa_tiny", encoder_layers=4, decoder_layers=4, resnet_type="resnet50")
    torch.save(released(model, args, "args"), tmp_path / "ofa_tiny.pt")
    loaded = checkpoint.load(tmp_path / "ofa_tiny.pt", bpe_dir=bpe_dir)
    table = loaded.model.encoder.embed_tokens.weight
    assert table.shape == (len(words), 256)
    assert torch.equal(table[:-100], model.encoder.embed_tokens.weight)
    assert caplog.messages == [f"{EMBEDDINGS[0]} has fewer rows in the checkpoint: the further rows are new"]


def test_own_checkpoint_needs_no_vocabulary_files(tmp_path, words, bpe_dir):
    model, args = build(words.dictionary)
    state = {
        "model": model.state_dict(),
        "cfg": {"model": args, "task": {"_name": "multiinstruct", "max_src_length": 77}},
        "task_state": {"vocabulary": words.state()},
    }
    checkpoint.save(state, tmp_path / "own.pt")
    loaded = checkpoint.load(tmp_path / "own.pt")
    assert loaded.vocabulary.key == words.key
    assert loaded.task_config["max_src_length"] == 77
    other = tmp_path / "other"
    build_compact([" something else entirely"], other)
    with pytest.raises(CheckpointError, match="differs from --bpe-dir"):
        checkpoint.load(tmp_path / "own.pt", bpe_dir=other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"args": None}, "names the architecture"),
        ({"args": Namespace(arch="bart_large")}, "'bart_large' is none of ofa_nano, ofa_tiny"),
        ({"model": {"encoder.version": 3.0}}, "holds something that is no tensor"),
        ({"model": None}, "not a checkpoint of fairseq or OFA"),
        ({"cfg": ["model"]}, '"cfg" is no table of settings'),
        ({"task_state": "words"}, '"task_state" is no table of settings'),
        ({}, "holds no vocabulary"),
    ],
)
def test_what_is_lacking_is_said(tmp_path, words, change, message):
    model, args = build(words.dictionary)
    torch.save({"args": args, "model": model.state_dict(), **change}, tmp_path / "some.pt")
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoint.load(tmp_path / "some.pt")
    assert str(error.value).startswith(str(tmp_path / "some.pt"))


# -- safety


class Payload:
    """Runs a command when unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("read", [checkpoint.read, checkpoint.load, checkpoint_utils.load_checkpoint_to_cpu])
def test_malicious_pickle_is_refused_in_one_line(tmp_path, read, zipped):
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pt"
    state = {"model": {}, "args": Namespace(arch="ofa_nano", payload=Payload(marker))}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match=rf"evil\.pt: refused: it asks for {os.system.__module__}\.system"
    ) as error:
        read(path)
    assert not marker.exists()
    assert "\n" not in str(error.value)


def test_settings_cannot_read_the_environment(tmp_path, monkeypatch):
    """OmegaConf would look it up, and the converted file, or an error, would tell it."""
    monkeypatch.setenv("OFA_MI_SECRET", "hunter2")
    cfg = {"model": {"arch": "ofa_nano", "dropout": "${oc.env:OFA_MI_SECRET}"}, "task": "${oc.env:OFA_MI_SECRET}"}
    torch.save({"model": {"a": torch.zeros(1)}, "cfg": OmegaConf.create(cfg)}, tmp_path / "asks.pt")
    state = checkpoint.read(tmp_path / "asks.pt")
    checkpoint.save(state, tmp_path / "told.safetensors")
    assert b"hunter2" not in (tmp_path / "told.safetensors").read_bytes()
    assert "hunter2" not in f"{checkpoint.model_args(state)} {checkpoint.task_config(state)}"


@pytest.mark.parametrize(
    "setting",
    [
        *({"encoder_layers": "x"}, {"encoder_embed_dim": -8}, {"dropout": "${dropout}"}, {"encoder_layers": 10**12}),
        *({"decoder_layers": 1.0}, {"encoder_embed_dim": 10**12}, {"decoder_ffn_embed_dim": 10**12}),
        *({"max_source_positions": 10**6}, {"image_bucket_size": 1000}, {"token_bucket_size": 10**12}),
        *({"encoder_attention_heads": 0}, {"encoder_attention_heads": 7}, {"resnet_type": ["x"] * 10_000}),
    ],
)
def test_settings_that_make_no_model_are_said(tmp_path, words, bpe_dir, setting):
    model, args = build(words.dictionary)
    changed = Namespace(**(vars(args) | setting))
    torch.save({"args": changed, "model": model.state_dict()}, tmp_path / "some.pt")
    with pytest.raises(CheckpointError, match=r"some\.pt: its settings make no model") as error:
        checkpoint.load(tmp_path / "some.pt", bpe_dir=bpe_dir)
    assert str(error.value).isprintable() and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_bins": 10**12}, "its num_bins must be a number from 2 to 1,048,576, found 1000000000000"),
        ({"num_bins": 1000.0}, "its num_bins must be a number from 2 to 1,048,576, found 1000.0"),
        ({"num_bins": 5000}, "has 5000 location bins, its vocabulary 1000"),
        ({"patch_image_size": "x" * 10_000}, "its patch_image_size must be a number from 16 to 4,096, found 'xxx"),
        ({"max_src_length": float("nan")}, "its max_src_length must be a number from 1 to 1,048,576, found nan"),
        ({"text_case": ["lower"]}, r"its text_case must be lower or keep, found \['lower'\]"),
        ({"black_image": "no"}, "its black_image must be True or False, found 'no'"),
    ],
)
def test_settings_of_a_task_that_cannot_be_are_said(tmp_path, words, setting, message):
    model, args = build(words.dictionary)
    cfg = {"model": args, "task": {"_name": "multiinstruct", **setting}}
    state = {"model": model.state_dict(), "cfg": cfg, "task_state": {"vocabulary": words.state()}}
    torch.save(state, tmp_path / "some.pt")
    with pytest.raises(CheckpointError, match=rf"some\.pt: {message}"):
        checkpoint.load(tmp_path / "some.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": {"a": torch.zeros(1).expand(10**6, 10**6)}},
            r'"model" would take 4,000,000,000,000 bytes, far more',
        ),
        (
            {"model": {"a": torch.zeros(3).to_sparse()}},
            r'"model" holds a tensor that is no table of real numbers, \'a\'',
        ),
        ({"model": {"a": torch.zeros(3, dtype=torch.complex64)}}, "holds a tensor that is no table of real numbers"),
        ({"model": {5: torch.zeros(3)}}, r'"model" has an entry without a name, 5'),
        ({"model": {"a": torch.zeros(3)}, "optimizer_history": {"a": 1}}, '"optimizer_history" is no list of tables'),
        ({"model": {"a": torch.zeros(3)}, "optimizer_history": [5]}, '"optimizer_history" is no list of tables'),
    ],
)
def test_contents_that_no_checkpoint_has_are_said(tmp_path, content, message):
    torch.save(content, tmp_path / "some.pt")
    with pytest.raises(CheckpointError, match=rf"some\.pt: its {message}|some\.pt: its .*{message}"):
        checkpoint.read(tmp_path / "some.pt")


@pytest.mark.parametrize(
    "metadata",
    [
        *("[" * 100_000, "5", '{"cfg": 5}', '{"cfg": {"model": [1]}}', '{"tied": [1]}', '{"tied": {"b": "c"}}'),
        *(
            '{"cfg": {"model": ' + "9" * 5000 + "}}",
            '{"tied": {"b": ["a"]}}',
            '{"tied": {"b": "' + "x" * 100_000 + '"}}',
        ),
    ],
)
def test_damaged_metadata_are_one_short_line(tmp_path, metadata):
    path = tmp_path / "some.safetensors"
    save_file({"a": torch.zeros(3)}, path, {"ofa_mi": metadata})
    with pytest.raises(CheckpointError) as error:
        checkpoint.read(path)
    assert str(error.value).startswith(f"{path}: ") and str(error.value).isprintable() and len(str(error.value)) < 500


def test_a_setting_without_end_is_one_line(tmp_path):
    nested = "[" * 500 + "]" * 500
    path = tmp_path / "some.safetensors"
    save_file({"a": torch.zeros(3)}, path, {"ofa_mi": f'{{"cfg": {{"model": {{"arch": "ofa_nano", "x": {nested}}}}}}}'})
    with pytest.raises(CheckpointError, match=r"its setting 'x' has more than 8 levels$"):
        checkpoint.model_args(checkpoint.read(path), path)


def test_numpy_objects_are_refused(tmp_path):
    class Scalar:
        def __reduce__(self):
            return np.float64(1).__reduce__()[0], (np.dtype("O"), b"12345678")

    torch.save({"model": {}, "x": Scalar()}, tmp_path / "object.pt")
    with pytest.raises(CheckpointError):
        checkpoint.read(tmp_path / "object.pt")


def test_unreadable_files_end_in_one_line(tmp_path):
    good = io.BytesIO()
    torch.save({"model": {"a": torch.zeros(1000)}}, good)
    contents = {"empty.pt": b"", "text.pt": b"hello\n", "cut.pt": good.getvalue()[:-700], "empty.safetensors": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in [*contents, "absent.pt", "absent.safetensors", "."]:
        with pytest.raises(CheckpointError) as error:
            checkpoint.read(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name).rstrip("/."))
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_byte_is_a_checkpoint_error_or_harmless(tmp_path_factory, where, value, zipped):
    buffer = io.BytesIO()
    state = {"model": {"a": torch.zeros(3)}, "args": Namespace(arch="ofa_nano"), "best": np.float64(1.5)}
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    content = bytearray(buffer.getvalue())
    content[where % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(content)
    try:
        assert isinstance(checkpoint.read(path)["model"], dict)
    except CheckpointError as error:
        assert "\n" not in str(error)


# -- what fairseq reads and sends


def fairseq_state(words, model, args):
    """A checkpoint as fairseq writes it in the middle of a run, with a number that a metric left as NumPy's."""
    return {
        "args": None,
        "cfg": {"_name": None, "model": args, "task": {"_name": "multiinstruct", "data": "a:b"}, "lr": [1e-3]},
        "model": model.state_dict(),
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": "C",
                "optimizer_name": "O",
                "lr_scheduler_state": {"best": np.float64(2)},
                "num_updates": 7,
            }
        ],
        "task_state": {"vocabulary": words.state()},
        "extra_state": {
            "train_iterator": {"version": 2, "epoch": 2, "iterations_in_epoch": 3, "shuffle": True},
            "metrics": {"train": [(10, "loss", "AverageMeter", {"val": np.float32(1.5), "count": np.int64(3)})]},
            "val_loss": np.float64(0.5),
        },
        "last_optimizer_state": {"state": {0: {"step": 7, "exp_avg": torch.ones(3)}}, "param_groups": []},
    }


def test_fairseq_reads_its_checkpoint_and_sends_it_to_other_ranks(tmp_path, words):
    model, args = build(words.dictionary)
    path = str(tmp_path / "checkpoint_last.pt")
    checkpoint_utils.torch_persistent_save(fairseq_state(words, model, args), path)
    state = checkpoint_utils.load_checkpoint_to_cpu(path)
    assert state["cfg"].model.arch == "ofa_nano"
    assert state["extra_state"]["val_loss"] == 0.5
    # As `broadcast_object` does it: tensors apart, the rest by torch.save and torch.load.
    tensors, buffer = [], io.BytesIO()
    torch.save(distributed_utils._split_tensors_from_obj(state, tensors), buffer)
    buffer.seek(0)
    sent = distributed_utils._put_tensors_in_obj(torch.load(buffer), tensors)
    assert sent["cfg"].model == args and sent["cfg"].lr == [1e-3]
    assert sent["optimizer_history"][-1]["lr_scheduler_state"] == {"best": 2.0}
    assert torch.equal(sent["last_optimizer_state"]["state"][0]["exp_avg"], torch.ones(3))


@pytest.mark.parametrize("layout", ["args", "cfg", "safetensors"])
def test_fairseq_reads_bare_weights_as_a_run_that_has_not_begun(tmp_path, words, layout):
    model, args = build(words.dictionary)
    path = tmp_path / ("bare.safetensors" if layout == "safetensors" else "bare.pt")
    checkpoint.save(released(model, args, layout.replace("safetensors", "args")), path)
    state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert state["optimizer_history"][-1]["num_updates"] == 0
    assert state["extra_state"]["train_iterator"]["epoch"] == 1
    assert state["model"].keys() == model.state_dict().keys()


@pytest.mark.parametrize(("count", "batch", "multiple"), [(4, 4, 8), (16, 4, 8), (19, 16, 8), (48, 8, 8), (5, 3, 1)])
def test_fairseq_batches_every_instance(count, batch, multiple):
    indices, sizes = np.arange(count, dtype=np.int64), np.full(count, 7, dtype=np.int64)
    batches = data_utils.batch_by_size(indices, None, sizes, max_sentences=batch, required_batch_size_multiple=multiple)
    assert np.concatenate(batches).tolist() == list(range(count))
    assert max(map(len, batches)) <= batch


# -- writing


def test_safetensors_and_back_keep_everything(tmp_path, words):
    model, args = build(words.dictionary)
    state = fairseq_state(words, model, args)
    state["model"] = {name: tensor.clone() for name, tensor in state["model"].items()}  # tied by value only
    there, back = tmp_path / "a.safetensors", tmp_path / "b.pt"
    checkpoint.save(state, there)
    checkpoint.save(checkpoint.portable(checkpoint.read(there)), back)
    assert there.stat().st_size < sum(tensor.nbytes for tensor in state["model"].values()), "tied entries once"
    for path in (there, back):
        read = checkpoint.read(path)
        assert read["model"].keys() == state["model"].keys()
        assert all(torch.equal(read["model"][name], tensor) for name, tensor in state["model"].items())
        assert checkpoint.model_args(read) == args
        assert checkpoint.task_config(read) == {"_name": "multiinstruct"}, "no paths of the machine"
        assert checkpoint.vocabulary(read).key == words.key
        assert "last_optimizer_state" not in read
        assert checkpoint.load(path).vocabulary.key == words.key


def test_a_portable_checkpoint_tells_nothing_of_the_machine(words):
    model, args = build(words.dictionary)
    args.save_dir = args.user_dir = "/home/me"
    state = fairseq_state(words, model, args)
    state["cfg"]["task"] |= {"bpe_dir": "/home/me/bpe", "patch_image_size": 64}
    portable = checkpoint.portable(state)
    assert "/home/me" not in str(portable["cfg"])
    assert portable["cfg"]["task"] == {"_name": "multiinstruct", "patch_image_size": 64}
    assert vars(portable["cfg"]["model"]).items() <= vars(args).items() and portable["cfg"]["model"].arch == "ofa_nano"


def test_half_of_a_checkpoint_is_the_same_model(tmp_path, words):
    model, args = build(words.dictionary)
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    checkpoint.save(fairseq_state(words, model, args), whole)
    convert(whole, half, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = checkpoint.load(half).model
    for name, weight in loaded.state_dict().items():
        torch.testing.assert_close(weight, model.state_dict()[name], rtol=2**-10, atol=1e-6)
        assert weight.dtype == model.state_dict()[name].dtype


def test_a_setting_that_json_lacks_is_refused(tmp_path, words):
    model, args = build(words.dictionary)
    args.dropout = torch.float16
    with pytest.raises(CheckpointError, match="cannot be written to safetensors"):
        checkpoint.save({"model": model.state_dict(), "args": args}, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    checkpoint.save({"model": {}}, path)
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"model": {"a": 1}}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_copy_that_is_interrupted_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    for name, content in (("new.pt", b"new"), ("checkpoint_last.pt", b"old")):
        (tmp_path / name).write_bytes(content)
    source, target = str(tmp_path / "new.pt"), str(tmp_path / "checkpoint_last.pt")

    def killed(_, destination):
        with open(destination, "wb") as file:
            file.write(b"n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fairseq.file_io.shutil.copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint_utils.PathManager.copy(source, target, overwrite=True)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"old"
    assert checkpoint_utils.PathManager.copy(source, target, overwrite=True)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"new"
