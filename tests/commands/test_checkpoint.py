"""`ofa-mi checkpoint`."""

import torch

from ofa_mi import checkpoint, cli
from ofa_mi.data.vocabulary import Vocabulary, build_compact
from ofa_mi.state_dict import without_tables


def test_checkpoint_commands(tmp_path, bpe_dir, released, capsys):
    there = tmp_path / "ofa.safetensors"
    assert cli.main(["checkpoint", "convert", str(released), str(there), "--bpe-dir", str(bpe_dir)]) == 0
    assert cli.main(["checkpoint", "info", str(there)]) == 0
    out = capsys.readouterr().out
    assert "ofa_nano" in out and f"{len(Vocabulary.load(bpe_dir)):,} entries" in out
    assert checkpoint.load(there).vocabulary.key == Vocabulary.load(bpe_dir).key
    for wrong in (["convert", str(released), str(tmp_path / "a.zip")], ["info", str(tmp_path / "absent.pt")]):
        assert cli.main(["checkpoint", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    build_compact([" other words of a vocabulary that does not fit"], tmp_path / "other")
    assert cli.main(["checkpoint", "convert", str(released), str(there), "--bpe-dir", str(tmp_path / "other")]) == 2
    assert "entries" in capsys.readouterr().err


def test_the_average_of_checkpoints(tmp_path, bpe_dir, released, capsys):
    state = checkpoint.read(released)
    paths = []
    for number, factor in enumerate((1.0, 2.0, 6.0)):
        paths.append(str(tmp_path / f"{number}.pt"))
        model = {
            name: weight * factor if weight.is_floating_point() else weight for name, weight in state["model"].items()
        }
        checkpoint.save({**state, "model": model}, paths[-1])
    out = tmp_path / "mean.safetensors"
    assert cli.main(["checkpoint", "average", *paths, str(out)]) == 0
    found = checkpoint.read(out)
    for name, weight in without_tables(state["model"]).items():
        expected = 3 * weight if weight.is_floating_point() else weight
        torch.testing.assert_close(found["model"][name], expected, rtol=1e-6, atol=0)
    assert vars(found["cfg"]["model"])["arch"] == "ofa_nano"
    state["model"]["decoder.layer_norm.bias"] = torch.zeros(3)
    checkpoint.save(state, tmp_path / "other.pt")
    for wrong, message in (
        ([paths[0]], "is one checkpoint"),
        ([paths[0], str(tmp_path / "other.pt")], "another model"),
    ):
        assert cli.main(["checkpoint", "average", *wrong, str(out)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
