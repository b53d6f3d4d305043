"""Train and run translation models from the command line, or from a program.

The names in `__all__` are the stable Python API; everything else is internal. They are imported on first use, so
that `import transformer_cli` loads neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformer_cli.api import Alternative, Translation, Translator, UserError, train

__version__ = "0.1.0"
__all__ = ["Alternative", "Translation", "Translator", "UserError", "__version__", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("transformer_cli.api"), name)
    raise AttributeError(f"module 'transformer_cli' has no attribute '{name}'")
