"""`ofa-mi checkpoint`."""

from ofa_mi import checkpoint, cli
from ofa_mi.data.vocabulary import Vocabulary, build_compact


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
