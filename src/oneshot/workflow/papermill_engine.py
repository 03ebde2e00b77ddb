"""A papermill engine whose kernels have their own GPUs, and their own folder for the sockets they talk through.

By default a kernel picks free TCP ports and binds them a moment later. Notebooks that start at the same time sometimes
pick the same port, and a job of the DAG dies at its start.
"""

import os
import tempfile

from papermill.engines import NBClientEngine
from traitlets.config import Config

from oneshot.workflow.gpus import VISIBLE, claimed_gpus

WANTED = "ONESHOT_GPUS"
"""Environment variable: how many GPUs the notebook needs. Its kernel sees no others."""


class IpcEngine(NBClientEngine):
    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        """Execute the notebook as papermill does, with the kernel's sockets in a temporary folder."""
        with claimed_gpus(int(os.environ.get(WANTED, 0))) as gpus, tempfile.TemporaryDirectory() as folder:
            if gpus:
                os.environ[VISIBLE] = ",".join(gpus)
            config = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
            return super().execute_managed_notebook(nb_man, kernel_name, config=config, **kwargs)
