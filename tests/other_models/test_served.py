"""A model behind a server: whatever the server does, an answer is kept, a passing failure is tried again, and any
other ends in one line without the key."""

import base64
import io
import json
import logging
import math
import zlib
from dataclasses import replace
from email.utils import formatdate

import pytest

pytest.importorskip("httpx2", reason="the extra `api` is not installed")

import httpx2
from PIL import Image

from ofa_mi import cli
from ofa_mi.decoding.predictor import Query
from ofa_mi.errors import ConfigError, ServerError
from ofa_mi.evaluation.asking.plan import EvaluationOptions
from ofa_mi.evaluation.asking.run import evaluate
from ofa_mi.evaluation.predictions import read_predictions
from ofa_mi.evaluation.scoring.scores import read_run, read_scores
from ofa_mi.instructions.prompt import TextSegment
from ofa_mi.other_models.log_probs import option_scores
from ofa_mi.other_models.model import Sampling
from ofa_mi.other_models.served import LONGEST_BODY, ServedModel, _Passing, checked_address
from tests.fuzzing import fuzz, mutate_bytes, mutate_json
from tests.other_models.stub import Reply, Stub, said, serving

KEY = "sk-stub-0123456789"
ERROR = json.dumps({"error": {"message": f"bad\nkey {KEY} or so", "type": "x"}})
OPTIONS = EvaluationOptions(tasks=("nlvr", "grounded_vqa"), instructions=(0, 1), max_instances=4)


def model(url, **settings):
    settings = {"first_wait": 0.001, "timeout": 20.0, **settings}
    return ServedModel(url, "small", **settings)


def queries(number, image=None):
    return [Query((TextSegment(f"question {i}"),), image, image and image.size, name=f"q{i}") for i in range(number)]


def ask(stub, number=1, **settings):
    """Text of the answers by number."""
    with serving(stub) as url:
        return {i: prediction.text for i, prediction in model(url, **settings).answers(queries(number))}


def echo(request):
    return Reply(said(request["messages"][-1]["content"]))


# -- what a server may say


def test_fuzz_replies():
    """Bodies, and headers of refusals: the text of an answer, a failure that may pass, or one line."""
    there = model("http://127.0.0.1:1/v1")
    bodies = [said("a [1, 2, 3, 4]").encode(), ERROR.encode(), b"<html>no</html>"]
    headers = [b"30", b"Wed, 21 Oct 2026 07:28:00 GMT", b"http://example.org/v1?key=1", b"http://[::1/v1"]

    def read(data):
        header = data[:200].translate(None, b"\r\n\0")
        refusals = [
            httpx2.Response(status, headers={name: header})
            for status, name in ((429, "Retry-After"), (307, "Location"), (400, "X"))
        ]
        for act in (lambda: there._said(data), *(lambda r=r: there._refused(r, data, "q") for r in refusals)):
            try:
                text, cut = act()
                assert isinstance(text, str) and isinstance(cut, bool)
            except (_Passing, ServerError) as failure:
                assert str(failure).isprintable() and len(str(failure)) < 1000
                assert getattr(failure, "wait", 0.0) >= 0

    fuzz("replies of a model's server", [*bodies, *headers], [mutate_bytes, mutate_json], read)


# -- requests


