"""What a record says of its run."""

import pytest

from evatok.reports.record import provenance


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/usr/bin/evatok", "curve", "--folder", "my runs"], "evatok curve --folder 'my runs'"),
        (["/usr/lib/evatok/__main__.py", "curve"], "python -m evatok curve"),
    ],
)
def test_the_command_can_be_given_again(monkeypatch: pytest.MonkeyPatch, argv: list[str], command: str) -> None:
    monkeypatch.setattr("sys.argv", argv)
    assert provenance()["command"] == command
