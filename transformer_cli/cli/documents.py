"""What `translate` does with documents, other than with lines of text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from transformer_cli.cli.terminal import notify
from transformer_cli.errors import ConfigError

if TYPE_CHECKING:
    from transformer_cli.deployment.documents.formats import DocumentFormat


def document_format(
    source: Path | None,
    output: Path | None,
    name: str | None,
    for_lines: Mapping[str, object],
    for_documents: Mapping[str, object],
) -> DocumentFormat | None:
    """The format of a document; None for lines of text.

    Args:
        source, output: None: stdin and stdout.
        name: of the format; None recognises it by the file. Text from stdin is lines unless a name is given.
        for_lines, for_documents: options that only make sense for the one or the other, and their values.

    Raises:
        ConfigError: an option that would be ignored, an unknown format, or a binary document for a terminal.
        DataError: a file that cannot be read or translated.
    """
    from transformer_cli.deployment.documents.formats import find_format

    form = find_format(source or Path("/dev/stdin"), name) if source or name else None
    ignored = [option for option, value in (for_documents if form is None else for_lines).items() if value]
    if ignored and form is None:
        raise ConfigError(f"{', '.join(ignored)} only makes sense for documents, such as .html and .docx")
    if ignored and form is not None:
        raise ConfigError(
            f"{source or 'stdin'}: is a document ({form.title}), which does not support {', '.join(ignored)}",
            hint="give --document-format text to translate it line by line",
        )
    if form is not None and form.is_binary and output is None and sys.stdout is not None and sys.stdout.isatty():
        raise ConfigError(f"a {form.title} cannot be written to a terminal", hint="give -o FILE")
    if form is not None and source is not None and name is None and source.suffix.lower() not in form.suffixes:
        notify(f"note: {source}: is translated as a document ({form.title}); see --document-format")
    return form