def test_a_request_is_a_chat_completion_with_the_image(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    stub, image = Stub(), Image.effect_noise((30, 20), 80).convert("RGB")
    with serving(stub) as url:
        asked = model(url + "/", system="Be brief.", generation=Sampling(seed=7, max_len=11))
        ((number, prediction),) = asked.answers(queries(1, image))
    assert (number, prediction.text, prediction.reply, prediction.trouble) == (0, "yes", "yes", None)
    (request,) = stub.requests
    system, user = request.pop("messages")
    assert request == {
        "model": "small",
        "temperature": 0.0,
        "seed": 7,
        "max_tokens": 11,
        "path": "/v1/chat/completions",
    }
    assert system == {"role": "system", "content": "Be brief."} and user["role"] == "user"
    shown, text = user["content"]
    assert text == {"type": "text", "text": "question 0"} and shown["type"] == "image_url"
    head, _, data = shown["image_url"]["url"].partition(",")
    sent = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == "data:image/png;base64" and sent.tobytes() == image.tobytes()
    assert stub.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_without_an_image_or_a_key_there_is_none():
    stub = Stub()
    assert ask(stub) == {0: "yes"}
    assert stub.requests[0]["messages"] == [{"role": "user", "content": "question 0"}]
    assert "Authorization" not in stub.headers[0]


def test_answers_come_as_they_are_ready_and_never_too_many_are_asked_at_once():
    def reply(request):
        number = int(request["messages"][-1]["content"].split()[-1])
        return Reply(said(str(number)), delay=0.5 if number == 0 else 0.01)

    stub, taken = Stub(then=reply), []

    def watched():
        for query in queries(12):
            taken.append(query)
            yield query

    with serving(stub) as url:
        order = []
        for number, prediction in model(url, parallel=3).answers(watched()):
            assert prediction.text == str(number)
            order.append(number)
            assert len(taken) <= len(order) + 3, "questions are taken as they are needed"
    assert sorted(order) == list(range(12)) and order[0] != 0 and stub.most == 3


@pytest.mark.parametrize(
    ("body", "text", "trouble"),
    [
        (said(None), "", "empty"),
        (said("a red", "length"), "a red", "cut off"),
        (said([{"type": "text", "text": "a "}, {"type": "text", "text": "cat"}]), "a cat", None),
        (said("no\tend \ud83d\ude00"), "no end \U0001f600", None),
    ],
)
def test_answers_in_all_their_shapes(body, text, trouble):
    with serving(Stub([Reply(body)])) as url:
        ((_, prediction),) = model(url).answers(queries(1))
    assert (prediction.text, prediction.trouble) == (text, trouble)


# -- failures


@pytest.mark.parametrize(
    "failure",
    [
        Reply(ERROR, 429),
        Reply(ERROR, 429, {"Retry-After": "0"}),
        Reply(ERROR, 503, {"Retry-After": formatdate(0, usegmt=True)}),
        Reply(ERROR, 503, {"Retry-After": "soon"}),
        Reply("<html>bad gateway</html>", 502),
        Reply("", 500),
        Reply(None),
        Reply(said("yes"), length=5000),
        Reply("{", 200),
        Reply("[]", 200),
        Reply('{"choices": []}', 200),
        Reply('{"choices": [{"message": {"content": 3}}]}', 200),
        Reply("[" * 5000, 200),
        Reply(ERROR, 200),
        Reply(said("x" * LONGEST_BODY)),
        Reply(delay=2.0),
    ],
    ids=lambda reply: f"{reply.status} {str(reply.body)[:12]} {list(reply.headers.values())} {reply.delay:g}",
)
def test_what_may_pass_is_tried_again(failure):
    stub = Stub([failure, failure])
    assert ask(stub, timeout=0.5 if failure.delay else 20.0) == {0: "yes"}
    assert len(stub.requests) == 3
    if failure.delay:
        return
    with pytest.raises(
        ServerError, match=r"/v1/chat/completions: .*; tried 2 times, last for q0; the same command"
    ) as error:
        ask(Stub(then=failure), retries=1)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "headers", "hint"),
    [
        (400, {}, "it was asked for q0"),
        (401, {}, "check the key in OPENAI_API_KEY"),
        (404, {}, "--model-name"),
        (307, {"Location": "https://user:secret@other.example/v1/chat/completions?secret"}, "https://other.example/v1"),
        (429, {"Retry-After": "86400"}, "asks to wait 86400 seconds"),
    ],
)
def test_what_does_not_pass_ends_in_one_line(monkeypatch, status, headers, hint):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    stub = Stub(then=Reply(ERROR, status, headers))
    with pytest.raises(ServerError, match=rf"http://127.0.0.1:\d+/v1/chat/completions: .* status {status}") as error:
        ask(stub)
    message = str(error.value)
    assert hint in message and KEY not in message and "secret" not in message
    assert "bad\\nkey … or so" in message and message.isprintable()
    assert len(stub.requests) == 1


