"""Ids, BPE and compact vocabularies."""

import json
import pickle
import shutil
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ofa_mi.data import vocabulary_files
from ofa_mi.data.vocabulary import Vocabulary, build_compact, merge
from ofa_mi.data.vocabulary_files import DICT, ENCODER, MERGES, SIZES
from ofa_mi.errors import DataError
from tests.processes import received

TEXTS = [
    " a man's dog isn't 12 years old, they'll say; they've SAID'S",
    " naïve café — 東京タワー 🗼👩‍👩‍👧 \u200d\u0301",
    " tabs\t\tand\n\n new lines  and   spaces   ",
    " <bin_3> <mask> <s> </s> <code_7> <|endoftext|> [Options]: a||||b",
    "\u2028\x85\x1c\x00\ufeff",
    "",
]
any_text = st.text(max_size=60)


def fairseq_encoder(folder):
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    return get_encoder(str(folder / ENCODER), str(folder / MERGES))


def bpe_ids(vocabulary, text):
    """Ids in encoder.json of the tokens of a text."""
    return [int(vocabulary.symbols[token - 4]) for token in vocabulary.encode(text)]


def test_ids_of_the_packaged_vocabulary(gpt2):
    assert (gpt2.bos, gpt2.pad, gpt2.eos, gpt2.unk) == (0, 1, 2, 3)
    assert gpt2.mask == 4 + 50257 and gpt2.first_code == gpt2.mask + 1
    assert gpt2.first_bin == gpt2.first_code + 8192 and len(gpt2) == gpt2.first_bin + 1000
    assert gpt2.bin_id(0) == gpt2.first_bin and gpt2.bin_id(999) == len(gpt2) - 1
    assert gpt2.bin_index(gpt2.bin_id(17)) == 17
    assert gpt2.bin_index(gpt2.first_bin - 1) is None and gpt2.bin_index(len(gpt2)) is None
    with pytest.raises(ValueError, match="no location bin 1000"):
        gpt2.bin_id(1000)


def test_ids_of_ofa(shared_data):
    vocabulary = Vocabulary.load(shared_data / "bpe")
    assert len(vocabulary) == 59457
    assert (vocabulary.mask, vocabulary.first_code, vocabulary.first_bin) == (50264, 50265, 58457)
    assert vocabulary.bin_id(999) == 59456
    assert vocabulary.symbols[-3:] == ("madeupword0000", "madeupword0001", "madeupword0002")
    assert vocabulary.decode_text([4 + 50257, 4 + 50259]) == ""  # they stand for no text
    assert vocabulary.symbols[:2] == ("13", "262")  # "." and " the" are the most frequent
    assert vocabulary.encode(" the.") == [5, 4]


def test_fairseq_sees_the_same_ids(gpt2):
    dictionary = gpt2.dictionary
    assert len(dictionary) == len(gpt2)
    assert (dictionary.bos(), dictionary.pad(), dictionary.eos(), dictionary.unk()) == (0, 1, 2, 3)
    for symbol, token in {"<mask>": gpt2.mask, "<code_0>": gpt2.first_code, "<bin_999>": gpt2.bin_id(999)}.items():
        assert dictionary.index(symbol) == token and dictionary[token] == symbol
    assert dictionary.index("13") == gpt2.encode(".")[0]


@pytest.mark.parametrize("text", TEXTS)
def test_bpe_equals_fairseqs(gpt2, text, packaged_encoder):
    assert bpe_ids(gpt2, text) == packaged_encoder.encode(text)


@settings(max_examples=150, deadline=None)
@given(text=any_text)
@example("aaaaaaaaaaaaaaaaaaaaaaaaa")
def test_bpe_equals_fairseqs_on_any_text(gpt2, packaged_encoder, text):
    assert bpe_ids(gpt2, text) == packaged_encoder.encode(text)


@pytest.fixture(scope="module")
def packaged_encoder(tmp_path_factory, gpt2):
    """fairseq's encoder of the same files."""
    folder = tmp_path_factory.mktemp("gpt2")
    (folder / ENCODER).write_text(json.dumps({token: i for i, token in enumerate(gpt2.tokens)}))
    (folder / MERGES).write_text("#version\n" + "".join(f"{a} {b}\n" for a, b in gpt2.merges), encoding="utf-8")
    return fairseq_encoder(folder)


