"""OFA in the model hub's format: the port's names and numbers, read from any layout and written without loss."""

import json
import os
import shutil
from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from safetensors.torch import save_file

from ofa_mi import checkpoint, cli, hub
from ofa_mi.commands.checkpoint import convert, describe
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.data.vocabulary_files import ADDED, TOKENIZER, TOKENIZER_MERGES, tokenizer_files
from ofa_mi.errors import CheckpointError
from ofa_mi.evaluation.asking.plan import weights_hash
from ofa_mi.state_dict import without_tables
from tests.golden import recipe
from tests.golden.cases import FOLDER

GOLDEN = FOLDER / "hub"
TOLERANCE = 1e-4
SETTINGS = {
    **{"arch": "ofa_tiny", "encoder_layers": 1, "decoder_layers": 1, "encoder_embed_dim": 32},
    **{"encoder_ffn_embed_dim": 64, "image_bucket_size": 4, "token_bucket_size": 8, "code_image_size": 32},
    **{"max_source_positions": 64, "max_target_positions": 64},
}
TASK = {"_name": "multiinstruct", "patch_image_size": 64, "num_bins": 20, "text_case": "keep"}


def port_keys():
    return json.loads((GOLDEN / "state_dict_keys.json").read_text())


@pytest.fixture(scope="module")
def bpe_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    build_compact([" what is in the image? a red circle"], folder, num_codes=2, num_bins=20)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory, bpe_dir):
    """A checkpoint of a model that the port could have, but for its size."""
    words = Vocabulary.load(bpe_dir)
    args = Namespace(**SETTINGS)
    ARCH_CONFIG_REGISTRY[args.arch](args)
    torch.manual_seed(0)
    task = SimpleNamespace(source_dictionary=words.dictionary, target_dictionary=words.dictionary)
    model = ARCH_MODEL_REGISTRY[args.arch].build_model(args, task)
    path = tmp_path_factory.mktemp("source") / "tiny.pt"
    state = {
        "model": model.state_dict(),
        "cfg": {"model": Namespace(**SETTINGS), "task": TASK},
        "args": None,
        "task_state": {"vocabulary": words.state()},
    }
    checkpoint.save(state, path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory, source):
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    assert cli.main(["checkpoint", "convert", str(source), str(folder), "--to", "hub"]) == 0
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of the exported folder, to be changed; its weights are a link until a test replaces them."""
    copy = tmp_path / "tiny"
    copy.mkdir()
    for path in exported.iterdir():
        (copy / path.name).symlink_to(path) if path.suffix == ".bin" else shutil.copy(path, copy)
    return copy


def edit(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def same(first, second):
    """Whether weights are equal bit for bit; index tables, which the model computes, are not in every format."""
    first, second = without_tables(first), without_tables(second)
    assert first.keys() == second.keys()
    return all(first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first)


# -- the port's names, settings and numbers


@pytest.mark.parametrize("arch", ["ofa_tiny", "ofa_medium", "ofa_base"])
def test_names_are_the_ports(arch):
    released = json.loads((FOLDER / "state_dict_keys.json").read_text())[arch]["state_dict"]
    port = port_keys()[arch]["state_dict"]
    described = {name: " ".join(map(str, [dtype, *shape])) for name, (dtype, shape) in port.items()}
    del described[hub.COMPUTED_APART]
    assert hub.to_hub(released) == described
    assert hub.from_hub(described, "folder").keys() == released.keys() - {hub.COMPUTED_APART}


@pytest.mark.parametrize("arch", ["ofa_tiny", "ofa_medium", "ofa_base"])
def test_the_ports_config_is_the_released_model(arch, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(port_keys()[arch]["config"]))
    config = hub._read_config(tmp_path / "config.json")
    model, task = hub._settings(config)
    assert model["arch"] == arch and task == {"patch_image_size": 384 if arch == "ofa_base" else 256}
    wanted = Namespace(arch=arch, dropout=0.1)
    ARCH_CONFIG_REGISTRY[arch](wanted)
    assert model.items() <= vars(wanted).items()
    again = json.loads(hub._config_text(hub._port_config(model, tmp_path), 59457, tmp_path))
    port = port_keys()[arch]["config"]
    absent = {"transformers_version", "classifier_dropout", "resnet_model_path"}  # which say nothing of the model
    assert {name: again.get(name) for name in port.keys() - absent} == {n: port[n] for n in port.keys() - absent}


def test_logits_are_the_ports(tmp_path):
    """Weights filled under the port's names, read from a folder, as the port computed with them."""
    folder, bpe = tmp_path / "tiny", tmp_path / "bpe"
    folder.mkdir()
    bpe.mkdir()
    port = port_keys()["ofa_tiny"]
    weights = {}
    for name, (dtype, shape) in port["state_dict"].items():
        if dtype == "float32":
            key = recipe.TIED.get(name, name)
            weights[name] = weights[key] if key in weights else recipe.weight(key, torch.Size(shape))
    weights[recipe.TOKENS][1] = 0.0
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(port["config"]))
    gpt2 = Vocabulary.load().parts  # any vocabulary of OFA's size
    for name, content in tokenizer_files(
        gpt2._replace(symbols=[*gpt2.symbols, *(f"madeupword000{i}" for i in range(3))])
    ).items():
        (bpe / name).write_bytes(content)
    model = checkpoint.load(folder, bpe_dir=bpe).model
    with np.load(GOLDEN / "ofa_tiny.npz") as file:
        golden = {name: torch.from_numpy(file[name]) for name in file}
    with torch.no_grad():
        logits, _ = model(
            golden["src_tokens"],
            None,
            golden["prev_output_tokens"],
            patch_images=recipe.image("hf/image", 2, 96)[golden["patch_masks"]],
            patch_masks=golden["patch_masks"],
        )
    for found, expected in ((logits[..., :256], golden["logits"]), (logits.logsumexp(-1), golden["logsumexp"])):
        assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