def test_a_server_that_is_not_there_is_told_at_once():
    with serving(Stub()) as url:
        pass
    with pytest.raises(ServerError, match=r"cannot be reached \(ConnectError: .*is the server running"):
        list(model(url, first_wait=1000.0).answers(queries(1)))


def test_waits_grow_up_to_a_minute_or_are_what_the_server_asks_for(monkeypatch):
    waits = []

    async def pause(self, seconds):
        waits.append(seconds)

    monkeypatch.setattr(ServedModel, "_pause", pause)
    ask(Stub([Reply("", 500)] * 4 + [Reply("", 429, {"Retry-After": "30"})] * 2), first_wait=10.0)
    assert waits == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    waits.clear()
    ask(Stub([Reply("", 429, {"Retry-After": "30"})]), first_wait=1.0)
    assert waits == [30.0]


def test_waits_stay_numbers_however_often_a_request_is_sent_again(monkeypatch):
    waits = []

    async def pause(self, seconds):
        waits.append(seconds)

    async def post(self, *request):
        raise _Passing("no")

    monkeypatch.setattr(ServedModel, "_pause", pause)
    monkeypatch.setattr(ServedModel, "_post", post)
    with pytest.raises(ServerError, match="no; tried 1101 times"):
        ask(Stub(), retries=1100)
    assert waits[-1] == 60.0


def test_requests_that_failed_together_do_not_come_again_together(monkeypatch):
    limits = []

    def uniform(low, high):
        limits.append((low, high))
        return low

    monkeypatch.setattr("ofa_mi.other_models.served.random.uniform", uniform)
    ask(Stub([Reply("", 500)] * 2), number=2)
    assert limits == [(1.0, 1.5)] * 2


def test_after_a_failure_the_answers_on_their_way_still_come():
    def reply(request):
        number = int(request["messages"][-1]["content"].split()[-1])
        return {0: Reply(ERROR, 400), 1: Reply(ERROR, 500)}.get(number, Reply(said(str(number)), delay=0.3))

    stub, found = Stub(then=reply), []
    with serving(stub) as url, pytest.raises(ServerError, match="status 400"):
        for number, _ in model(url, parallel=4, first_wait=1000.0).answers(queries(40)):
            found.append(number)
    assert sorted(found) == [2, 3] and len(stub.requests) <= 5


def test_whoever_stops_asking_waits_for_nothing():
    stub = Stub([Reply(said("first"))], then=Reply(delay=5.0))
    with serving(stub) as url:
        answers = model(url, parallel=2, timeout=1000.0).answers(queries(5))
        assert next(answers)[1].text == "first"
        answers.close()
    assert len(stub.requests) <= 3


# -- addresses and keys


@pytest.mark.parametrize(
    ("url", "host", "address"),
    [
        ("http://localhost:8000/v1", "localhost:8000", "http://localhost:8000/v1/chat/completions"),
        ("https://api.example/v1/", "api.example", "https://api.example/v1/chat/completions"),
        ("http://[::1]:8/v1", "[::1]:8", "http://[::1]:8/v1/chat/completions"),
    ],
)
def test_addresses(url, host, address):
    assert checked_address(url) == (host, address)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://a/v1", "http://", "http://a:b/v1", "http://a b/v1", "http://[a/v1", "http://a\n/v1"],
)
def test_what_is_no_address(url):
    with pytest.raises(ConfigError, match="needs an address such as openai:http://localhost:8000/v1"):
        checked_address(url)


