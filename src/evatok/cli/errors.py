"""What is said of what ended a command, and the exit codes."""

import os
import signal
import tarfile
import zipfile
from argparse import ArgumentError

from evatok.cli.arguments import WrongUse, in_a_sentence
from evatok.cli.process import BY_SIGNAL, NOBODY_READS, by_signal, nobody_reads
from evatok.training.stopping import Stopped
from evatok.utils.files import WriteError, reason
from evatok.utils.packages import PackageError

# 75 is what sysexits.h calls a temporary failure: a scheduler may start the same command again.
FAILED, WRONG_USE, STOPPED, INTERRUPTED = 1, 2, 75, BY_SIGNAL + signal.SIGINT


def told(error: BaseException, name: str, extra: str = "") -> tuple[str, int]:
    """One sentence about what ended a command ("": there is nothing to say), and the exit code.

    Args:
        error: what it raised. What only evatok itself can have done wrong is raised again, for its traceback.
        name: of the command.
        extra: of the package, that the command needs.
    """
    match error:
        case SystemExit():  # --help, --version and --print_config
            return "", int(error.code or 0)
        case KeyboardInterrupt():
            return by_signal(signal.SIGINT)
        case BrokenPipeError() if nobody_reads():
            return "", NOBODY_READS
        case ArgumentError() | WrongUse():
            return f"{in_a_sentence(error)} (see {f'evatok {name}'.strip()} --help)", WRONG_USE
        case ModuleNotFoundError() if extra:
            return f"{name} needs {error.name}: pip install 'evatok[{extra}]'", FAILED
        case Stopped():
            return f"{error}; the same command with --resume goes on", STOPPED
        case OSError() if error.strerror and not isinstance(error, WriteError):
            file = error.filename
            return f"{os.fsdecode(file)}: {reason(error)}" if isinstance(file, str | bytes) else reason(error), FAILED
        case MemoryError():
            return "there is not enough memory for this", FAILED
        case RuntimeError() if "memory" in str(error) and "allocate" in str(error):  # as PyTorch says it
            return "there is not enough memory for this", FAILED
        case OverflowError():
            return f"a number that was given is too large: {error}", FAILED
        case RecursionError():
            return "what was given is nested too deeply", FAILED
        case tarfile.TarError() | zipfile.BadZipFile():
            return f"an archive cannot be read: {error}", FAILED
        case UnicodeDecodeError():
            return f"a file is not the text that it should be: {error}", FAILED
        case ValueError() | OSError() | PackageError() | FloatingPointError():
            return str(error), FAILED
    raise error
