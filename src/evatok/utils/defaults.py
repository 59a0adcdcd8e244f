"""torch's default dtype and device, which a program may have set for its own ends, kept away from what is computed."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

ParametersT = ParamSpec("ParametersT")
ResultT = TypeVar("ResultT")


def with_own_defaults(function: Callable[ParametersT, ResultT]) -> Callable[ParametersT, ResultT]:
    """The function, in which tensors are float32 and on the CPU unless it says otherwise, whatever the defaults are."""

    @wraps(function)
    def called(*args: ParametersT.args, **kwargs: ParametersT.kwargs) -> ResultT:
        dtype = torch.get_default_dtype()
        if dtype == torch.float32 and torch.get_default_device().type == "cpu":
            return function(*args, **kwargs)
        torch.set_default_dtype(torch.float32)
        try:
            with torch.device("cpu"):
                return function(*args, **kwargs)
        finally:
            torch.set_default_dtype(dtype)

    return called
