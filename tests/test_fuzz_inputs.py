"""Damaged and hostile inputs: readers of images, instances, tasks, vocabularies and checkpoints refuse in one line.

How the mutations are made, and how many of them: `tests.fuzzing`.
"""

import io
import json
import shutil
import warnings
from argparse import Namespace
from base64 import b64encode
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from PIL import Image
from safetensors.torch import save_file

from ofa_mi import checkpoint, hub
from ofa_mi.commands.checkpoint import describe
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.data.vocabulary_files import (
    ADDED,
    DICT,
    ENCODER,
    MERGES,
    SIZES,
    TOKENIZER,
    TOKENIZER_MERGES,
    tokenizer_files,
)
from ofa_mi.instances.images import load_image
from ofa_mi.instances.instance import PIXELS_OPTION
from ofa_mi.instances.store import InstanceStore
from ofa_mi.instances.tsv import KINDS, TsvStore
from ofa_mi.instructions.grammar.augment import admit
from ofa_mi.instructions.grammar.files import read_extra, read_lines
from ofa_mi.instructions.grammar.phrases import read_phrases
from ofa_mi.instructions.registry import TASK_DIR, Registry, default_registry
from ofa_mi.instructions.schema import TaskFile
from ofa_mi.instructions.versions import compare, read_versions
from tests.fuzzing import MUTATIONS, fuzz, mutate_bytes, mutate_json, mutate_json_lines

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def small_images(monkeypatch):
    """A limit under which an image of any claimed size is read in no time."""
    monkeypatch.setenv(PIXELS_OPTION, str(1 << 18))


def names(path):
    """That an error begins with the file's name."""

    def check(error):
        assert str(error).startswith(str(path)), f"does not name the file: {error}"

    return check


