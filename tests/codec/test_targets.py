"""Where results go: folders, links to inputs, and files that appear together."""

import os
from pathlib import Path

import pytest

from evatok.codec.targets import FileError, check_target, filled_together, named
from evatok.utils.files import WriteError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("output", "meant"),
    [
        ("x.tokens", "x.tokens"),
        ("there/x", "there/x"),
        ("there", "there/in.tokens"),
        ("there/", "there/in.tokens"),
        ("new/", "new/in.tokens"),
        ("new/er/", "new/er/in.tokens"),
        (".", "in.tokens"),
        ("link", "link/in.tokens"),
    ],
)
def test_a_folder_means_a_file_in_it(output: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    os.symlink("there", "link")
    with pytest.raises(RuntimeError), named(output, Path("videos/in.mp4"), ".tokens") as target:
        assert target.parent.is_dir()
        raise RuntimeError
    assert names(tmp_path) == {"there", "link"}
    with named(output, Path("videos/in.mp4"), ".tokens") as target:
        target.touch()
    assert Path(meant).is_file()


def test_a_slash_after_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(WriteError, match="x: it is no folder"), named(f"{tmp_path}/x/", Path("in.mp4"), ".tokens"):
        pytest.fail("the work began")


@pytest.mark.parametrize(
    "name", ["in.mp4", "hard", "soft", "soft_to_soft", "a/../in.mp4", "model/config.json", "weights"]
)
def test_no_input_is_replaced_by_any_name(name: str, tmp_path: Path) -> None:
    for folder in ("a", "model/router"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("in.mp4", "model/config.json", "model/router/model.safetensors", "other"):
        (tmp_path / file).write_text(file)
    os.link(tmp_path / "in.mp4", tmp_path / "hard")
    for link, target in (("soft", "in.mp4"), ("soft_to_soft", "soft"), ("weights", "model/router/model.safetensors")):
        os.symlink(target, tmp_path / link)
    source, tokenizer = tmp_path / "in.mp4", str(tmp_path / "model")
    with pytest.raises(FileError, match="it is the input"):
        check_target(tmp_path / name, source, tokenizer)
    with pytest.raises(FileError, match="it is the input"), filled_together(tmp_path, ["x", name], source, tokenizer):
        pytest.fail("the work began")
    for other in ("other", "new", "model/new.tokens"):
        check_target(tmp_path / other, source, tokenizer)


def test_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    new, source = tmp_path / "a" / "b", tmp_path / "in.mp4"
    with pytest.raises(RuntimeError), filled_together(new, ["one"], source, "") as part:
        (part / "one").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    new.mkdir(parents=True)
    (new / "kept").touch()
    (tmp_path / "elsewhere").write_text("old")
    os.symlink(tmp_path / "elsewhere", new / "two")
    with pytest.raises(RuntimeError), filled_together(new, ["one", "two"], source, "") as part:
        (part / "two").write_text("half")
        raise RuntimeError
    assert names(new) == {"kept", "two"} and (new / "two").read_text() == "old"
    with filled_together(new, ["one", "two"], source, "") as part:
        (part / "one").touch()
        (part / "two").write_text("new")
        assert not (new / "one").exists()
    assert names(new) == {"kept", "one", "two"}
    assert (new / "two").is_symlink() and (tmp_path / "elsewhere").read_text() == "new"


def test_what_a_file_cannot_replace_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out" / "one").mkdir(parents=True)
    (tmp_path / "file").touch()
    for folder, said in ((tmp_path / "out", "it is a folder"), (tmp_path / "file", "it is no folder")):
        with pytest.raises(WriteError, match=said), filled_together(folder, ["one"], tmp_path / "in.mp4", ""):
            pytest.fail("the work began")
    assert names(tmp_path) == {"out", "file"} and names(tmp_path / "out") == {"one"}
