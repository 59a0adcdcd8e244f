"""The commit of sources, in a checkout and outside."""

import subprocess
from pathlib import Path

from evatok.training.versions import commit


def test_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert commit(package) is None
    git("init", "-q")
    assert commit(package) is None  # inside a checkout, and no part of it
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert commit(package) == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed")
    assert commit(package) == git("rev-parse", "HEAD") + "-dirty"