# -- images

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8))
KINDS_OF_IMAGE = {
    "png": [("RGB", {}), ("P", {}), ("I;16", {}), ("RGBA", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0"})],
    "jpeg": [("RGB", {}), ("RGB", {"progressive": True}), ("CMYK", {}), ("L", {})],
    "gif": [("P", {}), ("L", {"save_all": True, "append_images": [PICTURE.convert("L")]})],
    "webp": [("RGB", {}), ("RGBA", {"lossless": True})],
    "bmp": [("RGB", {}), ("P", {}), ("1", {})],
    "ppm": [("RGB", {}), ("L", {}), ("1", {})],
    "tiff": [
        ("RGB", {}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "jpeg"}),
        ("L", {"compression": "tiff_deflate"}),
        ("I;16", {}),
        ("RGBA", {"compression": "packbits"}),
        ("1", {"compression": "group4"}),
    ],
}


def encoded(form, mode, options):
    image = Image.fromarray(np.asarray(PICTURE.convert("L")).astype(np.uint16) << 8) if mode == "I;16" else PICTURE
    file = io.BytesIO()
    (image if image.mode == mode else image.convert(mode)).save(file, form, **options)
    return file.getvalue()


PLAIN_PPM = b"P3 2 1 255 1 2 3 4 5 6\n"


@pytest.mark.parametrize("form", KINDS_OF_IMAGE)
def test_fuzz_images(form):
    examples = [encoded(form, mode, options) for mode, options in KINDS_OF_IMAGE[form]]
    examples += [PLAIN_PPM] if form == "ppm" else []

    def read(data):
        load_image(io.BytesIO(data), name="train.jsonl:1: instance 'a'", upright=True)

    fuzz(f"image {form}", examples, [mutate_bytes], read, check=names("train.jsonl:1: instance 'a': image "))


# -- instances

RECORDS = [
    {
        "unique_id": "a",
        "task_name": "visual_grounding",
        "image_path": "image.png",
        "image_size": [16, 12],
        "region": [[1, 2, 3, 4]],
        "options": ["yes", ["why ", [1, 2, 9, 9.5]]],
        "question": ["is ", [0, 0, 16, 12], "?"],
        "target_txt": [1, 2, 9, 9.5],
        "meta_data": {"confidence": 0.5, "coco_id": 5},
    },
    {"unique_id": "b", "task_name": "t", "text": "é", "context": ["x"], "target_txt": "", "target_set": ["no"]},
    {"unique_id": "c", "task_name": "t", "target_txt": "x", "references": ["y"], "answers": ["x", "z"]},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_MI_CACHE", str(tmp_path / "cache"))
    directory = tmp_path / "data"
    directory.mkdir()
    PICTURE.save(directory / "image.png")
    return directory


def opened(make, path, data):
    """Read a file of lines, first without those that are bad, with their images, then all or none."""
    path.write_bytes(data)
    shutil.rmtree(path.parent / ".ofa_mi", ignore_errors=True)
    store = make(path, skip_bad=True)
    for instance in store:
        json.dumps(instance.to_record(), ensure_ascii=False).encode()
        if instance.image_path is not None:
            try:
                store.load_image(instance)
            except Exception as error:
                assert str(error).isprintable(), error
                assert type(error).__name__ == "DataError", repr(error)
    if store.skipped:
        make(path)


def test_fuzz_instances(folder):
    path = folder / "train.jsonl"
    examples = ["\n".join(json.dumps(record) for record in RECORDS).encode()]
    mutators = [mutate_json_lines, mutate_json_lines, mutate_json_lines, mutate_bytes]
    fuzz("instances", examples, mutators, lambda data: opened(InstanceStore, path, data), check=names(path))


CELLS = {
    "caption": ["1", "7", "a cat&&a dog", "", "IMAGE"],
    "refcoco": ["1", "7", "the cat", "1.5,2,9,9", "IMAGE"],
    "vqa": ["1", "7", "what?", "0.6|!+yes&&1.0|!+no", "", "IMAGE"],
    "snli_ve": ["1", "7", "IMAGE", "a cat", "a dog", "neutral"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_fuzz_rows(folder, kind):
    image = b64encode(encoded("png", "RGB", {})).decode()
    path = folder / f"{kind}_train.tsv"
    examples = ["\n".join(["\t".join(CELLS[kind])] * 2).replace("IMAGE", image).encode()]

    def read(data):
        opened(lambda path, **options: TsvStore(path, kind, **options), path, data)

    fuzz(f"rows {kind}", examples, [mutate_bytes], read, count=MUTATIONS // 2, check=names(path))


# -- tasks

LANGUAGE = {
    "language": "fr",
    "tasks": {"nlvr": {"version": 1, "translates": 1, "instructions": [f"{i} {{text}} {{options}}" for i in range(5)]}},
}


def mutate_yaml(data, random):
    """A change to a value of YAML, written as JSON, which is YAML, too."""
    try:
        value = json.dumps(yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))).encode()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return mutate_bytes(data, random)
    return mutate_json(value, random)


def test_fuzz_tasks(tmp_path):
    path = tmp_path / "tasks.yaml"
    task = next(iter(yaml.safe_load((TASK_DIR / "commonsense.yaml").read_text())["tasks"].values()))
    task = {key: value for key, value in task.items() if key != "benchmark"}
    replaced = {"replace": {"nlvr": {"version": 9, "instructions": default_registry()["nlvr"].instructions}}}
    contents = [{"group": "mine", "tasks": {"mine": task}}, json.loads(json.dumps(replaced)), LANGUAGE]
    examples = [yaml.safe_dump(content, sort_keys=False).encode() for content in contents]
    known = {name: default_registry()[name] for name in default_registry()}

    def read(data):
        path.write_bytes(data)
        if b"[" * 1000 in data or b'{"a":' * 1000 in data:  # the mutator must not choke on what the reader refuses
            TaskFile(path, packaged=False)
        TaskFile(path, packaged=False).add_to(dict(known))

    fuzz("tasks", examples, [careful(mutate_yaml), mutate_bytes], read, check=names(path))


def careful(mutator):
    """Deep texts are changed by their bytes: PyYAML itself would overflow the stack."""
    return lambda data, random: (mutate_bytes if max(map(data.count, b"[{")) > 500 else mutator)(data, random)


def test_fuzz_versions(tmp_path):
    path = tmp_path / "versions.json"
    specs = [default_registry()["nlvr"], default_registry()["visual_grounding"]]
    entries, _ = compare(specs, {})

    def read(data):
        path.write_bytes(data)
        compare(specs, read_versions(path))

    fuzz("versions", [json.dumps(entries).encode()], [mutate_json, mutate_bytes], read, check=names(path))


INSTRUCTIONS = [
    {"task": "visual_grounding", "instruction": "Point at what these words were written about: {text}", "origin": "x"},
    {"task": "grounded_captioning", "instruction": "Is there a phrase for {region}?", "origin": "x"},
]


def test_fuzz_generated_instructions(tmp_path):
    path = tmp_path / "instructions.jsonl"
    specs = {name: default_registry()[name] for name in ("visual_grounding", "grounded_captioning", "nlvr")}

    def read(data):
        path.write_bytes(data)
        for _, _, refusal in admit(specs, read_lines(path), "mine").refused:
            assert refusal.reason.isprintable(), refusal
        read_extra(path, Registry(specs.values()))

    lines = "".join(json.dumps(line) + "\n" for line in INSTRUCTIONS).encode()
    fuzz("generated instructions", [lines], [mutate_json_lines, mutate_bytes], read, check=names(path))


def test_fuzz_phrases(tmp_path):
    path = tmp_path / "phrases.yaml"
    entry = {"base": "b", "do": ["name what the {region} shows"], "names": {"region": ["spot"]}, "options": ["choices"]}
    content = {"bases": {"b": {"answer": ["one word"]}}, "tasks": {"mine": entry, "other": {"options": "yes_no"}}}

    def read(data):
        path.write_bytes(data)
        if b"[" * 1000 not in data and b'{"a":' * 1000 not in data:
            read_phrases(path)

    fuzz("phrases", [yaml.safe_dump(content).encode()], [careful(mutate_yaml), mutate_bytes], read, check=names(path))


# -- vocabularies


@pytest.fixture(scope="module")
def bpe_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bpe")
    build_compact([" what is in the image? a red circle"] * 2, directory, num_codes=2, num_bins=10)
    return directory


def used(vocabulary):
    """A vocabulary does what it is for."""
    ids = vocabulary.encode("what is é 日本?\n")
    assert max(ids) < len(vocabulary) and vocabulary.decode_text(ids) == "what is é 日本?\n"
    vocabulary.decode_text(range(vocabulary.mask))
    json.dumps(vocabulary.state())
    if len(vocabulary) < 10_000:
        assert len(vocabulary.dictionary) == len(vocabulary)


@pytest.mark.parametrize("name", [ENCODER, MERGES, DICT, SIZES])
def test_fuzz_vocabulary_files(bpe_dir, tmp_path, name):
    directory = shutil.copytree(bpe_dir, tmp_path / "bpe")

    def read(data):
        (directory / name).write_bytes(data)
        used(Vocabulary.load(directory))

    mutators = [mutate_json, mutate_bytes] if name.endswith("json") else [mutate_bytes]
    fuzz(f"vocabulary {name}", [(bpe_dir / name).read_bytes()], mutators, read, check=names(directory))


def test_fuzz_vocabulary_states(bpe_dir):
    def read(data):
        used(Vocabulary.from_state(json.loads(data)))

    examples = [json.dumps(Vocabulary.load(bpe_dir).state()).encode()]
    fuzz("vocabulary state", examples, [json_only], read)


def json_only(data, random):
    """A change after which there is still JSON that Python reads."""
    changed = mutate_json(data, random)
    try:
        json.loads(changed)
    except (ValueError, RecursionError):
        return data
    return changed


# -- checkpoints


def contents(bpe_dir):
    words = Vocabulary.load(bpe_dir)
    settings = {"arch": "ofa_nano", "encoder_layers": 1, "dropout": 0.1}
    return {
        "model": {"encoder.embed_tokens.weight": torch.zeros(3, 2), "encoder.version": torch.tensor([3.0])},
        "cfg": {"model": Namespace(**settings), "task": {"_name": "multiinstruct", "num_bins": 10}},
        "args": None,
        "task_state": {"vocabulary": words.state()},
        "extra_state": {"ema": {"encoder.version": torch.tensor([1.0])}},
        "optimizer_history": [{"num_updates": 7}],
    }


def inspected(path):
    """Everything that is read from a checkpoint but the model itself."""
    describe(path)
    state = checkpoint.read(path)
    checkpoint.task_config(state, path)
    checkpoint.vocabulary(state, path=path)
    if checkpoint.has_average(state):
        checkpoint.select_weights(state, "ema", path)
    checkpoint.halved(checkpoint.portable(state)["model"])


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_fuzz_checkpoints(bpe_dir, tmp_path, form):
    path = tmp_path / ("some.safetensors" if form == "safetensors" else "some.pt")
    state = contents(bpe_dir)
    if form == "safetensors":
        checkpoint.save(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")

    def read(data):
        path.unlink()  # what is mapped stays as it was
        path.write_bytes(data)
        inspected(path)

    fuzz(f"checkpoint {form}", [path.read_bytes()], [mutate_bytes], read, check=names(path))


@pytest.fixture(scope="module")
def small_model(bpe_dir):
    """Weights and metadata of a model of one layer on each side."""
    words = Vocabulary.load(bpe_dir)
    args = Namespace(arch="ofa_nano", encoder_layers=1, decoder_layers=1)
    ARCH_CONFIG_REGISTRY["ofa_nano"](args)
    dictionary = words.dictionary
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = ARCH_MODEL_REGISTRY["ofa_nano"].build_model(args, task)
    settings = {"_name": "multiinstruct", "patch_image_size": 32, "max_image_size": 64, "num_bins": 10}
    cfg = {"model": vars(args), "task": settings | {"max_src_length": 20, "text_case": "lower", "black_image": False}}
    return model.state_dict(), {"cfg": cfg, "task_state": {"vocabulary": words.state()}, "tied": {}}


def test_fuzz_checkpoint_settings(small_model, tmp_path):
    """Settings of a model of any size or kind, and a vocabulary of any, beside weights of a small one."""
    from ofa_mi.decoding.predictor import Predictor

    weights, settings = small_model
    numbers = count()

    def read(data):
        path = tmp_path / f"{next(numbers)}.safetensors"
        save_file({name: tensor.clone() for name, tensor in weights.items()}, path, {"ofa_mi": data.decode()})
        try:
            inspected(path)
            Predictor.from_checkpoint(path, device="cpu")
        finally:
            path.unlink()

    examples = [json.dumps(settings).encode()]
    with warnings.catch_warnings():
        fuzz("checkpoint settings", examples, [json_or_text], read, count=MUTATIONS // 10, check=names(tmp_path))


def json_or_text(data, random):
    """A change after which there is still text in UTF-8."""
    return mutate_json(data, random).decode("utf-8", "replace").encode()


# -- folders of the hub's format


@pytest.fixture
def hub_folder(small_model, bpe_dir, tmp_path):
    """Small weights in two files with an index, a tokenizer, and a config whose settings make the model quickly."""
    weights, settings = small_model
    folder = tmp_path / "hub"
    folder.mkdir()
    names = sorted(weights.keys() - {"encoder.image_proj.weight"})  # which depends on the image tower
    places = {}
    for number, part in enumerate((names[:20], names[20:])):
        file = f"pytorch_model-{number}.bin"
        torch.save({name: weights[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / f"pytorch_model.bin{hub.INDEX}").write_text(json.dumps({"weight_map": places}))
    words = Vocabulary.load(bpe_dir)
    for name, content in tokenizer_files(words.parts).items():
        (folder / name).write_bytes(content)
    own = {"model": settings["cfg"]["model"], "task": settings["cfg"]["task"], "vocabulary": words.key}
    sizes = {"d_model": 128, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 512, "decoder_ffn_dim": 512}
    sizes |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "resnet_type": "resnet50"}
    sizes |= {"token_bucket_size": 64, "image_bucket_size": 8}
    (folder / hub.CONFIG).write_text(json.dumps(sizes | {"ofa_mi": own}))
    checkpoint.load(folder)  # it is a good one
    return folder


@pytest.mark.parametrize("name", [hub.CONFIG, f"pytorch_model.bin{hub.INDEX}", TOKENIZER, TOKENIZER_MERGES, ADDED])
def test_fuzz_hub_folders(hub_folder, name):
    path = hub_folder / name

    def read(data):
        path.write_bytes(data)
        inspected(hub_folder)
        if name in (TOKENIZER, TOKENIZER_MERGES, ADDED):
            used(Vocabulary.load(hub_folder))

    mutators = [mutate_bytes] if name == TOKENIZER_MERGES else [mutate_json, mutate_bytes]
    fuzz(f"hub {name}", [path.read_bytes()], mutators, read, count=MUTATIONS // 3, check=names(hub_folder))


def test_fuzz_hub_configs_of_models(hub_folder, bpe_dir):
    """Sizes of models of any kind, beside weights of a small one, with and without settings of this package."""
    config = json.loads((hub_folder / hub.CONFIG).read_text())

    def read(data):
        (hub_folder / hub.CONFIG).write_bytes(data)
        checkpoint.load(hub_folder, bpe_dir=bpe_dir)

    examples = [json.dumps(config).encode(), json.dumps(config | {"ofa_mi": None}).encode()]
    fuzz("hub models", examples, [mutate_json], read, count=MUTATIONS // 10, check=names(hub_folder))
