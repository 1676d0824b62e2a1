"""How many threads BLAS may use."""

import os
import subprocess
import sys

ASKED = """
import numpy, scipy.linalg
from threading import Thread
from threadpoolctl import threadpool_info
from regulars.models.threads import always_one_thread, one_thread

def threads():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}

def side_by_side():
    with one_thread():
        pass

said = [threads()]
always_one_thread()
said.append(threads())
for thread in (started := [Thread(target=side_by_side) for _ in range(2)]):
    thread.start()
for thread in started:
    thread.join()
print([*said, threads()])
"""


def test_a_process_that_keeps_to_one_thread_goes_on_so() -> None:
    two = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    run = [sys.executable, "-c", ASKED]
    said = subprocess.run(run, env=os.environ | two, capture_output=True, text=True, check=True).stdout
    assert said.strip() in ("[{2}, {1}, {1}]", "[{1}, {1}, {1}]")  # the latter where there is one processor only
