"""A process that has imported the program and forks for each command: a start costs a moment instead of two seconds.

Reads one JSON object a line from stdin: `arguments` and `files`, the paths of stdin, stdout and stderr; answers with
the exit code (negative: the signal that ended the command). Run with one thread: forks of several would hang.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import matplotlib.pyplot  # noqa: F401

import transformer_cli.deployment.export
import transformer_cli.experiment.evaluation
import transformer_cli.experiment.inspection
import transformer_cli.experiment.scoring
import transformer_cli.experiment.training
import transformer_cli.experiment.translation  # noqa: F401
from transformer_cli.cli.app import main

SECONDS = 300
"""A command that takes longer is ended by SIGALRM."""


def run(arguments: list[str], files: list[str]) -> None:
    """In the child: the command line with these files as its streams. Does not return."""
    code = 1
    try:
        for number, (name, flags) in enumerate(zip(files, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
            os.dup2(os.open(name, flags), number)
        signal.alarm(SECONDS)
        sys.argv = ["transformer-cli", *arguments]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if not child:
        run(request["arguments"], request["files"])
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
