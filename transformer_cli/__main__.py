"""`python -m transformer_cli` is the same program as `transformer-cli`."""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """See `cli.app.main`. While that is imported, which takes a moment, Ctrl-C ends the process without a word."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else: ignored on purpose, as `nohup` does
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from transformer_cli.cli.app import main as run

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