# -- there and back


def test_a_round_trip_is_equal_bit_for_bit(source, exported, tmp_path):
    before = checkpoint.read(source)
    for layout in (exported, exported / "config.json"):
        read = checkpoint.read(layout)
        assert same(read["model"], before["model"])
        assert read["cfg"] == before["cfg"] and read["task_state"] == before["task_state"]
    back = tmp_path / "back.safetensors"
    assert cli.main(["checkpoint", "convert", str(exported), str(back)]) == 0
    assert same(checkpoint.read(back)["model"], before["model"])
    again = tmp_path / "again"
    convert(back, again, to_hub=True)
    assert {path.name for path in again.iterdir()} == {path.name for path in exported.iterdir()}
    for path in exported.iterdir():
        if path.name != "pytorch_model.bin":  # of which the same entries may come in another order
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name
    assert same(checkpoint.read(again)["model"], before["model"])
    loaded, wanted = (checkpoint.load(path).model.state_dict() for path in (again, source))
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in loaded.items()) and loaded.keys() == wanted.keys()


def test_what_the_port_reads_is_there(exported):
    config = json.loads((exported / "config.json").read_text())
    assert config["model_type"] == "ofa" and config["d_model"] == 32 and config["architectures"] == ["OFAModel"]
    weights = torch.load(exported / "pytorch_model.bin", weights_only=True)
    assert config["vocab_size"] == len(weights["encoder.embed_tokens.weight"])
    assert "decoder.layers.0.cross_attn_mid_layer_norm.weight" in weights
    assert "encoder.version" not in weights and not any("encoder_attn" in name for name in weights)
    vocabulary = json.loads((exported / TOKENIZER).read_text())
    assert list(vocabulary)[:4] == ["<s>", "<pad>", "</s>", "<unk>"] and list(vocabulary)[-1] == "<mask>"
    added = json.loads((exported / ADDED).read_text())
    assert added["<code_0>"] == len(vocabulary) and added["<bin_19>"] == config["vocab_size"] - 1
    card = (exported / "README.md").read_text()
    assert card.startswith("---\n") and "| image size in pixels | 64 |" in card and str(exported) not in card


