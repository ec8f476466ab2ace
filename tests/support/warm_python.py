"""Fresh processes that cost no seconds: each is a copy of one that imported what a script imports and did nothing else."""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


class WarmPython:
    """Stands where `subprocess` does in a module that runs one script again and again.

    The first script decides what is imported beforehand. Every run is a fork of a process that has loaded no model.
    """

    def __init__(self) -> None:
        self.server: subprocess.Popen[str] | None = None

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `[python, script, *arguments]`; what it prints as an error comes back, the rest is lost."""
        assert options == {"capture_output": True, "text": True}
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, "-P", __file__, command[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self.server.stdin
        assert self.server.stdout
        with tempfile.NamedTemporaryFile() as errors:
            self.server.stdin.write(json.dumps({"argv": command[1:], "cwd": os.getcwd(), "errors": errors.name}) + "\n")
            self.server.stdin.flush()
            code = int(self.server.stdout.readline())
            return subprocess.CompletedProcess(command, code, "", Path(errors.name).read_text())

    def close(self) -> None:
        """End the process that is copied."""
        if self.server is not None:
            self.server.communicate()


def serve(script: str) -> None:
    """The other side: jobs come in as JSON, and the exit codes of their processes go back."""
    runpy.run_path(script, run_name="imported")
    importlib.import_module("transformers.models.llama.modeling_llama")  # and what other models import as well
    gc.freeze()  # a copy need not look through what was imported
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            os.chdir(job["cwd"])
            for number, name in ((1, os.devnull), (2, job["errors"])):
                os.dup2(os.open(name, os.O_WRONLY), number)
            sys.argv = job["argv"]
            runpy.run_path(sys.argv[0], run_name="__main__")
            sys.stderr.flush()
            os._exit(0)  # to take all apart that was imported takes longer than most scripts
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
