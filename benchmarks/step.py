"""A step of a longer work: runs a command and, once it has succeeded, leaves a mark with the command and its seconds.

    python -m benchmarks.step runs/miniature/done/proxy.json evatok train proxy --config configs/tiny/proxy.yaml

What the command prints goes to a log beside the mark. Where a step was stopped before, its earlier seconds count too,
but those of a run that was killed outright.
"""

import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import environment
from evatok.utils.files import write_json


def main() -> None:
    """Runs the command behind the mark's path; exits as it does."""
    mark, command = Path(sys.argv[1]), sys.argv[2:]
    mark.parent.mkdir(parents=True, exist_ok=True)
    before = mark.with_suffix(".stopped")
    earlier = [float(each) for each in before.read_text().split()] if before.exists() else [0.0, 0.0]
    print(f"{mark.stem}: {shlex.join(command)}", flush=True)
    start = time.time()
    with mark.with_suffix(".log").open("ab") as log:
        code = _run(command, log.fileno())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, processor = earlier[0] + time.time() - start, earlier[1] + used.ru_utime + used.ru_stime
    if code:
        before.write_text(f"{seconds} {processor}\n")
        print(f"{mark.stem} stopped, see {mark.with_suffix('.log')}", file=sys.stderr)
        raise SystemExit(code if code > 0 else 128 - code)
    about = {"seconds": seconds, "processor_seconds": processor, **environment(), "command": shlex.join(command)}
    write_json(mark, about)
    before.unlink(missing_ok=True)
    print(f"{mark.stem}: {seconds:.0f} s", flush=True)


def _run(command: list[str], output: int) -> int:
    """The exit code of a command, which is told of an interruption and left to end by itself."""
    child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: child.send_signal(got))
    return child.wait()


if __name__ == "__main__":
    main()