def test_a_half_round_trip_stays_half(source, tmp_path):
    convert(source, tmp_path / "half", to_hub=True, half=True)
    read = checkpoint.read(tmp_path / "half")["model"]
    assert same(read, checkpoint.halved(checkpoint.read(source)["model"]))
    assert read["encoder.embed_tokens.weight"].dtype == torch.float16


def test_every_command_takes_a_folder(exported, source, capsys):
    assert cli.main(["checkpoint", "info", str(exported)]) == 0
    assert "ofa_tiny" in capsys.readouterr().out
    assert describe(exported)["numbers"] == describe(source)["numbers"]
    question = ["--instruction", "what is in the image?", "--beam", "1", "--max-len", "2", "--json"]
    answers = []
    for path in (source, exported):
        assert cli.main(["predict", "--checkpoint", str(path), *question]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]


def test_training_starts_from_a_folder(exported):
    state = checkpoint_utils.load_checkpoint_to_cpu(str(exported / "config.json"))
    assert state["optimizer_history"][-1]["num_updates"] == 0
    assert state["extra_state"]["train_iterator"]["epoch"] == 1
    assert state["cfg"].model.arch == "ofa_tiny"


def test_a_folders_hash_is_that_of_its_content(exported, folder):
    first = weights_hash(exported, "model")
    assert weights_hash(folder, "model") == weights_hash(folder / "config.json", "model") == first
    edit(folder, dropout=0.2)
    assert weights_hash(folder, "ema") != f"{first} ema"


# -- layouts of the weights


def shards(folder, form):
    """Replace the weights by two files and an index."""
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    (folder / "pytorch_model.bin").unlink()
    stem, ending = ("model", ".safetensors") if form == "safetensors" else ("pytorch_model", ".bin")
    names = sorted(weights)
    places = {}
    for number, part in enumerate((names[:9], names[9:]), start=1):
        name = f"{stem}-0000{number}-of-00002{ending}"
        part = {entry: weights[entry] for entry in part}
        save_file(part, folder / name) if form == "safetensors" else torch.save(part, folder / name)
        places |= dict.fromkeys(part, name)
    index = folder / f"{stem}{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index, places


@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_weights_in_several_files(folder, source, form):
    index, places = shards(folder, form)
    assert same(checkpoint.read(folder)["model"], checkpoint.read(source)["model"])
    before = weights_hash(folder, "model")
    name, entry = next(iter(places.values())), next(iter(places))
    index.write_text(json.dumps({"weight_map": {**places, "of.no.file": name}}))
    with pytest.raises(CheckpointError, match=r"00001-of-00002.* lacks 'of.no.file', which the index says is in it"):
        checkpoint.read(folder)
    index.write_text(json.dumps({"weight_map": places}))
    other = folder / list(places.values())[-1]
    path = folder / name
    twice = checkpoint.read_safetensors(path)[0] if form == "safetensors" else torch.load(path, weights_only=True)
    both = (checkpoint.read_safetensors(other)[0] if form == "safetensors" else torch.load(other)) | {
        entry: twice[entry].clone()
    }
    other.unlink()
    save_file({n: t.clone() for n, t in both.items()}, other) if form == "safetensors" else torch.save(both, other)
    with pytest.raises(CheckpointError, match=r"00002-of-00002.* has .* again, which is in another file"):
        checkpoint.read(folder)
    assert weights_hash(folder, "model") != before
    other.unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002.*: no such file"):
        checkpoint.read(folder)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/x.bin", "a/b.bin", "..", "", ".", "config.json", "x\0.bin", "a/../b.bin"]
)
def test_an_index_cannot_leave_its_folder(folder, name):
    index, places = shards(folder, "bin")
    index.write_text(json.dumps({"weight_map": dict.fromkeys(places, name)}))
    with pytest.raises(CheckpointError, match="which is no file of weights beside it") as error:
        checkpoint.read(folder)
    assert str(error.value).startswith(str(index)) and str(error.value).isprintable()


def test_safetensors_come_before_a_pickle(folder, source):
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / "model.safetensors")
    (folder / "pytorch_model.bin").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    assert same(checkpoint.read(folder)["model"], checkpoint.read(source)["model"])


# -- what is refused


