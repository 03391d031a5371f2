"""The instruction data set: selection, order, instructions, skips; all from (seed, epoch, index)."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ofa_mi.data.dataset import LENGTH_BUCKET, DatasetOptions, MultiInstructDataset
from ofa_mi.data.encoding import PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.transform import ImageTransform
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.open import open_store
from ofa_mi.instructions.registry import default_registry

SIDE = 32
PATCHES = (SIDE // 16) ** 2


@pytest.fixture(scope="module")
def encoder():
    regions = RegionCodec(num_bins=1000, max_image_size=512, patch_image_size=SIDE)
    return PromptEncoder(Vocabulary.load(), regions, max_src_length=256, max_tgt_length=32, text_case="lower")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two data directories: 30 colour questions with one image, and 10 text-only questions."""
    root = tmp_path_factory.mktemp("data")
    for name in ("a", "b"):
        (root / name).mkdir()
    Image.new("RGB", (40, 30), "red").save(root / "a" / "red.png")
    colour = {"image_path": "red.png", "image_size": [40, 30], "options": ["red", "blue"], "target_txt": "red"}
    lines = [
        {"unique_id": f"c{i}", "task_name": "color_understanding", "question": "what colour" + " now" * i, **colour}
        for i in range(30)
    ]
    (root / "a" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines = [
        {"unique_id": f"t{i}", "task_name": "easy_vqa", "question": f"is {i} a number?", "target_txt": "yes"}
        for i in range(10)
    ]
    (root / "b" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def make(root, encoder, tasks=("color_understanding", "easy_vqa"), **options):
    stores = [open_store(root / name, "train") for name in ("a", "b")]
    return MultiInstructDataset(
        stores, default_registry(), encoder, ImageTransform(SIDE), DatasetOptions(tasks=tasks, **options)
    )


def test_several_directories_count_through(root, encoder):
    dataset = make(root, encoder)
    assert len(dataset) == 40
    assert dataset[29].image is not None and dataset[30].image is None
    assert encoder.decode(dataset[35].target, None).text == "yes"


def test_an_epoch_has_every_instance_once_in_an_order_of_its_own(root, encoder):
    dataset = make(root, encoder)
    orders = []
    for epoch in (1, 2, 1):
        dataset.set_epoch(epoch)
        orders.append(dataset.ordered_indices().tolist())
    assert sorted(orders[0]) == list(range(40))
    assert orders[0] == orders[2] != orders[1]


def test_order_keeps_batches_homogeneous(root, encoder):
    dataset = make(root, encoder)
    order = dataset.ordered_indices()
    assert not dataset.has_image[order[:10]].any() and dataset.has_image[order[10:]].all()
    buckets = -(-dataset.text_lengths[order[10:]] // LENGTH_BUCKET)
    assert (np.diff(buckets) >= 0).all()


def test_instruction_depends_on_the_epoch_and_on_nothing_else(root, encoder):
    dataset, other = make(root, encoder), make(root, encoder)
    first = [dataset[i].source for i in range(40)]
    assert [other[i].source for i in reversed(range(40))][::-1] == first
    dataset.set_epoch(2)
    assert [dataset[i].source for i in range(40)] != first
    assert [make(root, encoder, seed=7)[i].source for i in range(40)] != first


def test_number_of_instructions_limits_the_draw(root, encoder):
    def distinct(**options):
        dataset = make(root, encoder, **options)
        sources = Counter()
        for epoch in range(1, 12):
            dataset.set_epoch(epoch)
            sources[tuple(dataset[30].source)] += 1
        return len(sources)

    assert distinct(num_instructions=1) == 1
    assert distinct(num_instructions=2) == 2
    assert distinct() > 2


def test_task_name_style_has_no_instruction(root, encoder):
    source = make(root, encoder, prompt_style="task-name")[30].source
    assert encoder.vocabulary.decode_text(source[1:-1]).strip().startswith("easy vqa ;")


def test_tasks_are_chosen_and_capped(root, encoder):
    dataset = make(root, encoder, tasks=["easy_vqa"])
    assert set(dataset.ordered_indices()) == set(range(30, 40))
    capped = make(root, encoder, max_instances_per_task=4)
    assert len(capped.ordered_indices()) == 8
    again = capped.ordered_indices()
    capped.set_epoch(2)
    assert set(again) == set(capped.ordered_indices()), "the cap is the same choice in every epoch"


def test_tasks_that_do_not_occur_are_an_error(root, encoder):
    with pytest.raises(ConfigError, match="no instance of the chosen tasks"):
        make(root, encoder, tasks=["nlvr"])


def test_max_tokens_counts_patches(root, encoder):
    dataset = make(root, encoder)
    assert dataset.num_tokens(0) == dataset.text_lengths[0] + PATCHES
    longest = int(dataset.token_counts.max())
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=2 * longest)
    assert all(dataset.token_counts[batch].max() * len(batch) <= 2 * longest for batch in batches)
    assert sorted(i for batch in batches for i in batch) == list(range(40))
    with pytest.raises(ConfigError, match="--max-tokens"):
        dataset.batch_by_size(dataset.ordered_indices(), max_tokens=longest - 1)


def test_length_estimate_covers_the_encoded_source(root, encoder):
    dataset = make(root, encoder)
    for index in range(40):
        assert len(dataset[index].source) <= dataset.text_lengths[index] + 4


def test_black_image_stands_in_for_none(root, encoder):
    dataset = make(root, encoder, black_image=True)
    assert dataset[30].image.shape == (3, SIDE, SIDE) and (dataset[30].image == -1).all()
    assert dataset.has_image.all()


def test_restriction_gives_the_options_of_option_tasks_only(root, encoder):
    dataset = make(root, encoder, restrict_to_options=True)
    assert dataset[0].target in dataset[0].options and len(dataset[0].options) == 2
    assert dataset[30].options is None


@pytest.mark.parametrize("skip", [False, True])
def test_corrupt_image_stops_or_is_skipped_and_counted(root, encoder, skip, tmp_path, caplog):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text((root / name / "train.jsonl").read_text())
    (tmp_path / "a" / "red.png").write_bytes((root / "a" / "red.png").read_bytes()[:60])
    dataset = make(tmp_path, encoder, skip_bad=skip)
    if not skip:
        with pytest.raises(DataError, match=r"train\.jsonl:3"):
            dataset[2]
        return
    batch = dataset.collater([dataset[2], dataset[30]])
    assert batch["id"].tolist() == [30] and dataset.skipped == 1
    assert "train.jsonl:3" in caplog.text
    assert dataset.collater([None]) == {}


def test_a_skipped_instance_counts_and_is_named_once(root, encoder, tmp_path, caplog):
    dataset = make(broken(root, tmp_path), encoder, skip_bad=True)
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        assert dataset[2] is None
    assert dataset.skipped == 1 and len(caplog.records) == 1


def broken(root, folder, **changes):
    """A copy of the data in which the image cannot be read, or fields of the third line are others."""
    for name in ("a", "b"):
        (folder / name).mkdir()
        lines = (root / name / "train.jsonl").read_text().splitlines()
        if name == "a":
            lines[2] = json.dumps({**json.loads(lines[2]), **changes})
        (folder / name / "train.jsonl").write_text("\n".join(lines) + "\n")
    image = (root / "a" / "red.png").read_bytes()
    (folder / "a" / "red.png").write_bytes(image if changes else image[:60])
    return folder


def test_a_task_that_nobody_knows_is_not_left_out_in_silence(root, encoder, tmp_path, caplog):
    data = broken(root, tmp_path, task_name="color_understandin")
    with pytest.raises(ConfigError, match=r"train\.jsonl:3.*did you mean color_understanding.*--instruction-dir"):
        make(data, encoder)
    assert len(make(data, encoder, skip_bad=True).ordered_indices()) == 39
    assert "skipped 1 instances" in caplog.text and "train.jsonl:3" in caplog.text


@pytest.mark.parametrize("confidence", [0, 0.25, 3])
def test_confidence_weights_the_example(root, encoder, tmp_path, confidence):
    assert make(broken(root, tmp_path, meta_data={"confidence": confidence}), encoder)[2].confidence == confidence


@pytest.mark.parametrize("text_case", ["lower", "keep"])
@pytest.mark.parametrize("prompt_style", ["instruction", "task-name"])
def test_length_estimate_knows_case_and_prompt_style(root, tmp_path, text_case, prompt_style):
    regions = RegionCodec(num_bins=1000, max_image_size=512, patch_image_size=SIDE)
    encoder = PromptEncoder(Vocabulary.load(), regions, text_case=text_case)
    data = broken(root, tmp_path, question="WhAt cOlOuR iS tHe BoX iN tHe MiDdLe Of ThE pIcTuRe?")
    dataset = make(data, encoder, prompt_style=prompt_style)
    assert len(dataset[2].source) <= dataset.text_lengths[2] + 4
