"""The command `regulars`: one file per group of commands."""

import os

# threads that wait for each other must not spin: with another busy process beside it, training took thirty times as long
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