@pytest.mark.parametrize(
    "url", [f"http://me:{KEY}@host/v1", f"http://{KEY}@host/v1", f"http://host/v1?key={KEY}", f"http://host/v1#{KEY}"]
)
def test_a_key_in_an_address_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="--api-key-env") as error:
        ServedModel(url, "small")
    assert KEY not in str(error.value)


def test_keys_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER", "other-key\n")
    stub = Stub()
    ask(stub, key_variable="OTHER")
    assert stub.headers[0]["Authorization"] == "Bearer other-key"
    with pytest.raises(ConfigError, match="--api-key-env ABSENT: there is no such environment variable"):
        ServedModel("http://host/v1", "small", key_variable="ABSENT")
    monkeypatch.setenv("OTHER", "two words")
    with pytest.raises(ConfigError, match="the environment variable OTHER holds no key") as error:
        ServedModel("http://host/v1", "small", key_variable="OTHER")
    assert "two words" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parallel": 0}, "--parallel"),
        ({"timeout": 0.0}, "--timeout"),
        ({"retries": -1}, "--retries"),
        ({"regions": "x"}, "--regions"),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(ConfigError, match=message):
        ServedModel("http://host/v1", "small", **settings)
    with pytest.raises(ConfigError, match="--model-name is missing"):
        ServedModel("http://host/v1", "")
    with pytest.raises(ConfigError, match="--max-len must be at least 1"):
        Sampling(max_len=0)


# -- runs


def mixed(request):
    """Answers that depend on the question alone: right forms, rubbish, nothing."""
    text = request["messages"][-1]["content"][-1]["text"]
    replies = ("yes", "[10, 10, 40, 60]", "I cannot tell.", "", "It is [50, 5, 70, 60].")
    return Reply(said(replies[zlib.crc32(text.encode()) % len(replies)]))


def run(url, data_dir, out, options=OPTIONS, **settings):
    return evaluate(model(url, **settings), [data_dir], out, options, progress=False)


def content(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "run.json"}


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("served") / "run"
    with serving(Stub(then=mixed)) as url:
        run(url, data_dir, out)
    return out


def test_a_run_keeps_the_models_words_and_counts_what_could_not_be_read(finished):
    records = list(read_predictions(finished / "predictions.jsonl"))
    assert len(records) == 2 * 2 * 4 and all(record.reply is not None for record in records)
    regions = [record for record in records if record.task == "grounded_vqa"]
    missing = [record for record in regions if not record.prediction.boxes]
    assert {record.trouble for record in regions if record.prediction.boxes} == {None}
    assert {record.trouble for record in missing} <= {"no region", "empty"} and missing
    remarks = read_scores(finished)["tasks"]["grounded_vqa"]["remarks"]
    number = sum(record.trouble == "no region" for record in missing)
    assert f"{number} of 8 answers hold no region in the form that was asked for" in remarks


def test_run_json_says_what_was_asked(finished):
    settings = read_run(finished)["settings"]
    described = settings["model"]
    host = described.pop("host")
    assert host.startswith("127.0.0.1:")
    assert described == {"kind": "openai", "name": "small", "regions": "pixels", "system": None, "prompt_version": 1}
    assert settings["generation"] == {"temperature": 0.0, "seed": 1, "max_len": 64}
    assert read_run(finished)["notes"]["checkpoint"] == f"small at {host}"


