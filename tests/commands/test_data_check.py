"""``ofa-mi data check`` as its exit status and what it prints."""

import json

from ofa_mi import cli
from tests.data_prep.check.conftest import write_image, write_lines


def run(capsys, *words):
    status = cli.main(["data", "check", *map(str, words)])
    return status, capsys.readouterr()


def test_a_clean_directory(make_directory, records, capsys):
    directory = make_directory(records)
    status, printed = run(capsys, directory, "--workers", 1)
    assert status == 0
    assert "train: 2 instances of 2 tasks" in printed.out
    assert "findings: none" in printed.out and f"card: {directory}/card/card.html" in printed.out
    assert (directory / "card/card.html").exists()


def test_findings_are_printed_with_file_and_line(make_directory, records, capsys):
    bad = [{**records["train"][1], "unique_id": f"x{n}", "text": "a||||b"} for n in range(5)]
    records["train"] += bad
    directory = make_directory(records)
    status, printed = run(capsys, directory, "--workers", 1, "--findings", 2, "--no-guess")
    assert status == 1
    lines = printed.out.splitlines()
    assert lines[0].startswith(f"{directory}/train.jsonl:3: instance 'x0': a text holds '||||'")
    assert lines[2] == "… and 3 more of this kind: text that breaks the prompt"
    assert "findings: 5" in lines and "guess" not in printed.out


def test_several_directories_are_one_data_set(make_directory, records, tmp_path, capsys):
    first = make_directory(records, "one")
    second = make_directory({"test": records["test"]}, "two")
    assert run(capsys, first, second)[0] == 2
    status, printed = run(capsys, first, second, "--out", tmp_path / "card", "--workers", 1, "--no-guess")
    assert status == 1
    assert f"{second}/test.jsonl:1: instance 'd': one/test.jsonl:1 has the same unique_id" in printed.out
    card = json.loads((tmp_path / "card/card.json").read_text())
    assert card["splits"]["test"] == {"instances": 4, "tasks": 2} and card["images"]["different"] == 4


def test_guesses_are_a_table(make_directory, records, capsys):
    for n in range(200):
        answer = "yes" if n % 5 else "no"
        image = f"images/{n}.png"
        fields = {"image_path": image, "options": ["yes", "no"], "target_txt": answer}
        records["test"].append({**records["test"][0], "unique_id": f"n{n}", **fields})
    directory = make_directory(records)
    for n in range(200):
        write_image(directory / f"images/{n}.png", (n, 0, 0))
    status, printed = run(capsys, directory, "--workers", 1)
    assert status == 0  # that answers can be guessed is reported, but the instances are sound
    line = next(line for line in printed.out.splitlines() if line.startswith("nlvr"))
    assert "guessable: +29.6 points" in line and " 50.0 " in line


def test_tasks_of_ones_own(make_directory, records, tmp_path, capsys):
    directory = make_directory(records)
    write_lines(directory, "train", [{**records["train"][1], "task_name": "my_task"}])
    assert run(capsys, directory, "--no-guess", "--workers", 1)[0] == 1
    spec = {
        "split": "train",
        "sources": ["mine"],
        "inputs": ["text"],
        "output": "region",
        "metrics": ["iou"],
        "version": 1,
        "description": "Mine.",
        "instructions": [f"{word} {{text}}" for word in ("Find", "Locate", "Mark", "Point at", "Where is")],
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/tasks.yaml").write_text(json.dumps({"group": "mine", "tasks": {"my_task": spec}}))
    assert run(capsys, directory, "--no-guess", "--workers", 1, "--instruction-dir", tmp_path / "mine")[0] == 0


def test_no_directory_is_one_line(tmp_path, capsys):
    status, printed = run(capsys, tmp_path / "none")
    assert status == 2 and "no such data directory" in printed.err