def test_a_pickle_that_would_run_code_is_refused(folder):
    class Harm:
        def __reduce__(self):
            return os.system, ("true",)

    (folder / "pytorch_model.bin").unlink()
    torch.save({"a": Harm()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: refused: it asks for"):
        checkpoint.read(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normformer": False}, "its normformer is False; every released OFA has True"),
        ({"model_type": "bart"}, "its model_type is 'bart'"),
        ({"decoder_ffn_dim": 65}, "decoder_ffn_dim must equal"),
        ({"d_model": 1 << 40}, "not the config of an OFA.*d_model"),
        ({"d_model": "32"}, "not the config of an OFA.*d_model"),
        ({"encoder_layers": -1}, "not the config of an OFA.*encoder_layers"),
    ],
)
def test_a_config_of_another_model_is_refused(folder, fields, message):
    edit(folder, **fields)
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoint.read(folder)
    assert str(error.value).startswith(str(folder / "config.json"))


def test_sizes_larger_than_the_weights_are_refused_before_memory_is_taken(folder, bpe_dir):
    edit(folder, encoder_layers=60_000, ofa_mi=None)
    with pytest.raises(CheckpointError, match="encoder_layers is 60000, its weights allow 1"):
        checkpoint.load(folder, bpe_dir=bpe_dir)


def test_a_folder_that_is_no_checkpoint(tmp_path, folder):
    with pytest.raises(CheckpointError, match=r"is a folder without config\.json"):
        checkpoint.read(tmp_path)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"without model\.safetensors and without pytorch_model\.bin"):
        checkpoint.read(folder)


def test_a_model_that_the_port_lacks_is_not_written(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["checkpoint", "convert", "nano", str(out), "--to", "hub"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "the hub's OFA has no such model: --" in error
    assert not out.exists()


def test_a_checkpoint_is_not_overwritten_or_written_without_its_vocabulary(source, exported, tmp_path):
    with pytest.raises(CheckpointError, match="holds a checkpoint; name another folder"):
        convert(source, exported, to_hub=True)
    bare = tmp_path / "bare.pt"
    state = checkpoint.read(source)
    checkpoint.save({**state, "task_state": {}}, bare)
    with pytest.raises(CheckpointError, match="give its files by --bpe-dir"):
        convert(bare, tmp_path / "out", to_hub=True)
    assert not (tmp_path / "out").exists()


# -- the tokenizer


def test_a_tokenizer_of_other_ids_is_not_used(folder, bpe_dir, caplog):
    vocabulary = json.loads((folder / TOKENIZER).read_text())
    first, second = list(vocabulary)[10:12]
    vocabulary |= {first: vocabulary[second], second: vocabulary[first]}
    (folder / TOKENIZER).write_text(json.dumps(vocabulary))
    with pytest.raises(CheckpointError, match="--bpe-dir"):
        checkpoint.load(folder)
    assert "does not give the ids of its model, and is not used" in caplog.text
    assert checkpoint.load(folder, bpe_dir=bpe_dir).vocabulary.key == Vocabulary.load(bpe_dir).key
    (folder / TOKENIZER).write_text("{")
    with pytest.raises(CheckpointError, match="--bpe-dir"):
        checkpoint.load(folder)
    assert "vocab.json: not valid JSON" in caplog.text


def test_a_foreign_folder_must_have_ofas_ids(folder, caplog):
    edit(folder, ofa_mi=None)
    assert checkpoint.read(folder)["task_state"] == {}
    assert "does not give the ids of OFA's dict.txt, and is not used" in caplog.text


def test_ofas_own_tokenizer_is_known(shared_data, tmp_path):
    """BART's files in the hub's form, made from OFA's `dict.txt`, give OFA's vocabulary, codes and bins added."""
    words = Vocabulary.load(shared_data / "bpe")
    for name, content in tokenizer_files(words.parts).items():
        (tmp_path / name).write_bytes(content)
    assert {path.name for path in tmp_path.iterdir()} == {TOKENIZER, TOKENIZER_MERGES}
    assert json.loads((tmp_path / TOKENIZER).read_text())["Ġthe"] == 5
    assert Vocabulary.load(tmp_path).state() == words.state() and words.key == hub.OFA_KEY
