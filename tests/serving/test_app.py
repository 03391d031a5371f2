"""The JSON API, and what the server refuses."""

import asyncio
import json
import threading

import pytest

from ofa_mi.decoding.predictor import Query
from ofa_mi.instructions.registry import default_registry
from ofa_mi.serving import app as module
from ofa_mi.serving.answering import Answerer
from ofa_mi.serving.app import application
from tests.serving.conftest import picture

httpx2 = pytest.importorskip("httpx2", reason="needs the extra api")

RECOGNITION = {
    "task": "object_recognition",
    "question": "what is the form of the red object?",
    "options": ["circle", "square", "star", "ring"],
}


def send(app, *requests, host="testserver"):
    """Answers to requests ``(method, path, arguments)`` that are sent at once."""

    async def run():
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await asyncio.gather(*(client.request(method, path, **more) for method, path, more in requests))

    return asyncio.run(run())


def predict(app, *questions, **request):
    (answer,) = send(app, ("POST", "/api/predict", {"json": {"questions": list(questions), **request}}))
    return answer


def test_answers_are_the_predictors_own(app, predictor):
    reply = predict(app, RECOGNITION, image=picture(), scores=True, attention=True)
    assert reply.status_code == 200
    (answers,) = reply.json()["answers"]
    spec = default_registry()["object_recognition"]
    assert [answer["instruction_id"] for answer in answers] == list(spec.instruction_ids)
    asked = module.read_request(
        json.dumps({"questions": [RECOGNITION], "image": picture()}).encode(), default_registry(), option_markers=True
    )
    queries = [one.query for one in asked.prompted[0]]
    assert all(isinstance(query, Query) for query in queries)
    assert [answer["text"] for answer in answers] == [found.text for found in predictor.predict(queries)]
    for answer in answers:
        assert answer["options"] == RECOGNITION["options"]
        assert sum(answer["option_probabilities"]) == pytest.approx(1)
        attention = answer["attention"]
        assert all(len(layer) == attention["columns"] * attention["rows"] for layer in attention["layers"])
        assert all(0 < sum(layer) < 1 for layer in attention["layers"])


def test_ranking_answers_with_an_option(app):
    (answers,) = predict(app, RECOGNITION, image=picture(), mode="rank").json()["answers"]
    for answer in answers:
        assert answer["text"] in answer["options"]
        assert sum(answer["option_probabilities"]) == pytest.approx(1)


def test_several_questions_and_text_alone(app):
    own = {"instruction": "say {text}", "text": "red"}
    reply = predict(app, {**RECOGNITION, "image": picture()}, own, attention=True).json()
    assert [len(answers) for answers in reply["answers"]] == [5, 1]
    assert reply["answers"][1][0]["attention"] is None
    assert reply["answers"][1][0]["option_probabilities"] is None


def test_boxes_are_pixels_of_the_image(app):
    question = {"instruction": "where is it?", "output": "region"}
    ((answer,),) = predict(app, question, image=picture((200, 50)), mode="constrained").json()["answers"]
    ((x0, y0, x1, y1),) = answer["boxes"]
    assert 0 <= x0 <= 200 and 0 <= x1 <= 200 and 0 <= y0 <= 50 and 0 <= y1 <= 50


def test_errors_are_json_of_one_line(app):
    reply = predict(app, {"task": "none"})
    assert reply.status_code == 400 and "there is none called 'none'" in reply.json()["error"]
    statuses = {
        ("GET", "/api/predict"): 405,
        ("GET", "/nothing"): 404,
        ("GET", "/examples/100000"): 404,
        ("GET", "/examples/..%2f..%2fpage.html"): 404,
    }
    for (method, path), status in statuses.items():
        (reply,) = send(app, (method, path, {}))
        assert reply.status_code == status and set(reply.json()) == {"error"}


def test_only_json_is_taken(app):
    body = json.dumps({"questions": [{"instruction": "x"}]})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        (reply,) = send(app, ("POST", "/api/predict", {"content": body, "headers": {"Content-Type": kind}}))
        assert reply.status_code == 415


def test_other_names_of_the_server_are_refused(app):
    (reply,) = send(app, ("GET", "/", {}), host="evil.example")
    assert reply.status_code == 400
    (reply,) = send(app, ("GET", "/", {}), host="127.0.0.1:7860")
    assert reply.status_code == 200


def test_a_request_is_not_read_further_than_it_may_be_long(app, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 20)
    read = []

    async def parts():
        for _ in range(100):
            read.append(1)
            yield b"x" * (1 << 18)

    headers = {"Content-Type": "application/json"}
    (reply,) = send(app, ("POST", "/api/predict", {"content": parts(), "headers": headers}))
    assert reply.status_code == 413 and "smaller image" in reply.json()["error"]


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/api/about", "/api/tasks", "/examples/0", "/nothing"])
def test_every_answer_forbids_what_it_does_not_need(app, path):
    (reply,) = send(app, ("GET", path, {}))
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"


class Slow:
    """A predictor that waits until it may answer."""

    option_markers = True

    def __init__(self):
        self.go = threading.Event()
        self.asked = 0

    def predict(self, queries, mode="generate"):
        self.asked += len(queries)
        self.go.wait(30)
        raise AssertionError("not asked for an answer")


def slow_app(examples, **limits):
    predictor = Slow()
    answerer = Answerer(predictor, **limits)
    return predictor, application(answerer, default_registry(), examples, model="slow", hosts=["testserver"])


def test_requests_that_would_wait_too_long_are_refused(examples):
    predictor, app = slow_app(examples, waiting=0)
    reply = predict(app, {"instruction": "x"})
    assert (
        reply.status_code == 503 and reply.headers["retry-after"] == "5" and "0 requests wait" in reply.json()["error"]
    )
    assert not predictor.asked


def test_a_request_ends_when_its_time_is_over(examples):
    predictor, app = slow_app(examples, seconds=0)
    reply = predict(app, {"instruction": "x"})
    assert reply.status_code == 503 and "took longer than 0 seconds" in reply.json()["error"]
    assert not predictor.asked


def test_examples_are_questions_that_can_be_asked(examples):
    assert {record["task"] for record in examples.records} >= {
        "grounded_vqa",
        "nlvr",
        "color_matching",
        "image_captioning",
    }
    for record in examples.records:
        given = {name: value for name, value in record["inputs"].items() if value is not None}
        question = {"task": record["task"], **given}
        request = {"questions": [question]}
        if record["image"] is not None:
            import base64

            request["image"] = base64.b64encode(examples.images[record["image"]][1]).decode()
        assert module.read_request(json.dumps(request).encode(), default_registry(), option_markers=True).prompted
        assert record["answer"] or record["answer_boxes"]