def test_bpe_equals_fairseqs_on_real_text(shared_data):
    vocabulary, reference = Vocabulary.load(shared_data / "bpe"), fairseq_encoder(shared_data / "bpe")
    texts = [
        item["caption"]
        for item in json.loads((shared_data / "coco/annotations/captions.json").read_text())["annotations"]
    ]
    for file in sorted((shared_data / "natural_instructions/tasks").iterdir())[:200:10]:
        texts += [item["input"] for item in json.loads(file.read_text())["Instances"][:20]]
    assert len(texts) > 1500
    for text in texts:
        assert bpe_ids(vocabulary, " " + text) == reference.encode(" " + text)
        assert vocabulary.decode_text(vocabulary.encode(text)) == text


@settings(max_examples=150, deadline=None)
@given(text=any_text)
@example(TEXTS[3])
def test_text_round_trips_and_never_becomes_anything_else(gpt2, text):
    tokens = gpt2.encode(text)
    assert gpt2.decode_text(tokens) == text
    assert all(4 <= token < gpt2.mask for token in tokens)


def test_decoding_leaves_out_what_is_no_text(gpt2):
    tokens = [gpt2.bos, *gpt2.encode(" a"), gpt2.bin_id(3), gpt2.mask, *gpt2.encode(" b"), gpt2.eos, len(gpt2) + 5]
    assert gpt2.decode_text(tokens) == " a b"


def test_half_a_character_does_not_stop_encoding_or_decoding(gpt2):
    assert gpt2.decode_text(gpt2.encode("東")[:-1]).endswith("\ufffd")
    assert gpt2.decode_text(gpt2.encode("a\ud800b")) == "a?b"


def test_a_word_without_end_is_encoded_in_one_sitting(gpt2):
    word = "ab" * 50_000  # with the textbook loop this takes minutes
    assert gpt2.decode_text(gpt2.encode(word)) == word


@settings(max_examples=100, deadline=None)
@given(
    st.text("abc", min_size=1, max_size=12), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12)
)
def test_merging_equals_the_definition(word, choices):
    """The heap gives what "merge the best pair everywhere, repeat" gives."""
    known, ranks = ["a", "b", "c"], {}
    for left, right in choices:
        pair = known[left % len(known)], known[right % len(known)]
        if pair[0] + pair[1] not in known:
            ranks[pair] = len(ranks)
            known.append(pair[0] + pair[1])
    parts = list(word)
    while pairs := [pair for pair in pairwise(parts) if pair in ranks]:
        best, merged = min(pairs, key=ranks.__getitem__), []
        for part in parts:
            if merged and (merged[-1], part) == best:
                merged[-1] = "".join(best)
                merged.append("")  # so that what was just merged is not merged again in the same pass
            else:
                merged.append(part)
        parts = [part for part in merged if part]
    assert merge(list(word), ranks) == parts


def test_state_is_self_contained(gpt2, bytes_only):
    for vocabulary in (gpt2, Vocabulary.load(bytes_only, num_codes=5, num_bins=10)):
        state = vocabulary.state()
        assert {type(value) for value in state.values()} <= {str, int, list}
        for copy in (Vocabulary.from_state(json.loads(json.dumps(state))), received(pickle.dumps(vocabulary))):
            assert copy.key == vocabulary.key and len(copy) == len(vocabulary)
            assert copy.encode(TEXTS[1]) == vocabulary.encode(TEXTS[1])
    with pytest.raises(DataError, match="not the state of a vocabulary"):
        Vocabulary.from_state({"symbols": "1"})


# -- compact vocabularies


def test_compact_vocabulary_encodes_its_corpus_as_the_full_one_does(tmp_path, gpt2):
    texts = [" what colour is the circle?", " the circle is red", TEXTS[1]]
    build_compact(texts, tmp_path)
    compact = Vocabulary.load(tmp_path)
    assert len(compact.symbols) < 600 < len(gpt2.symbols)
    for text in texts:
        pieces, expected = ([v.decode_text([t]) for t in v.encode(text)] for v in (compact, gpt2))
        assert pieces == expected
    # the entries are in order of frequency
    counts = [int(line.split()[1]) for line in (tmp_path / DICT).read_text().splitlines()]
    assert counts == sorted(counts, reverse=True) and counts[0] >= 2


@settings(max_examples=60, deadline=None)
@given(text=any_text)
def test_any_text_can_be_encoded_without_its_words(bytes_only, text):
    vocabulary = Vocabulary.load(bytes_only)
    assert len(vocabulary.symbols) == 256
    assert vocabulary.decode_text(vocabulary.encode(text)) == text


def test_min_count_drops_rare_tokens(tmp_path):
    texts = [" red"] * 5 + [" chartreuse"]
    build_compact(texts, tmp_path / "all")
    build_compact(texts, tmp_path / "frequent", min_count=2)
    everything, frequent = Vocabulary.load(tmp_path / "all"), Vocabulary.load(tmp_path / "frequent")
    assert len(frequent) < len(everything)
    assert len(frequent.encode(" red")) == 1 < len(frequent.encode(" chartreuse"))
    assert frequent.decode_text(frequent.encode(" chartreuse")) == " chartreuse"


