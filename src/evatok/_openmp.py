"""How threads wait for each other, which has to be said before torch loads OpenMP: this is imported first.

As GNU's OpenMP has it, a waiting thread spins for milliseconds. Where processes share cores (two trainings, a training
and a process that reads its clips) it spins away the time of the thread that it waits for. docs/training.md has the
numbers. What the environment says already, stays.
"""

import os

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"
