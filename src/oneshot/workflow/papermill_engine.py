"""A papermill engine whose kernels have their own GPUs, and their own folder for the sockets they talk through.

By default a kernel picks free TCP ports and binds them a moment later. Notebooks that start at the same time sometimes
pick the same port, and a job of the DAG dies at its start. If the process that wants the notebook is killed, the kernel
ends, too: nobody waits for its outputs, and the next run makes them anew.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from resource import RUSAGE_CHILDREN, getrusage

from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine
from traitlets.config import Config

from oneshot.workflow.gpus import VISIBLE, claimed_gpus

WANTED = "ONESHOT_GPUS"
"""Environment variable: how many GPUs the notebook needs. Its kernel sees no others."""
PEAK = "peak_mib"
"""Where the executed notebook says, beside papermill's own measures, how much memory its kernel took at the most."""
UNITS = 2**20 if sys.platform == "darwin" else 2**10
"""In a MiB, of what the system counts peaks in."""
KILLED = (
    "the notebook's kernel was killed. If nobody did, the machine has run out of memory: "
    "run fewer jobs at once (--cores), or lower engine.num_slots"
)
LOOK, GRACE = 1.0, 10.0
"""Seconds between looks at the parent, and those that the kernel is given to end."""


class IpcEngine(NBClientEngine):
    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        """Execute the notebook as papermill does, with the kernel's sockets in a temporary folder."""
        threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
        with claimed_gpus(int(os.environ.get(WANTED, 0))) as gpus, tempfile.TemporaryDirectory() as folder:
            if gpus:
                os.environ[VISIBLE] = ",".join(gpus)
            config = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
            try:
                super().execute_managed_notebook(nb_man, kernel_name, config=config, **kwargs)
                nb_man.nb.metadata["papermill"][PEAK] = getrusage(RUSAGE_CHILDREN).ru_maxrss // UNITS  # it has ended
            except RuntimeError as error:  # at its start it is another one than later on
                if "Kernel died" in str(error):
                    raise DeadKernelError(KILLED) from error
                raise


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