def test_compact_needs_text(tmp_path):
    with pytest.raises(DataError, match="no text"):
        build_compact([], tmp_path)


# -- errors: one line that names the file


@pytest.fixture
def files(bytes_only, tmp_path):
    return shutil.copytree(bytes_only, tmp_path / "bpe")


@pytest.mark.parametrize("name", [ENCODER, MERGES, DICT])
def test_missing_file_is_named(files, name):
    (files / name).unlink()
    with pytest.raises(DataError, match=f"{name}: cannot be read"):
        Vocabulary.load(files)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (ENCODER, b"{", r"encoder\.json: not valid JSON"),
        (ENCODER, b"[1]", r"encoder\.json: expected an object"),
        (ENCODER, b'{"a": 5}', r"encoder\.json: expected an object that numbers"),
        (MERGES, b"#version\na b c\n", r"vocab\.bpe:2: expected two tokens"),
        (MERGES, b"#version\nab c\n", r"merge 1 \('ab c'\) uses a token that no earlier merge makes"),
        (MERGES, b"#version\na b\n", r"1 tokens that text can need, such as 'ab'"),
        (DICT, b"0 1\nx\n", r"dict\.txt:2: expected '<BPE id> <count>'"),
        (DICT, b"0 1\n0 1\n", "lists the same entry twice"),
        (DICT, b"999 1\n", "lists BPE id 999, but"),
        (ENCODER, b"[" * 100_000, r"encoder\.json: not valid JSON \(maximum recursion depth"),
        (ENCODER, b'{"a": ' + b"9" * 5000 + b"}", r"encoder\.json: not valid JSON \(Exceeds the limit"),
        (ENCODER, b'{"a": 0, "b": true}', r"encoder\.json: expected an object that numbers"),
        (ENCODER, b'{"a": 0, "b": 1.0}', r"encoder\.json: expected an object that numbers"),
        (ENCODER, '{"日本": 0}'.encode(), "encoder.json has the token '日本', which stands for no bytes"),
        (ENCODER, b'{"\\ud800": 0}', r"encoder.json has the token '\\ud800', which stands for no bytes"),
        (MERGES, b"x" * 100_000, r"vocab\.bpe:1: expected two tokens, found 'xxx"),
        (DICT, b"9" * 5000 + b" 1\n", r"dict\.txt:1: expected '<BPE id> <count>', found '999"),
        (DICT, "٣ 1\n".encode(), r"dict\.txt:1: expected '<BPE id> <count>', found '٣ 1'"),
        (
            SIZES,
            b'{"num_codes": 8192, "num_bins": 1000000000000}',
            "num_bins must be a whole number up to 1,048,576, fo",
        ),
        (SIZES, b'{"num_codes": 8192.0, "num_bins": 1000}', "num_codes must be a whole number up to 1,048,576, fo"),
        (SIZES, b'{"num_codes": "8192", "num_bins": 1000}', "num_codes must be a whole number up to 1,048,576, fo"),
        (SIZES, b"[" * 100_000, r"specials\.json: expected"),
        (DICT, b"0 1\n", "255 tokens that text can need"),
        (DICT, b"\xff 1\n", r"dict\.txt: not UTF-8 \(byte 0\)"),
    ],
)
def test_wrong_content_is_named(files, name, content, message):
    (files / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        Vocabulary.load(files)
    assert "\n" not in str(error.value) and str(files) in str(error.value) and len(str(error.value)) < 400


def test_a_file_that_is_too_large_is_not_read(files, monkeypatch):
    monkeypatch.setattr(vocabulary_files, "MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"encoder\.json: is larger than 100 bytes"):
        Vocabulary.load(files)


@pytest.mark.parametrize(
    "change",
    [
        {"num_bins": 10**12},
        {"num_codes": 1.0},
        {"num_codes": "5"},
        {"num_bins": None},
        {"merges": "a"},
        {"merges": "a b c"},
        {"merges": "a b\nabc d"},
        {"symbols": "9" * 5000},
        {"symbols": "<mask>"},
        {"symbols": None},
        {"tokens": "日本"},
        {"tokens": ["a"]},
    ],
)
def test_a_state_that_is_none_is_refused_in_one_line(bytes_only, change):
    with pytest.raises(DataError) as error:
        Vocabulary.from_state(Vocabulary.load(bytes_only).state() | change)
    assert str(error.value).isprintable() and len(str(error.value)) < 300
