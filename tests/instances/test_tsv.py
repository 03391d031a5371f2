"""OFA's tab-separated files."""

import base64
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instances.instance import PIXELS_OPTION, plain
from ofa_mi.instances.open import open_store
from ofa_mi.instances.tsv import TsvStore, find_tsv
from tests.processes import received


def image_cell(width, height, urlsafe=True):
    """A noisy PNG, so that its base64 has every letter."""
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(file.getvalue()).decode()


def write(path, *rows):
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


IMAGES = [image_cell(40, 30), image_cell(20, 50, urlsafe=False)]
ROWS = {
    "caption": [
        ("162365", "12455", "the sun sets over the trees", "sky&&water", IMAGES[0]),
        ("162366", "12456", "a café&&the same café", "", IMAGES[1]),
    ],
    "refcoco": [
        ("79_1", "237367", "A woman in white", "3.5,2,30.25,20", IMAGES[0]),
        ("79_2", "237368", "left", "0,0,20.4,50", IMAGES[1]),
    ],
    "vqa": [
        ("79459", "79459", "is this person wearing shorts?", "0.6|!+no", "house&&short", IMAGES[0]),
        ("79459", "79459", "is this person wearing shorts?", "0.3|!+no&&1.0|!+yes", "", IMAGES[1]),
    ],
    "snli_ve": [
        ("252244149.jpg#1r1n", "252244149", IMAGES[0], "a man in pink", "a man", "neutral"),
        ("252244149.jpg#1r1e", "252244149", IMAGES[1], "a man in pink", "a man", "entailment"),
    ],
}
EXPECTED = {  # task, question or text, target
    "caption": [("image_captioning", "", "the sun sets over the trees"), ("image_captioning", "", "a café")],
    "refcoco": [
        ("referring_expression_grounding", "A woman in white", (3.5, 2, 30.25, 20)),
        ("referring_expression_grounding", "left", (0, 0, 20, 50)),  # 0.4 pixels beyond the edge is rounding
    ],
    "vqa": [
        ("open_domain_vqa", "is this person wearing shorts?", "no"),
        ("open_domain_vqa", "is this person wearing shorts?", "yes"),
    ],
    "snli_ve": [("visual_entailment", "a man in pink", "not sure"), ("visual_entailment", "a man in pink", "yes")],
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_become_instances_with_their_image(tmp_path, kind):
    store = TsvStore(write(tmp_path / f"{kind}_train.tsv", *ROWS[kind]), kind)
    assert len(store) == 2 and store.has_image.all()
    assert store.task_names == (EXPECTED[kind][0][0],)
    for instance, expected in zip(store, EXPECTED[kind], strict=True):
        assert (instance.task_name, plain(instance.question or instance.text), *instance.target) == expected
    for instance, size in zip(store, [(40, 30), (20, 50)], strict=True):
        assert instance.image_size == size
        pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        assert np.array_equal(store.load_image(instance), pixels)
        assert np.array_equal(received(pickle.dumps(store)).load_image(instance), pixels)
    assert store[0].unique_id != store[1].unique_id
    assert store[1].where == f"{store.path}:2"


def test_other_answers_and_confidence_are_kept(tmp_path):
    caption = TsvStore(write(tmp_path / "caption.tsv", *ROWS["caption"]), "caption")[1]
    assert caption.references == ("the same café",)
    vqa = TsvStore(write(tmp_path / "vqa.tsv", *ROWS["vqa"]), "vqa")[1]
    assert vqa.meta_data == {"confidence": 1.0, "confidences": {"no": 0.3, "yes": 1.0}}
    assert vqa.references == vqa.answers == ()  # the most frequent answer alone is right
    entailment = TsvStore(write(tmp_path / "snli_ve.tsv", *ROWS["snli_ve"]), "snli_ve")[0]
    assert entailment.options == (("yes",), ("not sure",), ("no",))
    assert entailment.meta_data == {"caption": "a man"}


def test_columns_may_be_elsewhere(tmp_path):
    path = write(tmp_path / "mine.tsv", ("a dog", IMAGES[0], "7"))
    store = TsvStore(path, "caption", {"id": 2, "caption": 0, "image": 1})
    assert store[0].target == ("a dog",) and store.load_image(store[0]).size == (40, 30)
    with pytest.raises(ConfigError, match="no column 'picture'"):
        TsvStore(path, "caption", {"picture": 1})
    with pytest.raises(ConfigError, match="unknown kind of TSV file 'captions'"):
        TsvStore(path, "captions")


@pytest.mark.parametrize(
    ("kind", "column", "value", "message"),
    [
        ("caption", 4, "@@@@", r"column 5 \(image\) must hold an image in base64"),
        ("caption", 4, base64.b64encode(b"no image").decode(), r"column 5 \(image\) is not an image that can be read"),
        ("caption", 2, "", r"column 3 \(caption\) must hold a caption, or several with && between them, found ''"),
        ("caption", 2, " && \u200b", r"column 3 \(caption\) must hold a caption"),
        ("refcoco", 3, "1,2,3", r"column 4 \(region\) must hold a region x0,y0,x1,y1 in pixels, found '1,2,3'"),
        ("refcoco", 3, "1,2,3,a", r"column 4 \(region\) must hold a region"),
        ("refcoco", 3, "1,2,3,nan", r"column 4 \(region\) must hold a region"),
        ("refcoco", 3, "1,2,45,20", "outside the 40x30 image"),
        ("refcoco", 2, " ", r"column 3 \(text\) must hold text, found ''"),
        ("vqa", 3, "no", r"column 4 \(answer\) must hold confidence\|!\+answer, or several with && .* found 'no'"),
        ("vqa", 3, "high|!+no", r"column 4 \(answer\) must hold confidence\|!\+answer"),
        ("vqa", 3, "nan|!+no", r"column 4 \(answer\) must hold .*, and confidences from 0, found 'nan\|!\+no'"),
        ("vqa", 3, "-1|!+no", r"column 4 \(answer\) must hold"),
        ("vqa", 3, "1.0|!+no&&yes", r"column 4 \(answer\) must hold"),
        ("vqa", 3, "1.0|!+", r"column 4 \(answer\) must hold"),
        ("vqa", 2, "", r"column 3 \(question\) must hold text"),
        (
            "snli_ve",
            5,
            "maybe",
            r"column 6 \(label\) must hold one of entailment, neutral, contradiction, found 'maybe'",
        ),
        ("snli_ve", 3, "", r"column 4 \(hypothesis\) must hold text"),
    ],
)
def test_a_bad_row_is_an_error_that_names_it_or_a_listed_skip(tmp_path, kind, column, value, message):
    good, other = ROWS[kind]
    bad = tuple(value if i == column else cell for i, cell in enumerate(good))
    path = write(tmp_path / "train.tsv", good, bad, other)
    with pytest.raises(DataError, match=rf"train\.tsv:2: .*{message}") as error:
        TsvStore(path, kind)
    assert "\n" not in str(error.value)
    store = TsvStore(path, kind, skip_bad=True)
    assert len(store) == 2 and len(store.skipped) == 1 and store[1].where.endswith(":3")


def test_an_image_in_a_column_of_text_is_not_printed_in_full(tmp_path):
    path = write(tmp_path / "train.tsv", ("1", "2", "a dog", IMAGES[1], IMAGES[0]))
    with pytest.raises(DataError, match=r"train\.tsv:1: column 4 \(region\) must hold a region") as error:
        TsvStore(path, "refcoco")
    assert len(IMAGES[1]) > 1000 and len(str(error.value)) < len(str(path)) + 200


def test_missing_columns_and_wrong_bytes_are_named(tmp_path):
    path = write(tmp_path / "train.tsv", ("1", "2", "a caption"))
    with pytest.raises(DataError, match=r"train\.tsv:1: expected at least 5 columns, found 3; is it a caption file, "):
        TsvStore(path, "caption")
    path.write_bytes(b"1\t2\t\xff\t\t" + IMAGES[0].encode())
    with pytest.raises(DataError, match=r"train\.tsv:1: column 3 \(caption\) is not UTF-8 \(byte 0"):
        TsvStore(path, "caption")


@pytest.mark.parametrize(
    ("kind", "column", "value", "target", "references"),
    [
        ("caption", 2, "a dog&&", "a dog", ()),
        ("caption", 2, "&&a dog&& &&a cat &&\u200b", "a dog", ("a cat",)),
        ("vqa", 3, "1.0|!+yes&&", "yes", ()),
        ("vqa", 3, "1.0|!+&&0.3|!+no&&0.6|!+yes", "yes", ()),
    ],
)
def test_empty_answers_are_dropped(tmp_path, kind, column, value, target, references):
    row = tuple(value if i == column else cell for i, cell in enumerate(ROWS[kind][0]))
    (instance,) = TsvStore(write(tmp_path / f"{kind}.tsv", row), kind)
    assert instance.target == (target,) and instance.references == references


def test_blank_rows_and_a_byte_order_mark(tmp_path):
    first, second = ROWS["caption"]
    path = write(tmp_path / "caption.tsv", first, second, ("",), (" ", ""))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    store = TsvStore(path, "caption")
    assert [instance.unique_id.split("@")[0] for instance in store] == ["162365", "162366"]
    assert store.load_image(store[0]).size == (40, 30)
    write(path, first, ("",), second)
    with pytest.raises(DataError, match=r"caption\.tsv:2: is blank"):
        TsvStore(path, "caption")


def test_an_image_that_is_too_large_is_named_with_the_limit(tmp_path, monkeypatch):
    monkeypatch.setenv(PIXELS_OPTION, "1000")
    path = write(tmp_path / "caption.tsv", ROWS["caption"][0])
    with pytest.raises(DataError, match=r":1: column 5 \(image\) is too large: 40x30 is more than the limit of 1,000"):
        TsvStore(path, "caption")


def test_an_image_that_is_cut_off_is_an_error_when_it_is_read(tmp_path):
    data = base64.urlsafe_b64decode(IMAGES[0])
    row = (*ROWS["caption"][0][:4], base64.b64encode(data[: len(data) // 2]).decode())
    store = TsvStore(write(tmp_path / "caption.tsv", row), "caption")
    with pytest.raises(DataError, match=r"caption\.tsv:1: instance '162365@0': image is truncated"):
        store.load_image(store[0])


def test_ofas_file_names_are_found(tmp_path):
    write(tmp_path / "caption_stage1_train.tsv", *ROWS["caption"])
    write(tmp_path / "caption_val.tsv", *ROWS["caption"])
    assert find_tsv(tmp_path, "train") == (tmp_path / "caption_stage1_train.tsv", "caption")
    assert find_tsv(tmp_path, "valid") == (tmp_path / "caption_val.tsv", "caption")
    assert find_tsv(tmp_path, "test") is None and open_store(tmp_path, "test") is None
    assert len(open_store(tmp_path, "train")) == 2
    write(tmp_path / "refcocog_train.tsv", *ROWS["refcoco"])
    with pytest.raises(DataError, match="several files hold the split train: caption_stage1_train"):
        find_tsv(tmp_path, "train")