def test_a_stopped_run_goes_on_and_gives_the_same_files(finished, data_dir, tmp_path):
    """The server breaks down for good after some answers, and comes back at its address."""
    answered = []

    def breaking(request):
        answered.append(request)
        return Reply(ERROR, 400) if len(answered) == 8 else mixed(request)

    stub = Stub(then=breaking)
    with serving(stub) as url:
        with pytest.raises(ServerError, match="status 400"):
            run(url, data_dir, tmp_path / "run", parallel=2)
        there = (tmp_path / "run" / "predictions.jsonl").read_bytes().count(b"\n")
        assert there >= 7
        stub.then, before = mixed, len(stub.requests)
        run(url, data_dir, tmp_path / "run", parallel=5)
    assert len(stub.requests) - before == 16 - there
    assert content(tmp_path / "run") == content(finished)


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"regions": "thousandths"}, "model.regions"),
        ({"system": "Be brief."}, "model.system"),
        ({"generation": Sampling(seed=2)}, "generation.seed"),
    ],
)
def test_another_model_or_form_is_refused_in_the_same_directory(data_dir, tmp_path, changed, place):
    nlvr = replace(OPTIONS, tasks=("nlvr",), max_instances=1)
    with serving(Stub()) as url:
        run(url, data_dir, tmp_path, nlvr)
        with pytest.raises(ConfigError, match=f"other settings: {place} is "):
            run(url, data_dir, tmp_path, nlvr, **changed)


