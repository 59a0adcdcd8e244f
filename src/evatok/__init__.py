"""evatok: adaptive-length video tokenizer. What `evatok._public` lists is the public interface; all else may change.

It is imported when a name of it is first asked for. torch takes a second, for which the command line need not wait
before it can tell how it is used, or be interrupted.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from evatok import _openmp  # noqa: F401  # before torch

__version__ = "0.1.0"

if TYPE_CHECKING:
    from evatok._public import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        public = import_module("evatok._public")
        if name == "__all__":
            return public.__all__
        if name not in public.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(public, name)

    def __dir__() -> list[str]:
        return [*globals(), *import_module("evatok._public").__all__]
