"""`python -m transformer_cli` is the same program as `transformer-cli`."""

from transformer_cli.cli.app import main

if __name__ == "__main__":
    main()