@pytest.mark.parametrize(
    ("options", "regions", "message"),
    [
        ({"mode": "constrained"}, "pixels", "--mode constrained needs --checkpoint; small at host cannot be asked so"),
        (
            {"mode": "rank", "tasks": ("nlvr", "visual_grounding")},
            "pixels",
            "answers of visual_grounding are no single",
        ),
        ({"image": "none"}, "drawn", "--regions drawn needs an image"),
        ({"tasks": ("visual_grounding", "nlvr")}, "drawn", "visual_grounding ask for boxes of their own"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is(data_dir, tmp_path, options, regions, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(
            ServedModel("http://host/v1", "small", regions=regions),
            [data_dir],
            tmp_path / "run",
            replace(OPTIONS, **options),
        )
    assert not (tmp_path / "run").exists()


def test_the_command_line_never_shows_the_key(monkeypatch, data_dir, tmp_path, capsys, caplog):
    """From --model to compare and report, with failures on the way."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("ofa_mi.other_models.served.random.uniform", lambda low, high: 0.001)
    caplog.set_level(logging.DEBUG)
    common = ["--data", str(data_dir), "--tasks", "nlvr", "grounded_vqa", "--max-instances", "2"]
    outs = [str(tmp_path / name) for name in "ab"]
    for out, regions in zip(outs, ("drawn", "thousandths"), strict=True):
        with serving(Stub([Reply(ERROR, 429), Reply(None)], then=mixed)) as url:
            command = ["evaluate", "--model", f"openai:{url}", "--model-name", "small", "--regions", regions]
            assert cli.main([*command, *common, "--out", out]) == 0
    assert "answers hold no region in the form that was asked for" in capsys.readouterr().out
    assert cli.main(["compare", *outs]) == 0
    assert cli.main(["report", f"small={outs[0]}", "--out", str(tmp_path / "report")]) == 0
    assert "small at 127.0.0.1" in (tmp_path / "report" / "index.html").read_text()
    with serving(Stub(then=Reply(ERROR, 401))) as url:
        command = ["evaluate", "--model", f"openai:{url}", "--model-name", "small"]
        assert cli.main([*command, *common, "--out", str(tmp_path / "c")]) == cli.BAD_INPUT
    printed = capsys.readouterr()
    assert "status 401" in printed.err and len([line for line in printed.err.splitlines() if "error:" in line]) == 1
    everything = printed.out + printed.err + caplog.text
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in everything and KEY.encode() not in files


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give one model"),
        (["--model", "openai:http://host/v1", "--checkpoint", "c.pt"], "give one model"),
        (["--model", "openai:http://host/v1", "--model-name", "n", "--beam", "3"], "--beam is for --checkpoint only"),
        (
            ["--checkpoint", "c.pt", "--regions", "drawn"],
            "--regions is for --model openai:… and --model transformers:…",
        ),
        (["--model", "other:x"], "--model 'other:x': must be openai:URL or transformers:FOLDER"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, capsys, options, message):
    assert cli.main(["evaluate", *options, "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == cli.BAD_INPUT
    assert message in capsys.readouterr().err


# -- ranking


def conversation(option, *, end=-0.5, extra=()):
    """What vLLM says of a conversation: of each word minus its length, of the end of the turn -0.5."""
    words = ["question", *option.split()]
    places = [None, *({str(zlib.crc32(word.encode())): {"logprob": -float(len(word)), "rank": 1}} for word in words)]
    return json.dumps({"choices": [], "prompt_logprobs": [*places, {"7": {"logprob": end}}, *extra]})


def spoken(request):
    return Reply(conversation(request["messages"][-1]["content"]))


def test_options_are_ranked_by_what_the_server_says_of_them():
    stub = Stub(then=spoken)
    options = (("a fine kite",), ("a ", (1, 2, 3, 4)), ("a cat",))
    asked = [replace(query, options=options, output="option") for query in queries(3, Image.new("RGB", (9, 9)))]
    with serving(stub) as url:
        found = dict(model(url, parallel=2).answers(asked, "rank"))
    assert [found[i].text for i in range(3)] == ["a cat"] * 3
    scores = found[0].option_scores
    assert scores == (-8.5, scores[1], -3.5) and found[0].score == -3.5, "without what all of them begin with"
    assert len(stub.requests) == 9 and stub.most <= 2
    for request in stub.requests:
        assert request["messages"][-1]["role"] == "assistant" and request["prompt_logprobs"] == 0
        assert request["add_generation_prompt"] is False and request["max_tokens"] == 1
    said_options = {request["messages"][-1]["content"] for request in stub.requests}
    assert said_options == {"a fine kite", "a [1, 2, 3, 4]", "a cat"}


def test_a_failure_of_ranking_is_tried_again():
    asked = [replace(queries(1)[0], options=(("yes",), ("no",)), output="option")]
    stub = Stub([Reply(status=503), Reply("{"), Reply(None)], then=spoken)
    with serving(stub) as url:
        ((_, prediction),) = model(url).answers(asked, "rank")
    assert prediction.text == "no" and prediction.option_scores == (-3.5, -2.5)


def test_a_question_without_options_is_not_ranked():
    with serving(Stub(then=spoken)) as url, pytest.raises(ConfigError, match=r"^q0: --mode rank needs options"):
        list(model(url).answers(queries(1), "rank"))


@pytest.mark.parametrize(
    "body", [said("yes"), conversation("yes", extra=[{"1": {"logprob": -1}, "2": {"logprob": -2}}])]
)
def test_a_server_without_log_probabilities_is_refused(body, data_dir, tmp_path):
    stub = Stub(then=Reply(body))
    with (
        serving(stub) as url,
        pytest.raises(ConfigError, match=r"which small at 127.0.0.1:.* does not give.*generate$"),
    ):
        evaluate(model(url, parallel=1), [data_dir], tmp_path / "run", replace(OPTIONS, mode="rank"), progress=False)
    assert len(stub.requests) == 1


def test_a_ranked_run_is_scored(data_dir, tmp_path):
    with serving(Stub(then=spoken)) as url:
        evaluate(model(url), [data_dir], tmp_path, replace(OPTIONS, mode="rank"), progress=False)
    records = list(read_predictions(tmp_path / "predictions.jsonl"))
    assert records and all(record.mode == "rank" for record in records)
    for record in records:
        assert len(record.option_scores) == len(record.options)
    assert read_scores(tmp_path)["tasks"]


def test_fuzz_log_probabilities():
    there = model("http://127.0.0.1:1/v1")

    def read(data):
        try:
            tokens = there._tokens(data)
        except _Passing as failure:
            assert str(failure).isprintable() and len(str(failure)) < 1000
        else:
            assert tokens is None or all(math.isfinite(score) for score in option_scores([tokens, tokens[:-1]]))

    fuzz("log-probabilities of a server", [conversation("a cat").encode()], [mutate_json, mutate_bytes], read)
