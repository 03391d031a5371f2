"""Without an extra its kind of model ends in one line that says what to install."""

import sys

import pytest

from ofa_mi import cli


@pytest.mark.parametrize(
    ("package", "module", "model", "extra"),
    [
        ("httpx2", "served", ["openai:http://localhost:1/v1", "--model-name", "n"], "ofa-mi[api]"),
        ("transformers", "local", ["transformers:folder"], "ofa-mi[transformers]"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, tmp_path, capsys, package, module, model, extra):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"ofa_mi.other_models.{module}", raising=False)
    command = ["evaluate", "--model", *model, "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    assert cli.main(command) == cli.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert f"needs the package {package}; install it with pip install '{extra}'" in line
