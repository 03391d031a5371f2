"""The checkpoint that comes with the package: it is small, tells nothing of the machine that made it, and works."""

from pathlib import Path

import pytest
import safetensors
from PIL import Image, ImageDraw

from ofa_mi import checkpoint, cli
from ofa_mi.packaged import FOLDER, NAMES, checkpoint_path


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint_path("nano") == str(FOLDER / "ofa_nano.safetensors")
    assert checkpoint_path("other.pt") == "other.pt"
    (tmp_path / "nano").touch()
    assert checkpoint_path("nano") == "nano"


@pytest.mark.parametrize("name", NAMES)
def test_is_small_whole_and_has_a_card(name):
    path = Path(checkpoint_path(name))
    assert path.stat().st_size < 10 << 20
    with safetensors.safe_open(path, "pt") as file:
        assert "/home" not in file.metadata()["ofa_mi"] and '"data"' not in file.metadata()["ofa_mi"]
    loaded = checkpoint.load(path)
    assert len(loaded.vocabulary) == len(loaded.model.encoder.embed_tokens.weight)
    assert loaded.task_config["patch_image_size"] == 128
    assert path.name in (FOLDER / "README.md").read_text()


def test_nano_says_what_it_sees(tmp_path, capsys):
    image = Image.new("RGB", (128, 128), (150, 150, 150))
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 40, 50, 80), fill=(215, 35, 35))
    draw.rectangle((76, 30, 114, 68), fill=(40, 75, 220))
    image.save(tmp_path / "scene.png")
    instruction = "List everything in the image from left to right, each box followed by what it holds."
    command = ["predict", "--checkpoint", "nano", "--image", str(tmp_path / "scene.png"), "--instruction", instruction]
    assert cli.main([*command, "--output", "labeled_regions", "--beam", "1"]) == 0
    text, *boxes = capsys.readouterr().out.strip().splitlines()
    assert text == "red circle blue square" and len(boxes) == 2
    corners = [float(part) for part in boxes[0].strip("[]").split(",")]
    assert corners == pytest.approx([10, 40, 50, 80], abs=8)
