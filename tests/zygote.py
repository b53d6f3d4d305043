"""Fork server: imports the program once and forks for each command, which saves two seconds per command.

Reads one JSON object per line from stdin: `arguments`, and `files` with the paths of stdin, stdout and stderr.
Writes the exit code of the command (negative: the signal that ended it). Must run with one thread: a fork of a
multi-threaded process would hang.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import matplotlib.pyplot  # noqa: F401

import transformer_cli.deployment.export
import transformer_cli.experiment.comparison
import transformer_cli.experiment.evaluation
import transformer_cli.experiment.inspection
import transformer_cli.experiment.report
import transformer_cli.experiment.scoring
import transformer_cli.experiment.training
import transformer_cli.experiment.translation  # noqa: F401
from transformer_cli.cli.app import main

TIMEOUT = 300
"""Seconds after which SIGALRM ends a command."""


def run(arguments: list[str], files: list[str]) -> None:
    """Run a command in the child process, with these files as its standard streams. Does not return."""
    code = 1
    try:
        for number, (name, flags) in enumerate(zip(files, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
            os.dup2(os.open(name, flags), number)
        signal.alarm(TIMEOUT)
        sys.argv = ["transformer-cli", *arguments]
        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


replies = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if not child:
        run(request["arguments"], request["files"])
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), file=replies, flush=True)
