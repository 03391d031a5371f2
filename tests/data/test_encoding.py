"""Prompts to token ids and back."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_mi.data.encoding import Answer, PromptEncoder
from ofa_mi.data.regions import RegionCodec
from ofa_mi.data.vocabulary import Vocabulary
from ofa_mi.errors import ConfigError, DataError
from ofa_mi.instructions.prompt import OptionsSegment, RegionSegment, TextSegment

SIZE = (64, 48)
BOX = (16, 12, 32, 24)


def encoder(vocabulary, **options):
    return PromptEncoder(vocabulary, RegionCodec(patch_image_size=512), **options)


def text(string, truncatable=False):
    return TextSegment(string, truncatable)


def readable(encoder, tokens):
    """Tokens as text with each bin as ``<k>``."""
    vocabulary, out, run = encoder.vocabulary, "", []
    for token in [*tokens, None]:
        k = None if token is None else vocabulary.bin_index(token)
        if token is None or k is not None:
            out, run = out + vocabulary.decode_text(run), []
            out += "" if k is None else f"<{k}>"
        else:
            run.append(token)
    return out


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ((text("What  is\nthis?"),), " what is this?"),
        ((text("What is in "), RegionSegment(BOX), text("?")), " what is in<250><250><500><500>?"),
        ((text("Is "), RegionSegment(BOX), text(" red?")), " is<250><250><500><500> red?"),
        ((RegionSegment(BOX), text(" "), RegionSegment(BOX)), "<250><250><500><500>" * 2),
        ((RegionSegment(BOX), text(" \n"), text("and")), "<250><250><500><500> and"),
        ((text('Find "'), text("A Red Car", True), text('".')), ' find "a red car".'),
        ((text("Text: "), text("A", True)), " text: a"),
        ((text("Text:"), text(" A", True), text(""), text("  ")), " text: a"),
        ((text("Q?"), OptionsSegment((("Yes",), ("No, I",)))), " q? [Options]: yes||||no, i"),
        ((text("Q? "), OptionsSegment((("Yes",), ("No",)), markers=False)), " q? yes, no"),
        (
            (OptionsSegment(((BOX,), ("at ", BOX, " now"))),),
            " [Options]:<250><250><500><500>||||at<250><250><500><500> now",
        ),
        ((text("<bin_3> </s>"),), " <bin_3> </s>"),
    ],
)
def test_sources(gpt2, prompt, expected):
    tokens = encoder(gpt2).source(prompt, SIZE)
    assert tokens[0] == gpt2.bos and tokens[-1] == gpt2.eos
    assert readable(encoder(gpt2), tokens[1:-1]) == expected
    assert "".join(encoder(gpt2).texts(prompt)) == re.sub(r"<\d+>", "", expected)


def test_case_can_be_kept(gpt2):
    keeps = encoder(gpt2, text_case="keep")
    prompt = (text("What is THIS?"), OptionsSegment((("Yes",),)))
    assert readable(keeps, keeps.source(prompt, SIZE)) == " What is THIS? [Options]: Yes"


def test_targets_end_and_begin_with_a_space(gpt2):
    one = encoder(gpt2)
    assert one.target((text("A red car."),), None) == [*gpt2.encode(" a red car."), gpt2.eos]
    assert one.option(("Red",), None) == one.target((text("Red"),), None)
    bins = [gpt2.bin_id(k) for k in (250, 250, 500, 500)]
    assert one.option((BOX,), SIZE) == [*bins, gpt2.eos]


def test_one_encoding_of_ofas_on_real_questions(shared_data):
    """OFA encodes each word with a space before it."""
    vocabulary = Vocabulary.load(shared_data / "bpe")
    one = encoder(vocabulary)
    questions = json.loads((shared_data / "coco/annotations/vqa_v2_questions.json").read_text())["questions"]
    for question in questions:
        words = [token for word in question["question"].lower().split() for token in vocabulary.encode(" " + word)]
        assert one.source((text(question["question"]),), None) == [0, *words, 2]


# -- truncation

WORDS = st.lists(st.sampled_from(["red", "blue", "circle", "box", "12", "naïve"]), min_size=1, max_size=40).map(
    " ".join
)
SEGMENTS = st.one_of(
    WORDS.map(text),
    WORDS.map(lambda string: text(" " + string, True)),
    st.just(RegionSegment(BOX)),
    st.lists(st.one_of(WORDS.map(lambda w: (w,)), st.just((BOX,))), min_size=1, max_size=4).map(
        lambda options: OptionsSegment(tuple(options))
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(SEGMENTS, max_size=6).map(tuple), st.integers(2, 120))
def test_truncation_keeps_instruction_options_and_regions(gpt2, prompt, length):
    one = encoder(gpt2, max_src_length=length)
    pieces = one._pieces(prompt, SIZE, "")
    kept = [piece.tokens for piece in pieces if not piece.truncatable]
    texts = [len(piece.tokens) for piece in pieces if piece.truncatable]
    needed = sum(map(len, kept)) + 2
    if needed > length:
        with pytest.raises(
            DataError, match=f"line 1: .* take {needed} tokens.* room for {length} .--max-src-length of the tr"
        ):
            one.source(prompt, SIZE, name="line 1")
        return
    source = one.source(prompt, SIZE)
    total = needed + sum(texts)
    assert source[0] == gpt2.bos and source[-1] == gpt2.eos
    assert len(source) == total if total <= length else length - len(texts) < len(source) <= length
    position = 0
    for tokens in kept:  # each in one piece, in order
        position = find(source, tokens, position) + len(tokens)
    assert sum(gpt2.bin_index(token) is not None for token in source) == sum(
        gpt2.bin_index(token) is not None for tokens in kept for token in tokens
    )


def find(tokens, part, start):
    """Where ``part`` begins in ``tokens``, not before ``start``."""
    return next(i for i in range(start, len(tokens)) if tokens[i : i + len(part)] == part)


@given(st.integers(1, 200), st.integers(8, 60))
@settings(max_examples=50, deadline=None)
def test_a_long_text_loses_its_middle(gpt2, words, length):
    content = "".join(f" {number % 10}" for number in range(words))
    source = encoder(gpt2, max_src_length=length).source((text("Read:"), text(content, True), text(" Why?")), None)
    begin, all_tokens, end = (gpt2.encode(part) for part in (" read:", content, " why?"))
    room = min(words, length - 2 - len(begin) - len(end))
    middle = all_tokens if room == words else all_tokens[: (room + 1) // 2] + all_tokens[words - room // 2 :]
    assert source == [gpt2.bos, *begin, *middle, *end, gpt2.eos]


def test_the_longest_texts_are_cut_first(gpt2):
    texts = [" a" * 10, " b" * 40, " c" * 90]
    one = encoder(gpt2, max_src_length=2 + 10 + 30 + 30)
    source = one.source(tuple(text(part, True) for part in texts), None)
    counts = [source.count(gpt2.encode(part)[0]) for part in (" a", " b", " c")]
    assert counts == [10, 30, 30]
    short = encoder(gpt2, max_src_length=2 + 3 * 4)
    assert [short.source(tuple(text(t, True) for t in texts), None).count(gpt2.encode(p)[0]) for p in (" a", " b")] == [
        4,
        4,
    ]


@given(st.integers(0, 3), st.integers(1, 5), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_long_targets_lose_their_end_but_never_half_a_region(gpt2, words, regions, length):
    prompt = (text(" red" * words), *[RegionSegment(BOX)] * regions)
    target = encoder(gpt2, max_tgt_length=length).target(prompt, SIZE)
    assert target[-1] == gpt2.eos and len(target) <= length
    bins = [token for token in target if gpt2.bin_index(token) is not None]
    fitting = max(0, length - 1 - words) // 4
    assert len(bins) == 4 * min(regions, fitting)
    assert len(target) - len(bins) - 1 == min(words, length - 1)


# -- decoding


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.integers(0, 3))
def test_what_is_encoded_is_decoded(gpt2, string, regions):
    one = encoder(gpt2, text_case="keep")
    answer = one.decode(one.target((text(string), *[RegionSegment(BOX)] * regions), SIZE), SIZE)
    assert answer.text == " ".join(string.split())
    assert len(answer.boxes) == regions
    for box in answer.boxes:
        assert box == pytest.approx(BOX, abs=0.05)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 59453), st.integers(58454, 59453)), max_size=30))
def test_any_tokens_can_be_decoded(gpt2, tokens):
    answer = encoder(gpt2).decode(tokens, SIZE)
    assert isinstance(answer.text, str) and all(len(box) == 4 for box in answer.boxes)


def test_an_incomplete_region_is_no_box_and_nothing_after_the_end_counts(gpt2):
    one, bins = encoder(gpt2), [gpt2.bin_id(k) for k in (250, 250, 500, 500)]
    red = gpt2.encode(" red")
    assert one.decode([*bins[:3], *red, *bins, *bins[:2]], SIZE).text == "red"
    assert len(one.decode([*bins[:3], *red, *bins, *bins[:2]], SIZE).boxes) == 1
    assert one.decode([gpt2.bos, *red, gpt2.eos, *red, *bins], SIZE) == Answer("red")
    assert one.decode(bins, None) == Answer("")


def test_prompts_are_described_for_people(gpt2):
    prompt = (text("What  is in "), RegionSegment((1.4, 2, 30, 40)), text("?"), OptionsSegment((("A",), (BOX,))))
    assert encoder(gpt2).describe(prompt) == "what is in [1, 2, 30, 40]? [Options]: a||||[16, 12, 32, 24]"
    assert encoder(gpt2, text_case="keep").describe((OptionsSegment((("A",), ("b",)), markers=False),)) == "A, b"


# -- errors


def test_regions_need_an_image_and_must_lie_inside_it(gpt2):
    one = encoder(gpt2)
    with pytest.raises(DataError, match="line 7: has a region but no image"):
        one.source((RegionSegment(BOX),), None, name="line 7")
    with pytest.raises(DataError, match=r"line 7: box .* outside the 20x20 image"):
        one.source((OptionsSegment(((BOX,),)),), (20, 20), name="line 7")


@pytest.mark.parametrize("options", [{"max_src_length": 1}, {"max_tgt_length": 0}, {"text_case": "upper"}])
def test_impossible_settings_are_errors(gpt2, options):
    with pytest.raises(ConfigError):
        encoder(gpt2, **options)


def test_the_vocabulary_must_have_the_bins(bytes_only):
    with pytest.raises(ConfigError, match="10 location bins, but 1000"):
        encoder(Vocabulary.load(bytes_only, num_bins=10))
