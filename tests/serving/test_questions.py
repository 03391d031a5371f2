"""What can be asked, and how what cannot be is refused."""

import json

import pytest

from ofa_mi.errors import DataError
from ofa_mi.instructions.registry import default_registry
from ofa_mi.serving import questions
from tests.serving.conftest import picture

REGION = {"task": "grounded_object_identification", "region": [[20, 20, 60, 60]]}


def read(*asked, **request):
    body = json.dumps({"questions": list(asked), **request}).encode()
    return questions.read_request(body, default_registry(), option_markers=True)


def test_a_task_is_asked_under_all_of_its_instructions():
    (prompted,) = read(REGION, image=picture()).prompted
    spec = default_registry()[REGION["task"]]
    assert tuple(one.instruction for one in prompted) == spec.instructions
    assert tuple(one.instruction_id for one in prompted) == spec.instruction_ids
    assert {one.query.image_size for one in prompted} == {(128, 96)}
    assert len({id(one.query.image) for one in prompted}) == 1


def test_one_image_is_read_once_and_another_may_be_brought():
    other = {**REGION, "image": picture((64, 64))}
    first, second, third = read(REGION, REGION, other, image=picture()).prompted
    assert first[0].query.image is second[0].query.image
    assert third[0].query.image_size == (64, 64)


def test_an_instruction_of_its_own_gets_regions_and_options_at_its_end():
    ((one,),) = read(
        {"instruction": "what is it?", "region": [[1, 2, 30, 40]], "options": ["a", "b"]}, image=picture()
    ).prompted
    assert one.instruction == "what is it? {regions} {options}" and one.query.output == "option"
    assert one.instruction_id is None and one.query.options == (("a",), ("b",))


def test_text_without_an_image():
    ((one,),) = read({"instruction": "repeat: {text}", "text": "so"}).prompted
    assert one.query.image is None and one.query.output == "text"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "question 1: give either a task or an instruction"),
        ({"task": "nlvr", "instruction": "x"}, "question 1: give either a task or an instruction"),
        ({"task": "none"}, "question 1: task: there is none called 'none'"),
        ({"task": "nlvr", "output": "text"}, "question 1: output: a task has its own"),
        (
            {"task": "grounded_object_identification"},
            "question 1: grounded_object_identification takes exactly one region",
        ),
        ({**REGION, "region": [[20, 20, 600, 60]]}, "question 1: "),
        ({**REGION, "region": [[20, 20, 60]]}, "question 1: region must hold boxes"),
        ({**REGION, "region": [[0, 0, 1, 1]] * 101}, "question 1: region must be at most 100, found 101"),
        ({"instruction": " "}, "question 1: instruction: must have 1 to 20,000 characters"),
        ({"instruction": "x" * 20_001}, "question 1: instruction: must have 1 to 20,000 characters"),
        ({"instruction": "{x}"}, "question 1: "),
        ({"instruction": "x {"}, "question 1: "),
        ({"instruction": "{text}"}, "question 1: text is missing"),
        ({"instruction": "x", "text": "y"}, "question 1: text is given, but the instruction does not mention {text}"),
        ({"instruction": "{text}", "text": "y" * 20_001}, "question 1: a text has more than 20,000 characters"),
        ({"instruction": "x", "options": ["a", " "]}, "question 1: options"),
        ({"instruction": "x", "output": "speech"}, "question 1: output: must be one of text"),
        ({"instruction": "x", "output": "option"}, "question 1: output: option needs options"),
        ({"instruction": "x", "image": "%"}, "question 1: image is not base64"),
        ({"instruction": "x", "image": "aGVsbG8="}, "question 1: image is not an image"),
        ({"instruction": "x", "more": 1}, "the request (Object contains unknown field `more`"),
        ({"instruction": 1}, "the request (Expected `str | null`, got `int`"),
    ],
)
def test_what_cannot_be_asked_is_one_line(asked, message):
    request = {} if asked.get("instruction") else {"image": picture()}
    with pytest.raises(DataError) as error:
        read(asked, **request)
    assert str(error.value).startswith(message) and str(error.value).isprintable() and len(str(error.value)) < 500


def test_regions_of_an_answer_need_an_image():
    with pytest.raises(DataError, match=r"^question 1: output: regions needs an image"):
        read({"instruction": "x", "output": "regions"})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"questions": []}, "questions: must be 1 to 32, found 0"),
        ({"questions": [{"instruction": "x"}] * 33}, "questions: must be 1 to 32, found 33"),
        ({"questions": [{"instruction": "x"}], "mode": "guess"}, "mode: must be one of generate, constrained, rank"),
        ({"questions": [{"instruction": "x"}], "mode": "rank"}, "question 1: mode rank needs options"),
        ([], "the request (Expected `object`, got `array`"),
    ],
)
def test_a_bad_request_is_one_line(request_, message):
    with pytest.raises(DataError) as error:
        questions.read_request(json.dumps(request_).encode(), default_registry(), option_markers=True)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"questions": [{"text": ' + b"[" * 500 + b"]" * 500 + b"}]}"],
    ids=["empty", "cut", "bytes", "deep", "deep in a question"],
)
def test_a_body_that_is_no_request_is_one_line(body):
    with pytest.raises(DataError) as error:
        questions.read_request(body, default_registry(), option_markers=True)
    assert str(error.value).startswith("the request (") and str(error.value).isprintable()
